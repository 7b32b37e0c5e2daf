"""The store: every statement on the append path and the read path, each with its purpose.

Functions take the connection of the caller's transaction and never commit; ``vault.db.engine.transact`` does.
The head row's lock is the append path: whoever holds it is the only writer of that ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row
from sqlalchemy import Connection, DateTime, bindparam, insert, select, text

from vault.core.errors import Forked, Missing
from vault.db.copyrows import ENTRY_COLUMNS, SEALED_COLUMNS, entry_stream, sealed_stream
from vault.db.tables import FACET_COLUMNS, entry, head, ledger


class LedgerRow(NamedTuple):
    """One ledger. ``id_key`` is wrapped by the tenant's key."""

    ledger_id: UUID
    tenant: str
    kind: str
    name: str
    id_key: bytes


class HeadRow(NamedTuple):
    """Size, hash of the last leaf, and the Merkle frontier (32 bytes a peak)."""

    size: int
    last_hash: bytes
    frontier: bytes


class SealedRow(NamedTuple):
    """What stands beside a leaf until disposal; facets and tags are None for events."""

    epoch_id: int
    wrapped_key: bytes
    envelope: bytes
    salt: bytes | None
    facets: tuple[Any, ...] | None  # in the order of FACET_COLUMNS, occurred_at as datetime
    tags: tuple[int | None, int | None, int | None] | None


# A time that Python cannot hold (infinity, BC) was never sealed; read as absent, it stops no verification and passes
# none.
_READABLE = "CASE WHEN s.occurred_at BETWEEN '1970-01-01' AND '9999-12-30' THEN s.occurred_at END"
_BESIDE = ", ".join(_READABLE if name == "occurred_at" else f"s.{name}" for name in SEALED_COLUMNS[2:])
_AT_ONCE = 2000  # rows of a stream in memory
_NO_FACETS = (None,) * len(FACET_COLUMNS)


def create_ledger(connection: Connection, row: LedgerRow, genesis: bytes, first: HeadRow) -> None:
    """Insert a ledger, its head and its genesis leaf: all of one ledger, so one transaction."""
    connection.execute(insert(ledger), row._asdict())
    connection.execute(insert(head), {"ledger_id": row.ledger_id, **first._asdict()})
    connection.execute(insert(entry), {"ledger_id": row.ledger_id, "seq": 0, "id_tag": None, "leaf": genesis})


def ledgers(connection: Connection) -> list[LedgerRow]:
    """Return all ledgers, by name."""
    return [LedgerRow(*row) for row in connection.execute(select(ledger).order_by(ledger.c.name, ledger.c.ledger_id))]


# The head is read and moved with every commit, so these three go to the driver: compiling a statement anew costs more
# than the statement.
_READ_HEAD = "SELECT size, last_hash, frontier FROM vault.head WHERE ledger_id = %s"
_LOCK_HEAD = f"{_READ_HEAD} FOR UPDATE"
_MOVE_HEAD = (
    "UPDATE vault.head SET size = %s, last_hash = %s, frontier = %s"
    " WHERE ledger_id = %s AND size = %s AND last_hash = %s"
)


def lock_head(connection: Connection, ledger_id: UUID) -> HeadRow:
    """Take the append lock of one ledger and return its head.

    Raises:
        Missing: the ledger has no head row.
    """
    found = _driver(connection).execute(_LOCK_HEAD, (ledger_id,), binary=True).fetchone()
    if found is None:
        raise Missing("the head row is missing", str(ledger_id))
    return HeadRow(*found)


def read_head(connection: Connection, ledger_id: UUID) -> HeadRow | None:
    """Return a ledger's head without locking it."""
    found = _driver(connection).execute(_READ_HEAD, (ledger_id,), binary=True).fetchone()
    return None if found is None else HeadRow(*found)


def move_head(connection: Connection, ledger_id: UUID, old: HeadRow, new: HeadRow) -> None:
    """Move the head by compare-and-swap.

    Raises:
        Forked: the head is not where this transaction read it.
    """
    moved = _driver(connection).execute(_MOVE_HEAD, (*new, ledger_id, old.size, old.last_hash))
    if moved.rowcount != 1:
        raise Forked("the head moved under its own lock", str(ledger_id), old.size)


def find_tags(connection: Connection, ledger_id: UUID, id_tags: Sequence[bytes]) -> dict[bytes, int]:
    """Return the positions of the id tags that the ledger already has."""
    # Spelled here: the driver's own spelling of a bytea array takes 15 us an element.
    spelled = '{"\\\\x' + '","\\\\x'.join([tag.hex() for tag in id_tags]) + '"}' if id_tags else "{}"
    found = _driver(connection).execute(
        "SELECT id_tag, seq FROM vault.entry WHERE ledger_id = %s AND id_tag = ANY(%s::bytea[])",
        (ledger_id, spelled),
        binary=True,
    )
    return {row[0]: row[1] for row in found}


def copy_entries(connection: Connection, ledger_id: UUID, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
    """Bulk-insert (seq, id tag or nothing, stored leaf)."""
    _copy(connection, "entry", ENTRY_COLUMNS, entry_stream(ledger_id, rows))


def copy_sealed(connection: Connection, ledger_id: UUID, rows: Iterable[tuple[int, bytes]]) -> None:
    """Bulk-insert (seq, fields as ``vault.db.copyrows.sealed_fields`` spells them)."""
    _copy(connection, "sealed", SEALED_COLUMNS, sealed_stream(ledger_id, rows))


def fetch_leaf(connection: Connection, ledger_id: UUID, seq: int) -> bytes | None:
    """Return one stored leaf."""
    statement = select(entry.c.leaf).where(entry.c.ledger_id == ledger_id, entry.c.seq == seq)
    found: bytes | None = connection.execute(statement).scalar_one_or_none()
    return None if found is None else bytes(found)


def fetch_entries(connection: Connection, ledger_id: UUID, seqs: Sequence[int]) -> Iterator[AuditRow]:
    """Return whole entries by position, in no order; positions that have no leaf are left out."""
    # Two index scans, not a join: without fresh statistics the planner joins by reading both tables whole.
    where = "WHERE ledger_id = %s AND seq = ANY(%s)"
    parameters = (ledger_id, list(seqs))
    driver = _driver(connection)
    beside = driver.execute(f"SELECT seq, {_BESIDE} FROM vault.sealed s {where}", parameters, binary=True)  # noqa: S608 - constants
    sealed = {row[0]: _sealed_row(row[1:]) for row in beside}
    for row in driver.execute(f"SELECT seq, id_tag, leaf FROM vault.entry {where}", parameters, binary=True):  # noqa: S608
        yield AuditRow(row[0], row[1], row[2], sealed.get(row[0]), True)


def fetch_leaves(connection: Connection, ledger_id: UUID, seqs: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Return (seq, stored leaf) by position, ascending; positions that have no leaf are left out."""
    found = _driver(connection).execute(
        "SELECT seq, leaf FROM vault.entry WHERE ledger_id = %s AND seq = ANY(%s) ORDER BY seq",
        (ledger_id, list(seqs)),
        binary=True,
    )
    yield from found


def stream_leaves(connection: Connection, ledger_id: UUID, first: int, end: int | None) -> Iterator[tuple[int, bytes]]:
    """Stream (seq, stored leaf) in order from ``first``, up to but without ``end``."""
    return _stream(
        connection,
        "SELECT seq, leaf FROM vault.entry WHERE ledger_id = %s AND seq >= %s AND seq < %s ORDER BY seq",
        (ledger_id, first, _end(end)),
    )


class Extent(NamedTuple):
    """How many records of a ledger occurred in a period and after it, and between which positions both lie."""

    inside: int
    after: int
    first: int | None
    last: int | None


def measure(
    connection: Connection, ledger_id: UUID, end_seq: int, start: datetime | None, end: datetime | None
) -> Extent:
    """Count the records below ``end_seq`` that occurred from ``start`` up to, but without, ``end``, and those after."""
    found = connection.execute(
        text(
            """SELECT count(*) FILTER (WHERE inside), count(*) FILTER (WHERE NOT inside), min(seq), max(seq)
               FROM (SELECT seq, occurred_at < coalesce(:end, 'infinity') AS inside FROM vault.sealed
                     WHERE ledger_id = :ledger AND seq < :end_seq
                       AND occurred_at >= coalesce(:start, '-infinity')) wanted"""
        ).bindparams(bindparam("start", start, DateTime(True)), bindparam("end", end, DateTime(True))),
        {"ledger": ledger_id, "end_seq": end_seq},
    ).one()
    return Extent(*found)


class AuditRow(NamedTuple):
    """One entry as the verifier reads it.

    ``leaf`` is None where only a sealed row stands; ``sealed`` is None where nothing stands beside the leaf, or, with
    ``beside`` false, where nobody looked.
    """

    seq: int
    id_tag: bytes | None
    leaf: bytes | None
    sealed: SealedRow | None
    beside: bool


def stream_bare(connection: Connection, ledger_id: UUID) -> Iterator[AuditRow]:
    """Stream leaves alone, in order."""
    rows = _stream(
        connection,
        "SELECT seq, id_tag, leaf FROM vault.entry WHERE ledger_id = %s ORDER BY seq",
        (ledger_id,),
    )
    for row in rows:
        yield AuditRow(row[0], row[1], row[2], None, False)


_LOWEST = -(2**63)


def stream_entries(connection: Connection, ledger_id: UUID, first: int = _LOWEST) -> Iterator[AuditRow]:
    """Stream whole entries in order: all of them, so that no row can hide from the verifier, or from a position on."""
    rows = _stream(
        connection,
        f"""SELECT coalesce(e.seq, s.seq), e.id_tag, e.leaf, {_BESIDE}
            FROM (SELECT * FROM vault.entry WHERE ledger_id = %s AND seq >= %s) e
            FULL JOIN (SELECT * FROM vault.sealed WHERE ledger_id = %s AND seq >= %s) s
            ON s.seq = e.seq ORDER BY 1""",  # noqa: S608 - column names are constants of this module
        (ledger_id, first, ledger_id, first),
    )
    return map(_audit_row, rows)


def count_beyond(connection: Connection, ledger_id: UUID, size: int) -> int:
    """Count the leaves that stand at a position or behind it."""
    found = _driver(connection).execute(
        "SELECT count(*) FROM vault.entry WHERE ledger_id = %s AND seq >= %s", (ledger_id, size)
    )
    return int((found.fetchone() or (0,))[0])


_GROUPED = """s.epoch_id = ANY(ARRAY(
    SELECT epoch_id FROM vault.epoch WHERE ledger_id = %s AND group_name = ANY(%s)))"""


def count_grouped(connection: Connection, ledger_id: UUID, names: Sequence[str]) -> int:
    """Count the entries whose keys are in one of these groups now."""
    found = _driver(connection).execute(
        f"SELECT count(*) FROM vault.sealed s WHERE ledger_id = %s AND {_GROUPED}",  # noqa: S608 - constants
        (ledger_id, ledger_id, list(names)),
    )
    return int((found.fetchone() or (0,))[0])


def stream_grouped(connection: Connection, ledger_id: UUID, names: Sequence[str]) -> Iterator[AuditRow]:
    """Stream whole entries whose keys are in one of these groups now, in order."""
    rows = _stream(
        connection,
        f"""SELECT s.seq, e.id_tag, e.leaf, {_BESIDE}
            FROM vault.sealed s LEFT JOIN vault.entry e ON e.ledger_id = s.ledger_id AND e.seq = s.seq
            WHERE s.ledger_id = %s AND {_GROUPED} ORDER BY s.seq""",  # noqa: S608 - constants
        (ledger_id, ledger_id, list(names)),
    )
    return map(_audit_row, rows)


def _audit_row(row: Sequence[Any]) -> AuditRow:
    return AuditRow(row[0], row[1], row[2], None if row[3] is None else _sealed_row(row[3:]), True)


def _sealed_row(row: Sequence[Any]) -> SealedRow:
    facets_end = 4 + len(FACET_COLUMNS)
    facets = tuple(row[4:facets_end])
    return SealedRow(
        row[0], row[1], row[2], row[3], None if facets == _NO_FACETS else facets, (row[-3], row[-2], row[-1])
    )


def _stream(connection: Connection, statement: str, parameters: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield rows through a server-side cursor in binary: memory stays flat however long the ledger is."""
    driver = _driver(connection)
    with driver.cursor(name="stream", binary=True, row_factory=tuple_row) as cursor:
        cursor.execute(statement, parameters, binary=True)
        while rows := cursor.fetchmany(_AT_ONCE):
            yield from rows


def _end(end: int | None) -> int:
    return 2**62 if end is None else end


def _copy(connection: Connection, table: str, columns: Sequence[str], stream: Iterator[bytes]) -> None:
    statement = f"COPY vault.{table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    with _driver(connection).cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(b"".join(stream))


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver
