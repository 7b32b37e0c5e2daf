"""The spool: a local write-ahead directory. What it has taken survives the death of the process and of the machine.

    <spool>/                      0700
      <name>.parcel               0600, see `reasonvault_client.parcel`; names in order are records in order
      writing                     a parcel that is being written, or that a crash tore; never acknowledged
      ledger                      the one ledger, by the name that the client was given, that all of it is for
      delivering                  locked by the one process that delivers
      parked/                     what the vault will not take, each with its reason; still encrypted
    <spool>.key                   the spool key, unless the application names another file
    <spool>.counter               tickets and producer_seq given; see `reasonvault_client.counter`
    <spool>.receipts.jsonl        receipts of what was delivered
    <spool>.verifier              the vault's key, where it was trusted on first use

Any number of threads and processes put records in; exactly one process at a time delivers. Putting, step by step:

1. Threads queue their records. One of them becomes the writer and takes what is queued: a group, one parcel.
2. Under the counter's lock it marks the counter dirty, gives tickets and numbers, and encrypts.
3. It writes ``writing``, puts it on disk, renames it to the parcel's name, and puts the name on disk. The rename is the
   commit point: before it there is neither record nor number, after it there are both.
4. It stores the counter. Then ``put`` returns.

A crash before the rename leaves ``writing``, which the next writer overwrites; one after it leaves a dirty counter,
which the next holder of the lock mends by counting the directory. A record leaves the spool only through ``finish`` or
``park``.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from reasonvault_client import files, parcel
from reasonvault_client.counter import Counter, Held, State
from reasonvault_client.encoding import Body
from reasonvault_client.errors import ClientError, Misconfigured, SpoolBroken, SpoolFull
from reasonvault_client.parcel import Name
from reasonvault_client.spoolkey import SpoolKey

WRITING = "writing"
LEDGER = "ledger"
PARKED = "parked"
GROUP_BYTES = 8 * 1024 * 1024
"""A group is closed when it holds this much; one record may be larger."""


class Limits(NamedTuple):
    """How much a spool may hold, parked records included."""

    records: int = 100_000
    bytes: int = 1 << 30


class Entry:
    """A record on its way into the spool."""

    __slots__ = ("body", "done", "error", "producer_seq")

    def __init__(self, body: Body) -> None:
        self.body = body
        self.done = False
        self.error: ClientError | None = None
        self.producer_seq: int | None = None


class Spool:
    """One spool directory, as this process sees it."""

    def __init__(
        self, folder: Path, key: SpoolKey, *, limits: Limits | None = None, counter: Path | None = None
    ) -> None:
        """Open the directory, and make it when it is missing.

        Args:
            folder: the directory; its parent must be there.
            key: see `reasonvault_client.spoolkey`.
            limits: when full, ``put`` raises.
            counter: file of the counter; beside the directory unless given.

        Raises:
            SpoolBroken: it cannot be made, belongs to somebody else, or others may read it.
        """
        self.folder, self.key, self.limits = folder, key, limits or Limits()
        self.parked_folder = folder / PARKED
        self.counter = Counter(counter or files.beside(folder, ".counter"))
        self._turn = threading.Condition()
        self._writing = False
        self._waiting: deque[Entry] = deque()
        self.last_ticket = 0
        """The last ticket that this process was given."""
        _make_folder(folder)
        _make_folder(self.parked_folder)
        with self.counter.locked() as held:
            # Nobody writes while the lock is held, so this one was torn by a crash before its commit point.
            (folder / WRITING).unlink(missing_ok=True)
            self.settled(held, recount=True)

    def bind(self, ledger: str) -> None:
        """Note for which ledger the records are, so that they are never delivered to another one.

        Raises:
            Misconfigured: they are for another one.
        """
        path = self.folder / LEDGER
        try:
            found = path.read_bytes() if path.exists() else files.create_once(path, f"{ledger}\n".encode())
        except OSError as error:
            raise SpoolBroken(f"cannot write {path}: {error.strerror}") from None
        if found.decode("utf-8", "replace").strip() != ledger:
            raise Misconfigured(f"the records in {self.folder} are for the ledger that {path} names, not for this one")

    def put(self, body: Body) -> Entry:
        """Return once the record is encrypted and on disk.

        Raises:
            SpoolFull: there is no room for it, in the spool's limits or on the disk; it was not taken.
            SpoolBroken: the directory cannot be written; it was not taken.
        """
        entry = Entry(body)
        self.queue(entry)
        self.write(entry)
        return entry

    def queue(self, entry: Entry) -> None:
        """Put a record in line for the next parcel; ``write`` makes it durable."""
        with self._turn:
            self._waiting.append(entry)

    def write(self, entry: Entry) -> None:
        """Return once a queued record is on disk, whichever thread wrote it; raises as ``put``."""
        while not entry.done:
            with self._turn:
                self._turn.wait_for(lambda: entry.done or not self._writing)
                if entry.done:
                    break
                self._writing = True
            try:
                self._write_group()
            finally:
                self._pass_on()
        if entry.error is not None:
            raise entry.error

    def names(self) -> list[Name]:
        """Return the parcels, oldest first."""
        return _names(self.folder)

    def parked_names(self) -> list[Name]:
        """Return the parked parcels, oldest first."""
        return _names(self.parked_folder)

    def read(self, name: Name) -> parcel.Opened:
        """Return a parcel's records; none where it is gone.

        Raises:
            parcel.Damaged: nothing in it can be read.
            Misconfigured: it was encrypted under another key.
            SpoolBroken: the disk does not give it.
        """
        try:
            data = (self.folder / str(name)).read_bytes()
        except FileNotFoundError:
            return parcel.Opened(name, {}, ())  # another process has delivered it
        except OSError as error:
            if error.errno == errno.EIO:
                raise parcel.Damaged("the disk does not give it") from None
            raise SpoolBroken(f"cannot read {name} in the spool: {error.strerror}") from None
        return parcel.unpack(data, name, self.key)

    def finish(self, names: Iterable[Name]) -> None:
        """Delete parcels of which every record is delivered or parked.

        Numbers that they carried are on disk in the counter before they go, so none is ever given again.
        """
        with self.counter.locked() as held:
            state = self.settled(held)
            held.store(state._replace(dirty=True), synced=True)
            for name in names:
                path = self.folder / str(name)
                try:
                    size = path.stat().st_size
                    path.unlink()
                except FileNotFoundError:
                    continue
                state = state._replace(records=state.records - name.records, bytes=state.bytes - size)
            held.store(state._replace(dirty=False))

    def settled(self, held: Held, *, recount: bool = False) -> State:
        """Return the counter's state, having counted the directory where a crash left it in doubt."""
        state = held.state
        if not (state.dirty or recount):
            return state
        records = size = 0
        tickets, producer_seq = state.tickets, state.producer_seq
        for folder in (self.folder, self.parked_folder):
            for name in _names(folder):
                records += name.records
                size += (folder / str(name)).stat().st_size
                tickets = max(tickets, name.ticket + name.records - 1)
                producer_seq = max(producer_seq, name.producer_seq)
        state = State(tickets, producer_seq, records, size, dirty=False)
        held.store(state)
        return state

    def before_fork(self) -> None:
        """Let the writer finish its group, so that the child inherits no half of it and no lock."""
        with self._turn:
            self._turn.wait_for(lambda: not self._writing)
            self._writing = True
        self.counter.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self.counter.after_fork_in_parent()
        self._pass_on()

    def after_fork_in_child(self) -> None:
        """Start with an empty line: what waits belongs to threads that only the parent has."""
        self.counter.after_fork_in_child()
        self._turn = threading.Condition()
        self._writing = False
        self._waiting = deque()

    def _pass_on(self) -> None:
        with self._turn:
            self._writing = False
            self._turn.notify_all()

    def _write_group(self) -> None:
        group = self._next_group()
        try:
            with self.counter.locked() as held:
                self._commit(held, group)
        except BaseException as error:
            for entry in group:
                if not entry.done:
                    entry.error, entry.done = _as_client_error(error), True
            if not isinstance(error, (OSError, ClientError)):
                raise

    def _next_group(self) -> list[Entry]:
        group: list[Entry] = []
        size = 0
        with self._turn:
            while self._waiting and len(group) < parcel.MAX_RECORDS and size < GROUP_BYTES:
                entry = self._waiting.popleft()
                group.append(entry)
                size += len(entry.body.data)
        return group

    def _commit(self, held: Held, group: list[Entry]) -> None:
        """Steps 2 to 4 for one group; entries that do not fit are told so, the others are written."""
        state = self.settled(held)
        fitting: list[Entry] = []
        records: list[bytes] = []
        size, producer_seq = parcel.HEADER_BYTES, state.producer_seq
        for entry in group:
            data = entry.body.numbered(producer_seq + 1) if entry.body.wants_number else entry.body.data
            grown = size + len(data) + parcel.OVERHEAD
            if state.records + len(records) + 1 > self.limits.records or state.bytes + grown > self.limits.bytes:
                entry.error, entry.done = SpoolFull("the spool is full"), True
                continue
            if entry.body.wants_number:
                producer_seq += 1
                entry.producer_seq = producer_seq
            size = grown
            fitting.append(entry)
            records.append(data)
        if not records:
            return
        name = Name(state.tickets + 1, len(records), producer_seq)
        data = parcel.pack(name, records, self.key, os.urandom(parcel.SALT_BYTES))
        held.store(state._replace(dirty=True))
        self._write(name, data)
        written = State(
            state.tickets + len(records),
            producer_seq,
            state.records + len(records),
            state.bytes + len(data),
            dirty=False,
        )
        held.store(written)
        self.last_ticket = written.tickets
        for entry in fitting:
            entry.done = True

    def _write(self, name: Name, data: bytes) -> None:
        path = self.folder / str(name)
        try:
            files.write_synced(self.folder / WRITING, data)
            os.rename(self.folder / WRITING, path)
            files.sync_folder(self.folder)
        except OSError:
            # Whoever waits is told that it was not taken, so it must not be delivered either.
            path.unlink(missing_ok=True)
            (self.folder / WRITING).unlink(missing_ok=True)
            raise


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=files.PRIVATE_FOLDER, exist_ok=True)
        found = folder.stat()
        files.sync_folder(folder.parent)
    except OSError as error:
        raise SpoolBroken(f"cannot make the spool {folder}: {error.strerror}") from None
    if found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise SpoolBroken(f"{folder} must belong to the user of this process and be closed to others: chmod 700 it")


def _names(folder: Path) -> list[Name]:
    try:
        return sorted(name for text in os.listdir(folder) if (name := parcel.parse_name(text)))
    except OSError as error:
        raise SpoolBroken(f"cannot list the spool {folder}: {error.strerror}") from None


def _as_client_error(error: BaseException) -> ClientError:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpoolFull("the spool's disk is full")
    if isinstance(error, OSError):
        return SpoolBroken(f"cannot write the spool: {error.strerror}; the record was not taken")
    if isinstance(error, SpoolBroken):
        return SpoolBroken(str(error))
    return SpoolBroken("writing the spool was interrupted; the record was not taken")
