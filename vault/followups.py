"""Follow-ups: records that report an event which other records wait for, opened to learn of which.

    1. find the positions whose facets carry Flag.DATES_ANOTHER
    2. prove their leaves to a signed checkpoint, and open them with every commitment
    3. find the records they relate to by id tag, prove those leaves too, and compare the tag with the leaf's

The caller commits an event before 2: nobody reads unseen. Whoever owns the database can hide a follow-up by its flag;
the record it is about stays undated then, and so is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from vault import proving
from vault.context import Vault
from vault.core import canonical, leaf
from vault.core.errors import Forked, KeyGone, Modified
from vault.core.leaf import RecordLeaf
from vault.core.record import Record
from vault.db import followups, store
from vault.db.engine import transact
from vault.ledgers import Ledger
from vault.linking import append
from vault.opening import Opener
from vault.sealing import id_tag

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Target(NamedTuple):
    """A record that something relates to. ``waits``: it was open-ended when it was written."""

    seq: int
    waits: bool


class FollowUp(NamedTuple):
    """What one follow-up reports. Times are microseconds since the epoch.

    Attributes:
        targets: the records it dates that the ledger has.
        missing: how many it names that the ledger does not have yet.
        executed: ``decision.executed_at``; None where it does not say.
    """

    seq: int
    targets: tuple[Target, ...]
    missing: int
    occurred: int
    executed: int | None


class Reports(NamedTuple):
    """What some follow-ups say; ``unsound`` are positions whose content is not what the leaf promised."""

    found: list[FollowUp]
    unsound: list[int]


def positions(vault: Vault, ledger: Ledger, first: int, end: int) -> list[int]:
    """Step 1: return the positions of follow-ups from ``first`` up to, but without, ``end``."""
    return transact(vault.engine, lambda connection: followups.flagged(connection, ledger.id, first, end))


def read(vault: Vault, ledger: Ledger, seqs: Sequence[int]) -> Reports:
    """Steps 2 and 3, some hundred positions at a time. Follow-ups that were destroyed meanwhile are left out.

    Raises:
        Forked, Missing: the ledger is not the one that was signed.
        KeyUnavailable: they cannot be opened now.
    """
    opener = Opener(vault.engine, vault.ring, ledger.id)
    rows = transact(vault.engine, lambda connection: list(store.fetch_entries(connection, ledger.id, seqs)))
    beside = {row.seq: row.sealed for row in rows}
    records: dict[int, Record] = {}
    unsound = []
    for seq, found in _proved(vault, ledger, seqs).items():
        sealed = beside.get(seq)
        if sealed is None or not isinstance(found, RecordLeaf):
            continue
        try:
            records[seq] = msgspec.json.decode(opener.open(found, sealed), type=Record)
        except KeyGone:
            continue
        except (Modified, msgspec.MsgspecError):
            unsound.append(seq)
    named = {seq: [one.id for one in record.relates_to or () if one.kind == "dates"] for seq, record in records.items()}
    targets = find(vault, ledger, {one for ids in named.values() for one in ids})
    return Reports([_told(seq, record, named[seq], targets) for seq, record in records.items()], unsound)


def find(vault: Vault, ledger: Ledger, ids: Iterable[str]) -> dict[str, Target]:
    """Step 3: return the records of these ids that the ledger has, destroyed ones too.

    Raises:
        Modified: an id leads to a leaf of another id.
        Forked, Missing: the ledger is not the one that was signed.
    """
    key = vault.ring.open_ledger_key(vault.tenant_key, ledger.id, ledger.row.id_key)
    tags = {one: id_tag(key, one) for one in ids}
    known = transact(vault.engine, lambda connection: store.find_tags(connection, ledger.id, list(tags.values())))
    leaves = _proved(vault, ledger, known.values())
    found = {}
    for one, tag in tags.items():
        if (seq := known.get(tag)) is not None:
            of = leaves[seq]
            if not isinstance(of, RecordLeaf) or of.id_tag != canonical.b64(tag):
                raise Modified("an id leads to a leaf of another id", str(ledger.id), seq)
            found[one] = Target(seq, of.keep_until is msgspec.UNSET)
    return found


def _told(seq: int, record: Record, ids: Sequence[str], targets: dict[str, Target]) -> FollowUp:
    executed = record.decision.executed_at
    return FollowUp(
        seq,
        tuple(targets[one] for one in ids if one in targets),
        sum(one not in targets for one in ids),
        _us(record.occurred_at),
        None if executed is None else _us(executed),
    )


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
