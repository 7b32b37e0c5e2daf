"""The counter: which tickets and which producer_seq were given out, and how much lies in the spool.

One small file beside the spool, shared by all processes of one producer under ``flock``. The lock also guards every
change of the spool's directory, so a number and the record that carries it become durable in one step: the parcel's
rename.

The file has two slots, at 0 and at 512, written in turn; the one with the higher generation and a right CRC counts, so
a write that a power cut tore leaves the other one. A slot, big-endian:

    offset  size  type  field
    0       1     u8    version, 1
    1       1     u8    dirty: 1 while the directory is being changed
    2       6           zeros
    8       8     u64   generation
    16      8     u64   tickets given
    24      8     u64   producer_seq given
    32      8     u64   records in the spool
    40      8     u64   bytes in the spool
    48      4     u32   CRC-32 of bytes 0 to 47

What a crash leaves behind:

- A killed process: the slot is dirty, and whoever comes next counts the directory again.
- A power cut: the slots may be older than the directory. Every process counts the directory when it opens the spool,
  and a parcel is deleted only after a slot that includes it is on disk; so no number is ever given twice.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from reasonvault_client import files
from reasonvault_client.errors import SpoolBroken

VERSION = 1
_SLOT = struct.Struct(">BB6xQQQQQ")
_CRC = struct.Struct(">I")
_SLOT_BYTES = _SLOT.size + _CRC.size
_PLACES = (0, 512)


class State(NamedTuple):
    """What the counter says; ``dirty`` means that the directory must be counted again."""

    tickets: int = 0
    producer_seq: int = 0
    records: int = 0
    bytes: int = 0
    dirty: bool = True


class Held:
    """The counter while its lock is held."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._generation, self.state = _read(descriptor)

    def store(self, state: State, *, synced: bool = False) -> None:
        """Write the state; ``synced`` waits until it is on disk."""
        self._generation += 1
        fixed = _SLOT.pack(
            VERSION,
            state.dirty,
            self._generation,
            state.tickets,
            state.producer_seq,
            state.records,
            state.bytes,
        )
        os.pwrite(self._descriptor, fixed + _CRC.pack(zlib.crc32(fixed)), _PLACES[self._generation & 1])
        if synced:
            os.fsync(self._descriptor)
        self.state = state


class Counter:
    """The counter file at ``path``; made when it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mutex = threading.Lock()
        self._descriptor: int | None = None

    @contextmanager
    def locked(self) -> Iterator[Held]:
        """Hold the counter against all other threads and processes.

        Raises:
            SpoolBroken: the file cannot be opened, or it is damaged.
        """
        with self._mutex:
            descriptor = self._open()
            try:
                self._descriptor = descriptor
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                try:
                    yield Held(descriptor)
                finally:
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
            finally:
                self._descriptor = None
                os.close(descriptor)

    def peek(self) -> State:
        """Return the state without waiting for whoever holds the lock; for display."""
        descriptor = self._open()
        try:
            return _read(descriptor)[1]
        except SpoolBroken:
            # Both slots at the very moment in which they were written, or damage: the lock tells.
            with self.locked() as held:
                return held.state
        finally:
            os.close(descriptor)

    def before_fork(self) -> None:
        """Wait until no thread holds the lock: a child that inherited it would never let go."""
        self._mutex.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._mutex.release()

    def after_fork_in_child(self) -> None:
        """Forget the parent's threads. Where nobody waited before the fork, close the lock that came with it."""
        self._mutex = threading.Lock()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self.path, flags, files.PRIVATE_FILE)
        except OSError as error:
            raise SpoolBroken(f"cannot open the counter {self.path}: {error.strerror}") from None


def _read(descriptor: int) -> tuple[int, State]:
    """Return the generation and state that count."""
    found: list[tuple[int, State]] = []
    empty = True
    for place in _PLACES:
        data = os.pread(descriptor, _SLOT_BYTES, place)
        empty = empty and not any(data)
        if len(data) != _SLOT_BYTES or _CRC.unpack_from(data, _SLOT.size)[0] != zlib.crc32(data[: _SLOT.size]):
            continue
        version, dirty, generation, tickets, producer_seq, records, size = _SLOT.unpack_from(data)
        if version == VERSION:
            found.append((generation, State(tickets, producer_seq, records, size, bool(dirty))))
    if found:
        return max(found)
    if empty:
        return 0, State()
    raise SpoolBroken("the spool's counter is damaged: restore it, or the numbers of this producer start again")
