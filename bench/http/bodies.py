"""Records that lack a number: written once, sent any number of times, each time under an id of its own.

A file holds the pool's records, one a line, each id ending in MARK. Whoever sends one puts DIGITS digits in its place,
so that a record's length stays what it is and a fresh record costs one concatenation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

DIGITS = 9
MARK = "#" * DIGITS

Halves = list[tuple[bytes, bytes]]


def write(path: Path, records: list[bytes]) -> Path:
    """Write a file and return it. Producer numbers are left out: they would repeat."""
    with path.open("wb") as file:
        for raw in records:
            document: dict[str, Any] = msgspec.json.decode(raw)
            document.pop("producer_seq", None)
            document["id"] = f"{document['id'][:100]}.{MARK}"
            file.write(msgspec.json.encode(document) + b"\n")
    return path


def read(path: Path) -> Halves:
    """Return what stands before and after the number of each record."""
    mark = MARK.encode()
    return [(before, after) for before, _, after in (line.partition(mark) for line in path.read_bytes().splitlines())]


def numbered(halves: Halves, number: int) -> bytes:
    """Return one record."""
    before, after = halves[number % len(halves)]
    return b"%s%0*d%s" % (before, DIGITS, number, after)


def ident(halves: Halves, number: int) -> str:
    """Return that record's id."""
    found: str = msgspec.json.decode(numbered(halves, number))["id"]
    return found
