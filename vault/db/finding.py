"""Finding: which records of a ledger fit a search, by facets and blind indexes, a page at a time.

What is found here is what the columns say, and a database owner can edit columns. So each row comes with its leaf and
its salt: the caller compares the facets with the digest that the leaf commits to, and shows no row that differs.

Pages follow (occurred_at, seq) and the cursor is that pair of the last row seen, so a page costs the same wherever it
lies. A record that arrives late, with an occurred_at before the cursor, is not seen by a search that has passed it;
``end_seq`` says up to which entry a search looked.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, FromClause, func, literal, or_, select, tuple_

from vault.core.errors import Missing
from vault.db.tables import FACET_COLUMNS, TAG_COLUMNS, entry, sealed

# What Python can hold. Nothing else was ever sealed: a row beyond was edited, is not found, and fails verification.
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for. None is "anything"; a collection fits a row that has one of its values, an empty one none.

    Attributes:
        end_seq: entries below it, the size of the checkpoint that the search is answered from.
        start: occurred at or after it.
        end: occurred before it.
        id_tag: of the one record id that is looked for; it has an index, which ``record_id`` has not.
        conversation_tags, transaction_tags, customer_tags: blind indexes, one for each live group.
        apis, outcomes: codes of vault.core.record.
        flags: bits that must all be set.
    """

    end_seq: int
    start: datetime | None = None
    end: datetime | None = None
    id_tag: bytes | None = None
    conversation_tags: Collection[int] | None = None
    transaction_tags: Collection[int] | None = None
    customer_tags: Collection[int] | None = None
    apis: Collection[int] | None = None
    outcomes: Collection[int] | None = None
    model: str | None = None
    classes: Collection[str] | None = None
    flags: int = 0


Cursor = tuple[datetime, int]
"""(occurred_at, seq) of the last row of a page; the next page begins after it."""


class FoundRow(NamedTuple):
    """One record: its stored leaf, and its facets in the order of FACET_COLUMNS. An absent salt comes empty."""

    seq: int
    leaf: bytes
    salt: bytes
    facets: tuple[Any, ...]


def find(connection: Connection, ledger_id: UUID, wanted: Wanted, after: Cursor | None, limit: int) -> list[FoundRow]:
    """Return at most ``limit`` records that fit, in the order of (occurred_at, seq), those after a cursor.

    Raises:
        Missing: a row has no leaf.
    """
    rows: FromClause = sealed
    by_key = _by_key(connection, ledger_id, wanted)
    if by_key is not None:
        # Kept apart: the planner would rather walk through time until the page is full, and over ten million records
        # that is a walk to the end.
        columns = [sealed.c[name] for name in ("ledger_id", "seq", "salt", *FACET_COLUMNS)]
        narrowed = select(*columns).where(sealed.c.ledger_id == ledger_id, *by_key)
        rows = narrowed.cte("narrowed").prefix_with("MATERIALIZED")
    statement = (
        select(rows.c.seq, rows.c.salt, *[rows.c[name] for name in FACET_COLUMNS])
        .where(rows.c.ledger_id == ledger_id, *_fitting(rows, wanted, after))
        .order_by(rows.c.occurred_at, rows.c.seq)
        .limit(limit)
    )
    found = connection.execute(statement).all()
    leaves = _leaves(connection, ledger_id, [row.seq for row in found])
    for row in found:
        if row.seq not in leaves:
            raise Missing("the leaf of a sealed row is not there", str(ledger_id), row.seq)
    return [FoundRow(row.seq, leaves[row.seq], bytes(row.salt or b""), tuple(row[2:])) for row in found]


@dataclass(frozen=True, slots=True)
class Matching:
    """What to scan for: as ``Wanted``, but a row need answer to only one of the blind indexes, if there are any.

    Attributes:
        first_seq, end_seq: entries from the one, below the other.
        jurisdictions: codes, one of which the row must name; empty means any.
    """

    first_seq: int
    end_seq: int
    start: datetime | None = None
    end: datetime | None = None
    conversation_tags: Collection[int] = ()
    transaction_tags: Collection[int] = ()
    customer_tags: Collection[int] = ()
    by_tags: bool = False
    classes: Collection[str] = ()
    jurisdictions: Collection[str] = ()


class ScannedRow(NamedTuple):
    """One record; ``leaf`` is None where it has none, and facets are as they stand."""

    seq: int
    leaf: bytes | None
    salt: bytes
    facets: tuple[Any, ...]


def scan(connection: Connection, ledger_id: UUID, wanted: Matching, limit: int) -> list[ScannedRow]:
    """Return at most ``limit`` records that match, by position. The next page begins after the last of them."""
    rows: FromClause = sealed
    if wanted.by_tags:
        asked = (wanted.conversation_tags, wanted.transaction_tags, wanted.customer_tags)
        answers = [sealed.c[name].in_(tags) for name, tags in zip(TAG_COLUMNS, asked, strict=True) if tags]
        if not answers:
            return []
        columns = [sealed.c[name] for name in ("ledger_id", "seq", "salt", *FACET_COLUMNS)]
        narrowed = select(*columns).where(sealed.c.ledger_id == ledger_id, or_(*answers))
        rows = narrowed.cte("narrowed").prefix_with("MATERIALIZED")
    conditions = [
        rows.c.ledger_id == ledger_id,
        rows.c.seq >= wanted.first_seq,
        rows.c.seq < wanted.end_seq,
        rows.c.occurred_at >= max(wanted.start or _FIRST, _FIRST),
        rows.c.occurred_at < min(wanted.end or _LAST, _LAST),
    ]
    if wanted.classes:
        conditions.append(rows.c.record_class.in_(wanted.classes))
    if wanted.jurisdictions:
        named = literal(",").concat(rows.c.jurisdictions).concat(",")
        conditions.append(or_(*[func.strpos(named, f",{code},") > 0 for code in sorted(wanted.jurisdictions)]))
    statement = select(rows.c.seq, rows.c.salt, *[rows.c[name] for name in FACET_COLUMNS]).where(*conditions)
    found = connection.execute(statement.order_by(rows.c.seq).limit(limit)).all()
    leaves = _leaves(connection, ledger_id, [row.seq for row in found])
    return [ScannedRow(row.seq, leaves.get(row.seq), bytes(row.salt or b""), tuple(row[2:])) for row in found]


def present(connection: Connection, ledger_id: UUID, seqs: Collection[int]) -> set[int]:
    """Return which of these positions still have what is sealed beside their leaf."""
    statement = select(sealed.c.seq).where(sealed.c.ledger_id == ledger_id, sealed.c.seq.in_(seqs))
    return set(connection.execute(statement).scalars())


def _by_key(connection: Connection, ledger_id: UUID, wanted: Wanted) -> list[ColumnElement[bool]] | None:
    """Return the conditions that leave few rows, each with an index of its own; None where there is no such one."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.id_tag is not None:
        place = select(entry.c.seq).where(entry.c.ledger_id == ledger_id, entry.c.id_tag == wanted.id_tag)
        conditions.append(sealed.c.seq.in_(connection.execute(place).scalars().all()))
    asked = (wanted.conversation_tags, wanted.transaction_tags, wanted.customer_tags)
    for name, tags in zip(TAG_COLUMNS, asked, strict=True):
        if tags is not None:
            conditions.append(sealed.c[name].in_(tags))
    return conditions or None


def _fitting(rows: FromClause, wanted: Wanted, after: Cursor | None) -> list[ColumnElement[bool]]:
    start = max(wanted.start or _FIRST, _FIRST)
    conditions = [rows.c.seq < wanted.end_seq, rows.c.occurred_at < min(wanted.end or _LAST, _LAST)]
    if after is not None:
        start = max(start, after[0])
        conditions.append(tuple_(rows.c.occurred_at, rows.c.seq) > tuple_(*after))
    conditions.append(rows.c.occurred_at >= start)
    for column, values in ((rows.c.api, wanted.apis), (rows.c.outcome, wanted.outcomes)):
        if values is not None:
            conditions.append(column.in_(values))
    if wanted.classes is not None:
        conditions.append(rows.c.record_class.in_(wanted.classes))
    if wanted.model is not None:
        conditions.append(rows.c.model == wanted.model)
    if wanted.flags:
        conditions.append(rows.c.flags.bitwise_and(wanted.flags) == wanted.flags)
    return conditions


def _leaves(connection: Connection, ledger_id: UUID, seqs: list[int]) -> dict[int, bytes]:
    """Return stored leaves. Not a join: without fresh statistics the planner reads both tables whole for one."""
    statement = select(entry.c.seq, entry.c.leaf).where(entry.c.ledger_id == ledger_id, entry.c.seq.in_(seqs))
    return {seq: bytes(leaf) for seq, leaf in connection.execute(statement)}
