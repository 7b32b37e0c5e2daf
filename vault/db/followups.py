"""SQL of follow-ups: records that report an event which another record waits for."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from vault.core.flags import Flag


def flagged(connection: Connection, ledger_id: UUID, first: int, end: int) -> list[int]:
    """Return the positions from ``first`` up to, but without, ``end`` whose facets say so, ascending."""
    found = connection.execute(
        text(
            "SELECT seq FROM vault.sealed WHERE ledger_id = :ledger AND seq >= :first AND seq < :end"
            " AND flags & :flag <> 0 ORDER BY seq"
        ),
        {"ledger": ledger_id, "first": first, "end": end, "flag": int(Flag.DATES_ANOTHER)},
    )
    return [row[0] for row in found]
