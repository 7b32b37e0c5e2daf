"""How much one producer may send, how often one address may try to log in: token buckets, and slots for what lasts.

    limiter = RateLimiter(rate=500, burst=1000)
    wait = limiter.take("shop-1", clock())          0.0: go on; else seconds until the same call would be let through
    wait = limiter.owe("shop-1", clock(), 20)       taken in any case: seconds to wait before going on

A bucket holds ``burst`` tokens and gains ``rate`` a second. Whatever is asked, and whenever, no more than
``burst + rate * t`` tokens leave it within ``t`` seconds. It is kept as one number: the instant at which it will be
full again (the generic cell rate algorithm). What is owed lets that instant lie further off than a bucket is deep.

Buckets belong to one process: where several serve, each gets its share of the rate (``shared``).
"""

from __future__ import annotations

import ipaddress
import math
from collections import Counter, OrderedDict
from typing import Final

_MOST: Final = 10_000
_GRAIN: Final = 1e-9  # seconds: what rounding may leave of a wait that was served
_MOST_DEBT: Final = 10.0  # seconds: nobody is kept out for longer than that by what was taken on credit


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
        self.rate = rate
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
        self._set(who, full_at)
        return 0.0

    def owe(self, who: str, now: float, tokens: float) -> float:
        """Take tokens from somebody's bucket, on credit where it does not hold them: for what is known afterwards, or
        is slowed down rather than refused. ``take`` lets nobody through until the debt is paid.

        Returns:
            How many seconds the bucket is in debt, ten at the most.
        """
        full_at = max(self._full_at.get(who, now), now) + tokens * self._second
        full_at = min(full_at, now + self._depth + _MOST_DEBT)
        self._set(who, full_at)
        return max(0.0, full_at - now - self._depth)

    def wait(self, who: str, now: float) -> float:
        """Return how many seconds there are until one token could be taken; nothing is taken."""
        return max(0.0, self._full_at.get(who, now) + self._second - now - self._depth)

    def _set(self, who: str, full_at: float) -> None:
        self._full_at[who] = full_at
        self._full_at.move_to_end(who)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)

    def __len__(self) -> int:
        return len(self._full_at)


class Slots:
    """Places for what lasts, such as streams: so many in all, so many for each.

    Args:
        most: places in all.
        each: places that one may have at a time.
    """

    def __init__(self, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._taken: Counter[str] = Counter()

    def free(self, who: str) -> bool:
        """Say whether there is a place for somebody."""
        return self._taken[who] < self._each and self._taken.total() < self._most

    def take(self, who: str) -> bool:
        """Take a place; False where there is none."""
        if not self.free(who):
            return False
        self._taken[who] += 1
        return True

    def give(self, who: str) -> None:
        """Give a place back."""
        self._taken[who] -= 1
        if not self._taken[who]:
            del self._taken[who]


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
