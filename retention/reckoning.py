"""Reckoning: the effective keep_until of an entry, from its leaf, its content, rule books and datings. Pure.

    keep_until = max(the leaf's own,
                     what its own rule book says with the events reported since,
                     what every rule book adopted after that one says)

So nothing that is adopted or reported later makes a record due sooner: a book that asks for less counts for new
records only. The one way from open-ended to dated is the event that the record's rules wait for.

- A record of an approved import counts ``occurred_at`` as the day of its receipt: its leaf was reckoned so.
- ``erase_by`` is the earliest duty to erase under any of those books; where it lies before ``keep_until``, the record
  is in conflict: kept, and restricted.
- Entries of the events ledger count their own time for everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from retention.counting import Counted, Starts
from retention.history import Dating
from retention.keeping import carried, keeper
from retention.rules import RuleBook
from vault.core.canonical import b64
from vault.core.errors import Missing, UsageError
from vault.core.facets import Facets
from vault.core.flags import Flag
from vault.core.keeping import Facts
from vault.core.leaf import EventLeaf, RecordLeaf, microseconds
from vault.core.record import Record

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_IMPORTED: Final = int(Flag.IMPORTED)  # combining members of an IntFlag costs a microsecond


class Effect(NamedTuple):
    """How long an entry is kept as of now.

    Attributes:
        keep_until: Unix seconds of the first instant at which it may be destroyed; None while it is open-ended.
        erase_by: Unix seconds from which some rule demands erasure; None where none does, or has no date yet.
        rules: ids of every rule that applies, under any of the books, sorted.
        book: version of the book that decided ``keep_until``; the leaf's own where several agree.
        conflict: erasure is demanded before keeping ends.
        triggers: (name, microseconds) of what started the periods under that book.
        rulebook: digest of that book.
    """

    keep_until: int | None
    erase_by: int | None
    rules: tuple[str, ...]
    book: str
    conflict: bool
    triggers: tuple[tuple[str, int], ...]
    rulebook: bytes


class Reckoning:
    """Reckons for one ledger.

    Args:
        books: that were in force, in order.
        jurisdictions, opted_in: of the ledger's genesis.
        datings: position -> what dated that record.

    Raises:
        UsageError: the ledger opted into a rule that none of the books has.
    """

    def __init__(
        self,
        books: Sequence[RuleBook],
        jurisdictions: tuple[str, ...],
        opted_in: tuple[str, ...],
        datings: Mapping[int, tuple[Dating, ...]],
    ) -> None:
        self._datings = datings
        terms = []
        for at, book in enumerate(books):
            full = carried(books[: at + 1], opted_in)
            # A ledger may have opted into a rule that this book did not have yet.
            chosen = tuple(one for one in opted_in if one in full.rules)
            terms.append((book, keeper(full, ledger_jurisdictions=jurisdictions, opted_in=chosen)))
        if missing := [one for one in opted_in if not any(one in book.rules for book in books)]:
            raise UsageError(f"no rule book that was in force has the rule {missing[0]!r}, which the ledger opted into")
        self._from = {b64(book.digest): tuple(terms[at:]) for at, book in enumerate(books)}

    def of_record(self, leaf: RecordLeaf, columns: Facets, record: Record) -> Effect:
        """Return how long a record is kept, from its leaf, its facets and its content, all verified.

        Raises:
            Missing: the leaf names a rule book that was never in force.
        """
        occurred = columns.occurred_at
        executed = record.decision.executed_at
        dated = self._datings.get(leaf.seq)
        facts = Facts(
            occurred,
            occurred if columns.flags & _IMPORTED else _microseconds(leaf.received_at),
            None if executed is None else (executed - _EPOCH) // _MICROSECOND,
            tuple(record.jurisdictions),
            record.record_class,
            record.relates_to is not None and any(relation.kind == "dates" for relation in record.relates_to),
            () if dated is None else tuple((one.trigger, one.at) for one in dated),
        )
        return self._effect(leaf, leaf.rulebook, leaf.keep_until, facts)

    def of_event(self, leaf: EventLeaf) -> Effect:
        """Return how long an event's sealed details are kept.

        Raises:
            Missing: the event seals nothing, or names a rule book that was never in force.
        """
        if leaf.rulebook is msgspec.UNSET:
            raise Missing("the event seals no details", leaf.ledger, leaf.seq)
        at = microseconds(leaf.at)
        return self._effect(leaf, leaf.rulebook, leaf.keep_until, Facts(at, at, None, (), "event"))

    def _effect(
        self, leaf: RecordLeaf | EventLeaf, rulebook: str, frozen: str | msgspec.UnsetType, facts: Facts
    ) -> Effect:
        in_force = self._from.get(rulebook)
        if in_force is None:
            raise Missing("the leaf names a rule book that was never in force here", leaf.ledger, leaf.seq)
        (own, keep), later = in_force[0], in_force[1:]
        counted = keep.counted(facts)
        keep_until = _since(frozen, counted.keeping.keep_until, waited=bool(facts.told))
        if not later:
            erase_by, conflict = _erasure(keep_until, counted.at_minimum, after_all=counted.after_all)
            return _effect_of(own, counted, keep_until, erase_by, conflict, counted.keeping.rules, facts)
        decided, why = own, counted
        at_minimum, after_all, rules = counted.at_minimum, counted.after_all, set(counted.keeping.rules)
        for book, keep in later:
            counted = keep.counted(facts)
            until = counted.keeping.keep_until
            if keep_until is not None and (until is None or until > keep_until):
                keep_until, decided, why = until, book, counted
            if counted.at_minimum is not None:
                at_minimum = counted.at_minimum if at_minimum is None else min(at_minimum, counted.at_minimum)
            after_all = after_all or counted.after_all
            rules.update(counted.keeping.rules)
        erase_by, conflict = _erasure(keep_until, at_minimum, after_all=after_all)
        return _effect_of(decided, why, keep_until, erase_by, conflict, tuple(sorted(rules)), facts)


def _since(frozen: str | msgspec.UnsetType, counted: int | None, *, waited: bool) -> int | None:
    """Return what the leaf's own book says by now. Only what was reported since may change what the leaf froze."""
    if isinstance(frozen, str):
        until = _seconds(frozen)
        return max(until, counted) if waited and counted is not None else until
    return counted if waited else None


def _erasure(keep_until: int | None, at_minimum: int | None, *, after_all: bool) -> tuple[int | None, bool]:
    conflict = at_minimum is not None and (keep_until is None or at_minimum < keep_until)
    if after_all and keep_until is not None:
        return keep_until if at_minimum is None else min(at_minimum, keep_until), conflict
    return at_minimum, conflict


def _effect_of(
    book: RuleBook,
    counted: Counted,
    keep_until: int | None,
    erase_by: int | None,
    conflict: bool,
    rules: tuple[str, ...],
    facts: Facts,
) -> Effect:
    starts = Starts.of(facts)
    triggers = [(name, at) for name in counted.triggers if (at := starts.at(name)) is not None]
    return Effect(keep_until, erase_by, rules, book.version, conflict, tuple(triggers), book.digest)


@lru_cache(maxsize=8192)
def _microseconds(instant: str) -> int:  # a commit's entries share it
    return microseconds(instant)


@lru_cache(maxsize=8192)
def _seconds(instant: str) -> int:
    return microseconds(instant) // 1_000_000
