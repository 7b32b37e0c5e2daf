"""Counting for the cost report: one pass over rows, memory bounded by labels but for 16 bytes an AI record and as many
a review, which wait for each other: a review may come long after what it reviews.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from reports.cost.model import Discount, Line, MonthFees, Origin, PerDecision, Times, Tokens, Waiting
from reports.cost.rows import ORIGINS, Used
from reports.figures import Money
from reports.histogram import LatencyCount
from reports.phrase import phrase
from reports.tally import LABELS, OTHERS, Sums

SLICES: Final = 12
MONTHS: Final = 24
_DISCOUNTS: Final = 50
_TIMED_MODELS: Final = 16
"""Models whose latency is counted one by one: each takes a megabyte. Those that come later are counted together."""
_EXACT: Final = Context(prec=60)
_MILLIONTH: Final = Decimal("0.000001")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Cell:
    """Sums of AI records of one label."""

    def __init__(self) -> None:
        self.count = self.recorded = self.without_fee = 0
        self.sums = [0, 0, 0, 0]
        self.fees = Sums()

    def add(self, row: Used) -> None:
        self.count += 1
        self.recorded += row.input_tokens is not None or row.output_tokens is not None
        for at, value in enumerate((row.input_tokens, row.output_tokens, row.cached_tokens, row.reasoning_tokens)):
            self.sums[at] += value or 0
        if row.fee is None:
            self.without_fee += 1
        else:
            self.fees.add(row.fee)

    def join(self, other: _Cell) -> None:
        self.count += other.count
        self.recorded += other.recorded
        self.without_fee += other.without_fee
        self.sums = [one + two for one, two in zip(self.sums, other.sums, strict=True)]
        self.fees.join(other.fees)

    def line(self, label: str) -> Line:
        into, out, cached, reasoning = self.sums
        tokens = Tokens(into, out, cached, reasoning, self.recorded, self.count - self.recorded)
        return Line(label, self.count, tokens, self.fees.result(), self.without_fee)


class _Table:
    """Cells by label, bounded."""

    def __init__(self) -> None:
        self.cells: dict[str, _Cell] = {}

    def add(self, label: str, row: Used) -> None:
        if label not in self.cells and len(self.cells) >= LABELS:
            label = OTHERS
        self.cells.setdefault(label, _Cell()).add(row)

    def largest(self) -> tuple[Line, ...]:
        """The largest, then one line for all the others."""
        order = sorted(self.cells, key=lambda label: (-self.cells[label].count, label))
        if len(order) <= SLICES:
            return tuple(self.cells[label].line(label) for label in order)
        shown, rest = order[: SLICES - 1], order[SLICES - 1 :]
        return (
            *(self.cells[label].line(label) for label in shown),
            self._joined(rest).line(phrase("{count} others", count=len(rest))),
        )

    def latest(self) -> tuple[Line, ...]:
        """In order; those before the last ``MONTHS`` in one line."""
        order = sorted(self.cells)
        early, shown = order[:-MONTHS], order[-MONTHS:]
        lines = tuple(self.cells[label].line(label) for label in shown)
        return (self._joined(early).line(phrase("before {month}", month=shown[0])), *lines) if early else lines

    def _joined(self, labels: list[str]) -> _Cell:
        made = _Cell()
        for label in labels:
            made.join(self.cells[label])
        return made


class CostCount:
    """The pass. ``zone`` cuts months."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._by_api: Counter[str] = Counter()
        self._total, self._apis, self._models, self._months = _Cell(), _Table(), _Table(), _Table()
        self._elsewhere = Sums()
        self._origins = {origin: (_Cell(), LatencyCount()) for origin in ORIGINS}
        self._discounts: dict[float | None, Sums] = {}
        self._discounted: Counter[float | None] = Counter()
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._month_fees: dict[tuple[str, str, str], Decimal] = {}
        self._timed = {name: _Timed() for name in ("ai_ms", "total_ms", "first_token_ms", "bypass", "review")}
        self._model_times: dict[str, _Timed] = {}
        self._waits = _Waits()

    def add(self, row: Used) -> None:
        """A record of the period."""
        self._by_api[row.api] += 1
        self._waits.review(row)
        if row.is_ai:
            self._waits.decision(row)
            self._add_ai(row)
            return
        if row.fee is not None:
            self._elsewhere.add(row.fee)
        if row.api in ("non_ai_bypass", "human_review"):
            self._timed["bypass" if row.api == "non_ai_bypass" else "review"].add(row.total_ms)

    def relate(self, row: Used) -> None:
        """A record after it: it may review one of the period's."""
        self._waits.review(row, later=True)

    def counted(self, *apis: str) -> int:
        """Return how many records of the period are of these API categories."""
        return sum(self._by_api[api] for api in apis)

    def _add_ai(self, row: Used) -> None:
        month = row.occurred_at.astimezone(self._zone).strftime("%Y-%m")
        self._total.add(row)
        self._apis.add(row.api, row)
        self._models.add(row.model or "–", row)
        self._months.add(month, row)
        cell, latency = self._origins[row.origin]
        cell.add(row)
        if row.ai_ms is not None:
            latency.add(row.ai_ms)
        for name in ("ai_ms", "total_ms", "first_token_ms"):
            self._timed[name].add(getattr(row, name))
        self._timed_model(row.model or "–").add(row.ai_ms)
        if row.origin == "batch" or row.discount is not None:
            self._add_discount(row)
        if row.fee is not None:
            code = row.fee.currency
            self._outcomes[code, "accepted"] += row.outcome == "accepted"
            self._outcomes[code, "moved"] += row.moved
            key = (month, row.origin, code)
            self._month_fees[key] = _EXACT.add(self._month_fees.get(key, Decimal(0)), row.fee.amount)

    def _add_discount(self, row: Used) -> None:
        known = row.discount if row.discount in self._discounts or len(self._discounts) < _DISCOUNTS else None
        sums = self._discounts.setdefault(known, Sums())
        self._discounted[known] += 1
        if row.fee is not None:
            sums.add(row.fee)

    def _timed_model(self, model: str) -> _Timed:
        if model not in self._model_times and len(self._model_times) >= _TIMED_MODELS:
            model = OTHERS
        return self._model_times.setdefault(model, _Timed())

    def total(self) -> Line:
        return self._total.line(phrase("All AI records"))

    def elsewhere(self) -> tuple[tuple[Money, int], ...]:
        return self._elsewhere.result()

    def apis(self) -> tuple[Line, ...]:
        return self._apis.largest()

    def models(self) -> tuple[Line, ...]:
        return self._models.largest()

    def months(self) -> tuple[Line, ...]:
        return self._months.latest()

    def cells(self) -> Iterator[tuple[str, Line]]:
        """Every label of every table, for the attachment that lists them all."""
        for name, table in (("api", self._apis), ("model", self._models), ("month", self._months)):
            yield from ((name, table.cells[label].line(label)) for label in sorted(table.cells))
        yield from (("origin", cell.line(origin)) for origin, (cell, _) in self._origins.items())

    def origins(self) -> tuple[Origin, ...]:
        names = (phrase("a call of the model"), phrase("a batch"), phrase("a cache"))
        made = []
        for name, (cell, latency) in zip(names, self._origins.values(), strict=True):
            line = cell.line(name)
            means = tuple(Money(_mean(money.amount, count), money.currency) for money, count in line.fees)
            made.append(Origin(line, means, latency.result().p50))
        return tuple(made)

    def discounts(self) -> tuple[Discount, ...]:
        order = sorted(self._discounts, key=lambda one: (-self._discounted[one], one is None, one or 0))
        return tuple(Discount(one, self._discounted[one], self._discounts[one].result()) for one in order[:8])

    def per_decision(self) -> tuple[PerDecision, ...]:
        made = []
        for fees, records in self._total.fees.result():
            accepted, moved = (self._outcomes[fees.currency, name] for name in ("accepted", "moved"))
            per = [_mean(fees.amount, number) if number else None for number in (accepted, moved)]
            made.append(PerDecision(fees, records, accepted, moved, per[0], per[1]))
        return tuple(made)

    def times(self) -> tuple[Times, ...]:
        return (
            self._timed["ai_ms"].times(phrase("AI: the model’s answer"), "timing.ai_ms"),
            self._timed["first_token_ms"].times(phrase("AI: first token"), "timing.first_token_ms"),
            self._timed["total_ms"].times(phrase("AI: whole decision"), "timing.total_ms"),
            self._timed["bypass"].times(phrase("Bypass: rule without AI"), "timing.total_ms"),
            self._timed["review"].times(phrase("Human review: at the desk"), "timing.total_ms"),
            self._waits.times(),
        )

    def model_times(self) -> tuple[Times, ...]:
        """The models with most measured answers."""
        rows = [timed.times(model, "timing.ai_ms") for model, timed in self._model_times.items()]
        rows.sort(key=lambda row: (-row.measured, row.label))
        return tuple(row for row in rows if row.measured)[:SLICES]

    def waiting(self) -> Waiting:
        return self._waits.waiting()

    def by_month(self) -> tuple[str, tuple[MonthFees, ...]]:
        """The currency most in use, and its fees by month."""
        fees = self._total.fees.result(1)
        if not fees:
            return "", ()
        code = fees[0][0].currency
        months = sorted({month for month, _, currency in self._month_fees if currency == code})[-MONTHS:]
        none = Decimal(0)
        return code, tuple(
            MonthFees(month, *(self._month_fees.get((month, origin, code), none) for origin in ORIGINS))
            for month in months
        )


class _Timed:
    """Durations, and how many records name none."""

    def __init__(self) -> None:
        self._latency = LatencyCount()
        self._missing = 0

    def add(self, milliseconds: float | None) -> None:
        if milliseconds is None:
            self._missing += 1
        else:
            self._latency.add(milliseconds)

    def times(self, label: str, field: str) -> Times:
        found = self._latency.result()
        return Times(label, field, found.measured, self._missing, found.p50, found.p95, found.p99, found.longest)


class _Waits:
    """How long decisions waited for a human's review in another record."""

    def __init__(self) -> None:
        self._tags, self._times = array("Q"), array("q")
        self._reviewed, self._decided, self._later = array("Q"), array("q"), array("b")
        self._inside = self._undated = 0

    def decision(self, row: Used) -> None:
        self._tags.append(_tag(row.record_id))
        self._times.append(_microseconds(row.occurred_at))

    def review(self, row: Used, *, later: bool = False) -> None:
        self._inside += row.reviewed_inside and not later
        for target in row.reviews:
            self._undated += row.decided_at is None and not later
            self._reviewed.append(_tag(target))
            self._decided.append(_microseconds(row.decided_at or row.occurred_at))
            self._later.append(later)

    def times(self) -> Times:
        waits, _, _ = self._joined()
        label = phrase("Human review: from decision to verdict")
        if not waits.size:
            return Times(label, "review.decided_at", 0, 0, None, None, None, None)
        waits.sort()
        p50, p95, p99 = (int(waits[-(-waits.size * percent // 100) - 1]) for percent in (50, 95, 99))
        return Times(label, "review.decided_at", int(waits.size), 0, p50, p95, p99, int(waits[-1]))

    def waiting(self) -> Waiting:
        _, elsewhere, before = self._joined()
        return Waiting(elsewhere, before, self._inside, self._undated)

    def _joined(self) -> tuple[npt.NDArray[np.int64], int, int]:
        """Waiting times in milliseconds, rounded up; reviews of records outside the period; reviews that came before.

        A review after the period whose record is not in it is of another period, and counts nowhere.
        """
        tags, times = np.array(self._tags, dtype=np.uint64), np.array(self._times, dtype=np.int64)
        reviewed, decided = np.array(self._reviewed, dtype=np.uint64), np.array(self._decided, dtype=np.int64)
        later = np.array(self._later, dtype=bool)
        order = np.argsort(tags, kind="stable")
        tags, times = tags[order], times[order]
        at = np.minimum(np.searchsorted(tags, reviewed), max(tags.size - 1, 0))
        known = tags[at] == reviewed if tags.size else np.zeros(reviewed.size, dtype=bool)
        waits = decided[known] - (times[at[known]] if tags.size else 0)
        before = int((waits < 0).sum())
        return -(-waits[waits >= 0] // 1000), int((~known & ~later).sum()), before


def _mean(total: Decimal, count: int) -> Decimal:
    return _EXACT.divide(total, Decimal(count)).quantize(_MILLIONTH, context=_EXACT)


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _tag(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
