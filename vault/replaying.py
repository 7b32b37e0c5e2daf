"""Replaying: what the journal knows makes an older database readable again.

    1. ask the provider for the state of every key that the database or the journal names
    2. insert the groups and epoch keys that the database does not have yet, of keys that live
    3. close the groups whose keys are destroyed, as the provider says, and every other that a record is moved out of
    4. for each record whose key cannot be opened where it is: its newest place in the journal whose key lives, tried
       with every commitment of its leaf before the row is exchanged
    5. mark the groups whose keys are destroyed

A record that has no place under a living key stays unreadable: it was destroyed. A record that opens where it is stays
there. Nothing is taken from the journal on trust: a place that does not open is passed over and counted, and blind
indexes are made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from vault import events, generations, journal
from vault.context import Vault
from vault.core import leaf, packing
from vault.core.errors import EvidenceError, Forked, KeyGone
from vault.core.leaf import EventLeaf, RecordLeaf
from vault.core.record import Record
from vault.db import groups as stored
from vault.db import moving, store
from vault.db.engine import transact
from vault.db.moving import Place, Step
from vault.db.store import AuditRow
from vault.journal import Journal
from vault.keys.provider import KeyState
from vault.keys.ring import EpochRow, GroupRow, group_ref
from vault.opening import Opener

BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of it.

    Attributes:
        groups, epochs: that the database did not have.
        moved: records that can be read again.
        failed: records whose newest place in the journal does not open.
        unreadable: records that are left under keys that do not work, the failed among them.
        told: whether an event could say so; where the database is behind its checkpoint none can.
    """

    groups: int
    epochs: int
    moved: int
    failed: int
    unreadable: int
    told: bool


def replay(vault: Vault, ledger: UUID) -> Replayed:
    """Make a ledger's records readable under the keys that they were moved to.

    Raises:
        Modified: the journal is not what was written.
        Forked: a row changed meanwhile.
        KeyUnavailable: the provider cannot be reached; run again, the call goes on.
    """
    with journal.deciding(vault.rewraps, ledger), journal.held(vault.rewraps, ledger) as log:
        keys = _Keys(vault, ledger)
        known = _read(log, keys)
        inserted = _insert(vault, ledger, known, keys)
        names = [one.name for one in transact(vault.engine, lambda connection: stored.listing(connection, ledger))]
        gone = [name for name in names if keys.state(name) is KeyState.DESTROYED]
        if gone:
            generations.close(vault, ledger, gone)
        moved, failed = _move(vault, ledger, log, known, keys)
        _mark(vault, ledger, gone)
        dead = [name for name in names if not keys.live(name)]
        unreadable = len(transact(vault.engine, lambda connection: moving.seqs_in(connection, ledger, dead)))
    facts = {"ledger": str(ledger), "groups": inserted[0], "epochs": inserted[1], "count": moved}
    told = True
    try:
        events.record(vault, "keys.replayed", facts | {"unreadable": unreadable})
    except EvidenceError:  # an older database takes no events; that it is older is what this is for
        told = False
    return Replayed(*inserted, moved, failed, unreadable, told)


class _Keys:
    """States of group keys, each asked for once."""

    def __init__(self, vault: Vault, ledger: UUID) -> None:
        self._provider = vault.provider
        self._ledger = ledger
        self._states: dict[str, KeyState] = {}

    def state(self, group: str) -> KeyState:
        if group not in self._states:
            self._states[group] = self._provider.describe(group_ref(self._ledger, group)).state
        return self._states[group]

    def live(self, group: str) -> bool:
        return self.state(group) is KeyState.ENABLED


class _Known(NamedTuple):
    """What the journal holds. ``newest``: position -> number of the line that says its newest place that can live."""

    groups: dict[str, GroupRow]
    epochs: dict[int, EpochRow]
    newest: dict[int, int]


def _read(log: Journal, keys: _Keys) -> _Known:
    known = _Known({}, {}, {})
    for number, line in enumerate(log.read()):
        if isinstance(line, GroupRow):
            known.groups[line.group] = line
        elif isinstance(line, EpochRow):
            known.epochs[line.epoch_id] = line
        elif (epoch := known.epochs.get(line.epoch_id)) is not None and keys.live(epoch.group):
            known.newest[line.seq] = number
    return known


def _insert(vault: Vault, ledger: UUID, known: _Known, keys: _Keys) -> tuple[int, int]:
    """Step 2. Returns how many groups and epochs the database did not have."""
    standing = {one.name for one in transact(vault.engine, lambda connection: stored.listing(connection, ledger))}
    groups = [one for one in known.groups.values() if one.group not in standing and keys.live(one.group)]
    rows = [
        {
            "epoch_id": one.epoch_id,
            "group_name": one.group,
            "key_ref": one.key_ref,
            "writer": one.writer,
            "day": one.day,
            "wrapped": one.wrapped,
        }
        for one in known.epochs.values()
        if keys.live(one.group)
    ]
    for one in groups:
        transact(
            vault.engine,
            lambda connection, one=one: stored.insert_group(  # type: ignore[misc]
                connection, ledger, one.group, one.key_ref, one.index_key
            ),
        )
    return len(groups), transact(vault.engine, lambda connection: moving.insert_missing(connection, ledger, rows))


def _move(vault: Vault, ledger: UUID, log: Journal, known: _Known, keys: _Keys) -> tuple[int, int]:
    """Step 4. Returns how many records were moved, and how many could not be."""
    owners = transact(vault.engine, lambda connection: moving.epoch_groups(connection, ledger))
    opener = Opener(vault.engine, vault.ring, ledger)
    done, failed = 0, 0
    for places in _chosen(log, known):
        seqs = list(places)
        rows = transact(vault.engine, lambda connection, seqs=seqs: list(store.fetch_entries(connection, ledger, seqs)))  # type: ignore[misc]
        steps, left = [], set[str]()
        for row in rows:
            group = None if row.sealed is None else owners.get(row.sealed.epoch_id)
            if row.sealed is None or (group is not None and keys.live(group)):
                continue
            try:
                steps.append(_tried(opener, row, places[row.seq]))
                if group is not None:
                    left.add(group)
            except (EvidenceError, KeyGone):
                failed += 1
        if left:  # the database lets nothing move out of a group that is written to
            generations.close(vault, ledger, left)
        if transact(vault.engine, lambda connection, steps=steps: moving.move(connection, ledger, steps)) != len(steps):  # type: ignore[misc]
            raise Forked("a row changed while the journal was replayed", str(ledger), seqs[0])
        done += len(steps)
    return done, failed


def _chosen(log: Journal, known: _Known) -> Iterator[dict[int, Place]]:
    """Yield the newest places, a batch at a time, by position."""
    batch: dict[int, Place] = {}
    for number, line in enumerate(log.read()):
        if isinstance(line, Place) and known.newest.get(line.seq) == number:
            batch[line.seq] = line
            if len(batch) == BATCH:
                yield batch
                batch = {}
    if batch:
        yield batch


def _tried(opener: Opener, row: AuditRow, place: Place) -> Step:
    """Return the step to a place under which the entry opens; raises what ``Opener.open`` does."""
    assert row.sealed is not None
    assert row.leaf is not None
    parsed = leaf.parse(packing.unpack(row.leaf))
    assert isinstance(parsed, RecordLeaf | EventLeaf)
    there = row.sealed._replace(epoch_id=place.epoch_id, wrapped_key=place.wrapped, tags=(None, None, None))
    raw = opener.open(parsed, there)
    if isinstance(parsed, RecordLeaf):
        tags = opener.blind_tags(there, msgspec.json.decode(raw, type=Record))
        place = place._replace(conversation=tags[0], transaction=tags[1], customer=tags[2])
    return Step(row.sealed.epoch_id, row.sealed.wrapped_key, place)


def _mark(vault: Vault, ledger: UUID, names: list[str]) -> None:
    """Step 5."""
    if names:
        transact(vault.engine, lambda connection: generations.mark_destroyed(connection, ledger, names))
