"""What `Client` and `AsyncClient` share: spool, numbers, memory, courier, and their life across fork and exit.

A forked child keeps the settings and the numbers that ids were given; everything that belongs to the parent's threads,
sockets and locks it makes anew. The spool's directory and the counter are shared by all.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from reasonvault_client import delivery, files, process, spoolkey
from reasonvault_client.config import Settings
from reasonvault_client.counter import Counter
from reasonvault_client.counters import Counters, Tally
from reasonvault_client.courier import Courier
from reasonvault_client.delivery import Delivery
from reasonvault_client.encoding import Body, encode
from reasonvault_client.errors import BadReceipt, ClientError, Misconfigured, Unavailable
from reasonvault_client.memory import Memory
from reasonvault_client.numbering import Numbers
from reasonvault_client.receipts import Receipt
from reasonvault_client.spool import Entry, Spool
from reasonvault_client.transport import Transport, pause_or_raise
from reasonvault_client.trust import Trust

SHORTEST = 0.05
"""Seconds that the last try gets at least."""

log = logging.getLogger("reasonvault_client")


class Core:
    """One client's parts.

    Raises:
        Misconfigured: settings that cannot work.
        SpoolBroken: the spool cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tally = Tally()
        self.spool = open_spool(settings)
        counter = self.spool.counter if self.spool else None
        if counter is None and settings.counter is not None:
            counter = Counter(Path(settings.counter))
        self.numbers = Numbers(counter if settings.number else None, self.spool.settled if self.spool else None)
        pin = files.beside(self.spool.folder, ".verifier") if self.spool else None
        self.trust = Trust(settings.verifier, settings.origin, pin, settings.producer)
        self._closed = False
        self._build()
        process.register(self)
        if settings.handle_sigterm:
            process.flush_on_sigterm()

    def encode(self, record: object) -> Body:
        """Return a record's bytes; raises NotARecord."""
        self.check_process()
        if self._closed:
            raise Misconfigured("the client is closed")
        return encode(record, number=self.numbers.counter is not None)

    def queue(self, body: Body) -> Entry:
        """Put a record in line for the spool; ``write`` makes it durable."""
        if self.spool is None:
            raise Misconfigured("mode 'spool' needs a spool: pass spool=Path(...)")
        entry = Entry(self.numbers.recall(body))
        self.spool.queue(entry)
        return entry

    def write(self, entry: Entry) -> None:
        """Return once a queued record is on disk; raises SpoolFull or SpoolBroken where it was not taken."""
        assert self.spool is not None
        self.spool.write(entry)
        self.numbers.remember(entry.body, entry.producer_seq)

    def store(self, bodies: list[Body]) -> list[ClientError | None]:
        """Put records into the spool together, and return what went wrong with each."""
        errors: list[ClientError | None] = []
        for entry in [self.queue(body) for body in bodies]:
            try:
                self.write(entry)
            except ClientError as error:
                errors.append(error)
            else:
                errors.append(None)
        return errors

    def number(self, body: Body) -> Body:
        """Return the body with the number that it keeps."""
        return Body(self.numbers.give(body), record_id=body.record_id)

    def send(self, body: Body, *, transport: Transport | None = None, patience: float = 0.0) -> Receipt:
        """Send one record at once, trying again for ``patience`` seconds, and return its checked receipt."""
        transport = transport or self.transport
        end = time.monotonic() + patience
        data = b""
        attempt = 0
        while True:
            attempt += 1
            longest = max(end - time.monotonic(), SHORTEST) if patience else None
            try:
                if not self.trust.known:
                    self.trust.adopt(transport.describe(longest))
                data = data or self.numbers.give(body)
                return self.checked(transport.send(data, longest), data)
            except Unavailable as error:
                pause = pause_or_raise(self.settings, error, attempt, end)
                self.tally.add(retried=1)
                time.sleep(pause)

    def checked(self, answer: bytes, record: bytes) -> Receipt:
        """Return the receipt, having checked it; raises BadReceipt."""
        try:
            receipt = self.trust.check(answer, record)
        except BadReceipt:
            self.tally.add(bad_receipts=1)
            raise
        self.tally.add(sent=1)
        return receipt

    def best_effort(self, record: object) -> None:
        """Take a record if anything can; never raise, and never wait for longer than ``patience``."""
        try:
            waiting = self.memory.offer(self.encode(record))
            if waiting is None:
                self._lose("there is no room in memory")
                return
            self.courier.start()
            if self.spool is None or waiting.settled.wait(self.settings.patience):
                self.courier.wake()
        except Exception as error:
            # Its text may quote the record, unless it is one of ours.
            self._lose(str(error) if isinstance(error, ClientError) else type(error).__name__)

    def explain(self) -> None:
        """After a bad receipt: raise VerifierChanged where the vault shows another key than the one trusted so far."""
        try:
            description = self.transport.describe()
        except ClientError:
            return  # then the receipt itself is all there is to tell
        self.trust.compare(description)

    def counters(self) -> Counters:
        """Return a snapshot of the counters."""
        self.check_process()
        counts = self.tally.snapshot()
        pending = len(self.memory)
        parked = 0
        if self.spool is not None:
            parked = sum(name.records for name in self.spool.parked_names())
            pending += max(self.spool.counter.peek().records - parked, 0)
        return counts._replace(pending=pending, parked=parked)

    def drain(self, timeout: float | None) -> None:
        """Deliver everything from the calling thread; try again while the vault is unavailable and there is time.

        Raises:
            ClientError: as ``Delivery.round``, with the rest still in the spool.
        """
        self.check_process()
        end = time.monotonic() + (self.settings.deadline if timeout is None else timeout)
        attempt = 0
        while True:
            attempt += 1
            try:
                self.courier.store_memory()
                if self.delivery is not None:
                    self._drain(self.delivery, self.delivery.spool.counter.peek().tickets, None)
                self.courier.send_overflow()
            except Unavailable as error:
                time.sleep(pause_or_raise(self.settings, error, attempt, end))
            else:
                self.courier.resume()
                return

    def flush(self, timeout: float) -> None:
        """At exit: make what is in memory durable, and give delivery a last chance. Raises nothing."""
        self.check_process()
        end = time.monotonic() + timeout
        transport = Transport(self.settings, longest=max(timeout, 0.1))
        try:
            self._store_memory(end)
            spooled = self._delivery(transport)
            if spooled is not None and spooled.spool.last_ticket and self.settings.deliver:
                self._drain(spooled, spooled.spool.last_ticket, end)
            left = end - time.monotonic()
            if left > 0:
                self.courier.send_overflow(lambda body: self.send(body, transport=transport), left)
        except ClientError as error:
            log.warning("not everything was delivered at exit: %s", error)
        finally:
            transport.close()

    def close(self, timeout: float | None = None) -> None:
        """Flush, and end the threads. What is in the spool stays there for the next process."""
        if self._closed:
            return
        self.flush(self.settings.flush_timeout if timeout is None else timeout)
        self._closed = True
        process.forget(self)
        if self.courier.stop():
            self.transport.close()
        self.courier.give_up()

    def check_process(self) -> None:
        """Notice a fork of which nobody told us."""
        if os.getpid() != self._pid:
            delivery.after_fork_in_child()
            self.after_fork_in_child()

    def before_fork(self) -> None:
        """Come to a state that a child can inherit."""
        if self.spool is not None:
            self.spool.before_fork()
        elif self.numbers.counter is not None:
            self.numbers.counter.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self.spool is not None:
            self.spool.after_fork_in_parent()
        elif self.numbers.counter is not None:
            self.numbers.counter.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Make anew what belongs to the parent. Its sockets are dropped without a word, since they are the parent's."""
        process.keep_for_ever(self.transport)
        if self.spool is not None:
            self.spool.after_fork_in_child()
        elif self.numbers.counter is not None:
            self.numbers.counter.after_fork_in_child()
        self.numbers.after_fork_in_child()
        self.tally = Tally()
        self._build()

    def _build(self) -> None:
        self._pid = os.getpid()
        settings = self.settings
        self.memory = Memory(settings.memory_records, settings.memory_bytes)
        self.transport = Transport(settings)
        self.delivery = self._delivery(self.transport)
        store = self.store if self.spool else None
        self.courier = Courier(settings, self.memory, store, self.delivery, self.number, self.send, self.tally)

    def _delivery(self, transport: Transport) -> Delivery | None:
        if self.spool is None:
            return None
        return Delivery(self.spool, transport, self.trust, self.settings, self.tally)

    def _drain(self, spooled: Delivery, upto: int, end: float | None) -> None:
        """Deliver what has a ticket up to this one, or see to it that another thread or process does.

        Args:
            end: when to stop though there is more; None for never.
        """
        while True:
            with spooled.alone() as mine:
                if mine:
                    while spooled.round() and spooled.oldest() <= upto and (end is None or time.monotonic() < end):
                        pass
                    return
            if not any(name.ticket <= upto for name in spooled.spool.names()):
                return
            if end is not None and time.monotonic() >= end:
                raise Unavailable("another thread or process is delivering")
            time.sleep(0.02)

    def _store_memory(self, end: float) -> None:
        """Move what is in memory to the spool, and wait for what a thread is moving just now."""
        self.courier.store_memory()
        while self.courier.moving() and time.monotonic() < end:
            time.sleep(0.005)

    def _lose(self, why: str) -> None:
        self.tally.add(lost=1)
        log.error("a best_effort record is lost: %s", why)


def open_spool(settings: Settings) -> Spool | None:
    """Open the spool of these settings, None where there is none."""
    if settings.spool is None:
        return None
    folder = Path(settings.spool)
    if settings.spool_key is not None:
        key = spoolkey.load(Path(settings.spool_key), create=False)
    else:
        key = spoolkey.load(files.beside(folder, ".key"), create=True)
    counter = Path(settings.counter) if settings.counter is not None else None
    spool = Spool(folder, key, limits=settings.limits, counter=counter)
    spool.bind(settings.ledger)
    return spool
