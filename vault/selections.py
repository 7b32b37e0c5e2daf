"""Selections in the vault: kept beside their ledger, named by events, believed only by their digest.

    digest = selections.keep(vault, ledger, Selection.of(seqs))  # first
    events.record(vault, ..., {"selection": digest})             # then the event that names it
    selections.load(vault, ledger, digest)

A set that an event names and nobody can produce stops whoever needs it: nothing is destroyed by guessing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from vault.context import Vault
from vault.core import canonical
from vault.core import selection as sets
from vault.core.errors import Missing, Modified
from vault.core.selection import Selection
from vault.db import selections as stored
from vault.db.engine import transact

_MOST: Final = 256
_known: OrderedDict[tuple[UUID, bytes], Selection] = OrderedDict()  # by digest, so no vault can mislead another
_lock = threading.Lock()


def keep(vault: Vault, ledger: UUID, made: Selection) -> str:
    """Store a selection in a transaction of its own and return its digest, base64url. Doing it again changes nothing.

    Raises:
        Modified: something else stands under this digest.
    """
    digest = sets.digest(ledger, made)
    packed = sets.pack(ledger, made)
    transact(vault.engine, lambda connection: stored.insert(connection, ledger, digest, packed))
    if _read(vault, ledger, digest) != made:
        raise Modified("a selection that was just stored reads as another", str(ledger))
    return canonical.b64(digest)


def load(vault: Vault, ledger: UUID, digest: str) -> Selection:
    """Return the selection that an event names.

    Raises:
        Missing: nothing is stored under this digest in this ledger.
        Modified: what is stored is not what the digest names, or this is no digest.
    """
    named = canonical.unb64(digest, 32)
    with _lock:
        known = _known.get((ledger, named))
    return known if known is not None else _read(vault, ledger, named)


def loader(connection: Connection) -> Callable[[UUID, str], Selection]:
    """Return what loads selections within a transaction of the caller's; for those who verify without a vault."""
    known: dict[tuple[UUID, str], Selection] = {}

    def load_from(ledger: UUID, digest: str) -> Selection:
        found = known.get((ledger, digest))
        if found is None:
            named = canonical.unb64(digest, 32)
            content = stored.content(connection, ledger, named)
            if content is None:
                raise Missing(f"the selection {digest} is not stored", str(ledger))
            found = known[ledger, digest] = sets.unpack(ledger, named, content)
        return found

    return load_from


def _read(vault: Vault, ledger: UUID, digest: bytes) -> Selection:
    content = transact(vault.engine, lambda connection: stored.content(connection, ledger, digest))
    if content is None:
        raise Missing(f"the selection {canonical.b64(digest)} is not stored", str(ledger))
    found = sets.unpack(ledger, digest, content)
    with _lock:
        _known[(ledger, digest)] = found
        while len(_known) > _MOST:
            _known.popitem(last=False)
    return found
