"""The bounded queue of ``best_effort``: records on their way to the spool, or to the vault where there is none."""

from __future__ import annotations

import threading
from collections import deque

from reasonvault_client.encoding import Body


class Waiting:
    """A record in memory; ``settled`` once it is in the spool, at the vault, or given up."""

    __slots__ = ("body", "settled", "size")

    def __init__(self, body: Body) -> None:
        self.body = body
        self.size = len(body.data)
        self.settled = threading.Event()


class Memory:
    """At most so many records and bytes; what does not fit is the caller's to count as lost."""

    def __init__(self, records: int, size: int) -> None:
        self._limits = records, size
        self._changed = threading.Condition()
        self._queue: deque[Waiting] = deque()
        self._records = self._bytes = 0
        self._closed = False

    def offer(self, body: Body) -> Waiting | None:
        """Take a record, or return None where there is no room."""
        with self._changed:
            if self._records + 1 > self._limits[0] or self._bytes + len(body.data) > self._limits[1]:
                return None
            waiting = Waiting(body)
            self._queue.append(waiting)
            self._records += 1
            self._bytes += len(body.data)
            self._changed.notify_all()
            return waiting

    def take(self, timeout: float | None = 0) -> list[Waiting]:
        """Take out what is queued, having waited for it; it counts until it is settled or put back."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed, timeout)
            taken = list(self._queue)
            self._queue.clear()
            return taken

    def close(self) -> None:
        """Let whoever waits for records come back with none, now and later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def settle(self, waiting: Waiting) -> None:
        """Take leave of a record."""
        with self._changed:
            self._records -= 1
            self._bytes -= waiting.size
        waiting.settled.set()

    def __len__(self) -> int:
        return self._records
