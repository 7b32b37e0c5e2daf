"""Judging: what is to become of an entry, once it was opened. Due and free, it may be destroyed; else where it belongs.

    held         an open hold keeps it           -> group ``held``
    extended     its leaf says it is due, and later law, or a later date, keeps it   -> group of the month it is due in
    not_due      its own date lies ahead         -> the same
    open_ended   its rules wait for an event     -> group ``open``
    planned      another disposal destroys it already                                -> where it is
    unasked      due and free, and not among those that are asked for                -> where it is

A month's records are due together, once that month is over everywhere: then their group's key can die. A conflict of
laws (erasure demanded before keeping ends) saves nothing and dooms nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from retention.reckoning import Effect
from vault.core import canonical
from vault.core.facets import Facets
from vault.core.groups import HELD, due_at, stem_at
from vault.core.leaf import EventLeaf, RecordLeaf, microseconds
from vault.core.record import Record
from vault.core.selection import Selection

EXCEPTIONS: Final = ("held", "extended", "not_due", "open_ended", "planned")
"""Why an entry is left behind by a plan."""
UNASKED: Final = "unasked"

Keeping = Callable[[RecordLeaf | EventLeaf, Facets | None, Record | None], Effect]
Holding = Callable[[int, Facets | None, Record | None], tuple[str, ...]]


class Applied(msgspec.Struct):
    """One rule of one book, over the doomed.

    Attributes:
        book: version of the book; ``rulebook`` its digest, base64url.
        count: records that it kept until now.
        triggers: name -> first and last instant that started a period of theirs, microseconds since the epoch.
        first, last: of the dates they were kept until, Unix seconds; 0 where none had one.
    """

    rule: str
    book: str
    rulebook: str
    count: int = 0
    triggers: dict[str, tuple[int, int]] = {}
    first: int = 0
    last: int = 0

    def add(self, other: Applied) -> None:
        """Count another's records as well."""
        self.count += other.count
        for name, (first, last) in other.triggers.items():
            known = self.triggers.get(name, (first, last))
            self.triggers[name] = (min(known[0], first), max(known[1], last))
        self.first = min(self.first, other.first) if self.first and other.first else self.first or other.first
        self.last = max(self.last, other.last)


class Sight(msgspec.Struct):
    """What was seen of some entries, in order.

    Attributes:
        looked: how many they were.
        doomed: position and leaf hash of each that is due, free and asked for.
        places: stem -> positions of the others, by the group they belong to.
        saved: reason -> positions, of the others.
        holds: hold -> how many it keeps.
        groups: of the doomed: the group at write, and the one whose key opens them now.
        latest: of their dates, Unix seconds.
        applied: the rules that kept the doomed until now.
    """

    looked: int = 0
    doomed: list[tuple[int, bytes]] = []
    places: dict[str, list[int]] = {}
    saved: dict[str, list[int]] = {}
    holds: dict[str, int] = {}
    groups: list[str] = []
    latest: int = 0
    applied: dict[str, Applied] = {}

    def add(self, other: Sight) -> None:
        """Take what was seen after it."""
        self.looked += other.looked
        self.doomed += other.doomed
        for mine, theirs in ((self.places, other.places), (self.saved, other.saved)):
            for name, seqs in theirs.items():
                mine.setdefault(name, []).extend(seqs)
        for name, count in other.holds.items():
            self.holds[name] = self.holds.get(name, 0) + count
        self.groups = sorted({*self.groups, *other.groups})
        self.latest = max(self.latest, other.latest)
        for name, one in other.applied.items():
            self.applied.setdefault(name, Applied(one.rule, one.book, one.rulebook)).add(one)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many are left behind, by reason."""
        return {reason: len(self.saved.get(reason, ())) for reason in EXCEPTIONS}

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules as events seal them."""
        return [msgspec.to_builtins(self.applied[name]) for name in sorted(self.applied)]


class Judge:
    """Judges entries of one ledger by one moment.

    Args:
        keeping: ``Effective.of``.
        holding: ``Held.of``.
        now: Unix seconds.
        among: what may be doomed; None leaves everything.
        besides: what another disposal was planned for.
        early: their dates do not count: two people want them gone before.
    """

    def __init__(
        self,
        keeping: Keeping,
        holding: Holding,
        *,
        now: int,
        among: Selection | None = None,
        besides: Selection = Selection(),  # noqa: B008 - a frozen value
        early: bool = False,
    ) -> None:
        self._keeping = keeping
        self._holding = holding
        self._now = now
        self._among = among
        self._besides = besides
        self._early = early

    def take(
        self,
        into: Sight,
        leaf: RecordLeaf | EventLeaf,
        leaf_hash: bytes,
        group: str,
        columns: Facets | None = None,
        record: Record | None = None,
    ) -> None:
        """Judge one entry. Facets and record were compared with the leaf; ``group`` is the one it is in now."""
        effect = self._keeping(leaf, columns, record)
        into.looked += 1
        asked = self._among is None or leaf.seq in self._among
        holds = self._holding(leaf.seq, columns, record)
        for hold in holds:
            into.holds[hold] = into.holds.get(hold, 0) + 1
        stem, reason = self._place(leaf, effect, early=self._early and asked)
        if holds:
            stem, reason = HELD, "held"
        elif not reason and leaf.seq in self._besides:
            reason = "planned"
        if not reason and asked:
            into.doomed.append((leaf.seq, leaf_hash))
            into.groups = sorted({*into.groups, group, *([] if leaf.group is msgspec.UNSET else [leaf.group])})
            into.latest = max(into.latest, effect.keep_until or 0)
            _apply(into.applied, effect)
            return
        into.places.setdefault(stem, []).append(leaf.seq)
        into.saved.setdefault(reason or UNASKED, []).append(leaf.seq)

    def _place(self, leaf: RecordLeaf | EventLeaf, effect: Effect, *, early: bool) -> tuple[str, str]:
        """Return the stem where an entry belongs that nobody holds, and why it is kept: "" where nothing keeps it."""
        stem = stem_at(effect.keep_until)
        due = due_at(stem)
        if early or (due is not None and due <= self._now):
            return stem, ""
        if due is None:
            return stem, "open_ended"
        own = None if leaf.keep_until is msgspec.UNSET else microseconds(leaf.keep_until) // 1_000_000
        over = own is not None and (due_at(stem_at(own)) or 0) <= self._now
        return stem, "extended" if over else "not_due"


def _apply(applied: dict[str, Applied], effect: Effect) -> None:
    rulebook = canonical.b64(effect.rulebook)
    until = effect.keep_until or 0
    triggers = {name: (at, at) for name, at in effect.triggers}
    for rule in effect.rules:
        one = applied.setdefault(f"{rulebook}/{rule}", Applied(rule, effect.book, rulebook))
        one.add(Applied(rule, effect.book, rulebook, 1, triggers, until, until))
