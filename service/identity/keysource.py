"""A provider's keys, kept fresh: fetched on need, seldom, and for a while without the provider.

    age of the keys          a key that is known            a key that is not
    below MAX_AGE            used                           fetch again, then used or refused
    below MAX_AGE + STALE    fetch again; used if that      fetch again; unavailable if that fails
                             fails
    above, or none yet       fetch again; unavailable if    the same
                             that fails

However many tokens ask, there is one fetch at a time and one start in ``PAUSE`` seconds: tokens with invented key ids
cannot be turned into load on the provider. In the pause the answer is what is known. A fetch belongs to nobody, so a
caller that goes away does not stop it for the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from joserfc.jwk import Key

from service.identity.jwks import Keys, discovery_url, read_discovery, read_keys
from service.identity.reasons import Reason
from vault.core.errors import Denied, Unavailable

MAX_AGE: Final = 600.0
"""Seconds after which keys are fetched again: how long a withdrawn key still counts while the provider answers."""
STALE: Final = 3600.0
"""Seconds for which keys go on counting after that, while the provider does not answer."""
PAUSE: Final = 10.0
"""Seconds from the start of one fetch to the start of the next at least."""

Fetch = Callable[[str], Awaitable[bytes]]


class KeySource:
    """The keys of one issuer, for the tasks of one event loop."""

    def __init__(
        self, issuer: str, algorithms: Collection[str], *, fetch: Fetch, monotonic: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._algorithms = tuple(algorithms)
        self._fetch = fetch
        self._monotonic = monotonic
        self._keys: Keys = {}
        self._fetched_at: float | None = None
        self._started_at: float | None = None
        self._trouble: str | None = None
        self._running: asyncio.Task[None] | None = None

    async def find(self, kid: str, algorithm: str) -> Key:
        """Return the key that the provider publishes under ``kid`` for ``algorithm``.

        Raises:
            Denied: the provider has no such key.
            Unavailable: nobody knows, since the provider does not answer or not sensibly.
        """
        wanted = (kid, algorithm)
        if wanted not in self._keys or self._age() >= MAX_AGE:
            # After a failure a known key does not wait for the next attempt: else every pause would cost a time-out.
            await self._refresh(wait=wanted not in self._keys or self._trouble is None or self._too_old())
        if self._too_old():
            raise Unavailable(self._trouble or "the identity provider's keys are too old")
        key = self._keys.get(wanted)
        if key is None:
            if self._trouble:
                raise Unavailable(self._trouble)
            raise Denied(Reason.UNKNOWN_KEY)
        return key

    async def ready(self) -> None:
        """Fetch the keys where that is due: for readiness, so that the first person does not wait.

        Raises:
            Unavailable: there are no keys that could be used, and why.
        """
        if self._age() >= MAX_AGE:
            await self._refresh(wait=self._trouble is None)  # a probe is answered in an outage, not kept waiting
        if self._too_old() or not self._keys:
            raise Unavailable(self._trouble or "the identity provider publishes no key for the allowed algorithms")

    async def close(self) -> None:
        """Stop a fetch that is under way."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else self._monotonic() - self._fetched_at

    def _too_old(self) -> bool:
        return self._age() >= MAX_AGE + STALE

    async def _refresh(self, *, wait: bool) -> None:
        if self._running is None or self._running.done():
            now = self._monotonic()
            if self._started_at is not None and now - self._started_at < PAUSE:
                return
            self._started_at = now
            self._running = asyncio.create_task(self._load())
        if wait:
            await asyncio.shield(self._running)

    async def _load(self) -> None:
        """Replace the keys by what the provider publishes now, or note why that was not possible."""
        try:
            uri = read_discovery(await self._fetch(discovery_url(self._issuer)), self._issuer)
            keys = read_keys(await self._fetch(uri), self._algorithms)
        except Unavailable as error:
            self._trouble = str(error)
            return
        self._keys, self._fetched_at, self._trouble = keys, self._monotonic(), None
