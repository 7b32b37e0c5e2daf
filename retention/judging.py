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

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec

from retention.reckoning import Effect
from vault.core import canonical
from vault.core.facets import Facets
from vault.core.groups import HELD, due_at, stem_at
from vault.core.leaf import EventLeaf, RecordLeaf, microseconds
from vault.core.record import Record
from vault.core.selection import Selection
from vault.surveying import Opened

EXCEPTIONS: Final = ("held", "extended", "not_due", "open_ended", "planned")
"""Why an entry is left behind by a plan."""
UNASKED: Final = "unasked"

Keeping = Callable[[RecordLeaf | EventLeaf, Facets | None, Record | None], Effect]
Holding = Callable[[int, Facets | None, Record | None], tuple[str, ...]]


class Verdict(NamedTuple):
    """What became of one entry. Small, since it comes out of another process.

    Attributes:
        reason: why it is left behind; "" where it is doomed.
        stem: of the group that it belongs to, if it is left behind.
        holds: that keep it.
    """

    leaf_hash: bytes
    reason: str
    stem: str
    holds: tuple[str, ...]
    effect: Effect


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

    def take(self, effect: Effect) -> None:
        """Count a record."""
        self.count += 1
        for name, at in effect.triggers:
            first, last = self.triggers.get(name, (at, at))
            self.triggers[name] = (min(first, at), max(last, at))
        until = effect.keep_until or 0
        self.first = min(self.first, until) if self.first and until else self.first or until
        self.last = max(self.last, until)


class Sight(msgspec.Struct):
    """What was seen of some entries.

    Attributes:
        looked: how many they were.
        doomed: position and leaf hash of each that is due, free and asked for.
        places: (group, stem) -> positions of the others: where they are, and where they belong.
        saved: reason -> positions, of the others.
        holds: hold -> how many it keeps.
        groups: whose keys open the doomed now.
        latest: of their dates, Unix seconds.
        applied: the rules that kept the doomed until now.
    """

    looked: int = 0
    doomed: list[tuple[int, bytes]] = []
    places: dict[tuple[str, str], list[int]] = {}
    saved: dict[str, list[int]] = {}
    holds: dict[str, int] = {}
    groups: set[str] = set()
    latest: int = 0
    applied: dict[tuple[bytes, str], Applied] = {}

    def take(self, seq: int, group: str, verdict: Verdict) -> None:
        """Take one entry, which is in ``group`` now."""
        self.looked += 1
        for hold in verdict.holds:
            self.holds[hold] = self.holds.get(hold, 0) + 1
        if verdict.reason:
            self.places.setdefault((group, verdict.stem), []).append(seq)
            self.saved.setdefault(verdict.reason, []).append(seq)
            return
        effect = verdict.effect
        self.doomed.append((seq, verdict.leaf_hash))
        self.groups.add(group)
        self.latest = max(self.latest, effect.keep_until or 0)
        for rule in effect.rules:
            key = (effect.rulebook, rule)
            if key not in self.applied:
                self.applied[key] = Applied(rule, effect.book, canonical.b64(effect.rulebook))
            self.applied[key].take(effect)

    def targets(self) -> Iterator[tuple[int, str, str | None]]:
        """Yield (position, group, stem) of everything seen, ascending; the doomed belong nowhere, and have no group."""
        leaving = [(seq, group, stem) for (group, stem), seqs in self.places.items() for seq in seqs]
        staying: list[tuple[int, str, str | None]] = [(seq, "", None) for seq, _ in self.doomed]
        yield from sorted((*leaving, *staying), key=itemgetter(0))

    @property
    def counts(self) -> dict[str, int]:
        """Return how many are left behind, by reason."""
        return {reason: len(self.saved.get(reason, ())) for reason in EXCEPTIONS}

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules as events seal them."""
        return [msgspec.to_builtins(self.applied[key]) for key in sorted(self.applied)]


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

    def __call__(self, opened: Opened) -> Verdict:
        """Judge one entry."""
        effect = self._keeping(opened.leaf, opened.facets, opened.record)
        holds = self._holding(opened.seq, opened.facets, opened.record)
        asked = self._among is None or opened.seq in self._among
        stem, reason = self._place(opened.leaf, effect, early=self._early and asked)
        if holds:
            stem, reason = HELD, "held"
        elif not reason and opened.seq in self._besides:
            reason = "planned"
        elif not reason and not asked:
            reason = UNASKED
        return Verdict(opened.leaf_hash, reason, stem, holds, effect)

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
