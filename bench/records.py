"""Which records are measured: a file of JSON lines, or our own synthetic decisions, repeated under fresh ids.

Contenders read them from a plain file as a stream, so that nobody's memory holds more than a batch because of us.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench import synthetic
from vault import lines
from vault.core.errors import UsageError

_DISTINCT = 5000
_SEED = 7
_START = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Pool:
    """Distinct records, and what the table says of them."""

    records: list[bytes]
    words: str

    @property
    def mean_bytes(self) -> float:
        return sum(map(len, self.records)) / len(self.records)


def pool(file: Path | None, distinct: int = _DISTINCT) -> Pool:
    """Return the records of a file (plain, gzip or zstd), or synthetic ones.

    Raises:
        UsageError: the file cannot be read, or holds no record.
        RefusedInput: its compressed stream is damaged.
    """
    if file is None:
        made = list(synthetic.decisions(distinct, _SEED, start=_START))
        return Pool(made, f"{len(made):,} synthetic decisions")
    with lines.opened(file) as stream:
        found = [line for _, line in lines.numbered(stream)]
    if not found:
        raise UsageError(f"{file} holds no record")
    return Pool(found, f"{len(found):,} records of a file")


def repeated(records: list[bytes], count: int) -> Iterator[bytes]:
    """Yield ``count`` records, each id once: the first time round exactly as they are, then under fresh ids.

    A record keeps its conversation, its customer and its text; a producer's counter goes on counting.
    """
    span = max((_decode(raw).get("producer_seq") or 0 for raw in records), default=0)
    for number in range(count):
        turn, at = divmod(number, len(records))
        yield _renamed(records[at], turn, span) if turn else records[at]


def spool(path: Path, records: list[bytes], count: int) -> Path:
    """Write ``count`` records to a file of JSON lines and return it."""
    with path.open("wb") as file:
        file.writelines(raw + b"\n" for raw in repeated(records, count))
    return path


def batches(path: Path, size: int) -> Iterator[list[bytes]]:
    """Yield a file's lines in batches, each line with its line feed."""
    with path.open("rb", buffering=1 << 20) as file:
        while batch := list(itertools.islice(file, size)):
            yield batch


def _renamed(raw: bytes, turn: int, span: int) -> bytes:
    document = _decode(raw)
    document["id"] = f"{document['id']}-{turn}"
    if document.get("producer_seq") is not None:
        document["producer_seq"] += turn * span
    return msgspec.json.encode(document)


def _decode(raw: bytes) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(raw)
    return document
