"""Measuring: wall time, processor time, memory, bytes written and bytes kept.

    with Stopwatch(admin_dsn, server_pid) as clock:      CHECKPOINT, then the clock starts
        ...
    clock.reading(records)

Processor time is counted on both sides of the socket, since client and server share the cores: a rate alone would
not say who was busy. Memory and the server's processor time come from ``/proc``; where there is none (or where the
server is on another machine) they are not measured, and the reading says so with None.
"""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec
import psycopg

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.05


class Reading(msgspec.Struct, frozen=True):
    """What one run took.

    Attributes:
        records: how many were taken in, or entries verified.
        seconds: wall time, from the first record read to the last commit acknowledged.
        client_cpu: seconds of processor time of the contender's processes, its children included.
        server_cpu: the same of all the server's processes; None where it cannot be seen.
        wal_bytes: what the server wrote to its log ahead.
    """

    records: int
    seconds: float
    client_cpu: float
    server_cpu: float | None
    wal_bytes: int

    @property
    def rate(self) -> float:
        """Records a second of wall time."""
        return self.records / self.seconds


class Stopwatch:
    """Times its ``with`` block. One use each.

    Args:
        admin_dsn: a login that may CHECKPOINT, so that no contender pays for pages that the one before it left dirty.
        server_pid: the server's first process, None where it runs elsewhere.
    """

    def __init__(self, admin_dsn: str, server_pid: int | None) -> None:
        self._admin_dsn = admin_dsn
        self._server_pid = server_pid
        self._taken: tuple[float, float, float | None, int] | None = None

    def __enter__(self) -> Stopwatch:
        with psycopg.connect(self._admin_dsn, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        self._wal = self._wal_position()
        self._server_cpu = self._server_seconds()
        self._client_cpu = _own_seconds()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._started
        client = _own_seconds() - self._client_cpu
        after = self._server_seconds()
        server = None if after is None or self._server_cpu is None else after - self._server_cpu
        self._taken = (seconds, client, server, self._wal_position() - self._wal)

    def reading(self, records: int) -> Reading:
        """Return what the block took; ``records`` is how many it handled."""
        assert self._taken is not None
        return Reading(records, *self._taken)

    def _wal_position(self) -> int:
        with psycopg.connect(self._admin_dsn) as connection:
            row = connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')").fetchone()
        assert row is not None
        return int(row[0])

    def _server_seconds(self) -> float | None:
        return None if self._server_pid is None else tree_seconds(self._server_pid)


def tree_seconds(pid: int) -> float | None:
    """Return the processor seconds of a process and its children, ended ones included; None where nobody can tell.

    Children's children count once they ended and were waited for, which is how PostgreSQL's processes come and go.
    """
    own = _stat(pid)
    if own is None:
        return None
    living = (_stat(child) for child in children(pid))
    return (sum(own) + sum(found[0] for found in living if found)) / _TICKS


def _stat(pid: int) -> tuple[int, int] | None:
    """Return clock ticks of the process itself, and of its children that ended."""
    try:
        # The name stands in brackets and may hold spaces and brackets itself.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    user, system, ended_user, ended_system = (int(field) for field in fields[11:15])
    return user + system, ended_user + ended_system


def children(pid: int) -> list[int]:
    """Return the living children of a process, whichever of its threads started them."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread ended meanwhile
            found += map(int, thread.read_text().split())
    return found


def _own_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Peak(NamedTuple):
    """Largest resident sizes, in bytes. Pages that a forked child shares with its parent count in both."""

    parent: int
    largest_child: int
    total: int


class PeakMemory:
    """Watches a process and its children from outside, for the length of a ``with`` block.

    Reads the kernel's own high-water marks, so a sample misses only what a process gained after the last one before it
    ended. Not ``ru_maxrss``, which a new program inherits from whoever started it.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peaks: dict[int, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def peak(self) -> Peak | None:
        """Return the largest sizes seen; None where the kernel does not tell them."""
        if self._pid not in self._peaks:
            return None
        below = [size for pid, size in self._peaks.items() if pid != self._pid]
        return Peak(self._peaks[self._pid], max(below, default=0), sum(self._peaks.values()))

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            self._look()
        self._look()

    def _look(self) -> None:
        for pid in (self._pid, *children(self._pid)):
            size = high_water(pid)
            if size:
                self._peaks[pid] = max(size, self._peaks.get(pid, 0))


def high_water(pid: int) -> int | None:
    """Return the largest resident size that a living process ever had, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith("VmHWM:")]
    return int(found[0][1]) * 1024 if found else None


def bytes_kept(dsn: str) -> int:
    """Return the bytes of all tables in a database after VACUUM, with their indexes and TOAST tables."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM")
        row = connection.execute(
            """SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')"""
        ).fetchone()
    assert row is not None
    return int(row[0])


class Spread(NamedTuple):
    """The middle and the ends of one figure over the rounds."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return median, minimum and maximum of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(of: Sequence[float], to: Sequence[float]) -> Spread:
    """Return the spread of ``of / to`` round by round.

    Paired, since neighbours in time share what else the machine was doing: the ratio of two medians would not.
    """
    return spread([one / other for one, other in zip(of, to, strict=True)])
