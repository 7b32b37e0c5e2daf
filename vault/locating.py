"""Locating: the inclusion proof of the leaf of a record that somebody knows by its id.

A proof shows no content. But finding an id says that the record exists, and where: so it is an event before it leaves,
and under a grant only a record within it is found, as reading has it. Of a destroyed record the leaf is kept; its date
and class are not, so that only a grant without period and classes finds it.

    1. refuse whoever has no grant for the ledger at all
    2. find the entry by the id's tag, prove its leaf to the newest checkpoint, check its facets
    3. decide under the events ledger's lock, and commit the event
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from vault import events, hashes, proving
from vault.context import Vault
from vault.core import canonical, facets, leaf
from vault.core.errors import EvidenceError, Forked, Missing, Modified, Unknown, UsageError
from vault.core.facets import Facets
from vault.core.grant import Scope
from vault.core.leaf import Leaf, RecordLeaf
from vault.core.proof import Proof
from vault.core.standing import Standing
from vault.db import store
from vault.db.engine import transact
from vault.erasure import Explainer
from vault.events import Event, Ruling, refuse
from vault.ledgers import Ledger
from vault.linking import append
from vault.reading import denial, held_grants, no_grant, reads_freely, require_grant
from vault.sealing import from_columns, id_tag

_ACT = "record.prove"


@dataclass(frozen=True, slots=True)
class Located:
    """One entry's leaf, and its proof to the newest checkpoint.

    Attributes:
        data: the leaf's bytes, which whoever verifies the proof needs.
        destroyed: the vault says that the record was destroyed by policy; the proof does not say so.
        access: position of the event; None where nothing was looked up by a record id.
    """

    seq: int
    data: bytes
    leaf: Leaf
    proof: Proof
    destroyed: bool
    access: int | None


def at(vault: Vault, ledger: UUID, seq: int) -> Located:
    """Return the proof of the leaf at a position. Who may have it is for ``vault.logreading``.

    Raises:
        Unknown: nothing signed stands there.
        Modified, Missing, Forked: what is stored is not what was promised.
    """
    if seq >= 2**62:
        raise Unknown("the last checkpoint has no such entry")
    note = newest(vault, ledger)
    checkpoint = vault.checkpoints.open(ledger, note)
    if not 0 <= seq < checkpoint.size:
        raise Unknown(f"the last checkpoint, of {checkpoint.size} entries, has no such entry")
    data, proof = proving.prove(vault, ledger, [seq], note)[seq]
    found = leaf.parse(data)
    destroyed = isinstance(found, RecordLeaf) and Explainer(vault, ledger).is_destroyed(found)
    return Located(seq, data, found, proof, destroyed, None)


def of(vault: Vault, ledger: Ledger, record_id: str) -> Located:
    """Return the proof of a record's leaf.

    Raises:
        UsageError: no such record in this ledger (the look-up is an event as well), or an id that is no text.
        Unknown: the same for whoever reads under a grant, and also where no grant of theirs reaches the record.
        Denied: whoever asks has no grant for this ledger.
        Modified, Missing, Forked: what is stored is not what was promised.
    """
    if any("\ud800" <= character <= "\udfff" for character in record_id):
        raise UsageError("a record id is UTF-8 text")
    tag = id_tag(vault.ring.open_ledger_key(vault.tenant_key, ledger.id, ledger.row.id_key), record_id)
    facts: dict[str, object] = {"ledger": str(ledger.id), "id_tag": canonical.b64(tag)}
    require_grant(vault, ledger.id, _ACT, facts)
    seq = transact(vault.engine, lambda connection: store.find_tags(connection, ledger.id, [tag])).get(tag)
    try:
        located, columns = (None, None) if seq is None else _look(vault, ledger.id, seq)
    except EvidenceError as error:  # whoever looked must be seen here too
        events.record(vault, "record.unsound", {**facts, "seq": seq, "verdict": type(error).__name__.lower()})
        raise

    def decide(standing: Standing) -> Ruling[None]:
        if reads_freely(vault, standing):
            if located is None:
                error = UsageError(f"ledger {ledger.row.name} has no record with this id")
                return refuse(error, Event("record.not_found", facts))
            return Ruling([Event("record.proved", {**facts, "seq": located.seq})], None)
        held = held_grants(vault, standing, str(ledger.id), None)
        if not held:
            return refuse(no_grant(standing, vault), denial(_ACT, "grant", facts))
        if located is None:
            return refuse(_unknown(), Event("record.not_found", facts))
        for one in held:
            if _reaches(one.scope, str(ledger.id), columns):
                return Ruling([Event("record.proved", {**facts, "seq": located.seq, "grant": one.id})], None)
        return refuse(_unknown(), denial(_ACT, "scope", {**facts, "seq": located.seq}))

    told, _ = events.rule(vault, decide)
    assert located is not None
    return replace(located, access=told.seq)


def _look(vault: Vault, ledger: UUID, seq: int) -> tuple[Located, Facets | None]:
    """Step 2. The facets are None where the record was destroyed: nobody can say any more what they were."""
    if hashes.read_signed(vault, ledger).size <= seq:  # a commit that died left it unsigned
        append(vault.engine, vault.checkpoints, ledger, lambda _connection: ())
    located = at(vault, ledger, seq)
    place = located.leaf
    if not isinstance(place, RecordLeaf) or (place.ledger, place.seq) != (str(ledger), seq):
        raise Modified("the leaf is not this record's", str(ledger), seq)
    if located.destroyed:
        return located, None
    rows = transact(vault.engine, lambda connection: list(store.fetch_entries(connection, ledger, [seq])))
    row = rows[0].sealed if rows else None
    if row is None or row.facets is None or None in row.facets[:4] or row.salt is None:
        raise Missing("what stands beside the leaf is not there, and no disposal explains it", str(ledger), seq)
    columns = from_columns(row.facets)
    if facets.digest(columns, row.salt) != canonical.unb64(place.facets, 32):
        raise Modified("the facets are not those the leaf commits to", str(ledger), seq)
    return located, columns


def _reaches(scope: Scope, ledger: str, columns: Facets | None) -> bool:
    if columns is not None:
        return scope.covers(ledger, columns.occurred_at, columns.record_class)
    return scope.start is None and scope.end is None and not scope.classes


def _unknown() -> Unknown:
    return Unknown("no record with this id lies within a grant of yours")


def newest(vault: Vault, ledger: UUID) -> str:
    """Return the newest checkpoint's note, not verified.

    Raises:
        Forked: there is none.
    """
    note = vault.checkpoints.note(ledger)
    if note is None:
        raise Forked("the checkpoint outside the database is missing", str(ledger))
    return note
