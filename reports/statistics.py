"""Rows in, numbers out: one pass over the population, memory flat.

    count = PopulationCount(zone=ZoneInfo("Asia/Shanghai"), opened=True)
    for row in rows:            # any number, any order
        count.add(row)          # a record of the period
        # count.relate(row)     # a record outside it: only its reviews and settlements matter
    decisions, low, checks = count.decisions(), count.low_confidence(), count.checks()

Nothing is sampled or estimated. What must be remembered until the end is described in ``relations``; each
finding of an exception test costs eight bytes more, so that `PopulationCount.findings` can list them all.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Context, Decimal
from zoneinfo import ZoneInfo

from reports.checks import DOUBLE_CHARGE, ROW_CHECKS, UNSETTLED, may_find
from reports.figures import (
    Count,
    CurrencyTotal,
    Decisions,
    Example,
    ExceptionCheck,
    GroupState,
    LowConfidence,
    Outcome,
    Slice,
    Stratum,
)
from reports.histogram import ConfidenceCount, LatencyCount, VolumeCount
from reports.phrase import phrase
from reports.relations import Relations
from reports.rows import Row
from reports.strata import Strata
from vault.core.flags import Flag

LOW_CONFIDENCE_ROWS = 25
EXAMPLES = 3
SLICES = 10
CURRENCIES = 12
GROUPS = 24

# More distinct labels than this (a producer that writes a new model name into every record) fold into one.
_LABELS = 5_000
_OTHERS = phrase("(others)")
# Sums of 24-digit amounts: the default context of 28 digits would round them.
_EXACT = Context(prec=60)
_NOT_OPENED = phrase("records were not opened for this report")


class PopulationCount:
    """One pass over the records of a period."""

    def __init__(self, *, zone: ZoneInfo, opened: bool, strata: Strata | None = None) -> None:
        """``zone`` cuts days for the volume chart; ``opened`` says that rows carry what only opened records
        tell; ``strata`` is told of every row as well."""
        self._strata = strata or Strata()
        self._opened = opened
        self._count = self._moved = self._below = 0
        self._first: datetime | None = None
        self._last: datetime | None = None
        self._apis: Counter[str] = Counter()
        self._classes: Counter[str] = Counter()
        self._outcomes: Counter[tuple[str, bool]] = Counter()
        self._rules: Counter[str] = Counter()
        self._books: Counter[str] = Counter()
        self._models = _Slices()
        self._jurisdictions = _Slices()
        self._confidence = ConfidenceCount()
        self._latency = LatencyCount()
        self._volume = VolumeCount(zone)
        self._totals: dict[str, list[Decimal]] = {}
        self._total_counts: Counter[tuple[str, bool]] = Counter()
        self._groups: dict[str, _Group] = {}
        self._relations = Relations()
        self._found = [array("Q") for _ in ROW_CHECKS]
        self._examples: list[list[Example]] = [[] for _ in ROW_CHECKS]

    def add(self, row: Row) -> None:
        """Count one record of the period."""
        self._count += 1
        self._moved += row.money_moved
        self._below += row.below_threshold
        self._first = row.occurred_at if self._first is None else min(self._first, row.occurred_at)
        self._last = row.occurred_at if self._last is None else max(self._last, row.occurred_at)
        self._apis[row.api] += 1
        _bounded(self._classes, row.record_class)
        self._outcomes[row.outcome, row.money_moved] += 1
        self._books[row.rulebook] += 1
        for rule in row.rules:
            self._rules[rule] += 1
        if row.model is not None:
            self._models.add(row.model, row)
        for code in row.jurisdictions:
            self._jurisdictions.add(code, row)
        if row.score is not None:
            self._confidence.add(row.score, row.below_threshold, row.opened.threshold if row.opened else None)
        elif row.flags & Flag.SCORE_UNUSABLE.value:
            self._confidence.unusable += 1
        if row.ai_ms is not None:
            self._latency.add(row.ai_ms)
        self._volume.add(row.occurred_at)
        self._groups.setdefault(row.group, _Group()).add(row.keep_until)
        self._add_money(row)
        self._relations.add(row)
        self._strata.add(row)
        if may_find(row):
            self._check(row)

    def relate(self, row: Row) -> None:
        """A record outside the period: it is not counted, but it may review or settle one that is."""
        self._relations.relate(row)
        self._strata.relate(row)

    def _check(self, row: Row) -> None:
        for index, check in enumerate(ROW_CHECKS):
            if check.found(row):
                self._found[index].append(row.seq)
                if len(self._examples[index]) < EXAMPLES:
                    self._examples[index].append(Example(row.seq, row.record_id, check.detail(row)))

    def _add_money(self, row: Row) -> None:
        if row.opened is None:
            return
        for money, executed in ((row.opened.executed, True), (row.opened.proposed, False)):
            if money is None or (executed and not row.money_moved):
                continue
            sums = self._totals.setdefault(money.currency, [Decimal(0), Decimal(0)])
            sums[not executed] = _EXACT.add(sums[not executed], money.amount)
            self._total_counts[money.currency, executed] += 1

    def decisions(self) -> Decisions:
        """The numbers of the statistics section, bounded."""
        unit, volume = self._volume.result()
        totals = [
            CurrencyTotal(
                currency=currency,
                executed_count=self._total_counts[currency, True],
                executed=executed,
                proposed_count=self._total_counts[currency, False],
                proposed=proposed,
            )
            for currency, (executed, proposed) in self._totals.items()
        ]
        totals.sort(key=lambda total: (-total.executed_count, -total.proposed_count, total.currency))
        return Decisions(
            count=self._count,
            moved=self._moved,
            below=self._below,
            first_at=self._first,
            last_at=self._last,
            volume=volume,
            volume_unit=unit,
            apis=_counts(self._apis, SLICES),
            classes=_counts(self._classes, SLICES),
            outcomes=self._outcome_rows(),
            models=self._models.result(SLICES),
            jurisdictions=self._jurisdictions.result(SLICES),
            confidence=self._confidence.result(),
            latency=self._latency.result(),
            totals=tuple(totals[:CURRENCIES]),
        )

    def _outcome_rows(self) -> tuple[Outcome, ...]:
        names = {outcome for outcome, _ in self._outcomes}
        rows = [Outcome(name, self._outcomes[name, True], self._outcomes[name, False]) for name in names]
        return tuple(sorted(rows, key=lambda row: (-row.count, row.outcome)))

    def low_confidence(self) -> LowConfidence:
        """Executed below the threshold without an agreeing review; the lowest scores first."""
        return self._relations.low_confidence(rows=LOW_CONFIDENCE_ROWS, reviews_read=self._opened)

    def checks(self) -> tuple[ExceptionCheck, ...]:
        """Every test on rows and pairs of rows, with its result. Tests that need opened records say so if
        there are none."""
        unsettled, twins = self._relations.unsettled(), self._relations.double_charges()
        pairs = (
            replace(DOUBLE_CHARGE, count=len(twins), examples=self._relations.double_examples(EXAMPLES)),
            replace(
                UNSETTLED,
                count=len(unsettled),
                examples=tuple(Example(seq, None) for seq in unsettled[:EXAMPLES]),
            ),
        )
        if not self._opened:
            pairs = (
                replace(DOUBLE_CHARGE, not_tested=_NOT_OPENED),
                replace(UNSETTLED, not_tested=_NOT_OPENED),
            )
        return pairs + tuple(
            ExceptionCheck(check.area, check.code, check.title, check.criterion, len(found), tuple(examples))
            for check, found, examples in zip(ROW_CHECKS, self._found, self._examples, strict=True)
        )

    def findings(self) -> Iterator[tuple[str, int]]:
        """Code and seq of every finding of every test, for the attachment that lists them all."""
        yield from (("low_confidence", seq) for seq in self._relations.low_seqs())
        if self._opened:
            yield from ((DOUBLE_CHARGE.code, seq) for seq in self._relations.double_charges())
            yield from ((UNSETTLED.code, seq) for seq in self._relations.unsettled())
        for check, found in zip(ROW_CHECKS, self._found, strict=True):
            yield from ((check.code, seq) for seq in found)

    def strata(self) -> tuple[Stratum, ...]:
        """What is listed in full beside a sample."""
        return self._strata.result(self._relations.low_seqs(), opened=self._opened)

    def strata_lines(self) -> Iterator[bytes]:
        """The attachment that lists it: ``{"stratum":"held","seq":17}``, one a line."""
        for code, seq in self._strata.members(self._relations.low_seqs(), opened=self._opened):
            yield b'{"stratum":"%s","seq":%d}\n' % (code.encode("ascii"), seq)

    def groups(self) -> tuple[GroupState, ...]:
        """Groups by their earliest keep_until, open-ended ones last; at most `GROUPS` of them."""
        rows = [group.state(name) for name, group in self._groups.items()]
        dated = sorted((row for row in rows if row.earliest is not None), key=lambda row: (row.earliest, row.group))
        undated = sorted((row for row in rows if row.earliest is None), key=lambda row: row.group)
        return tuple((dated + undated)[:GROUPS])

    @property
    def group_count(self) -> int:
        return len(self._groups)

    def rule_counts(self) -> dict[str, int]:
        """Records by the id of each rule that their leaf names."""
        return dict(self._rules)

    def book_counts(self) -> dict[str, int]:
        """Records by the digest of the rule book, base64url, that their leaf names."""
        return dict(self._books)

    def flagged(self, code: str) -> int:
        """How many records the row test of that code found."""
        return next(len(found) for check, found in zip(ROW_CHECKS, self._found, strict=True) if check.code == code)


def finding_lines(findings: Iterable[tuple[str, int]]) -> Iterator[bytes]:
    """The findings attachment: ``{"test":"amount_missing","seq":17}``, one a line."""
    for code, seq in findings:
        yield b'{"test":"%s","seq":%d}\n' % (code.encode("ascii"), seq)


class _Slices:
    """Counts by label: all, moved, below."""

    def __init__(self) -> None:
        self._cells: dict[str, list[int]] = {}

    def add(self, label: str, row: Row) -> None:
        if label not in self._cells and len(self._cells) >= _LABELS:
            label = _OTHERS
        cells = self._cells.setdefault(label, [0, 0, 0])
        cells[0] += 1
        cells[1] += row.money_moved
        cells[2] += row.below_threshold

    def result(self, limit: int) -> tuple[Slice, ...]:
        """The largest, then one line for all the others."""
        rows = sorted(
            (Slice(label, *cells) for label, cells in self._cells.items()),
            key=lambda row: (-row.count, row.label),
        )
        if len(rows) <= limit:
            return tuple(rows)
        rest = rows[limit - 1 :]
        total = Slice(
            phrase("{count:,} others", count=len(rest)),
            sum(row.count for row in rest),
            sum(row.moved for row in rest),
            sum(row.below for row in rest),
        )
        return (*rows[: limit - 1], total)


class _Group:
    """Counts and extremes of one retention group."""

    __slots__ = ("_count", "_earliest", "_latest", "_open")

    def __init__(self) -> None:
        self._count = self._open = 0
        self._earliest: datetime | None = None
        self._latest: datetime | None = None

    def add(self, keep_until: datetime | None) -> None:
        self._count += 1
        if keep_until is None:
            self._open += 1
            return
        self._earliest = keep_until if self._earliest is None else min(self._earliest, keep_until)
        self._latest = keep_until if self._latest is None else max(self._latest, keep_until)

    def state(self, name: str) -> GroupState:
        return GroupState(name, self._count, self._open, self._earliest, self._latest)


def _bounded(counter: Counter[str], label: str) -> None:
    counter[label if label in counter or len(counter) < _LABELS else _OTHERS] += 1


def _counts(counter: Counter[str], limit: int) -> tuple[Count, ...]:
    rows = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    if len(rows) <= limit:
        return tuple(Count(label, count) for label, count in rows)
    rest = rows[limit - 1 :]
    return (
        *(Count(label, count) for label, count in rows[: limit - 1]),
        Count(phrase("{count:,} others", count=len(rest)), sum(count for _, count in rest)),
    )
