"""From the facts of one record to how long it is kept.

Which rules apply: those of ``*``, plus the defaults of every jurisdiction concerned and of its parents (DE
-> EU), plus those the ledger opted into. Concerned are the record's own jurisdictions and its ledger's.
Everything is a maximum, so one more jurisdiction or one more rule never shortens a keeping.

- A rule that the ledger opted into applies to every record of that ledger, also to one whose jurisdictions
  it does not touch. ``record_class`` chooses no rule yet: a ledger for class ``aml`` opts into the rules of
that class. - A ledger cannot opt out of a default rule yet.
- A rule counts its days in the zone of its own jurisdiction and in those of the concerned codes that belong
  to it; a rule of ``*`` in the zones of all concerned codes. The latest end decides.
- The floor is also counted from ``received_at``, so that an old or invented ``occurred_at`` makes no record
due. - A code that the book does not list gets the floor, counted as the worst zone on Earth would count it:
  no zone has a later date than UTC+14, and none ends a day later than UTC-12.
- A period that waits for an event (``relationship_ended``) leaves the record open-ended, unless the record
  itself reports that event.

Not decided here: extensions, holds, imports with an approved earlier date, and follow-ups that date a record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from retention.period import Period, end_of_period, first_instant_after, local_date, year_end, zone
from retention.rules import EVERYWHERE, Rule, RuleBook
from vault.core.errors import RefusedInput, UsageError
from vault.core.flags import Flag
from vault.core.keeping import Facts, Keeping

_BUCKET_US = 15 * 60 * 1_000_000
# A full memo starts afresh. The bounds keep memory flat even where each record names other jurisdictions.
_PLANS = 256
_REMEMBERED = 2048  # a plan's quarter hours: three weeks of live traffic
_CODE = re.compile(r"[A-Z]{2}", re.ASCII)

K = TypeVar("K")
V = TypeVar("V")
Days = tuple[date, ...]  # the local date of one instant in each of a plan's places


class Adoption(NamedTuple):
    """What a ledger lives by; ``not_adopted`` pairs each other rule with the reason, for printing."""

    adopted: tuple[Rule, ...]
    not_adopted: tuple[tuple[Rule, str], ...]


class _Place(NamedTuple):
    """Where days are counted: the zone that dates the event and the zone in which the last day ends."""

    dates: ZoneInfo
    ends: ZoneInfo


@dataclass(frozen=True, slots=True)
class _Clause:
    """One period to count: a rule's, or the floor's second count from ``received_at``."""

    rule: Rule
    period: Period
    trigger: str
    places: tuple[int, ...]  # indexes into the plan's places


def adopted(book: RuleBook, ledger_jurisdictions: Iterable[str], opted_in: Iterable[str]) -> Adoption:
    """Which rules of the book every record of a ledger meets, and why the others are left out.

    A record that names further jurisdictions meets their defaults as well.

    Raises:
        UsageError: an opted-in id that the book does not have, or a jurisdiction that is no code.
    """
    chosen = _known_rules(book, opted_in)
    touched = {parent for code in _codes(ledger_jurisdictions) for parent in book.lineage(code)}
    taken: list[Rule] = []
    left: list[tuple[Rule, str]] = []
    for rule in book.rules.values():
        if rule.id in chosen or (rule.applies == "default" and rule.jurisdiction in {EVERYWHERE, *touched}):
            taken.append(rule)
        elif rule.applies == "default":
            left.append((rule, f"applies only to records that name {rule.jurisdiction}"))
        elif rule.jurisdiction in {EVERYWHERE, *touched}:
            left.append((rule, "optional, and the ledger did not opt in"))
        else:
            left.append((rule, f"optional, and the ledger is not of {rule.jurisdiction}"))
    return Adoption(tuple(taken), tuple(left))


def keeper(
    book: RuleBook, *, ledger_jurisdictions: tuple[str, ...], opted_in: tuple[str, ...]
) -> Callable[[Facts], Keeping]:
    """The function that dates every record of one ledger.

    It depends on nothing but its arguments and the zone data, can be pickled, and takes about a microsecond a
    record. The Keeping objects it returns are shared.

    Raises:
        UsageError: an opted-in id that the book does not have, or a jurisdiction that is no code.

    The function raises:
        RefusedInput: a period would end after year 9999; the path names the trigger. Instants before year 1
            of the local calendar count as its first day.
    """
    return _Keeper(book, _codes(ledger_jurisdictions), _known_rules(book, opted_in))


class _Keeper:
    def __init__(self, book: RuleBook, ledger: tuple[str, ...], chosen: frozenset[str]) -> None:
        self._book = book
        self._ledger = ledger
        self._chosen = chosen
        self._plans: dict[tuple[str, ...], _Plan] = {}

    def __call__(self, facts: Facts) -> Keeping:
        plan = self._plans.get(facts.jurisdictions)
        if plan is None:
            concerned = tuple(dict.fromkeys((*self._ledger, *facts.jurisdictions)))
            plan = _Plan(self._book, concerned, self._chosen)
            _remember(self._plans, facts.jurisdictions, plan, _PLANS)
        return plan.keeping(facts)


class _Plan:
    """Everything that follows from the jurisdictions alone, and what was counted with it before.

    A keeping depends on nothing but the local dates of the three triggers. Dates are remembered per 15
    minutes and zone, but only where the bucket begins and ends on the same date: the clocks of no zone
    cross midnight and return within 15 minutes (a test checks that over the zone data), so the memo gives
    what counting afresh would give.
    """

    def __init__(self, book: RuleBook, concerned: tuple[str, ...], chosen: frozenset[str]) -> None:
        listed = [code for code in concerned if code in book.jurisdictions]
        world = len(listed) < len(concerned) or not concerned
        rules = [rule for rule in book.rules.values() if _applies(rule, book, listed, chosen)]
        self._clauses, self._places = _clauses(book, rules, listed, world)
        self._ids = tuple(sorted({rule.id for rule in rules}))
        self._flags = Flag.UNCONFIGURED_JURISDICTION if world else Flag(0)
        self._presumes = any(rule.trigger in ("transaction_completed", "calendar_year_end") for rule in rules)
        self._days: dict[int, Days] = {}
        self._known: dict[tuple[Days, Days, Days, bool, bool], Keeping] = {}

    def keeping(self, facts: Facts) -> Keeping:
        days = self._days
        occurred, received, executed = facts.occurred_at_us, facts.received_at_us, facts.executed_at_us
        decided = days.get(occurred // _BUCKET_US) or self._count_days(occurred, "$.occurred_at")
        arrived = days.get(received // _BUCKET_US) or self._count_days(received, "$")
        if executed is None or executed < occurred:
            # Money cannot have moved by a decision before it: an earlier date would only shorten the period.
            done = decided
        else:
            done = days.get(executed // _BUCKET_US) or self._count_days(executed, "$.decision.executed_at")
        key = (decided, arrived, done, executed is None, facts.dates_trigger)
        known = self._known.get(key)
        if known is None:
            known = _remember(self._known, key, self._count(*key), _REMEMBERED)
        return known

    def _count_days(self, instant_us: int, path: str) -> Days:
        bucket, second = instant_us // _BUCKET_US, instant_us // 1_000_000
        begins = bucket * _BUCKET_US // 1_000_000
        try:
            first, last = self._dates(begins), self._dates(begins + 15 * 60 - 1)
            if first != last:
                return self._dates(second)
            return _remember(self._days, bucket, first, _REMEMBERED)
        except OverflowError:
            raise _too_late(path) from None

    def _dates(self, second: int) -> Days:
        return tuple(local_date(second, place.dates) for place in self._places)

    def _count(self, decided: Days, arrived: Days, done: Days, presumed: bool, dated: bool) -> Keeping:
        starts = {
            "decision_completed": (decided, "$.occurred_at"),
            "relationship_ended": (decided if dated else None, "$.occurred_at"),
            "record_created": (arrived, "$"),
            "log_created": (arrived, "$"),
            "transaction_completed": (done, "$.occurred_at" if presumed else "$.decision.executed_at"),
            "calendar_year_end": (
                tuple(year_end(day) for day in done),
                "$.occurred_at" if presumed else "$.decision.executed_at",
            ),
        }
        ends: list[int] = []
        erasures: list[int] = []
        flags = self._flags
        for clause in self._clauses:
            days, path = starts[clause.trigger]
            if days is None:
                flags |= Flag.OPEN_ENDED
                continue
            end = self._end(clause, days, path)
            ends.append(end)
            if clause.rule.erase == "at_minimum":
                erasures.append(end)
        keep_until = None if Flag.OPEN_ENDED in flags else max(ends)
        if erasures and (keep_until is None or min(erasures) < keep_until):
            flags |= Flag.ERASURE_CONFLICT
        if keep_until is not None and any(c.rule.erase == "after_all_minimums" for c in self._clauses):
            erasures.append(keep_until)
        if self._presumes and presumed:
            flags |= Flag.TRANSACTION_PRESUMED
        return Keeping(keep_until, _group(keep_until), self._ids, min(erasures, default=None), flags)

    def _end(self, clause: _Clause, days: Days, path: str) -> int:
        try:
            return max(
                first_instant_after(end_of_period(days[place], clause.period), self._places[place].ends)
                for place in clause.places
            )
        except OverflowError:
            raise _too_late(path) from None


def _applies(rule: Rule, book: RuleBook, listed: Iterable[str], chosen: frozenset[str]) -> bool:
    if rule.id in chosen:
        return True
    if rule.applies != "default":
        return False
    return rule.jurisdiction == EVERYWHERE or any(rule.jurisdiction in book.lineage(code) for code in listed)


def _clauses(
    book: RuleBook, rules: Iterable[Rule], listed: Iterable[str], world: bool
) -> tuple[tuple[_Clause, ...], tuple[_Place, ...]]:
    """The periods to count, and the places that they refer to by index, each place once."""
    numbers: dict[_Place, int] = {}

    def number(place: _Place) -> int:
        return numbers.setdefault(place, len(numbers))

    def places_of(codes: Iterable[str]) -> tuple[int, ...]:
        zones = (book.zone_of(code) for code in codes)
        return tuple(dict.fromkeys(number(_Place(where, where)) for where in zones))

    everywhere = places_of(listed)
    if world:
        everywhere += (number(_Place(zone("Etc/GMT-14"), zone("Etc/GMT+12"))),)
    clauses = []
    for rule in rules:
        members = (code for code in listed if rule.jurisdiction in book.lineage(code))
        places = everywhere if rule.jurisdiction == EVERYWHERE else places_of((rule.jurisdiction, *members))
        clauses.append(_Clause(rule, rule.period, rule.trigger, places))
    clauses.append(_Clause(book.floor, book.floor.period, "record_created", everywhere))
    return tuple(clauses), tuple(numbers)


def _group(keep_until: int | None) -> str:
    """The UTC month of the first eligible instant; the group is due when that month ends."""
    if keep_until is None:
        return "open.0"
    day = datetime.fromtimestamp(keep_until, UTC)
    return f"{day.year:04d}-{day.month:02d}.0"


def _codes(jurisdictions: Iterable[str]) -> tuple[str, ...]:
    codes = tuple(dict.fromkeys(jurisdictions))
    for code in codes:
        if not _CODE.fullmatch(code):
            raise UsageError(f"the ledger's jurisdiction {code!r} is no ISO 3166-1 code of two capital letters")
    return codes


def _known_rules(book: RuleBook, ids: Iterable[str]) -> frozenset[str]:
    chosen = frozenset(ids)
    for unknown in sorted(chosen - book.rules.keys()):
        raise UsageError(f"the rule book {book.version} has no rule {unknown!r}")
    return chosen


def _too_late(path: str) -> RefusedInput:
    return RefusedInput("a retention period from here would end after year 9999", path, "time_out_of_range")


def _remember(memo: dict[K, V], key: K, value: V, bound: int) -> V:
    if len(memo) >= bound:
        memo.clear()
    memo[key] = value
    return value
