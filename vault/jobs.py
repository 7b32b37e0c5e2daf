"""Jobs: one run of something that is done again and again, once over all workers, and told.

    1. claim the run: a row with a lease (vault.db.jobs); whoever else comes finds it taken
    2. event ``job.started``
    3. the work, step by step, while a thread of its own renews the lease
    4. event ``job.finished``, with how it went; of a quiet job without 2, and only where there was something to do
    5. note it in the row

A worker that dies leaves a lease that ends; the run is then begun again from 1, by anybody. One that dies between 4 and
5 has the run done and told twice, so work must bear being done again. A worker that slept through its lease (a paused
machine) finds out at its next step and stops there; what its step does meanwhile is not fenced off here, so whatever
must not happen twice is decided under the events ledger's lock by the work itself.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from vault import events
from vault.context import Vault
from vault.core import leaf
from vault.core.canonical import is_word
from vault.core.errors import KeyGone, KeyUnavailable, VaultError
from vault.db import jobs as rows
from vault.db.engine import transact
from vault.db.jobs import JobRow

OK: Final = "ok"
FAILED: Final = "failed"
STOPPED: Final = "stopped"
_MOST_WORDS: Final = 2500
MOST_ATTEMPTS: Final = 5
"""Workers that may die over one run before it is given up: it may be the run that kills them."""

Counts = Mapping[str, int | str | list[str]]
"""What a run comes to: numbers, words and lists of words, few of them: they stand in clear for ever."""


# Whoever forks, such as work that opens in parallel, must not copy the locks of a renewal that is under way.
_renewing = threading.Lock()
os.register_at_fork(before=_renewing.acquire, after_in_parent=_renewing.release, after_in_child=_renewing.release)


class Interrupted(Exception):
    """The work is to end here: the worker was told to stop, or somebody else has the run. Not an error of the vault's,
    so that nobody who bears those swallows it."""


class Steps:
    """Handed to the work, which calls it between its steps; takes and forgets whatever progress is told to it."""

    def __init__(self, may_go_on: Callable[[], bool] = lambda: True) -> None:
        self._may_go_on = may_go_on

    def __call__(self, *_progress: object) -> None:
        """Raises: Interrupted."""
        if not self._may_go_on():
            raise Interrupted


Work = Callable[[Vault, Steps], Counts]


class Ended(NamedTuple):
    """How a run ended. ``error`` is what it failed of."""

    outcome: str
    counts: Counts
    error: Exception | None = None


class Attempt(NamedTuple):
    """What came of trying to run a job: how it ended, or the run in its way."""

    ended: Ended | None
    other: JobRow | None = None


def attempt(
    vault: Vault,
    name: str,
    due: datetime,
    work: Work,
    *,
    lease_seconds: float,
    stopping: threading.Event,
    quiet: bool = False,
    monotonic: Callable[[], float] = time.monotonic,
) -> Attempt:
    """Do one due run, unless somebody has it or it was done.

    Args:
        due: aware, in UTC, whole seconds; with the name it is the run.
        lease_seconds: after so long without a sign of life somebody else takes over.
        stopping: set by whoever wants the work to end after its step.
        quiet: the run is told only once it is over, and only where it did something or failed: for work that is tried
            each minute and mostly finds nothing to do.

    Raises:
        VaultError: it could not be claimed or told; nothing was done, and it will be tried again.
    """
    began = monotonic()
    mine, other = transact(
        vault.engine, lambda connection: rows.claim(connection, vault.events, name, due, vault.writer, lease_seconds)
    )
    if mine is None:
        return Attempt(None, other)
    with _Lease(vault, mine, lease_seconds, began, monotonic) as lease:
        if not quiet:
            _begin(vault, mine)
        ended = _work(vault, work, mine, Steps(lambda: lease.held() and not stopping.is_set()))
        if not quiet or ended.error is not None or any(ended.counts.values()):
            _tell(vault, mine, ended)
    if ended.outcome == STOPPED:
        transact(vault.engine, lambda connection: rows.release(connection, vault.events, mine))
    else:
        transact(vault.engine, lambda connection: rows.finish(connection, vault.events, mine, ended.outcome))
    return Attempt(ended)


def _begin(vault: Vault, run: JobRow) -> None:
    try:
        events.record(vault, "job.started", _facts(run) | {"attempt": run.attempts})
    except VaultError:
        with suppress(VaultError):
            transact(vault.engine, lambda connection: rows.release(connection, vault.events, run))
        raise


def _work(vault: Vault, work: Work, run: JobRow, steps: Steps) -> Ended:
    if run.attempts > MOST_ATTEMPTS:
        return Ended(FAILED, {}, VaultError(f"given up: {MOST_ATTEMPTS} workers died over it"))
    try:
        steps()
        return Ended(OK, _checked(work(vault, steps)))
    except Interrupted:
        return Ended(STOPPED, {})
    except Exception as error:  # whatever it is, the worker and its other jobs go on
        return Ended(FAILED, {}, error)


def _tell(vault: Vault, run: JobRow, ended: Ended) -> None:
    facts: dict[str, Any] = dict(ended.counts) | _facts(run) | {"outcome": ended.outcome}
    details = None
    if ended.error is not None:
        facts["error"] = type(ended.error).__name__
        details = {"error": in_a_line(ended.error)}
    try:
        events.record(vault, "job.finished", facts, details)
    except (KeyUnavailable, KeyGone):
        events.record(vault, "job.finished", facts)  # perhaps just what it failed of


def in_a_line(error: Exception) -> str:
    """Return what an error says, or, of one that is not the vault's and may quote what it stumbled over, where it was
    raised."""
    if isinstance(error, VaultError):
        return str(error).partition("\n")[0]
    trace = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(trace[-1].filename).name} line {trace[-1].lineno}" if trace else ""
    return f"{type(error).__name__}{place}"


def _facts(run: JobRow) -> dict[str, int | str | list[str]]:
    return {"job": run.name, "due": leaf.instant(int(run.due.timestamp())), "worker": run.worker}


def _checked(counts: Counts) -> Counts:
    """Keep what may stand in an event: a job's carelessness must not cost its event."""
    return {key: value for key, value in counts.items() if _may_stand(value)}


def _may_stand(value: int | str | list[str]) -> bool:
    if isinstance(value, int):
        return 0 <= value < 1 << 53
    words = [value] if isinstance(value, str) else value
    return all(is_word(word) for word in words) and sum(map(len, words)) <= _MOST_WORDS


class _Lease:
    """Renews a run's lease every third of its time."""

    def __init__(self, vault: Vault, run: JobRow, seconds: float, began: float, monotonic: Callable[[], float]) -> None:
        self._vault = vault
        self._run = run
        self._seconds = seconds
        self._until = began + seconds
        self._monotonic = monotonic
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease-{run.name}", daemon=True)

    def held(self) -> bool:
        """Say whether nobody else can have the run yet, by this machine's steady clock."""
        return self._monotonic() < self._until

    def __enter__(self) -> _Lease:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._over.wait(self._seconds / 3):
            asked = self._monotonic()
            with _renewing, suppress(VaultError):  # out of reach: again in a third, until the lease is over
                mine = transact(
                    self._vault.engine,
                    lambda connection: rows.renew(connection, self._vault.events, self._run, self._seconds),
                    tries=1,
                )
                self._until = asked + self._seconds if mine else asked
                if not mine:
                    return
