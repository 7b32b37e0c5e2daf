"""Chains of a ledger's records: every living key that ever wrapped theirs, so that all of them can die.

    groups = chain(vault, ledger, selection)

A record is destroyed only when every provider key that ever wrapped its key is (vault.core.chain). Where it was written
stands in its leaf, where it was moved in the events; both are believed only where the chain holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from vault import chronicle, leaves, selections
from vault.context import Vault
from vault.core import leaf
from vault.core.chain import Move, reached
from vault.core.errors import Modified
from vault.core.leaf import EventLeaf, RecordLeaf
from vault.core.selection import Selection

MOVED, DESTROYED = "keys.moved", "key.destroyed"


def chain(vault: Vault, ledger: UUID, selection: Selection) -> frozenset[str]:
    """Return the groups that any of these records' keys was ever in and that are not destroyed.

    Raises:
        Forked, Modified: the ledger, the events or a selection is not what was signed.
        Missing: an entry, or a selection that an event names, is not there.
    """
    return reach(vault, ledger, selection)(selection)


def reach(vault: Vault, ledger: UUID, most: Selection) -> Callable[[Selection], frozenset[str]]:
    """Return what tells the chain of any part of these records without reading anything again; raises as ``chain``."""
    told, _ = chronicle.read(vault, {MOVED, DESTROYED})
    of_ledger = [event for event in told if event.facts.get("ledger") == str(ledger)]
    first, moved, dead = written(vault, ledger, most), moves(vault, ledger, of_ledger), destroyed(of_ledger)
    return lambda part: reached(part, first, moved) - dead


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
        Missing: one is not there.
        Modified: one is no record and holds no sealed details.
    """
    found: dict[str, list[int]] = defaultdict(list)
    for seq, data, _ in leaves.signed(vault, ledger, list(wanted)):
        found[_group(leaf.parse(data), str(ledger), seq)].append(seq)
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
