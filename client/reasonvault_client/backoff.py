"""How long to wait before the next try: exponential with full jitter, and never less than the vault asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

MAX_RETRY_AFTER = 3600.0
"""Seconds at most that a Retry-After is believed; a typing error there must not stop a producer for ever."""


class Backoff(NamedTuple):
    """``base`` seconds for the first try again, twice as long for each further one, ``cap`` at most."""

    base: float = 0.2
    cap: float = 30.0

    def delay(self, attempt: int, chance: float, retry_after: float | None = None) -> float:
        """Return seconds to wait.

        Args:
            attempt: failures so far, from 1.
            chance: random, 0 to 1. Full jitter (any part of the interval) keeps a thousand clients that failed together
                from coming back together.
            retry_after: what the vault asked for; jitter is added to it, for the same reason.
        """
        jitter: float = chance * min(self.cap, self.base * 2 ** min(attempt - 1, 32))
        return jitter if retry_after is None else retry_after + jitter


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header, in either form (RFC 9110 10.2.3); None where it is neither."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER)
