"""Rule books as the vault keeps them: bytes under their SHA-256. What they say is ``retention``'s.

The digest is what counts: it stands in events and leaves. A row is only where the bytes lie, and is compared with it.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

from sqlalchemy import Engine

from vault.core.canonical import b64
from vault.core.errors import Missing, Modified
from vault.db import rulebooks
from vault.db.engine import transact


def keep(engine: Engine, events: UUID, content: bytes) -> bytes:
    """Keep a book and return its digest.

    Raises:
        Modified: another content lies under its digest.
    """
    digest = hashlib.sha256(content).digest()
    transact(engine, lambda connection: rulebooks.insert(connection, events, digest, content))
    fetch(engine, events, digest)
    return digest


def fetch(engine: Engine, events: UUID, digest: bytes) -> bytes:
    """Return the bytes of the book that a digest names.

    Raises:
        Missing: it is not there.
        Modified: what is there is another.
    """
    content = transact(engine, lambda connection: rulebooks.fetch(connection, events, digest))
    if content is None:
        raise Missing(f"the rule book {b64(digest)} is not in the database: restore its backup", str(events))
    if hashlib.sha256(content).digest() != digest:
        raise Modified(f"the rule book {b64(digest)} is not the one that was adopted", str(events))
    return content
