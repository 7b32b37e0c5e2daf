"""The courier: two threads behind a client. One writes ``best_effort`` records into the spool, so that a slow disk
holds up nobody; the other delivers. Both are daemons, start when first needed, and can be killed at any moment: what
counts is in the spool.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence

from reasonvault_client.config import Settings
from reasonvault_client.counters import Tally
from reasonvault_client.delivery import Delivery
from reasonvault_client.encoding import Body
from reasonvault_client.errors import (
    BadReceipt,
    ClientError,
    Conflict,
    Denied,
    Gone,
    Misconfigured,
    Refused,
    SpoolFull,
    Unavailable,
)
from reasonvault_client.memory import Memory, Waiting

POLL = 1.0
"""Seconds after which an idle courier looks for what other processes have spooled."""

STOPPING = 0.5
"""Seconds that a thread gets to end."""

log = logging.getLogger("reasonvault_client")


class Courier:
    """Moves what a client has taken.

    Args:
        settings: pauses and limits.
        memory: what ``best_effort`` left in memory.
        store: puts records into the spool, and returns what went wrong with each; None where there is no spool.
        delivery: the spool's delivery; None where there is no spool.
        number: gives a record the number that it keeps.
        send: tries once to send a record, and checks its receipt.
        tally: where retries and losses are counted.
    """

    def __init__(
        self,
        settings: Settings,
        memory: Memory,
        store: Callable[[list[Body]], Sequence[ClientError | None]] | None,
        delivery: Delivery | None,
        number: Callable[[Body], Body],
        send: Callable[[Body], object],
        tally: Tally,
    ) -> None:
        self._settings, self._memory, self._store = settings, memory, store
        self._delivery, self._number, self._send, self._tally = delivery, number, send, tally
        self._changed = threading.Condition()
        self._woken = False
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._overflow: list[Waiting] = []
        self._sending = threading.Lock()
        self._failures = 0
        self.trouble: ClientError | None = None
        """Why delivery rests; None while it works."""

    def start(self) -> None:
        """Start the threads that are needed, once."""
        if self._threads or self._stopping:
            return
        with self._changed:
            if self._threads:
                return
            jobs = {"deliver": self._deliver_for_ever} if self._settings.deliver else {}
            if self._store is not None:
                jobs["spool"] = self._store_for_ever
            for name, job in jobs.items():
                thread = threading.Thread(target=job, name=f"reasonvault-client-{name}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return  # the interpreter is ending; what is spooled waits for the next process
                self._threads.append(thread)

    def wake(self) -> None:
        """Say that there is something to deliver. A pause that the vault asked for is not cut short."""
        self.start()
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def resume(self) -> None:
        """Go on at once: somebody has just delivered."""
        with self._changed:
            self._failures, self.trouble = 0, None
            self._changed.notify_all()

    def stop(self) -> bool:
        """Let the threads end, and say whether they have; one that waits for an answer may take longer."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._memory.close()
        for thread in self._threads:
            thread.join(STOPPING)
        return not any(thread.is_alive() for thread in self._threads)

    def store_memory(self, timeout: float | None = 0) -> None:
        """Move what is in memory into the spool; what it does not take waits for direct delivery."""
        taken = self._memory.take(timeout)
        fault = SpoolFull("there is no spool")
        errors: Sequence[ClientError | None] = [fault] * len(taken)
        if self._store is not None:
            errors = self._store([waiting.body for waiting in taken])
        for waiting, error in zip(taken, errors, strict=True):
            if error is None:
                self._memory.settle(waiting)
                continue
            if self._store is not None:
                log.warning("a best_effort record stays in memory: %s", error)
            with self._changed:
                self._overflow.append(waiting)
            waiting.settled.set()

    def moving(self) -> bool:
        """Whether records are on their way from memory to the spool."""
        return self._store is not None and len(self._memory) > len(self._overflow)

    def send_overflow(self, send: Callable[[Body], object] | None = None, wait: float = -1) -> None:
        """Send what no spool took; raises Unavailable, Denied or Misconfigured with the rest still in memory."""
        if not self._sending.acquire(timeout=wait):
            return  # another thread is at it, and waits for an answer
        try:
            while self._overflow:
                waiting = self._overflow[0]
                try:
                    waiting.body = self._number(waiting.body)
                    (send or self._send)(waiting.body)
                except (Refused, Conflict, Gone, BadReceipt) as error:
                    self._tally.add(lost=1)
                    log.error("a best_effort record is lost: %s", error)
                with self._changed:
                    self._overflow.pop(0)
                self._memory.settle(waiting)
        finally:
            self._sending.release()

    def give_up(self) -> int:
        """Count what is still in memory as lost, and return how much."""
        self._overflow += self._memory.take()
        lost = len(self._overflow)
        if lost:
            self._tally.add(lost=lost)
            log.error("best_effort records are lost at exit: %d", lost)
        while self._overflow:
            self._memory.settle(self._overflow.pop())
        return lost

    def _store_for_ever(self) -> None:
        while not self._stopping:
            try:
                self.store_memory(POLL)
            except Exception as error:
                self._unexpected(error)
            else:
                if self._overflow:
                    self.wake()

    def _deliver_for_ever(self) -> None:
        while not self._stopping:
            pause = self._try_to_deliver()
            with self._changed:
                if self._failures:
                    self._changed.wait_for(lambda: self._stopping or not self._failures, pause)
                else:
                    self._changed.wait_for(lambda: self._stopping or self._woken, pause)
                self._woken = False

    def _try_to_deliver(self) -> float:
        """Deliver what there is; return how long to rest."""
        try:
            self._deliver()
        except Unavailable as error:
            return self._failed(error, error.retry_after)
        except (Denied, Misconfigured) as error:
            self._failed(error, None)
            return self._settings.denied_pause
        except ClientError as error:
            return self._failed(error, None)
        except Exception as error:
            self._unexpected(error)
            return self._settings.backoff.cap
        if self.trouble is not None:
            log.info("delivery works again")
        self.trouble, self._failures = None, 0
        return POLL

    def _deliver(self) -> None:
        if self._store is None:
            self.store_memory()
        if self._delivery is not None:
            with self._delivery.alone() as mine:
                if mine:
                    while not self._stopping and self._delivery.round():
                        self._failures = 0
        self.send_overflow()

    def _failed(self, error: ClientError, retry_after: float | None) -> float:
        self._failures += 1
        self._tally.add(retried=1)
        if type(error) is not type(self.trouble):
            log.warning("delivery rests, and nothing is lost: %s", error)
        self.trouble = error
        return self._settings.backoff.delay(self._failures, random.random(), retry_after)  # noqa: S311 - jitter

    def _unexpected(self, error: Exception) -> None:
        """Go on: a thread that ends would let the spool fill up in silence. The text may hold anything, so the type."""
        self._failures += 1
        log.error("unexpected %s in the courier; it goes on", type(error).__name__)
        time.sleep(min(POLL, self._settings.backoff.cap))
