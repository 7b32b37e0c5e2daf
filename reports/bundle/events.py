"""Events of a bundle: which entries of the events ledger concern a ledger, or the records in scope. One pass.

What is picked here is proved with everything else: it stands in the tree of the events' checkpoint, or there is no
bundle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from vault import selections
from vault.context import Vault
from vault.core import leaf, packing
from vault.core.checkpoint import Checkpoint
from vault.core.errors import EvidenceError
from vault.core.leaf import EventLeaf
from vault.core.selection import Selection
from vault.db import store
from vault.db.engine import translated

_NAME = re.compile(rb'\{"actor":"[^"]*","at":"[^"]*","event":"([a-z._]+)"')

ACCESS: Final = frozenset(
    {
        "record.opened",
        "record.gone",
        "record.unsound",
        "access.denied",
        "records.opened",
        "records.searched",
        "access.requested",
        "access.exported",
        "followups.opened",
    }
)
KEYS: Final = frozenset({"signer.added", "signer.retired"})
_LEDGER: Final = frozenset({"ledger.created", "ledger.frozen", "ledger.succeeded"})
_STEPS: Final = frozenset(
    {"disposal.planned", "disposal.approved", "disposal.intended", "disposal.cancelled"}
    | {"disposal.destroying", "disposal.done"}
)
_APPROVERS: Final = frozenset({"approver.registered", "approver.removed"})
_HOLDS: Final = frozenset({"hold.placed", "hold.inherited", "hold.released"})
_DESTROYED: Final = frozenset({"key.destroyed", "keys.moved", "record.dated"}) | _STEPS | _APPROVERS | _HOLDS
_ANCHOR: Final = "checkpoint.anchored"
_WANTED: Final = ACCESS | KEYS | _LEDGER | _DESTROYED | {_ANCHOR}


@dataclass(frozen=True, slots=True)
class About:
    """What events are picked for.

    Attributes:
        size: of the ledger's checkpoint; anchors of larger trees are not of it.
        whole: all records are in scope.
        tags: the records' id tags as leaves spell them; None asks for none, and takes every denial of the ledger.
        erased: positions of those that were destroyed, by the disposals ``disposals``.
    """

    ledger: UUID
    size: int
    chosen: Selection
    whole: bool
    tags: frozenset[str] | None
    erased: Selection
    disposals: frozenset[str]


@dataclass(slots=True)
class Picked:
    """What was found.

    Attributes:
        told: the events whose facts the bundle needs itself: anchors, keys, and all about erasures.
    """

    positions: list[int] = field(default_factory=list)
    told: list[EventLeaf] = field(default_factory=list)

    def of(self, *names: str) -> list[EventLeaf]:
        return [one for one in self.told if one.event in names]

    @property
    def anchors(self) -> list[EventLeaf]:
        return self.of(_ANCHOR)


def pick(vault: Vault, checkpoint: Checkpoint, about: About) -> Picked:
    """Return what is to be in the bundle, the genesis leaf first.

    Of the anchors two are taken: the first that covers all records in scope, since others vouched for it earliest, and
    the last.
    """
    picked, choosing = Picked([0]), _Choosing(vault, about)
    covering: EventLeaf | None = None
    newest: EventLeaf | None = None
    for told in _stream(vault, checkpoint):
        if told.event == _ANCHOR:
            if choosing.is_anchor(told.facts):
                newest = told
                if covering is None and told.facts["size"] > about.chosen.ranges[-1][1]:
                    covering = told
        elif choosing.takes(told):
            picked.positions.append(told.seq)
            if told.event not in ACCESS:
                picked.told.append(told)
    anchors = {one.seq: one for one in (covering, newest) if one is not None}
    picked.told += anchors.values()
    picked.positions = sorted({*picked.positions, *anchors})
    return picked


def _stream(vault: Vault, checkpoint: Checkpoint) -> Iterator[EventLeaf]:
    wanted = {name.encode() for name in _WANTED}
    with translated(), vault.engine.connect() as connection:
        for _, stored in store.stream_leaves(connection, vault.events, 1, checkpoint.size):
            data = packing.unpack(stored)
            found = _NAME.match(data)
            if found is not None and found[1] in wanted:
                told = leaf.parse(data)
                if isinstance(told, EventLeaf):
                    yield told


class _Choosing:
    """Decides about one event after another."""

    def __init__(self, vault: Vault, about: About) -> None:
        self._vault = vault
        self._about = about
        self._place = str(about.ledger)
        self._holds: set[str] = set()

    def is_anchor(self, facts: dict[str, Any]) -> bool:
        return bool(facts.get("ledger") == self._place and facts.get("size", 0) <= self._about.size)

    def takes(self, told: EventLeaf) -> bool:
        facts = told.facts
        if told.event in KEYS:
            return True
        if told.event in ACCESS:
            return facts.get("ledger") == self._place and self._touches(facts)
        if told.event in _LEDGER:
            return self._place in (facts.get("ledger"), facts.get("successor"))
        return bool(self._about.erased.ranges) and self._explains(told.event, facts)

    def _touches(self, facts: dict[str, Any]) -> bool:
        about = self._about
        if about.whole:
            return True
        if "seq" in facts:
            return facts["seq"] in about.chosen
        if "selection" in facts:
            try:
                return bool((selections.load(self._vault, about.ledger, facts["selection"]) & about.chosen).ranges)
            except EvidenceError:  # what cannot be read may be of them
                return True
        if "id_tag" in facts:
            return about.tags is None or facts["id_tag"] in about.tags
        if facts.get("related"):
            return True  # opened for what they say about the others, and no range names them
        first, last = facts.get("first"), facts.get("last")
        if first is None or last is None:
            return "count" not in facts  # a denial of the whole ledger; nothing was found by a search without a range
        return bool((Selection(((first, last),)) & about.chosen).ranges)

    def _explains(self, event: str, facts: dict[str, Any]) -> bool:
        if event in _STEPS:
            return facts.get("disposal") in self._about.disposals
        if event in _APPROVERS:
            return True
        if event == "hold.placed" and self._place in facts["ledgers"]:
            self._holds.add(facts["hold"])
        if event in _HOLDS:
            return facts["hold"] in self._holds and facts.get("ledger", self._place) == self._place
        here = facts.get("ledger") == self._place
        return here and (event != "record.dated" or facts["seq"] in self._about.erased)
