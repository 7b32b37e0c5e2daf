"""Opening: from a leaf and what stands beside it back to the exact bytes, every commitment checked on the way.

    1. unwrap the record key under its epoch key, bound to ledger, epoch and key commitment
    2. compare the key commitment with the leaf's
    3. decrypt with the header rebuilt from leaf and facets
    4. compare the plaintext commitment with the leaf's

Callers that show plaintext to anybody log the access first (vault.reading); this module is only the mechanism.
"""

from __future__ import annotations

import hmac
from functools import lru_cache
from uuid import UUID

import msgspec
from sqlalchemy import Engine

from vault import events
from vault.core import canonical, envelope
from vault.core.errors import KeyGone, Modified
from vault.core.facets import Facets
from vault.core.leaf import EventLeaf, RecordLeaf
from vault.core.record import SCHEMA, Record
from vault.db import groups, store
from vault.db.engine import transact
from vault.db.store import SealedRow
from vault.keys.ring import EpochRow, GroupRow, Ring
from vault.sealing import blind_tags, context_of, from_columns


class Opener:
    """Opens entries of one ledger; reads each epoch key when it meets the first entry under it."""

    def __init__(self, engine: Engine, ring: Ring, ledger: UUID) -> None:
        self._engine = engine
        self._ring = ring
        self._ledger = ledger
        self._epochs: dict[int, EpochRow] = {}
        self._index_keys: dict[str, bytes] = {}
        self._alone = False  # forked away from the database

    def load(self) -> None:
        """Read all epoch keys now, still wrapped: afterwards a forked process can open without the database."""
        rows = transact(self._engine, lambda connection: list(groups.epochs(connection, self._ledger)))
        self._epochs = {row[0]: EpochRow(self._ledger, *row) for row in rows}
        self._alone = True

    def record_key(self, leaf: RecordLeaf | EventLeaf, row: SealedRow) -> bytes:
        """Return the record key of an entry (step 1).

        A record that moved to another key since its row was read, and whose old key died, is opened where it is now.

        Raises:
            Modified: the epoch is unknown, or the wrapped key is not this entry's.
            KeyUnavailable, KeyGone: the provider cannot open the epoch key now, or ever.
        """
        try:
            return self._unwrapped(leaf, row)
        except KeyGone:
            moved = self.moved(leaf, row)
            if moved is None:
                raise
        return self._unwrapped(leaf, moved)

    def moved(self, leaf: RecordLeaf | EventLeaf, row: SealedRow) -> SealedRow | None:
        """Return the row of an entry as it stands now, None where it is under the same key, or there no more."""
        if self._alone:
            return None
        found = transact(
            self._engine, lambda connection: list(store.fetch_entries(connection, self._ledger, [leaf.seq]))
        )
        now = found[0].sealed if found else None
        return None if now is None or now.epoch_id == row.epoch_id else now

    def open(self, leaf: RecordLeaf | EventLeaf, row: SealedRow) -> bytes:
        """Return the exact bytes that were sealed (steps 1 to 4).

        Raises:
            Modified: any commitment does not hold; the error names ledger and seq.
        """
        try:
            record_key = self.record_key(leaf, row)
            plaintext = envelope.open_part(row.envelope, record_key, commitment(leaf), context(leaf, row))
        except Modified as error:
            raise Modified(str(error), leaf.ledger, leaf.seq) from None
        made = canonical.b64(envelope.plaintext_commitment(envelope.opening(record_key), plaintext))
        if leaf.plaintext is msgspec.UNSET or not hmac.compare_digest(made, leaf.plaintext):
            raise Modified("the plaintext is not the one the leaf commits to", leaf.ledger, leaf.seq)
        return plaintext

    def group_of(self, row: SealedRow) -> str:
        """Return the group whose key opens a row now; the leaf names the one at write.

        Raises:
            Modified: the row's epoch is unknown.
        """
        return self._epoch(row).group

    def blind_tags(self, row: SealedRow, record: Record) -> tuple[int, int | None, int | None]:
        """Return the blind indexes that a record must have in the group that it is in.

        Raises:
            KeyGone: the group has no row, or its key is destroyed.
            Modified: the row's epoch is unknown.
        """
        group = self.group_of(row)
        if group not in self._index_keys:
            rows = transact(self._engine, lambda connection: groups.listing(connection, self._ledger))
            found = next((one for one in rows if one.name == group), None)
            if found is None or not found.index_key:
                raise KeyGone(f"group {group} has no index key")
            row_of_keys = GroupRow(self._ledger, found.name, found.key_ref, found.index_key)
            self._index_keys[group] = self._ring.open_index_key(row_of_keys)
        return blind_tags(self._index_keys[group], record)

    def _unwrapped(self, leaf: RecordLeaf | EventLeaf, row: SealedRow) -> bytes:
        epoch = self._epoch(row, leaf.seq)
        if not epoch.wrapped:
            raise KeyGone(f"the key of group {epoch.group} is destroyed, and so is every record under it")
        return self._ring.unwrap_record_key(epoch, row.wrapped_key, commitment(leaf))

    def _epoch(self, row: SealedRow, seq: int | None = None) -> EpochRow:
        if row.epoch_id not in self._epochs:
            found = transact(self._engine, lambda connection: groups.epoch_row(connection, self._ledger, row.epoch_id))
            if found is None:
                raise Modified("the record key's epoch is unknown", str(self._ledger), seq)
            self._epochs[row.epoch_id] = EpochRow(self._ledger, *found)
        return self._epochs[row.epoch_id]

    def same_bytes(self, leaf: RecordLeaf, row: SealedRow, raw: bytes) -> bool:
        """Say whether ``raw`` is what was sealed, without decrypting anything."""
        key = envelope.opening(self.record_key(leaf, row))
        return hmac.compare_digest(envelope.plaintext_commitment(key, raw), canonical.unb64(leaf.plaintext, 32))


def context(leaf: RecordLeaf | EventLeaf, row: SealedRow) -> envelope.Context:
    """Return the context an entry's envelope was sealed under, rebuilt from leaf and facets.

    Raises:
        Modified: a record without facets, or an event with them.
    """
    if isinstance(leaf, EventLeaf):
        if (row.facets, row.salt) != (None, None) or any(tag is not None for tag in row.tags or ()):
            raise Modified("facets, salt or blind indexes stand beside an event", leaf.ledger, leaf.seq)
        return events.context(_uuid(leaf.ledger))
    if row.facets is None or None in row.facets[:4]:
        raise Modified("the facets are missing", leaf.ledger, leaf.seq)
    return record_context(leaf, _uuid(leaf.ledger), from_columns(row.facets))


_uuid = lru_cache(maxsize=64)(UUID)


def record_context(leaf: RecordLeaf, ledger: UUID, columns: Facets) -> envelope.Context:
    """Return the context of a record whose facets were read already."""
    counted = None if leaf.producer_seq is msgspec.UNSET else leaf.producer_seq
    return context_of(columns, ledger, leaf.producer, counted, SCHEMA)


def commitment(leaf: RecordLeaf | EventLeaf) -> bytes:
    """Return an entry's commitment to its record key."""
    if leaf.key is msgspec.UNSET:
        raise Modified("the leaf commits to no key", leaf.ledger, leaf.seq)
    return canonical.unb64(leaf.key, 32)
