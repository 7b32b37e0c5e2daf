"""Running: one run of a job in a process of its own.

Work may fork (whatever opens many records does) and may need much memory, so it gets a process that has no other
threads to copy, and that takes nothing along when it dies. The process inherits the opened vault; it leaves its
parent's connections to the database alone, and ends when its parent does.

    run = Run(vault, job, due, lease_seconds=120)
    multiprocessing.connection.wait([run.sentinel])
    run.result()
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from datetime import datetime
from multiprocessing.connection import Connection
from typing import Final, NamedTuple

from service.jobs.catalogue import Job
from vault import forks, jobs
from vault.context import Vault
from vault.core.errors import Unavailable, VaultError
from vault.db.jobs import JobRow
from vault.jobs import Counts

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_fork = multiprocessing.get_context("fork")


class Told(NamedTuple):
    """What came of a run.

    Attributes:
        outcome: None where it was not begun.
        error: what it failed of, or why it was not begun.
        other: the run that was in the way.
    """

    outcome: str | None
    counts: Counts
    error: VaultError | None
    other: JobRow | None = None


class Run:
    """One run under way, begun by making this. To be made where the process has one thread only."""

    def __init__(self, vault: Vault, job: Job, due: datetime, *, lease_seconds: float) -> None:
        self.job = job
        self.due = due
        self._receiver, sender = _fork.Pipe(duplex=False)
        self._lifeline = os.pipe()
        self._process = _fork.Process(
            target=_child, args=(vault, job, due, lease_seconds, sender, self._lifeline), name=job.name
        )
        # Whoever tells the run to stop right after it began must not be heard by nobody.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            sender.close()

    @property
    def sentinel(self) -> int:
        """What becomes readable when the run has ended."""
        return self._process.sentinel

    def stop(self) -> None:
        """Have the work end after the step at hand."""
        self._process.terminate()

    def result(self) -> Told:
        """Wait for the end, and return what came of it."""
        try:
            told: Told = self._receiver.recv()
        except EOFError:
            told = Told(None, {}, Unavailable("its process died: the run is taken over when its lease ends"))
        self._process.join()
        self._receiver.close()
        for end in self._lifeline:
            os.close(end)
        return told


def _child(
    vault: Vault, job: Job, due: datetime, lease_seconds: float, sender: Connection, lifeline: tuple[int, int]
) -> None:
    stopping = threading.Event()
    os.setpgid(0, 0)  # Ctrl-C is for the parent, which tells us; processes of ours would die of it
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    forks.end_with_parent(*lifeline)
    vault.engine.dispose(close=False)
    try:
        ended, other = jobs.attempt(
            vault, job.name, due, job.run, lease_seconds=lease_seconds, stopping=stopping, quiet=job.quiet
        )
        told = Told(None, {}, None, other)
        if ended is not None:
            told = Told(ended.outcome, ended.counts, _ours(ended.error))
    except Exception as error:
        told = Told(None, {}, _ours(error))
    sender.send(told)
    vault.engine.dispose()


def _ours(error: Exception | None) -> VaultError | None:
    return error if error is None or isinstance(error, VaultError) else VaultError(jobs.in_a_line(error))
