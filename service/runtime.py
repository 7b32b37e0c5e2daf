"""The runtime of one worker: the opened vault, its record lines, its threads, and who may come in.

    event loop      parses HTTP, sees who asks, waits
    line threads    hand groups to the committer (service.committer): one thread at a time a ledger
    verb threads    run what reads or decides: every verb of the vault blocks
    batch threads   take streams in

Two rings open keys: one forgets after minutes and serves reading, the other outlasts a provider's outage and serves
writing.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, ParamSpec, TypeVar
from uuid import UUID

from service import logs
from service.accounts import Accounts
from service.committer import Lanes
from service.identity.oidc import OidcVerifier
from service.limits import RateLimiter, shared
from service.metrics import Metrics
from service.problems import HttpProblem
from service.reporting import Reporting
from service.settings import Settings
from service.wiring import Opened
from vault import ledgers
from vault.core.errors import Denied, UnknownOutcome
from vault.core.standing import ProducerKey
from vault.ledgers import Ledger
from vault.recordline import Pending, RecordLine
from vault.sealing import Outcome
from vault.settlement import Answer

P = ParamSpec("P")
R = TypeVar("R")

_SMALL: Final = 65_536
"""Bytes of a record that is sealed with its group; a larger one is sealed before, beside the others."""
_VERBS, _LINES = 16, 8


def connections(settings: Settings) -> int:
    """Return how many connections to the database one worker's threads need at the most."""
    return _VERBS + _LINES + settings.service.batches + 2


class Runtime:
    """One worker's. Made on its event loop, after the vault was opened.

    Args:
        lanes: to the process that commits.
        reporting: makes reports.
    """

    def __init__(
        self, home: Path, opened: Opened, lanes: Lanes, reporting: Reporting, settings: Settings, metrics: Metrics
    ) -> None:
        service, vault = settings.service, opened.vault
        self.vault = vault
        self.settings = settings
        self.metrics = metrics
        self.reporting = reporting
        self.tokens = opened.tokens
        self.check_keys = opened.check_keys
        self.accounts = Accounts(home)
        self.oidc = OidcVerifier(settings.oidc, clock=vault.clock) if settings.oidc else None
        processes = service.processes
        self.producer_rate = shared(service.records_per_second, service.burst, processes)
        self.stranger_rate = shared(service.logins_per_minute / 60, service.logins_per_minute, processes)
        self.loop = asyncio.get_running_loop()
        self.batches = asyncio.Semaphore(service.batches)
        self.stopping = False
        vault.register.observe = metrics.event
        self._writing = opened.writing
        self._lanes = lanes
        self._verbs = ThreadPoolExecutor(_VERBS, "verb")
        self._committing = ThreadPoolExecutor(_LINES, "line")
        self.streaming = ThreadPoolExecutor(service.batches, "batch")
        self._ledgers: dict[str, Ledger] = {}
        self._lines: dict[UUID, RecordLine] = {}
        self._opening = threading.Lock()
        self._dropped = 0

    async def verb(self, act: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking verb in a thread of its own."""
        return await self.loop.run_in_executor(self._verbs, functools.partial(act, *args, **kwargs))

    async def ledger(self, name: str) -> Ledger | None:
        """Return a ledger of decisions by name or uuid; None where this tenant has none."""
        found = self._ledgers.get(name)
        if found is None:
            found = await self.verb(self._find, name)
            if found is not None:
                self._ledgers[name] = found
        return found

    def _find(self, name: str) -> Ledger | None:
        try:
            wanted = UUID(name)
        except ValueError:
            found = ledgers.find(self.vault, name)
        else:
            found = next((one for one in ledgers.listing(self.vault) if one.id == wanted), None)
        ours = found is not None and found.row.tenant == self.vault.tenant and found.row.kind == "decisions"
        return found if ours else None

    def line(self, ledger: Ledger) -> RecordLine:
        """Return a ledger's line; makes it where this is its first record, which blocks."""
        with self._opening:
            found = self._lines.get(ledger.id)
            if found is None:
                found = self._lines[ledger.id] = RecordLine(
                    self._writing, ledger, self._deliver, self.metrics.commit, self._lanes.settling(ledger.id)
                )
            return found

    async def append(self, ledger: Ledger, key: ProducerKey, raw: bytes) -> Answer:
        """Take one record in, and return once it is durable and signed, or refused and told.

        Raises:
            HttpProblem: too many wait already.
            VaultError: nothing is acknowledged.
        """
        known = self._lines.get(ledger.id)
        line = known if known is not None else await self.verb(self.line, ledger)
        if len(line.line) >= self.settings.service.queue:
            raise HttpProblem("unavailable", "too many records wait for a commit: come back later", retry_after=1)
        outcome: Outcome | None = None
        if len(raw) > _SMALL:  # its group would wait for it to be sealed
            (outcome,) = await self.verb(line.sealers.seal_all, [raw], key.producer)
        settled: asyncio.Future[Pending] = self.loop.create_future()
        if line.line.put(Pending(raw, key, outcome, settled)):
            self._committing.submit(line.line.run)
        try:
            async with asyncio.timeout(self.settings.service.answer_seconds):
                pending = await settled
        except TimeoutError:
            raise UnknownOutcome("the commit takes too long; a retry with the same id settles it") from None
        if pending.error is not None:
            raise pending.error
        assert pending.answer is not None
        return pending.answer

    def _deliver(self, group: list[Pending]) -> None:
        if group:
            self.loop.call_soon_threadsafe(_settle, group)

    def waiting(self) -> int:
        """Return how many records wait for a commit."""
        return sum(len(line.line) for line in list(self._lines.values()))

    def note_dropped(self) -> None:
        """Count the log keys that were dropped since the last look."""
        dropped = logs.dropped()
        self.metrics.log_keys_dropped(dropped - self._dropped)
        self._dropped = dropped

    def close(self) -> None:
        """Finish what was begun."""
        for pool in (self.streaming, self._committing, self._verbs):
            pool.shutdown(wait=True)


def _settle(group: list[Pending]) -> None:
    for pending in group:
        if not pending.token.done():
            pending.token.set_result(pending)


def require_rate(limiter: RateLimiter, who: str, detail: str) -> None:
    """Take one token of somebody's bucket.

    Raises:
        HttpProblem: 429, with how long to wait.
    """
    wait = limiter.take(who, time.monotonic())
    if wait:
        raise HttpProblem("too-many-requests", detail, retry_after=max(1, round(wait + 0.5)))


def require_ledger(ledger: Ledger | None, key: ProducerKey) -> Ledger:
    """Return the ledger if the key is good for it. One that does not exist is refused like one of somebody else's.

    Raises:
        Denied: it is not.
    """
    if ledger is None or str(ledger.id) not in key.ledgers:
        raise Denied("this producer key is not for this ledger")
    return ledger
