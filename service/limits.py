"""How much one producer may send, and how often one address may try to log in: token buckets.

    limiter = RateLimiter(rate=500, burst=1000)
    wait = limiter.take("shop-1", clock())          0.0: go on; else seconds until the same call would be let through

A bucket holds ``burst`` tokens and gains ``rate`` a second. Whatever is asked, and whenever, no more than
``burst + rate * t`` tokens leave it within ``t`` seconds. It is kept as one number: the instant at which it will be
full again (the generic cell rate algorithm).

Buckets belong to one process: where several serve, each gets its share of the rate (``shared``).
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from typing import Final

_MOST: Final = 10_000
_GRAIN: Final = 1e-9  # seconds: what rounding may leave of a wait that was served


class RateLimiter:
    """Token buckets under one rate.

    Args:
        rate: tokens a second, above 0.
        burst: tokens in a full bucket, at least 1.
        most: buckets that are remembered. Beyond them the one that was used least recently is forgotten, which means
            full again: somebody with more addresses than that has more attempts anyway.
    """

    def __init__(self, rate: float, burst: float, *, most: int = _MOST) -> None:
        if not (rate > 0 and burst >= 1 and most >= 1):
            raise ValueError("a rate is above 0, a burst and the number of buckets at least 1")
        self._second = 1 / rate
        self._burst = burst
        self._depth = burst / rate
        self._most = most
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, who: str, now: float, tokens: float = 1) -> float:
        """Take tokens from somebody's bucket.

        Args:
            now: seconds on a clock that never goes back.
            tokens: at most ``burst``; who needs more takes them piece by piece.

        Returns:
            0.0 when they were taken; else how many seconds to wait, and nothing was taken.
        """
        if not 0 < tokens <= self._burst:
            raise ValueError("no more tokens than a bucket holds, and more than none")
        full_at = max(self._full_at.get(who, now), now) + tokens * self._second
        wait = full_at - now - self._depth
        if wait > _GRAIN:
            return wait
        self._full_at[who] = full_at
        self._full_at.move_to_end(who)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        return 0.0

    def forget(self, who: str) -> None:
        """Fill somebody's bucket, such as that of an address whose login was right."""
        self._full_at.pop(who, None)

    def __len__(self) -> int:
        return len(self._full_at)


def shared(rate: float, burst: float, processes: int, *, most: int = _MOST) -> RateLimiter:
    """Return one process's limiter, so that all ``processes`` together keep to the rate.

    A client whose connections all end in one process gets that process's share only.
    """
    return RateLimiter(rate / processes, max(1.0, burst / processes), most=most)


def retry_after(wait: float) -> int:
    """Return seconds to wait as the header ``Retry-After`` spells them: whole, rounded up, at least 1."""
    return max(1, math.ceil(wait))


def address_key(address: str) -> str:
    """Return whose bucket an address belongs to: an IPv4 address its own, an IPv6 one that of its /64 network.

    One customer usually holds a whole /64. What is no address at all (a socket's path) shares one bucket.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "local"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
