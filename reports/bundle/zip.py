"""The zip of a bundle: the same files give the same bytes, and nothing is held in memory.

Format: docs/reference/bundle.md.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, NamedTuple

_UNIX = 3
_PLAIN_FILE = 0o100600


class Member(NamedTuple):
    """One file, as the manifest lists it."""

    name: str
    size: int
    sha256: bytes


class Writer:
    """A member that is being written."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._stream.write(data)
        self._hash.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> bytes:
        return self._hash.digest()


class Archive:
    """A new zip that only its owner can read.

    Args:
        at: the time that all of its members have; UTC, from 1980 on.

    Attributes:
        members: those that were written, in order.
    """

    def __init__(self, path: Path, at: datetime) -> None:
        self.members: list[Member] = []
        self._at = at
        self._file = open(path, "xb", opener=_private)  # noqa: SIM115 - closed by __exit__
        self._zip = zipfile.ZipFile(self._file, "w")

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        try:
            if kind is None:
                self._zip.close()
                self._file.flush()
                os.fsync(self._file.fileno())
            else:
                with suppress(OSError):  # what went wrong is told already
                    self._zip.close()
        finally:
            self._file.close()

    @contextmanager
    def file(self, name: str, *, packs: bool = True) -> Iterator[Writer]:
        """Write a member. One at a time.

        Args:
            packs: False for bytes that do not get smaller.
        """
        told = zipfile.ZipInfo(name, self._at.timetuple()[:6])
        told.create_system = _UNIX
        told.external_attr = _PLAIN_FILE << 16
        told.compress_type = zipfile.ZIP_DEFLATED if packs else zipfile.ZIP_STORED
        with self._zip.open(told, "w", force_zip64=True) as stream:
            writer = Writer(stream)
            yield writer
        self.members.append(Member(name, writer.size, writer.sha256))

    def add(self, name: str, content: bytes, *, packs: bool = True) -> None:
        """Write a member whose content is at hand."""
        with self.file(name, packs=packs) as writer:
            writer.write(content)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
