"""Rows in PostgreSQL's binary COPY format, spelled ahead of time.

Sealing processes spell everything of a row but its position, so that the one process that holds the head's lock only
joins bytes. psycopg's own ``write_row`` does the same a row at a time, in the process that writes; there it cost a
fifth of the ingest rate.

From: PostgreSQL documentation, COPY, "Binary Format". A tuple is u16 number of fields, then for each field i32
length (-1 for NULL) and its bytes: int2, int4, int8, float8 and bool big-endian, timestamptz as i64 microseconds
since 2000-01-01, uuid as 16 bytes, text as UTF-8, bytea as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from vault.db.tables import FACET_COLUMNS, TAG_COLUMNS

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

ENTRY_COLUMNS = ("ledger_id", "seq", "id_tag", "leaf")
SEALED_COLUMNS = (
    "ledger_id",
    "seq",
    "epoch_id",
    "wrapped_key",
    "envelope",
    "salt",
    *FACET_COLUMNS,
    *TAG_COLUMNS,
)

_2000 = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
_NULL = struct.pack(">i", -1)
_LENGTH = struct.Struct(">i")
_INT2, _INT4, _INT8, _FLOAT8, _BOOL = (struct.Struct(f">i{code}") for code in "hiqd?")
_PLACE = struct.Struct(">hi16siq")


def sealed_fields(
    epoch_id: int,
    wrapped_key: bytes,
    envelope: bytes,
    salt: bytes | None,
    facets: tuple[Any, ...] | None,
    tags: tuple[int | None, int | None, int | None] | None,
) -> bytes:
    """Spell a row of ``sealed`` without ledger and position.

    Args:
        facets: in the order of FACET_COLUMNS, occurred_at in microseconds since 1970; None for an event.
        tags: in the order of TAG_COLUMNS; None for an event.
    """
    head = (
        _INT8.pack(8, epoch_id),
        _bytes(wrapped_key),
        _bytes(envelope),
        _NULL if salt is None else _bytes(salt),
    )
    if facets is None or tags is None:
        return b"".join(head) + _NULL * (len(FACET_COLUMNS) + len(TAG_COLUMNS))
    (
        record_id,
        occurred_at,
        jurisdictions,
        record_class,
        api,
        outcome,
        fidelity,
        moved,
        below,
        score,
        ai_ms,
        flags,
        model,
    ) = facets
    return b"".join(
        (
            *head,
            _bytes(record_id.encode()),
            _INT8.pack(8, occurred_at - _2000),
            _bytes(jurisdictions.encode()),
            _bytes(record_class.encode()),
            _INT2.pack(2, api),
            _INT2.pack(2, outcome),
            _INT2.pack(2, fidelity),
            _BOOL.pack(1, moved),
            _NULL if below is None else _BOOL.pack(1, below),
            _NULL if score is None else _FLOAT8.pack(8, score),
            _NULL if ai_ms is None else _INT4.pack(4, ai_ms),
            _INT4.pack(4, flags),
            _bytes(model.encode()),
            *[_NULL if tag is None else _INT8.pack(8, tag) for tag in tags],
        )
    )


def sealed_stream(ledger_id: UUID, rows: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    """Yield the COPY data of ``sealed`` for (seq, spelled fields)."""
    ledger = ledger_id.bytes
    fields = len(SEALED_COLUMNS)
    yield HEADER
    for seq, spelled in rows:
        yield _PLACE.pack(fields, 16, ledger, 8, seq) + spelled
    yield TRAILER


def entry_stream(ledger_id: UUID, rows: Iterable[tuple[int, bytes, bytes]]) -> Iterator[bytes]:
    """Yield the COPY data of ``entry`` for (seq, id tag or nothing, stored leaf)."""
    ledger = ledger_id.bytes
    fields = len(ENTRY_COLUMNS)
    yield HEADER
    for seq, id_tag, leaf in rows:
        tag = _bytes(id_tag) if id_tag else _NULL
        yield _PLACE.pack(fields, 16, ledger, 8, seq) + tag + _LENGTH.pack(len(leaf)) + leaf
    yield TRAILER


def _bytes(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data
