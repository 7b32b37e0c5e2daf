"""Contenders: what each is told, what it answers, and the process of its own that it runs in (``bench.child``).

Task and answer go by pipe as JSON, so that nothing of one contender (memory, caches, connections) is there when the
next one runs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import msgspec

from bench.measure import Peak, PeakMemory, Reading, Stopwatch

BATCH = 1000
"""Records a transaction: that of the vault's intake, and so of everybody who commits in batches."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What one run is asked to do.

    Attributes:
        contender: which, by its name in ``bench.child``.
        one_transaction: commit once instead of after every batch (plain COPY only).
        digest: how the trigger chain hashes, ``pgcrypto`` or ``builtin``.
        home: the vault's home (ours only).
        processes: sealing processes (ours only).
        depth: how far to verify (ours only).
        dsn: the run's own database; its login may create what it likes there.
        admin_dsn: a login that may CHECKPOINT.
        server_pid: the server's first process, None where it runs elsewhere.
        records: a file of JSON lines.
        out: a file to make (reports only).
    """

    contender: str
    one_transaction: bool = False
    digest: str = "pgcrypto"
    home: Path = Path()
    processes: int = 2
    depth: str = "envelopes"
    dsn: str = ""
    admin_dsn: str = ""
    server_pid: int | None = None
    records: Path = Path()
    out: Path = Path()

    def at(self, dsn: str, admin_dsn: str, server_pid: int | None, records: Path) -> Task:
        """Return the task with the place it is done at and the records it is done with."""
        place = {"dsn": dsn, "admin_dsn": admin_dsn, "server_pid": server_pid, "records": records}
        return msgspec.structs.replace(self, **place)


class Answer(msgspec.Struct, frozen=True):
    """What came of it: a reading, or why there is none. Memory is added by whoever watched from outside."""

    reading: Reading | None
    not_run: str = ""
    memory: Peak | None = None


class NotRun(Exception):
    """The contender cannot run here; the text says what is missing."""


class Wrong(Exception):
    """The contender did not do what it was measured for, so there is no figure."""


Contender = Callable[[Task, Stopwatch], int]
"""Prepare; do the work inside the stopwatch's ``with`` block; return how many records or entries that were."""


class Failed(Exception):
    """A contender's process ended without an answer; why stands on standard error."""


def run(task: Task, watch: Callable[[int], AbstractContextManager[object]] | None = None) -> Answer:
    """Run a task in a fresh process and wait for its answer.

    Args:
        watch: given the process's id, what else watches it from outside.

    Raises:
        Failed: the process ended without one.
    """
    command = [sys.executable, "-m", "bench.child"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        with PeakMemory(process.pid) as memory, watch(process.pid) if watch else nullcontext():
            said, _ = process.communicate(msgspec.json.encode(task, enc_hook=str))
    except BaseException:
        process.kill()
        raise
    if process.returncode != 0:
        raise Failed(f"{task.contender} ended with exit code {process.returncode}")
    return msgspec.structs.replace(msgspec.json.decode(said, type=Answer), memory=memory.peak())
