"""The vault's own record of the keys it keeps in OpenBao: which it made, scheduled and destroyed.

    <directory>/        0700
      book.json         0600, the ``Book`` below as JSON; replaced as a whole, fsynced
      lock              held by the one writer

OpenBao forgets a key that it deleted, and a name that is free there may have been destroyed, never made, or lost with a
disk. So "destroyed" needs both: this record, and the server's "not here". The states and their transitions are those of
the key directory's manifest, ``vault.keys.manifest``; ``disabled`` is here what a cancelled schedule goes back to.

The canary is a key of no other use, with one ciphertext of it kept here: only the server that made it opens that, so a
mount that was made anew, another server, or an old copy of this one do not pass for it.

There is nothing secret in it and no seal on it: whoever can edit it can also edit what stands beside it. Losing it
forgets which references were destroyed; the events ledger still knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from vault.core.errors import KeyUnavailable, Modified
from vault.keys import disk
from vault.keys.manifest import Manifest
from vault.keys.provider import KeyRef

_NAME = "book.json"
_LIMIT = 64 * 1024 * 1024


class Book(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One state of the record. ``keys.serial`` counts its commits; ``proof`` is the canary's wrapped secret."""

    canary: KeyRef
    proof: bytes
    keys: Manifest = Manifest()
    v: Literal[1] = 1


class BookFile:
    """The record on disk. Processes and threads may share it; readers take no lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / _NAME
        self._seen: tuple[disk.Mark, Book] | None = None

    def exists(self) -> bool:
        """Whether there is a record. Raises ``KeyUnavailable`` where the directory cannot be asked."""
        return disk.exists(self._path)

    def create(self, book: Book) -> None:
        """Write the first state, durable when this returns."""
        if not disk.exists(self.directory):
            disk.make_directory(self.directory)
        disk.check_directory(self.directory)
        self._write(book)

    def read(self) -> Book:
        """Return the record as it is now.

        Raises:
            KeyUnavailable: missing or unreadable. Modified: no record, or one from an earlier time than was seen.
        """
        seen = self._seen
        if seen is not None and disk.mark(self._path) == seen[0]:
            return seen[1]
        try:
            raw, mark = disk.read_file(self._path, _LIMIT)
        except disk.Absent:
            raise KeyUnavailable(
                f"the record of this vault's OpenBao keys, {self._path}, is missing: restore it"
            ) from None
        try:
            book = msgspec.json.decode(raw, type=Book)
        except msgspec.MsgspecError:
            raise Modified(f"{self._path} is no record of OpenBao keys that this program reads") from None
        if seen is not None and book.keys.serial < seen[1].keys.serial:
            raise Modified(f"{self._path} went back in time: from commit {seen[1].keys.serial} to {book.keys.serial}")
        self._seen = (mark, book)
        return book

    @contextmanager
    def writing(self) -> Iterator[Book]:
        """Be the one writer of this host. Yields the record as it is now."""
        disk.check_directory(self.directory)
        with disk.locked(self.directory / "lock"):
            yield self.read()

    def commit(self, book: Book) -> None:
        """Inside ``writing``: make ``book`` the state. Nothing is written if nothing changed."""
        if book != self.read():
            self._write(book)

    def _write(self, book: Book) -> None:
        keys = msgspec.structs.replace(book.keys, serial=book.keys.serial + 1)
        book = msgspec.structs.replace(book, keys=keys)
        disk.write_file(self._path, msgspec.json.encode(book, order="sorted"))
        self._seen = (disk.mark(self._path), book)
