"""SQL of rule books that were proposed or adopted here: by digest, below the events ledger. They are never changed."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, select, text

from vault.db.tables import rulebook


def insert(connection: Connection, events: UUID, digest: bytes, content: bytes) -> None:
    """Keep a book; one that is there already stays as it is."""
    connection.execute(
        text(
            "INSERT INTO vault.rulebook (ledger_id, digest, content) VALUES (:ledger, :digest, :content)"
            " ON CONFLICT (ledger_id, digest) DO NOTHING"
        ),
        {"ledger": events, "digest": digest, "content": content},
    )


def fetch(connection: Connection, events: UUID, digest: bytes) -> bytes | None:
    """Return a book's bytes as they are stored."""
    statement = select(rulebook.c.content).where(rulebook.c.ledger_id == events, rulebook.c.digest == digest)
    found = connection.execute(statement).scalar_one_or_none()
    return None if found is None else bytes(found)
