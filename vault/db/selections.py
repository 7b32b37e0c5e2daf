"""Frozen sets of positions, by the digest that events carry: written once, never changed.

Functions take the connection of the caller's transaction and never commit.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, select, text

from vault.db.tables import selection


def insert(connection: Connection, ledger_id: UUID, digest: bytes, content: bytes) -> None:
    """Insert a selection unless it is there already."""
    connection.execute(
        text(
            "INSERT INTO vault.selection (ledger_id, digest, content) VALUES (:ledger, :digest, :content)"
            " ON CONFLICT (ledger_id, digest) DO NOTHING"
        ),
        {"ledger": ledger_id, "digest": digest, "content": content},
    )


def content(connection: Connection, ledger_id: UUID, digest: bytes) -> bytes | None:
    """Return what is stored under a digest, as it stands there."""
    wanted = select(selection.c.content).where(selection.c.ledger_id == ledger_id, selection.c.digest == digest)
    found = connection.execute(wanted).scalar_one_or_none()
    return None if found is None else bytes(found)
