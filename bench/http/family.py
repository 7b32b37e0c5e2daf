"""A server's processes: the one that was started, those it started, and theirs. Read from ``/proc``."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from bench import measure

_TICKS = os.sysconf("SC_CLK_TCK")


def members(pid: int) -> list[int]:
    """Return a process and all its living descendants."""
    found = [pid]
    for one in found:
        found += measure.children(one)
    return found


def seconds(pid: int) -> float:
    """Return the processor seconds of all members, those that ended and were waited for included.

    A machine without ``/proc`` has 0.
    """
    total = 0
    for one in members(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / _TICKS


def memory(pid: int) -> int:
    """Return the resident bytes of all members; a page that several share counts once (proportionally)."""
    return sum(_proportional(one) for one in members(pid))


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


class Sample(NamedTuple):
    """Resident bytes at one moment, in seconds since watching began."""

    at: float
    size: int


class Watch:
    """Samples what ``size`` tells, for the length of a ``with`` block."""

    def __init__(self, size: Callable[[], int], every: float) -> None:
        self.samples: list[Sample] = []
        self._size = size
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            size = self._size()
            if size:
                self.samples.append(Sample(time.monotonic() - self._began, size))
            if self._over.wait(self._every):
                return


def settled(samples: Sequence[Sample], share: float = 0.25) -> Sequence[Sample]:
    """Return the samples after the first ``share`` of the time, in which caches and pools fill."""
    start = samples[0].at + share * (samples[-1].at - samples[0].at)
    return [sample for sample in samples if sample.at >= start]


def slope(samples: Sequence[Sample]) -> float:
    """Return bytes a second by least squares; 0 for fewer than two samples."""
    if len(samples) < 2:
        return 0.0
    return statistics.linear_regression([sample.at for sample in samples], [sample.size for sample in samples]).slope


def growth(samples: Sequence[Sample]) -> float:
    """Return how many times larger the end is than the beginning: medians of the last and the first tenth."""
    tenth = max(1, len(samples) // 10)
    first = statistics.median(sample.size for sample in samples[:tenth])
    last = statistics.median(sample.size for sample in samples[-tenth:])
    return last / first
