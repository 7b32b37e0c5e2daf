"""The worker: does the jobs that are due, for ever, one worker or several.

    1. it wakes when a job is due, when a run ends, and every few seconds: that finds runs that were missed while nobody
       worked, and runs of a worker that died
    2. what is due is worked out from the schedule and the newest run in the database, never from memory: of several
       missed runs the last one is made up for
    3. the run itself, in a process of its own: service.jobs.running, vault.jobs. A second worker, on this host or
       another, finds it taken
    4. on SIGTERM no run is begun any more; those under way end after the step at hand, for whoever comes next

Jobs of different names run beside each other, of the same name never. APScheduler says when a job is due and runs
nothing: it would run jobs in threads of this process, and what threads run must not fork.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import wait
from pathlib import Path

import structlog

from service import logs
from service.jobs.catalogue import Catalogue, Job
from service.jobs.running import Run, Told
from service.wiring import open_for_retention
from vault.context import Actor, Vault
from vault.core.errors import Unavailable, VaultError
from vault.db import jobs as rows
from vault.db.engine import transact
from vault.db.jobs import JobRow
from vault.jobs import STOPPED

ACTOR = Actor("worker", break_glass=False)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_log = structlog.get_logger()


class Worker:
    """One worker's way through the catalogue.

    Args:
        vault: opened for retention; its clock says what is due.
    """

    def __init__(self, vault: Vault, catalogue: Catalogue) -> None:
        self._vault = vault
        self._catalogue = catalogue
        self._runs: dict[str, tuple[Run, float]] = {}
        self._again: dict[str, float] = {}
        self._stopped = False

    @property
    def sentinels(self) -> list[int]:
        """One for each run under way, readable when it has ended."""
        return [run.sentinel for run, _ in self._runs.values()]

    def begin(self) -> None:
        """Begin whatever is due, as far as there is room."""
        try:
            found = self._due()
        except VaultError as error:
            _log.error("nothing is run", error=error)
            return
        for job, due in found:
            if len(self._runs) < self._catalogue.worker.at_once and not self._stopped:
                run = Run(self._vault, job, due, lease_seconds=self._catalogue.worker.lease_seconds)
                self._runs[job.name] = run, time.monotonic()

    def reap(self) -> None:
        """Take note of the runs that have ended."""
        ended = set(wait(self.sentinels, timeout=0))
        for name, (run, began) in list(self._runs.items()):
            if run.sentinel in ended:
                del self._runs[name]
                told = run.result()
                if told.outcome is None:  # what was in the way is perhaps there for a while
                    self._again[name] = time.monotonic() + self._catalogue.worker.poll_seconds
                _tell(run, told, time.monotonic() - began)

    def sweep(self) -> None:
        """Do whatever is due, and wait for it."""
        self.begin()
        self.finish()

    def finish(self) -> None:
        """Wait for the runs under way."""
        while self._runs:
            wait(self.sentinels)
            self.reap()

    def stop(self) -> None:
        """Begin nothing any more, and have the runs under way end after the step at hand."""
        self._stopped = True
        for run, _ in self._runs.values():
            run.stop()

    def idle_seconds(self) -> float:
        """Return how long there is nothing to look at, as far as this worker knows."""
        now = moment(self._vault)
        following = [job.schedule.following(now) for job in self._catalogue.jobs.values() if job.enabled]
        ahead = [(one - now).total_seconds() for one in following if one is not None]
        return max(0.1, min([self._catalogue.worker.poll_seconds, *ahead]))

    def _due(self) -> list[tuple[Job, datetime]]:
        now, ledger, names = moment(self._vault), self._vault.events, self._catalogue.jobs
        their, newest = transact(
            self._vault.engine,
            lambda connection: (rows.now(connection), rows.latest(connection, ledger, names)),
        )
        apart = abs((their - now).total_seconds())
        if apart > self._catalogue.worker.clock_seconds:
            raise Unavailable(f"this clock and the database's are {apart:.0f} seconds apart: set them")
        wanted = [job for job in self._catalogue.jobs.values() if job.enabled and self._may_begin(job.name)]
        found = [(job, due(job, newest.get(job.name), now)) for job in wanted]
        # The longest overdue first, so that a full worker comes to all of them.
        return sorted(((job, at) for job, at in found if at is not None), key=lambda pair: pair[1])

    def _may_begin(self, name: str) -> bool:
        return name not in self._runs and self._again.get(name, 0.0) <= time.monotonic()


def due(job: Job, newest: JobRow | None, now: datetime) -> datetime | None:
    """Return the run of a job that is to be done now, None where there is none.

    Of several that were missed it is the last. A vault whose jobs never ran begins with each job's last due time.

    Args:
        newest: of the job, by due time.
    """
    latest = job.schedule.latest(now)
    if newest is None:
        return latest
    if newest.live:
        return None
    if newest.outcome is None and (latest is None or newest.due >= latest):
        return newest.due
    return latest if latest is not None and latest > newest.due else None


def moment(vault: Vault) -> datetime:
    """Return the vault's time, in whole seconds."""
    return datetime.fromtimestamp(vault.clock() // 1_000_000, UTC)


def run_now(vault: Vault, catalogue: Catalogue, job: Job) -> Told:
    """Do a job at once, whether it is due or not; the run's due time is now. SIGTERM and Ctrl-C end it after a step.

    Raises:
        Unavailable: somebody runs it at this moment.
        VaultError: it failed, or was stopped.
    """
    with _woken() as (wakeup, told_to_stop):
        run = Run(vault, job, moment(vault), lease_seconds=catalogue.worker.lease_seconds)
        while run.sentinel not in wait([run.sentinel, wakeup]):
            os.read(wakeup, 64)
            if told_to_stop():
                run.stop()
        told = run.result()
    if told.error is not None:
        raise told.error
    if told.other is not None and told.other.live:
        raise Unavailable(f"{job.name} is being run by worker {told.other.worker}: wait until it is done")
    if told.outcome == STOPPED:
        raise VaultError(f"{job.name} was stopped before its end; the next worker begins it again")
    if told.outcome is None:
        raise Unavailable(f"{job.name} was run this very second, or by a clock that is ahead: try again")
    return told


def work(
    home: Path, passphrase: bytes, catalogue: Catalogue, level: str, *, ready: Callable[[], None] = lambda: None
) -> None:
    """Work until told to stop. For the main thread of a process, whose signals it takes.

    Raises:
        VaultError: the vault cannot be opened; nothing was done.
    """
    logs.configure(level, sys.stderr.buffer)
    logs.quiet_crashes()
    with open_for_retention(home, passphrase, ACTOR) as vault, _woken() as (wakeup, told_to_stop):
        worker = Worker(vault, catalogue)
        _log.info("worker started", count=len([job for job in catalogue.jobs.values() if job.enabled]))
        ready()
        while not told_to_stop():
            worker.reap()
            worker.begin()
            if wakeup in wait([*worker.sentinels, wakeup], timeout=worker.idle_seconds()):
                os.read(wakeup, 64)
        _log.info("worker stops", count=len(worker.sentinels))
        worker.stop()
        worker.finish()


def _tell(run: Run, told: Told, seconds: float) -> None:
    if told.outcome is None and told.error is None:
        return  # another worker was first
    say = _log.info if told.error is None else _log.error
    at = f"{run.due:%Y-%m-%dT%H:%M:%SZ}"
    say("job", job=run.job.name, due=at, outcome=told.outcome, seconds=seconds, error=told.error)


@contextmanager
def _woken() -> Iterator[tuple[int, Callable[[], bool]]]:
    """Take SIGTERM and Ctrl-C; yield what becomes readable with them, and whether they came."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    came: list[int] = []
    before = [signal.signal(number, lambda number, _frame: came.append(number)) for number in _SIGNALS]
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading, lambda: bool(came)
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
