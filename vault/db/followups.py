"""SQL of follow-ups: the facets of a run of entries, whole, so that what they say can be held against their leaves."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, select

from vault.db.tables import FACET_COLUMNS, sealed


class Columns(NamedTuple):
    """What stands beside one entry; facets in the order of FACET_COLUMNS. An absent salt comes empty."""

    seq: int
    salt: bytes
    facets: tuple[Any, ...]


def columns(connection: Connection, ledger_id: UUID, first: int, end: int) -> list[Columns]:
    """Return what stands beside the positions from ``first`` up to, but without, ``end``, ascending."""
    statement = (
        select(sealed.c.seq, sealed.c.salt, *[sealed.c[name] for name in FACET_COLUMNS])
        .where(sealed.c.ledger_id == ledger_id, sealed.c.seq >= first, sealed.c.seq < end)
        .order_by(sealed.c.seq)
    )
    return [Columns(row.seq, bytes(row.salt or b""), tuple(row[2:])) for row in connection.execute(statement)]
