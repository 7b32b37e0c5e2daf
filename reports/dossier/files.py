"""Files of a dossier: the records as granted, their leaves, proofs, keys, and the access log of exactly these records.

``records.jsonl`` and ``leaves.jsonl`` are spelled as in an evidence bundle (docs/reference/bundle.md); a proof is a
C2SP tlog-proof, which says how its leaf lies under ``checkpoint.txt``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from reports.attach import JSON_LINES, Attachment
from reports.bundle.events import ACCESS, About, pick
from reports.bundle.records import shown
from reports.dossier.model import Access
from reports.phrase import phrase
from vault.context import Vault
from vault.core import canonical, envelope, leaf, masking
from vault.core.errors import Forked
from vault.core.facets import Facets
from vault.core.leaf import EventLeaf
from vault.core.proof import Proof
from vault.core.selection import Selection
from vault.openset import Chosen, Opened
from vault.proving import prove

_ONE_BY_ONE: Final = 24
"""Proofs that are files of their own; more of them go into one file of JSON lines."""
_PROOF: Final = "text/plain"
_MODEL: Final = ("model", "served")


class Logged(NamedTuple):
    """The access log: the events with their leaves' bytes and proofs, under ``note``."""

    note: str
    rows: tuple[Access, ...]
    leaves: tuple[bytes, ...]
    proofs: Mapping[int, Proof]


def record_line(opened: Opened, record: Chosen, raw: bytes, masked: Mapping[str, Any] | None) -> bytes:
    """Return a record's line of ``records.jsonl``."""
    entry = record.entry
    assert entry.row is not None
    assert entry.facets is not None
    salt = canonical.b64(entry.row.salt or b"")
    document: dict[str, Any] = {"seq": record.seq, "state": "full" if masked is None else "masked"}
    if masked is None:
        document |= {
            "facets": shown(entry.facets),
            "salt": salt,
            "opening": canonical.b64(envelope.opening(opened.record_key(record))),
            "record": raw.decode(),
        }
    else:
        visible = visible_facets(entry.facets)
        # With the salt, a guess of what is masked could be tested.
        document |= {"facets": shown(visible)} | ({"salt": salt} if visible == entry.facets else {})
        document |= {"masked": masked}
    return msgspec.json.encode(document) + b"\n"


def visible_facets(columns: Facets) -> Facets:
    """Return facets as a masked grant shows them."""

    def visible(value: str, *path: str) -> str:
        return value if not value or masking.shows(value, *path) else masking.MASKED

    return columns._replace(
        record_id=visible(columns.record_id, "id"),
        record_class=visible(columns.record_class, "record_class"),
        model=visible(columns.model, *_MODEL),
    )


def logged(vault: Vault, opened: Opened) -> Logged:
    """Return every event up to now that opened one of these records, looked for one or was denied one.

    Raises:
        Forked: the events are not the tree that was signed, or their checkpoint is missing.
    """
    note = vault.checkpoints.note(vault.events)
    if note is None:
        raise Forked("the checkpoint outside the database is missing", str(vault.events))
    about = About(
        ledger=opened.ledger.id,
        size=opened.checkpoint.size,
        chosen=Selection.of(record.seq for record in opened.records),
        whole=False,
        tags=frozenset(record.entry.leaf.id_tag for record in opened.records),
        erased=Selection(),
        disposals=frozenset(),
    )
    picked = pick(vault, vault.checkpoints.open(vault.events, note), about)
    proved = prove(vault, vault.events, picked.positions, note)
    own = frozenset(opened.accesses.values())
    rows, leaves, proofs = [], [], {}
    for seq, (data, proof) in proved.items():
        told = leaf.parse(data)
        if isinstance(told, EventLeaf) and told.event in ACCESS:
            rows.append(_access(told, own))
            leaves.append(data)
            if seq in own:
                proofs[seq] = proof
    return Logged(note, tuple(rows), tuple(leaves), proofs)


def attachments(
    vault: Vault, opened: Opened, kept: Sequence[Chosen], records: Path, log: Logged
) -> Iterator[Attachment]:
    """Yield what is attached, in the order in which the pages list it.

    Args:
        kept: the records that the dossier is of; ``records`` is the path of their ``records.jsonl``.
    """
    yield Attachment(
        "records.jsonl",
        phrase("The records as the grant shows them, whole, one a line (spelled as in an evidence bundle)"),
        JSON_LINES,
        records,
    )
    yield Attachment(
        "leaves.jsonl",
        phrase("Their leaves exactly as hashed, one a line"),
        JSON_LINES,
        b"".join(record.entry.data + b"\n" for record in kept),
    )
    yield from _proofs(kept)
    yield Attachment(
        "checkpoint.txt", phrase("The signed checkpoint (C2SP signed note)"), "text/plain", opened.note.encode()
    )
    yield Attachment(
        "access-log.jsonl",
        phrase("Every event up to this dossier that opened one of these records, looked for one or was denied one"),
        JSON_LINES,
        b"".join(data + b"\n" for data in log.leaves),
    )
    for seq, proof in log.proofs.items():
        yield Attachment(
            f"access-{seq}.tlog-proof",
            phrase("How this dossier’s own access entry lies under the events’ checkpoint"),
            _PROOF,
            proof.to_text().encode(),
        )
    yield Attachment(
        "events-checkpoint.txt", phrase("The signed checkpoint of the events ledger"), "text/plain", log.note.encode()
    )
    keys = [*vault.checkpoints.verifiers(opened.ledger.id), *vault.checkpoints.verifiers(vault.events)]
    yield Attachment(
        "verifier-keys.txt",
        phrase("Every key that the vault ever trusted for these two ledgers, the oldest first"),
        "text/plain",
        "".join(f"{key}\n" for key in keys).encode(),
    )


def _proofs(kept: Sequence[Chosen]) -> Iterator[Attachment]:
    if len(kept) <= _ONE_BY_ONE:
        for record in kept:
            yield Attachment(
                f"record-{record.seq}.tlog-proof",
                phrase("How the leaf at seq {seq} lies under the checkpoint (C2SP tlog-proof)", seq=record.seq),
                _PROOF,
                record.proof.to_text().encode(),
            )
        return
    lines = [msgspec.json.encode({"seq": record.seq, "proof": record.proof.to_text()}) + b"\n" for record in kept]
    yield Attachment(
        "record-proofs.jsonl",
        phrase("How each leaf lies under the checkpoint (C2SP tlog-proof), one a line"),
        JSON_LINES,
        b"".join(lines),
    )


def _access(told: EventLeaf, own: frozenset[int]) -> Access:
    facts = told.facts
    return Access(
        seq=told.seq,
        at=told.at,
        actor=told.actor,
        event=told.event,
        grant=str(facts.get("grant", "")),
        fields=str(facts.get("fields", "")),
        own=told.seq in own,
    )
