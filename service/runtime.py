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
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, ParamSpec, TypeVar
from uuid import UUID

from service import logs
from service.accounts import Accounts
from service.committer import Lanes
from service.identity.oidc import OidcVerifier
from service.limits import RateLimiter, Slots, shared
from service.metrics import Metrics
from service.problems import HttpProblem
from service.reporting import Reporting
from service.settings import Settings
from service.wiring import Opened
from vault import ledgers
from vault.context import Actor
from vault.core.errors import Denied, KeyUnavailable, UnknownOutcome
from vault.core.standing import ProducerKey
from vault.db import store
from vault.db.engine import transact
from vault.ledgers import Ledger
from vault.recordline import Pending, RecordLine
from vault.sealing import Outcome
from vault.settlement import Answer
from vault.settling import Result, Status

P = ParamSpec("P")
R = TypeVar("R")

Seen = tuple[bool, bool, bool, bool | None]
"""Whether database, keys, evidence and identity provider are there; None: there is no provider to ask."""

_SMALL: Final = 65_536
"""Bytes of a record that is sealed with its group; a larger one is sealed before, beside the others."""
_VERBS, _LINES, _LOGINS = 16, 8, 2
_WAITING_LOGINS: Final = 16
_DEAR: Final = 4
"""Tokens beyond the first for a record that is not new: it costs an event, or a look at what is kept."""
_LEDGER: Final = re.compile(r"[A-Za-z0-9-]{1,64}")


def connections(settings: Settings) -> int:
    """Return how many connections to the database one worker's threads need at the most."""
    return _VERBS + _LINES + _LOGINS + settings.service.batches + 2


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
        self.home = home
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
        self.person_rate = shared(service.requests_per_second, 2 * service.requests_per_second, processes)
        self.denial_rate = shared(service.logins_per_minute / 60, service.logins_per_minute, processes)
        self.loop = asyncio.get_running_loop()
        self.batches = Slots(service.batches, service.producer_batches)
        self.stopping = False
        self.looked: tuple[float, asyncio.Task[Seen] | None] = (0.0, None)
        self.keys_seen = float("-inf")  # when this process last reached the key provider
        vault.register.observe = metrics.event
        self._writing = opened.writing
        self._lanes = lanes
        self._verbs = ThreadPoolExecutor(_VERBS, "verb")
        self._committing = ThreadPoolExecutor(_LINES, "line")
        self._logins = ThreadPoolExecutor(_LOGINS, "login")
        self._logging_in = 0
        self.streaming = ThreadPoolExecutor(service.batches, "batch")
        self.settling = ThreadPoolExecutor(service.batches, "batch-line")
        self._ledgers: dict[str, Ledger] = {}
        self._lines: dict[UUID, RecordLine] = {}
        self._opening = threading.Lock()
        self._dropped = 0

    async def verb(self, act: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking verb in a thread of its own."""
        return await self.loop.run_in_executor(self._verbs, functools.partial(act, *args, **kwargs))

    async def login(self, name: str, password: str) -> Actor:
        """Return who logs in. Trying a password is meant to take long, so it has threads and a line of its own.

        Raises:
            Denied: whatever is wrong, the answer is the same.
            HttpProblem: 429, too many wait already.
        """
        if self._logging_in >= _WAITING_LOGINS:
            raise HttpProblem("too-many-requests", "many people log in at this moment: come back", retry_after=1)
        self._logging_in += 1
        try:
            return await self.loop.run_in_executor(self._logins, self.accounts.login, self.vault, name, password)
        finally:
            self._logging_in -= 1

    async def ledger(self, name: str) -> Ledger | None:
        """Return a ledger of decisions by name or uuid; None where this tenant has none."""
        found = self._ledgers.get(name)
        if found is None and _LEDGER.fullmatch(name):
            found = await self.verb(self._find, name)
            if found is not None:
                self._ledgers[name] = found  # spelled exactly like its name or its uuid: two entries a ledger
        return found

    def _find(self, name: str) -> Ledger | None:
        rows = transact(self.vault.engine, store.ledgers)
        ours = [row for row in rows if row.tenant == self.vault.tenant and row.kind == "decisions"]
        same = [row for row in ours if str(row.ledger_id) == name] or [row for row in ours if row.name == name]
        # Only this one is read: another ledger that does not hold is no reason to refuse it.
        found = ledgers.find(self.vault, same[0].name) if same else None
        return found if found is not None and found.id == same[0].ledger_id else None

    def stride(self, most: int) -> int:
        """Return how many tokens a stream takes at a time: what its producer may send in a second, or ``most``."""
        return max(1, min(most, int(self.producer_rate.rate)))

    def paid(self, producer: str, tokens: int) -> float:
        """From a thread: take a stream's tokens, and return how many seconds it has to wait for them."""
        return asyncio.run_coroutine_threadsafe(self._owe(producer, tokens), self.loop).result()

    async def _owe(self, producer: str, tokens: int) -> float:
        return self.producer_rate.owe(producer, time.monotonic(), tokens)

    def charge(self, producer: str, result: Result) -> None:
        """On the loop: take what one record cost beyond its first token."""
        extra = dear(result)
        if extra:
            self.producer_rate.owe(producer, time.monotonic(), extra)

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
            with suppress(KeyUnavailable):  # the committer may have keys for it
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
        for pool in (self.streaming, self.settling, self._committing, self._logins, self._verbs):
            pool.shutdown(wait=True)


def _settle(group: list[Pending]) -> None:
    for pending in group:
        if not pending.token.done():
            pending.token.set_result(pending)


def dear(result: Result) -> int:
    """Return how many tokens a record costs beyond the first."""
    return 0 if result.status is Status.ACCEPTED else _DEAR


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
