"""Counters: what became of the records, for the application's metrics."""

from __future__ import annotations

import threading
from typing import NamedTuple


class Counters(NamedTuple):
    """A snapshot.

    Attributes:
        sent: records for which this process got a receipt that holds.
        pending: records that wait in the spool, of all its processes, and in this process's memory.
        parked: records in the spool that the vault will not take as they are.
        lost: ``best_effort`` records of this process that nothing could keep.
        retried: requests of this process that were tries again.
        bad_receipts: answers whose receipt did not hold.
    """

    sent: int = 0
    pending: int = 0
    parked: int = 0
    lost: int = 0
    retried: int = 0
    bad_receipts: int = 0


class Tally:
    """Counts of one process, from any thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._counts = Counters()

    def add(self, **counts: int) -> None:
        """Add to the named counts."""
        with self._mutex:
            now = self._counts
            self._counts = now._replace(**{name: getattr(now, name) + more for name, more in counts.items()})

    def snapshot(self) -> Counters:
        """Return the counts so far; pending and parked are the spool's to say."""
        with self._mutex:
            return self._counts
