"""Delivery: what lies in the spool goes to the vault, oldest first, and leaves the spool on a checked receipt only.

One round, step by step:

1. Gather records of the oldest parcels up to the size of a batch. A damaged parcel is moved aside.
2. Send them; check each receipt as it comes. A batch that is refused as a whole is halved until the bad record is
   alone, and that record is parked. Refusals of single lines are parked likewise.
3. Put the receipts on disk.
4. Delete the parcels of which every record is delivered or parked.

A crash before step 4 leaves the parcels: they are sent again, byte for byte, and the vault answers with the same
receipts. A record whose receipt does not hold, or on which the vault itself fails, stays in the spool, but behind the
others.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import msgspec

from reasonvault_client import files, journal, parcel, parking
from reasonvault_client.answers import BatchLine, error_of
from reasonvault_client.config import Settings
from reasonvault_client.counters import Tally
from reasonvault_client.errors import (
    BadReceipt,
    Conflict,
    Denied,
    Gone,
    Misconfigured,
    Refused,
    SpoolBroken,
    Unavailable,
    VerifierChanged,
)
from reasonvault_client.parcel import Name
from reasonvault_client.spool import Spool
from reasonvault_client.transport import Transport
from reasonvault_client.trust import Trust

DELIVERING = "delivering"
SUSPECT = 3
"""So many failures of a record that was sent alone, and others go first."""

log = logging.getLogger("reasonvault_client")


@dataclass(frozen=True, slots=True)
class _Item:
    """One record of a parcel."""

    name: Name
    index: int
    record: bytes

    @property
    def place(self) -> tuple[Name, int]:
        return self.name, self.index

    def __str__(self) -> str:
        return f"record {self.index} of {self.name}"

    __repr__ = __str__


class _Id(msgspec.Struct, frozen=True):
    id: str | None = None


class Delivery:
    """Delivers one spool from one thread."""

    def __init__(self, spool: Spool, transport: Transport, trust: Trust, settings: Settings, tally: Tally) -> None:
        self.spool, self._transport, self._trust, self._tally = spool, transport, trust, tally
        self._settings = settings
        self._receipts = files.beside(spool.folder, ".receipts.jsonl")
        self._size = settings.batch_records
        self._backlog: dict[Name, None] = {}
        self._done: dict[Name, set[int]] = {}
        self._failures: Counter[tuple[Name, int]] = Counter()
        self._kept: list[journal.Line] = []
        self._bad: BadReceipt | None = None

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Hold the spool's delivery, if no other process does; yields whether."""
        path = self.spool.folder / DELIVERING
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with _opening:
            try:
                descriptor = os.open(path, flags, files.PRIVATE_FILE)
            except OSError as error:
                raise SpoolBroken(f"cannot open {path}: {error.strerror}") from None
            _open_locks.add(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        else:
            held = True
            self._backlog.clear()  # another process may have delivered meanwhile
        try:
            yield held
        finally:
            with _opening:
                _open_locks.discard(descriptor)
                os.close(descriptor)

    def round(self) -> bool:
        """Deliver one batch; call it inside ``alone``.

        Returns:
            Whether there was anything to deliver.

        Raises:
            Unavailable: try again later.
            Denied, Misconfigured: somebody must act; nothing is lost.
            BadReceipt: the vault's receipts do not hold; the records stay in the spool.
            SpoolBroken: the spool cannot be read or written.
        """
        items = self._gather()
        if not items:
            self._done.clear()
            return False
        if not self._trust.known:
            self._trust.adopt(self._transport.describe())
        self._kept, self._bad = [], None
        try:
            self._send(items)
            self._size = min(self._size * 2, self._settings.batch_records)
        except Unavailable as error:
            self._suspect(items, error)
            raise
        finally:
            self._settle()
        if self._bad is not None:
            self._explain(self._bad)
        return True

    def oldest(self) -> float:
        """Return the first ticket of those listed and not yet delivered; infinity where there is none."""
        return next((name.ticket for name in self._backlog), math.inf)

    def _explain(self, error: BadReceipt) -> None:
        with suppress(Unavailable, Denied, Misconfigured):  # then the receipt itself is all there is to tell
            self._trust.compare(self._transport.describe())
        raise error

    def _gather(self) -> list[_Item]:
        """Step 1. Records that failed alone before come last, and one at a time."""
        for listed_anew in (False, True):
            if listed_anew or not self._backlog:
                self._backlog = dict.fromkeys(self.spool.names())
            items, suspects = self._oldest()
            if items:
                return items
        return [min(suspects, key=lambda item: self._failures[item.place])] if suspects else []

    def _oldest(self) -> tuple[list[_Item], list[_Item]]:
        """Return a batch of the oldest records, and the suspects that were passed over."""
        items: list[_Item] = []
        suspects: list[_Item] = []
        size = 0
        for name in list(self._backlog):
            for item in self._open(name):
                if self._failures[item.place] >= SUSPECT:
                    suspects.append(item)
                    continue
                if items and size + len(item.record) > self._settings.batch_bytes:
                    return items, suspects
                items.append(item)
                size += len(item.record) + 1
                if len(items) >= self._size:
                    return items, suspects
        return items, suspects

    def _open(self, name: Name) -> Iterable[_Item]:
        done = self._done.get(name, set())
        try:
            opened = self.spool.read(name)
        except parcel.Damaged:
            self._park_damaged(name, name.records)
            return ()
        if not opened.records and not opened.damaged:
            self._backlog.pop(name, None)
        if opened.damaged and not opened.records.keys() - done:
            self._park_damaged(name, len(opened.damaged))
            return ()
        return [_Item(name, index, record) for index, record in opened.records.items() if index not in done]

    def _park_damaged(self, name: Name, damaged: int) -> None:
        log.error("a parcel of the spool is damaged; it was moved to parked/: %s, records: %d", name, damaged)
        parking.park_damaged(self.spool, name, damaged)
        self._done.pop(name, None)
        self._backlog.pop(name, None)

    def _send(self, items: Sequence[_Item]) -> None:
        """Step 2. Bytes with line breaks have no place in a batch of lines, and go alone."""
        self._send_batch([item for item in items if fits_a_line(item.record)])
        for item in items:
            if not fits_a_line(item.record):
                try:
                    self._accept(item, self._transport.send(item.record))
                except (Refused, Conflict, Gone) as error:
                    self._park(item, error)

    def _send_batch(self, items: Sequence[_Item]) -> None:
        if not items:
            return
        answered = 0
        refused: tuple[_Item, Refused | Conflict | Gone] | None = None
        try:
            for answer in self._transport.send_batch([item.record for item in items]):
                if answered == len(items) or answer.line != answered + 1:
                    raise Unavailable("the vault answers other lines than were sent", unknown=True)
                if refused is not None:
                    self._park(*refused)
                refused = self._take(items[answered], answer)
                answered += 1
        except (Refused, Conflict, Gone) as error:
            if isinstance(error, Refused) and error.status == 415:
                raise Misconfigured("this is no vault that takes batches (status 415): check url and version") from None
            if len(items) == 1:
                self._park(items[0], error)
                return
            middle = len(items) // 2
            self._tally.add(retried=2)
            self._send_batch(items[:middle])
            self._send_batch(items[middle:])
            return
        if answered < len(items):
            # The last line of an answer that stops early may tell of the stream, cut off on its way.
            raise Unavailable("the vault's answer stopped early", unknown=True)
        if refused is not None:
            self._park(*refused)

    def _take(self, item: _Item, answer: BatchLine) -> tuple[_Item, Refused | Conflict | Gone] | None:
        """Take one line's receipt, or return what the vault has against its record."""
        if answer.status in (200, 201):
            self._accept(item, bytes(answer.receipt))
            return None
        error = error_of(answer.status, answer.problem)
        if not isinstance(error, (Refused, Conflict, Gone)):
            raise error
        return item, error

    def _accept(self, item: _Item, data: bytes) -> None:
        try:
            receipt = self._trust.check(data, item.record)
        except VerifierChanged:
            raise
        except BadReceipt as error:
            self._tally.add(bad_receipts=1)
            self._failures[item.place] += SUSPECT
            self._bad = error
            log.error("a receipt does not hold; the record stays in the spool: %s, %s", item, error.what)
            return
        ticket = item.name.ticket + item.index
        self._kept.append(journal.Line(ticket, msgspec.Raw(receipt.data), _id_of(item.record)))
        self._mark(item)

    def _park(self, item: _Item, error: Refused | Conflict | Gone) -> None:
        parking.park(self.spool, item.name, item.index, item.record, parking.told(error))
        log.error("parked: %s: %s", item, error)
        self._mark(item)

    def _mark(self, item: _Item) -> None:
        self._done.setdefault(item.name, set()).add(item.index)
        self._failures.pop(item.place, None)

    def _suspect(self, items: Sequence[_Item], error: Unavailable) -> None:
        """After a failure of the vault's own: smaller batches, until the record that it stumbles over is alone."""
        if error.status != 500:
            return
        if self._size == 1:
            self._failures[items[0].place] += 1
        self._size = max(1, min(self._size, len(items)) // 2)

    def _settle(self) -> None:
        """Steps 3 and 4."""
        if self._kept:
            kept, self._kept = self._kept, []
            try:
                journal.append(self._receipts, kept)
            except SpoolBroken:
                self._done.clear()  # without its receipt on disk no record counts as delivered
                raise
            self._tally.add(sent=len(kept))
        whole = [name for name, done in self._done.items() if len(done) == name.records]
        if whole:
            self.spool.finish(whole)
            for name in whole:
                del self._done[name]
                self._backlog.pop(name, None)


def fits_a_line(record: bytes) -> bool:
    """Whether a line of a batch can hold exactly these bytes."""
    return record[:1] == b"{" and record[-1:] == b"}" and b"\n" not in record and b"\r" not in record


def before_fork() -> None:
    """Wait until every open lock is known: a child that inherited one unknowingly would hold it for its whole life."""
    _opening.acquire()


def after_fork_in_parent() -> None:
    """Go on."""
    _opening.release()


def after_fork_in_child() -> None:
    """Let go of delivery that the parent holds. The lock stays the parent's."""
    global _opening
    _opening = threading.Lock()
    for descriptor in _open_locks:
        os.close(descriptor)
    _open_locks.clear()


_opening = threading.Lock()
_open_locks: set[int] = set()


def _id_of(record: bytes) -> str | None:
    try:
        return msgspec.json.decode(record, type=_Id).id
    except msgspec.MsgspecError:
        return None
