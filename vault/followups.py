"""Follow-ups: records that report an event which other records wait for, opened to learn of which.

    1. compare the facets of every entry with its leaf, which stands in the signed tree; those that then carry
       Flag.DATES_ANOTHER are follow-ups. A follow-up that was hidden could have lengthened a period: so facets that do
       not fit, and a row that no disposal destroyed and that is not there, stop everything
    2. prove their leaves to a signed checkpoint, and open them with every commitment
    3. find the records they relate to by id tag, prove those leaves too, and compare the tag with the leaf's

The caller commits an event before 2: nobody reads unseen.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from vault import leaves, proving
from vault.context import Vault
from vault.core import canonical, facets, leaf
from vault.core.errors import Forked, KeyGone, Missing, Modified
from vault.core.facets import Facets
from vault.core.flags import Flag
from vault.core.leaf import RecordLeaf
from vault.core.record import Record
from vault.db import followups, store
from vault.db.engine import transact
from vault.db.store import SealedRow
from vault.erasure import Explainer
from vault.ledgers import Ledger
from vault.linking import append
from vault.opening import Opener
from vault.sealing import from_columns, id_tag

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SPAN: Final = 1 << 16
"""Entries whose leaves are believed at once."""
_PAGE: Final = 2000
_BEGINS: Final = b'{"facets":"'
"""Of every record's leaf, and of no other: its members stand in canonical order."""
_DIGEST: Final = 43
_ID_TAG: Final = b'"id_tag":"'
_TAG: Final = 22


class Target(NamedTuple):
    """A record that something relates to. ``waits``: it was open-ended when it was written."""

    seq: int
    waits: bool
    producer: str


class FollowUp(NamedTuple):
    """What one follow-up reports. Times are microseconds since the epoch.

    Attributes:
        targets: the records it dates that the ledger has.
        missing: ids that it names and that no id tag leads to; see ``require_absent``.
        executed: ``decision.executed_at``; None where it does not say.
        received: when the vault got it; ``occurred`` where two people approved that it came so late, in an import.
    """

    seq: int
    producer: str
    targets: tuple[Target, ...]
    missing: tuple[str, ...]
    occurred: int
    executed: int | None
    received: int


class Reports(NamedTuple):
    """What some follow-ups say; ``unsound`` are positions whose content is not what the leaf promised."""

    found: list[FollowUp]
    unsound: list[int]


def positions(vault: Vault, ledger: Ledger, first: int, end: int) -> list[int]:
    """Step 1: return the positions of follow-ups from ``first`` up to, but without, ``end``.

    Raises:
        Modified, Missing: the facets of an entry are not what its leaf promised, or not there.
        Forked: the ledger is not the one that was signed.
    """
    return [
        seq for start in range(first, end, _SPAN) for seq in _flagged(vault, ledger, start, min(end, start + _SPAN))
    ]


def read(vault: Vault, ledger: Ledger, seqs: Sequence[int]) -> Reports:
    """Steps 2 and 3, some hundred positions at a time. Follow-ups that were destroyed meanwhile are left out.

    Raises:
        Missing: one is not there, and no disposal destroyed it.
        Forked: the ledger is not the one that was signed.
        KeyUnavailable: they cannot be opened now.
    """
    opener = Opener(vault.engine, vault.ring, ledger.id)
    rows = transact(vault.engine, lambda connection: list(store.fetch_entries(connection, ledger.id, seqs)))
    beside = {row.seq: row.sealed for row in rows}
    read: dict[int, tuple[RecordLeaf, Facets, Record]] = {}
    unsound, gone = [], []
    for seq, found in _proved(vault, ledger, seqs).items():
        sealed = beside.get(seq)
        if sealed is None:
            gone.append(seq)
        elif isinstance(found, RecordLeaf):
            try:
                raw = _opened(opener, found, sealed)
                read[seq] = found, _facets(found, sealed), msgspec.json.decode(raw, type=Record)
            except KeyGone:
                gone.append(seq)
            except (Modified, msgspec.MsgspecError):
                unsound.append(seq)
    _require_destroyed(vault, ledger, gone)
    named = {seq: [one.id for one in all_[2].relates_to or () if one.kind == "dates"] for seq, all_ in read.items()}
    targets = find(vault, ledger, {one for ids in named.values() for one in ids})
    return Reports([_told(*all_, named[seq], targets) for seq, all_ in read.items()], unsound)


def find(vault: Vault, ledger: Ledger, ids: Iterable[str]) -> dict[str, Target]:
    """Step 3: return the records of these ids that the ledger has, destroyed ones too.

    Raises:
        Modified: an id leads to a leaf of another id.
        Forked, Missing: the ledger is not the one that was signed.
    """
    key = vault.ring.open_ledger_key(vault.tenant_key, ledger.id, ledger.row.id_key)
    tags = {one: id_tag(key, one) for one in ids}
    known = transact(vault.engine, lambda connection: store.find_tags(connection, ledger.id, list(tags.values())))
    if vault.checkpoints.is_frozen(ledger.id):
        known = {tag: seq for tag, seq in known.items() if seq < ledger.size}
    leaves = _proved(vault, ledger, known.values())
    found = {}
    for one, tag in tags.items():
        if (seq := known.get(tag)) is not None:
            of = leaves[seq]
            if not isinstance(of, RecordLeaf) or of.id_tag != canonical.b64(tag):
                raise Modified("an id leads to a leaf of another id", str(ledger.id), seq)
            found[one] = Target(seq, of.keep_until is msgspec.UNSET, of.producer)
    return found


def require_absent(vault: Vault, ledger: Ledger, ids: Collection[str]) -> None:
    """Look for records of these ids in every leaf: whoever edits the column of id tags hides a record from what would
    have lengthened its period. Takes as long as reading the ledger's leaves, where there are ids.

    Raises:
        Modified: one is there, and its id tag does not lead to it.
        Forked: the ledger is not the one that was signed.
    """
    key = vault.ring.open_ledger_key(vault.tenant_key, ledger.id, ledger.row.id_key)
    tags = {canonical.b64_bytes(id_tag(key, one)) for one in ids}
    for start in range(0, ledger.size if tags else 0, _SPAN):
        for seq, data, _ in leaves.signed(vault, ledger.id, range(start, min(ledger.size, start + _SPAN))):
            at = data.find(_ID_TAG, _DIGEST) + len(_ID_TAG)
            if data.startswith(_BEGINS) and data[at : at + _TAG] in tags:
                raise Modified("the id tag of a record does not lead to it", str(ledger.id), seq)


def _told(
    place: RecordLeaf, columns: Facets, record: Record, ids: Sequence[str], targets: dict[str, Target]
) -> FollowUp:
    executed = record.decision.executed_at
    occurred = _us(record.occurred_at)
    return FollowUp(
        place.seq,
        place.producer,
        tuple(targets[one] for one in ids if one in targets),
        tuple(one for one in ids if one not in targets),
        occurred,
        None if executed is None else _us(executed),
        occurred if columns.flags & Flag.IMPORTED else leaf.microseconds(place.received_at),
    )


def _flagged(vault: Vault, ledger: Ledger, first: int, end: int) -> Iterator[int]:
    """Yield follow-ups among entries that were all looked at before the first of them is known."""
    seqs, digests = array("Q"), bytearray()
    for seq, data, _ in leaves.signed(vault, ledger.id, range(first, end)):
        if data.startswith(_BEGINS):
            seqs.append(seq)
            digests += data[len(_BEGINS) : len(_BEGINS) + _DIGEST]
    for start in range(0, len(seqs), _PAGE):
        page = seqs[start : start + _PAGE]
        rows = transact(
            vault.engine,
            lambda connection, page=page: followups.columns(connection, ledger.id, page[0], page[-1] + 1),  # type: ignore[misc]
        )
        beside = {row.seq: row for row in rows}
        _require_destroyed(vault, ledger, [seq for seq in page if seq not in beside])
        for at, seq in enumerate(page, start):
            row = beside.get(seq)
            promised = digests[at * _DIGEST : (at + 1) * _DIGEST]
            if row is not None and _checked(ledger, seq, promised, row.facets, row.salt).flags & Flag.DATES_ANOTHER:
                yield seq


def _checked(ledger: Ledger, seq: int, promised: bytes | bytearray, row: tuple[Any, ...], salt: bytes) -> Facets:
    """Return the facets that column values spell, if they are those of this digest, base64url."""
    place = str(ledger.id)
    if None in row[:4]:
        raise Modified("the facets are missing", place, seq)
    columns = from_columns(row)
    try:
        made = facets.digest(columns, salt)
    except Modified as error:
        raise Modified(str(error), place, seq) from None
    if canonical.b64_bytes(made) != promised:
        raise Modified("the facets are not those the leaf commits to", place, seq)
    return columns


def _facets(place: RecordLeaf, row: SealedRow) -> Facets:
    columns = from_columns(row.facets or ())
    if canonical.b64(facets.digest(columns, row.salt or b"")) != place.facets:
        raise Modified("the facets are not those the leaf commits to", place.ledger, place.seq)
    return columns


def _opened(opener: Opener, place: RecordLeaf, row: SealedRow) -> bytes:
    try:
        return opener.open(place, row)
    except KeyGone:
        if (now := opener.moved(place, row)) is None:
            raise
        return opener.open(place, now)


def _require_destroyed(vault: Vault, ledger: Ledger, seqs: Collection[int]) -> None:
    """Raise ``Missing`` where no disposal destroyed one of these. They were found gone before the events are asked."""
    if not seqs:
        return
    explainer = Explainer(vault, ledger.id)
    for seq, found in _proved(vault, ledger, seqs).items():
        why = explainer.of(found) if isinstance(found, RecordLeaf) else "no record stands there"
        if isinstance(why, str):
            raise Missing(why, str(ledger.id), seq)


def _proved(vault: Vault, ledger: Ledger, seqs: Iterable[int]) -> dict[int, leaf.Leaf]:
    wanted = sorted(set(seqs))
    if not wanted:
        return {}
    checkpoint, note = vault.checkpoints.read(ledger.id), vault.checkpoints.note(ledger.id)
    if checkpoint is None or note is None or checkpoint.size <= wanted[-1]:  # a commit that died left them unsigned
        note = append(vault.engine, vault.checkpoints, ledger.id, lambda _connection: ()).checkpoint
    found = {seq: leaf.parse(data) for seq, (data, _) in proving.prove(vault, ledger.id, wanted, note).items()}
    for seq, one in found.items():
        if (one.ledger, one.seq) != (str(ledger.id), seq):
            raise Forked("a leaf is not in its place", str(ledger.id), seq)
    return found


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
