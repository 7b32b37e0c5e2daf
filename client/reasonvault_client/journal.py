"""The receipts of spooled records: JSON lines, only ever appended to, on disk before a record leaves the spool.

    {"ticket": 17, "id": "dec-2026-000417", "receipt": {"receipt":"reasonvault-receipt/1", ...}}

A receipt holds its record's opening, so the file is 0600 and is to be kept as close as the records. It is opened anew
for every append: move it away whenever it has grown enough. A record delivered again after a crash has its receipt
twice.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from reasonvault_client import files
from reasonvault_client.errors import SpoolBroken


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One delivered record."""

    ticket: int
    receipt: msgspec.Raw
    id: str | None = None

    def __repr__(self) -> str:
        return f"Line(ticket={self.ticket})"


def append(path: Path, lines: Sequence[Line]) -> None:
    """Write the lines and put them on disk. One process at a time: the one that delivers.

    Raises:
        SpoolBroken: they cannot be written; the records must stay in the spool.
    """
    data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, files.PRIVATE_FILE)
        try:
            end = os.lseek(descriptor, 0, os.SEEK_END)
            if end and os.pread(descriptor, 1, end - 1) != b"\n":
                data = b"\n" + data  # a crash tore the last line; its record was not taken from the spool
            files.write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not end:
            files.sync_folder(path.parent)
    except OSError as error:
        raise SpoolBroken(f"cannot keep receipts in {path}: {error.strerror}") from None
