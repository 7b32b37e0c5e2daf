"""Accounting: before keys die, every entry that they ever wrapped is accounted for, not only those that rows show.

Which entries are in a group is what rows say, and rows can be lost, or pointed elsewhere by whoever owns the database.
So leaves and events are asked, which are signed: an entry is touched where its leaf names a dying group, or where
``keys.moved`` told of its way into one. Each of them must

    1. be in the dying groups now, where it was opened and judged, or
    2. be destroyed by an earlier disposal that is in order and done, or
    3. stand under a group that lives and that it was written or moved to: as the re-wrap journal has it, to the byte;
       or, where it never left the group that it was written under, so that it opens there

Anything else is an entry that would die unseen. The leaves are read in one pass; kept are ranges, and some bytes for
each entry of 3.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from vault import chains, leaves, selections
from vault.context import Vault
from vault.core import leaf
from vault.core.errors import Forked, Missing
from vault.core.leaf import EventLeaf, RecordLeaf
from vault.core.selection import Selection
from vault.db import moving, store
from vault.db.engine import transact
from vault.db.moving import Place
from vault.journal import Journal
from vault.surveying import Reader

_PART: Final = 10_000
_OPENED: Final = 500
_LOST: Final = "an entry's key dies with the group, and nothing beside the entry says where it lives on"


def require_accounted(
    vault: Vault, ledger: UUID, names: Sequence[str], told: Sequence[EventLeaf], log: Journal
) -> None:
    """See that no entry's key dies unseen with these closed groups.

    Args:
        told: every ``keys.moved`` and ``key.destroyed`` of the ledger.
        log: the ledger's journal, so nobody moves anything meanwhile.

    Raises:
        Missing: an entry is not in the groups, and not where it could live on; it is named.
        Forked: one that left the groups is not in the journal as it stands there now; or the leaves are not those that
            were signed.
        Modified, KeyGone: the journal is not what was written; or an entry does not open where it is said to be.
    """
    inside = Selection.of(transact(vault.engine, lambda connection: moving.seqs_in(connection, ledger, names)))
    away = _away(vault, ledger, names, told, inside | _explained(vault, ledger))
    if not away.seqs:
        return
    owners = transact(vault.engine, lambda connection: moving.epoch_groups(connection, ledger))
    gone = chains.destroyed(told) | set(names)
    reached: dict[str, Selection] = {}

    def lives(seq: int, written: str, place: Place | None) -> bool:
        group = owners.get(place.epoch_id) if place is not None else None
        if group is None or group in gone:
            return False
        if group not in reached:
            reached[group] = _moved_to(vault, ledger, (group,), told)
        return group == written or seq in reached[group]

    _require_living(vault, ledger, away, lives)
    left = [at for at, known in enumerate(_journalled(vault, ledger, away, log)) if not known]
    _require_opening(vault, ledger, away, left, owners)


class _Away(NamedTuple):
    """Entries that are not in the dying groups. ``written``, aligned with ``seqs``, holds positions in ``groups``."""

    seqs: array[int]
    written: array[int]
    groups: list[str]


def _explained(vault: Vault, ledger: UUID) -> Selection:
    """Return what earlier disposals destroyed."""
    found = Selection()
    for one in vault.register.standing().destructions.of(str(ledger)):
        if one.done and one.why_not(vault.tenant) is None:
            found |= selections.load(vault, ledger, one.final)
    return found


def _moved_to(vault: Vault, ledger: UUID, names: Sequence[str], told: Sequence[EventLeaf]) -> Selection:
    into = [one for one in told if one.event == chains.MOVED and one.facts.get("to") in names]
    found = Selection()
    for move in chains.moves(vault, ledger, into):
        found |= move.selection
    return found


def _away(vault: Vault, ledger: UUID, names: Sequence[str], told: Sequence[EventLeaf], known: Selection) -> _Away:
    """Return what the groups' keys ever wrapped and that is none of the known."""
    moved = _moved_to(vault, ledger, names, told)
    # A leaf has one spelling, so one without these bytes was not written under the groups; one with them is parsed.
    spelled = re.compile(b"|".join(re.escape(f'"group":"{name}"'.encode()) for name in names))
    found, places = _Away(array("q"), array("i"), []), dict[str, int]()
    for seq, data, _ in leaves.signed(vault, ledger, range(_size(vault, ledger))):
        if (spelled.search(data) is None and seq not in moved) or seq in known:
            continue
        parsed = leaf.parse(data)
        group = parsed.group if isinstance(parsed, RecordLeaf | EventLeaf) else None
        if not isinstance(group, str) or (group not in names and seq not in moved):
            continue
        if group not in places:
            places[group] = len(found.groups)
            found.groups.append(group)
        found.seqs.append(seq)
        found.written.append(places[group])
    return found


def _size(vault: Vault, ledger: UUID) -> int:
    """Return how many entries there are; those that a commit left unsigned are signed when they are read."""
    if vault.checkpoints.is_frozen(ledger):
        return 0 if (good := vault.checkpoints.read(ledger)) is None else good.size
    head = transact(vault.engine, lambda connection: store.read_head(connection, ledger))
    checkpoint = vault.checkpoints.read(ledger)
    return max(0 if head is None else head.size, 0 if checkpoint is None else checkpoint.size)


def _require_living(vault: Vault, ledger: UUID, away: _Away, lives: Callable[[int, str, Place | None], bool]) -> None:
    for start in range(0, len(away.seqs), _PART):
        part = away.seqs[start : start + _PART]
        places = _places(vault, ledger, part)
        for seq, written in zip(part, away.written[start : start + _PART], strict=True):
            if not lives(seq, away.groups[written], places.get(seq)):
                raise Missing(_LOST, str(ledger), seq)


def _journalled(vault: Vault, ledger: UUID, away: _Away, log: Journal) -> bytearray:
    """Return of each whether the journal has it just as it stands there now."""
    known = bytearray(len(away.seqs))
    for part in _parts(line for line in log.read() if isinstance(line, Place) and _index(away, line.seq) is not None):
        places = _places(vault, ledger, sorted({line.seq for line in part}))
        for line in part:
            now, at = places.get(line.seq), _index(away, line.seq)
            if now is not None and at is not None and now[:3] == line[:3]:
                known[at] = 1
    return known


def _require_opening(vault: Vault, ledger: UUID, away: _Away, left: Sequence[int], owners: Mapping[int, str]) -> None:
    """Open what never left the group that it was written under, and let nothing else pass."""
    for start in range(0, len(left), _OPENED):
        part = left[start : start + _OPENED]
        places = _places(vault, ledger, [away.seqs[at] for at in part])
        groups = set()
        for at in part:
            place = places.get(away.seqs[at])
            group = away.groups[away.written[at]]
            if place is None or owners.get(place.epoch_id) != group:
                raise Forked("an entry that left the group is not in the re-wrap journal", str(ledger), away.seqs[at])
            groups.add(group)
        Reader(vault, ledger, sorted(groups)).read([away.seqs[at] for at in part])


def _places(vault: Vault, ledger: UUID, seqs: Sequence[int]) -> dict[int, Place]:
    return transact(vault.engine, lambda connection: moving.places(connection, ledger, seqs))


def _index(away: _Away, seq: int) -> int | None:
    at = bisect_left(away.seqs, seq)
    return at if at < len(away.seqs) and away.seqs[at] == seq else None


def _parts(lines: Iterator[Place]) -> Iterator[list[Place]]:
    part: list[Place] = []
    for line in lines:
        part.append(line)
        if len(part) == _PART:
            yield part
            part = []
    if part:
        yield part
