"""The worker: does the jobs that are due, for ever, one worker or several.

    1. a schedule wakes it when a job is due; so does a look around every few seconds, which finds runs that were
       missed while nobody worked, and runs of a worker that died
    2. what is due is worked out from the schedule and the newest run in the database, never from memory: of several
       missed runs the last one is made up for
    3. the run itself: vault.jobs. A second worker, on this host or another, finds it taken
    4. on SIGTERM no run is begun any more; those under way end after the step at hand, for whoever comes next

Jobs of different names run beside each other, of the same name never.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from service import logs
from service.jobs.catalogue import Catalogue, Job
from service.wiring import open_for_retention
from vault import jobs
from vault.context import Actor, Vault
from vault.core.errors import Unavailable
from vault.db import jobs as rows
from vault.db.engine import transact
from vault.db.jobs import JobRow
from vault.jobs import Attempt, Ended

ACTOR = Actor("worker", break_glass=False)
_log = structlog.get_logger()


class Worker:
    """One worker's way through the catalogue. Threads share it.

    Args:
        vault: opened for retention; its clock says what is due.
    """

    def __init__(self, vault: Vault, catalogue: Catalogue) -> None:
        self._vault = vault
        self._catalogue = catalogue
        self._busy = {name: threading.Lock() for name in catalogue.jobs}
        self.stopping = threading.Event()

    def sweep(self) -> None:
        """Do whatever is due."""
        for name in self._catalogue.jobs:
            self.consider(name)

    def consider(self, name: str) -> None:
        """Do one job if it is due and nobody has it. Never raises: what goes wrong is told, and tried again."""
        job = self._catalogue.jobs[name]
        if not job.enabled or self.stopping.is_set():
            return
        mine = self._busy[name]
        if not mine.acquire(blocking=False):
            return
        try:
            due = self._due(job)
            if due is not None:
                self._run(job, due)
        except Exception as error:  # the other jobs, and the next look, go on
            _log.error("job not tried", job=name, error=error)
        finally:
            mine.release()

    def _due(self, job: Job) -> datetime | None:
        now = moment(self._vault)
        their = transact(self._vault.engine, rows.now, tries=1)
        apart = abs((their - now).total_seconds())
        if apart > self._catalogue.worker.clock_seconds:
            raise Unavailable(f"this clock and the database's are {apart:.0f} seconds apart: set them, nothing is run")
        newest = transact(self._vault.engine, lambda connection: rows.latest(connection, self._vault.events))
        return due(job, newest.get(job.name), now)

    def _run(self, job: Job, due: datetime) -> None:
        began = time.monotonic()
        done = jobs.attempt(
            self._vault,
            job.name,
            due,
            job.run,
            lease_seconds=self._catalogue.worker.lease_seconds,
            stopping=self.stopping,
        )
        if done.ended is not None:
            log_run(job.name, due, done, time.monotonic() - began)


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
    """Return the vault's time."""
    return datetime.fromtimestamp(vault.clock() // 1_000_000, UTC)


def run_now(vault: Vault, catalogue: Catalogue, job: Job, stopping: threading.Event) -> Ended:
    """Do a job at once, whether it is due or not; the run's due time is now.

    Raises:
        Unavailable: somebody runs it at this moment.
    """
    done = jobs.attempt(
        vault, job.name, moment(vault), job.run, lease_seconds=catalogue.worker.lease_seconds, stopping=stopping
    )
    if done.other is not None and done.other.live:
        raise Unavailable(f"{job.name} is being run by worker {done.other.worker}: wait until it is done")
    if done.ended is None:
        raise Unavailable(f"{job.name} was run this very second, or by a clock that is ahead: try again")
    return done.ended


def log_run(name: str, due: datetime, done: Attempt, seconds: float) -> None:
    """Say in the log how a run ended."""
    assert done.ended is not None
    say = _log.error if done.ended.error is not None else _log.info
    say(
        "job",
        job=name,
        due=f"{due:%Y-%m-%dT%H:%M:%SZ}",
        outcome=done.ended.outcome,
        seconds=seconds,
        error=done.ended.error,
    )


def work(
    home: Path,
    passphrase: bytes,
    catalogue: Catalogue,
    level: str,
    *,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Work until told to stop. For the main thread of a process, whose signals it takes.

    Raises:
        VaultError: the vault cannot be opened; nothing was done.
    """
    logs.configure(level, sys.stderr.buffer)
    logs.quiet_crashes()
    for name in ("apscheduler.executors", "apscheduler.scheduler"):  # they tell of every look around
        logging.getLogger(name).setLevel(logging.ERROR)
    with open_for_retention(home, passphrase, ACTOR) as vault:
        worker = Worker(vault, catalogue)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stops(worker))
        scheduler = _scheduled(worker, catalogue)
        scheduler.start()
        _log.info("worker started", count=len([job for job in catalogue.jobs.values() if job.enabled]))
        ready()
        worker.stopping.wait()
        _log.info("worker stops")
        scheduler.shutdown(wait=True)


def _stops(worker: Worker) -> Callable[[int, FrameType | None], None]:
    return lambda _number, _frame: worker.stopping.set()


def _scheduled(worker: Worker, catalogue: Catalogue) -> BackgroundScheduler:
    # Every job may wait for a place at once, twice over: by its schedule and by the look around.
    executor = ThreadPoolExecutor(catalogue.worker.at_once)
    settings: dict[str, object] = {"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
    scheduler = BackgroundScheduler(executors={"default": executor}, job_defaults=settings, timezone=UTC)
    every = IntervalTrigger(seconds=catalogue.worker.poll_seconds, timezone=UTC)
    for name, job in catalogue.jobs.items():
        if job.enabled:
            scheduler.add_job(worker.consider, job.schedule.trigger, args=(name,), id=name)
            scheduler.add_job(worker.consider, every, args=(name,), id=f"{name} again", next_run_time=datetime.now(UTC))
    return scheduler
