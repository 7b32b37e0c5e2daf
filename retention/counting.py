"""Counting: what follows for a record from the rules that meet it and from what started their periods.

A plan holds everything that follows from the jurisdictions alone. What it counts depends on nothing but the local dates
of the instants that start periods, so it is remembered by those.

A rule with ``effective_from`` or ``effective_until`` counts for decisions of that time: by the local date of
``occurred_at`` in any of the places where the rule counts its days.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from retention.period import Period, end_of_period, first_instant_after, local_date, year_end, zone
from retention.rules import EVERYWHERE, Rule, RuleBook
from vault.core.errors import RefusedInput
from vault.core.flags import Flag
from vault.core.keeping import Facts, Keeping

_BUCKET_US = 15 * 60 * 1_000_000
_REMEMBERED = 2048  # a plan's quarter hours: three weeks of live traffic

K = TypeVar("K")
V = TypeVar("V")
Days = tuple[date, ...]  # the local date of one instant in each of a plan's places


class Starts(NamedTuple):
    """When the periods of a record start, in microseconds; None where that has not happened yet.

    Attributes:
        presumed: nobody said when the transaction was completed.
    """

    occurred: int
    received: int
    done: int
    presumed: bool
    ended: int | None
    closed: int

    @classmethod
    def of(cls, facts: Facts) -> Starts:
        """Return what starts when. What was told later lengthens; it also ends the waiting for ``relationship_ended``.

        Money cannot have moved by a decision before it, nor a relationship have ended: an earlier date would only
        shorten the period.
        """
        occurred, executed = facts.occurred_at_us, facts.executed_at_us
        done = occurred if executed is None else max(occurred, executed)
        presumed = executed is None
        ended = occurred if facts.dates_trigger else None
        closed = done
        for trigger, at in facts.told:
            if trigger == "transaction_completed":
                done, presumed = max(done, at), False
            elif trigger == "relationship_ended":
                ended = max(ended or occurred, occurred, at)
            elif trigger == "calendar_year_end":
                closed = max(closed, at)
        return cls(occurred, facts.received_at_us, done, presumed, ended, max(closed, done))

    def at(self, trigger: str) -> int | None:
        """Return the instant behind a trigger of the rule book."""
        instant: int | None = getattr(self, _INSTANTS[trigger])
        return instant


_INSTANTS = {
    "decision_completed": "occurred",
    "relationship_ended": "ended",
    "record_created": "received",
    "log_created": "received",
    "transaction_completed": "done",
    "calendar_year_end": "closed",
}


class Counted(NamedTuple):
    """What a plan counted.

    Attributes:
        keeping: what intake freezes.
        at_minimum: Unix seconds of the earliest end of a rule that demands erasure then.
        after_all: some rule demands erasure once every period has run.
        triggers: what started, or has still to start, the periods; sorted.
    """

    keeping: Keeping
    at_minimum: int | None
    after_all: bool
    triggers: tuple[str, ...]


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

    def meets(self, decided: Days) -> bool:
        """Say whether the rule counts for a decision of these local dates."""
        first, end = self.rule.effective_from, self.rule.effective_until
        return (first is None or any(decided[place] >= first for place in self.places)) and (
            end is None or any(decided[place] < end for place in self.places)
        )


class Plan:
    """The rules that meet records of certain jurisdictions, and what was counted with them before.

    Dates are remembered per 15 minutes and zone, but only where the bucket begins and ends on the same date: the clocks
    of no zone cross midnight and return within 15 minutes (a test checks that over the zone data), so the memo gives
    what counting afresh would give.
    """

    def __init__(self, book: RuleBook, concerned: tuple[str, ...], chosen: frozenset[str]) -> None:
        listed = [code for code in concerned if code in book.jurisdictions]
        world = len(listed) < len(concerned) or not concerned
        rules = [rule for rule in book.rules.values() if _applies(rule, book, listed, chosen)]
        self._clauses, self._places = _clauses(book, rules, listed, world)
        self._flags = Flag.UNCONFIGURED_JURISDICTION if world else Flag(0)
        self._days: dict[int, Days] = {}
        self._known: dict[tuple[object, ...], Counted] = {}

    def count(self, facts: Facts) -> Counted:
        """Return how long a record is kept, and why."""
        days = self._days
        occurred, received, executed = facts.occurred_at_us, facts.received_at_us, facts.executed_at_us
        decided = days.get(occurred // _BUCKET_US) or self._count_days(occurred, "$.occurred_at")
        arrived = days.get(received // _BUCKET_US) or self._count_days(received, "$")
        over = decided if facts.dates_trigger else None
        presumed = executed is None
        if facts.told:
            completed, year, over, presumed = self._told(Starts.of(facts))
        elif executed is None or executed <= occurred:  # the same as Starts.of says, which is slow
            completed = year = decided
        else:
            completed = year = days.get(executed // _BUCKET_US) or self._count_days(executed, "$.decision.executed_at")
        key = (decided, arrived, completed, year, over, presumed)
        known = self._known.get(key)
        if known is None:
            known = remember(self._known, key, self._count(*key), _REMEMBERED)
        return known

    def _told(self, starts: Starts) -> tuple[Days, Days, Days | None, bool]:
        def days(instant_us: int) -> Days:
            found = self._days.get(instant_us // _BUCKET_US)
            return found or self._count_days(instant_us, "$.decision.executed_at")

        over = None if starts.ended is None else days(starts.ended)
        return days(starts.done), days(starts.closed), over, starts.presumed

    def _count_days(self, instant_us: int, path: str) -> Days:
        bucket, second = instant_us // _BUCKET_US, instant_us // 1_000_000
        begins = bucket * _BUCKET_US // 1_000_000
        try:
            first, last = self._dates(begins), self._dates(begins + 15 * 60 - 1)
            if first != last:
                return self._dates(second)
            return remember(self._days, bucket, first, _REMEMBERED)
        except OverflowError:
            raise _too_late(path) from None

    def _dates(self, second: int) -> Days:
        return tuple(local_date(second, place.dates) for place in self._places)

    def _count(
        self, decided: Days, arrived: Days, completed: Days, year: Days, over: Days | None, presumed: bool
    ) -> Counted:
        transaction = "$.occurred_at" if presumed else "$.decision.executed_at"
        starts = {
            "decision_completed": (decided, "$.occurred_at"),
            "relationship_ended": (over, "$.occurred_at"),
            "record_created": (arrived, "$"),
            "log_created": (arrived, "$"),
            "transaction_completed": (completed, transaction),
            "calendar_year_end": (tuple(year_end(day) for day in year), transaction),
        }
        ends: list[int] = []
        at_minimum: list[int] = []
        flags = self._flags
        clauses = [clause for clause in self._clauses if clause.meets(decided)]
        for clause in clauses:
            days, path = starts[clause.trigger]
            if days is None:
                flags |= Flag.OPEN_ENDED
                continue
            end = self._end(clause, days, path)
            ends.append(end)
            if clause.rule.erase == "at_minimum":
                at_minimum.append(end)
        keep_until = None if Flag.OPEN_ENDED in flags else max(ends)
        if at_minimum and (keep_until is None or min(at_minimum) < keep_until):
            flags |= Flag.ERASURE_CONFLICT
        after_all = any(clause.rule.erase == "after_all_minimums" for clause in clauses)
        erasures = [*at_minimum, *([keep_until] if after_all and keep_until is not None else [])]
        triggers = {clause.trigger for clause in clauses}
        if presumed and triggers & {"transaction_completed", "calendar_year_end"}:
            flags |= Flag.TRANSACTION_PRESUMED
        ids = tuple(sorted({clause.rule.id for clause in clauses}))
        keeping = Keeping(keep_until, _group(keep_until), ids, min(erasures, default=None), flags)
        return Counted(keeping, min(at_minimum, default=None), after_all, tuple(sorted(triggers)))

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


def _too_late(path: str) -> RefusedInput:
    return RefusedInput("a retention period from here would end after year 9999", path, "time_out_of_range")


def remember(memo: dict[K, V], key: K, value: V, bound: int) -> V:
    """Keep a value; a full memo starts afresh, so that memory stays flat."""
    if len(memo) >= bound:
        memo.clear()
    memo[key] = value
    return value
