"""Chains of a ledger's records: every living key that ever wrapped theirs, so that all of them can die.

    groups = chain(vault, ledger, selection)

A record is destroyed only when every provider key that ever wrapped its key is (vault.core.chain). Where it was written
stands in its leaf, where it was moved in the events; both are believed only where the chain holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any
from uuid import UUID

from vault import chronicle, selections
from vault.context import Vault
from vault.core import leaf, packing
from vault.core.chain import Move, reached
from vault.core.errors import Forked, Missing, Modified
from vault.core.leaf import EventLeaf, RecordLeaf
from vault.core.selection import Selection
from vault.core.tree import Frontier, leaf_hash
from vault.db import store
from vault.db.engine import translated

MOVED, DESTROYED = "keys.moved", "key.destroyed"


def chain(vault: Vault, ledger: UUID, selection: Selection) -> frozenset[str]:
    """Return the groups that any of these records' keys was ever in and that are not destroyed.

    Raises:
        Forked, Modified: the ledger, the events or a selection is not what was signed.
        Missing: an entry, or a selection that an event names, is not there.
    """
    told, _ = chronicle.read(vault, {MOVED, DESTROYED})
    of_ledger = [event for event in told if event.facts.get("ledger") == str(ledger)]
    found = reached(selection, written(vault, ledger, selection), moves(vault, ledger, of_ledger))
    return found - destroyed(of_ledger)


def moves(vault: Vault, ledger: UUID, told: Collection[EventLeaf]) -> list[Move]:
    """Return where records of a ledger were moved to, as its events say."""
    return [
        Move(_fact(event, "to"), selections.load(vault, ledger, _fact(event, "selection")))
        for event in told
        if event.event == MOVED
    ]


def destroyed(told: Collection[EventLeaf]) -> frozenset[str]:
    """Return the groups whose destruction these events of one ledger tell."""
    return frozenset(_fact(event, "group") for event in told if event.event == DESTROYED)


def written(vault: Vault, ledger: UUID, wanted: Selection) -> dict[str, Selection]:
    """Return the group at write of these records: group -> records.

    Raises:
        Forked: the entries are not the tree that was signed.
        Missing: one is not there, or not under a checkpoint yet.
        Modified: one is no record and holds no sealed details.
    """
    place = str(ledger)
    checkpoint = vault.checkpoints.read(ledger)
    if checkpoint is None:
        raise Forked("the checkpoint outside the database is missing", place)
    if wanted.ranges and wanted.ranges[-1][1] >= checkpoint.size:
        raise Missing("the entry is not there", place, wanted.ranges[-1][1])
    found: dict[str, list[int]] = defaultdict(list)
    frontier = Frontier()
    with translated(), vault.engine.connect() as connection:
        for seq, stored in store.stream_leaves(connection, ledger, 0, checkpoint.size):
            data = packing.unpack(stored)
            frontier.extend((leaf_hash(data),))
            if seq in wanted:
                found[_group(leaf.parse(data), place, seq)].append(seq)
    if frontier.size != checkpoint.size or frontier.root() != checkpoint.root:
        raise Forked("the entries are not the tree that was signed", place, checkpoint.size)
    return {group: Selection.of(seqs) for group, seqs in found.items()}


def _group(parsed: leaf.Leaf, place: str, seq: int) -> str:
    if not isinstance(parsed, RecordLeaf | EventLeaf) or (parsed.ledger, parsed.seq) != (place, seq):
        raise Modified("the leaf is not in its place", place, seq)
    if not isinstance(parsed.group, str):
        raise Modified("the leaf names no group, so nothing of it can be destroyed", place, seq)
    return parsed.group


def _fact(event: EventLeaf, name: str) -> str:
    said: Any = event.facts.get(name)
    if not isinstance(said, str):
        raise Modified(f"the event {event.event} does not have its facts", event.ledger, event.seq)
    return said
