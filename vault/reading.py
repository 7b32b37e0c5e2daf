"""Reading: nobody reads unseen.

    1. find the entry by the record's id
    2. commit the access event and sign it; where that fails there is no plaintext
    3. fetch leaf and envelope, check the leaf's place, open with every commitment
    4. hand out exactly the stored bytes

A crash after 2 leaves an access that did not happen, which is harmless; there is no order in which plaintext leaves
first. Denials are events too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from vault import events
from vault.context import Vault
from vault.core import canonical, leaf, packing
from vault.core.errors import Missing, Modified, UsageError
from vault.core.leaf import RecordLeaf
from vault.core.tree import leaf_hash
from vault.db import store
from vault.db.engine import transact
from vault.ledgers import Ledger
from vault.opening import Opener
from vault.sealing import id_tag


@dataclass(frozen=True, slots=True)
class Reading:
    """One record, opened. ``raw`` is exactly what the producer sent; ``access`` is the position of the access event."""

    raw: bytes = field(repr=False)
    seq: int
    leaf: RecordLeaf
    leaf_hash: bytes
    access: int


def read(vault: Vault, ledger: Ledger, record_id: str, purpose: str) -> Reading:
    """Open one record for a stated purpose.

    Raises:
        UsageError: no purpose, no text, or no such record in this ledger (the look-up is an event as well).
        Modified, Missing: what is stored is not what the leaf promises. Nothing can be destroyed lawfully yet, so a
            record that is not there is missing.
    """
    if not purpose.strip():
        raise UsageError("--purpose must say why the record is opened")
    if not _is_text(record_id + purpose):
        raise UsageError("record id and --purpose must be UTF-8 text")
    tag = id_tag(vault.ring.open_ledger_key(vault.tenant_key, ledger.id, ledger.row.id_key), record_id)
    seq = transact(vault.engine, lambda connection: store.find_tags(connection, ledger.id, [tag])).get(tag)
    facts: dict[str, object] = {"ledger": str(ledger.id), "id_tag": canonical.b64(tag)}
    if seq is None:
        events.record(vault, "record.not_found", facts, {"purpose": purpose})
        raise UsageError(f"ledger {ledger.row.name} has no record with this id")
    told = events.record(vault, "record.opened", {**facts, "seq": seq}, {"purpose": purpose})
    found = transact(vault.engine, lambda connection: list(store.fetch_entries(connection, ledger.id, [seq])))
    if not found or found[0].leaf is None:
        raise Missing("the entry of a known id is not there", str(ledger.id), seq)
    data, row = packing.unpack(found[0].leaf), found[0].sealed
    place = leaf.parse(data)
    if not isinstance(place, RecordLeaf) or (place.ledger, place.seq) != (str(ledger.id), seq):
        raise Modified("the leaf is not this record's", str(ledger.id), seq)
    if row is None:
        raise Missing("the record is not there and no erasure explains it", str(ledger.id), seq)
    raw = Opener(vault.engine, vault.ring, ledger.id).open(place, row)
    if msgspec.json.decode(raw, type=_Identified).id != record_id:
        raise Modified("the record at this id's place has another id", str(ledger.id), seq)
    return Reading(raw, seq, place, leaf_hash(data), told.seq)


def _is_text(words: str) -> bool:
    """Say whether words can be written down: bytes of a command line that are no UTF-8 come as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in words)


class _Identified(msgspec.Struct):
    id: str
