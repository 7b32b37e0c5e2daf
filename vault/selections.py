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

MOST_RANGES: Final = 250_000
"""Ranges that a cache keeps in all, some 30 MB; a set with more of its own is read each time it is asked for."""


class Cache:
    """Selections by ledger and digest, those used last. Threads may share it."""

    def __init__(self, most: int = MOST_RANGES) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[UUID, bytes], Selection] = OrderedDict()
        self._ranges = 0
        self._lock = threading.Lock()

    def get(self, ledger: UUID, digest: bytes) -> Selection | None:
        with self._lock:
            found = self._kept.get((ledger, digest))
            if found is not None:
                self._kept.move_to_end((ledger, digest))
            return found

    def put(self, ledger: UUID, digest: bytes, made: Selection) -> None:
        if _weight(made) > self._most:
            return
        with self._lock:
            if (ledger, digest) in self._kept:
                return
            self._kept[ledger, digest] = made
            self._ranges += _weight(made)
            while self._ranges > self._most:
                self._ranges -= _weight(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self._ranges = 0


_known = Cache()  # by digest, so no vault can mislead another


def keep(vault: Vault, ledger: UUID, made: Selection) -> str:
    """Store a selection in a transaction of its own and return its digest, base64url. Doing it again changes nothing.

    Raises:
        Modified: something else stands under this digest.
    """
    digest = sets.digest(ledger, made)
    content = sets.text(ledger, made)
    transact(vault.engine, lambda connection: stored.insert(connection, ledger, digest, content))
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
    known = _known.get(ledger, named)
    return known if known is not None else _read(vault, ledger, named)


def loader(connection: Connection) -> Callable[[UUID, str], Selection]:
    """Return what loads selections within a transaction of the caller's; for those who verify without a vault."""
    known = Cache()

    def load_from(ledger: UUID, digest: str) -> Selection:
        named = canonical.unb64(digest, 32)
        found = known.get(ledger, named)
        if found is None:
            content = stored.content(connection, ledger, named)
            if content is None:
                raise Missing(f"the selection {digest} is not stored", str(ledger))
            found = sets.read(ledger, named, content)
            known.put(ledger, named, found)
        return found

    return load_from


def _read(vault: Vault, ledger: UUID, digest: bytes) -> Selection:
    content = transact(vault.engine, lambda connection: stored.content(connection, ledger, digest))
    if content is None:
        raise Missing(f"the selection {canonical.b64(digest)} is not stored", str(ledger))
    found = sets.read(ledger, digest, content)
    _known.put(ledger, digest, found)
    return found


def _weight(made: Selection) -> int:
    return len(made.ranges) + 1  # an empty one takes its place, too
