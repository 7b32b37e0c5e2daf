"""Ledgers that are long for their tree's sake: entries that nobody opens, and how many rows a proof reads of them."""

from __future__ import annotations

import time

import psycopg

from tests.support.vault import Installation
from vault import ledgers
from vault.core import leaf
from vault.linking import Item, append

SIZE = 100_001
"""Entries of the long ledger with its genesis: 390 whole tiles, one node of level 2, and a ragged edge."""


def grow(installation: Installation, count: int, step: int = 20_000, *, name: str = "hk") -> None:
    """Append entries that nobody opens to a ledger."""
    with installation.opened() as vault:
        ledger = ledgers.get(vault, name).id
        draft = leaf.draft(
            {
                "actor": "test",
                "at": leaf.instant_ms(0),
                "event": "filler",
                "facts": {},
                "kind": "event",
                "ledger": str(ledger),
            }
        )
        item = Item(draft.head, draft.middle, b"", None)
        for start in range(0, count, step):
            items = [item] * min(step, count - start)
            append(vault.engine, vault.checkpoints, ledger, lambda _connection, items=items: items)  # type: ignore[misc]


def rows_read(installation: Installation) -> int:
    """Return what the statistics say once every other session has ended: a session reports when it ends."""
    with psycopg.connect(installation.database.superuser_dsn, autocommit=True) as connection:
        others = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        until = time.monotonic() + 30
        while connection.execute(others).fetchone() != (0,):
            assert time.monotonic() < until, "a session stays"
            time.sleep(0.01)
        row = connection.execute(
            "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables"
            " WHERE relname IN ('entry', 'node')"
        ).fetchone()
    assert row is not None
    return int(row[0])
