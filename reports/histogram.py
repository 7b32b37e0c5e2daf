"""Counting into a fixed number of cells: confidence, latency, volume over time. Memory does not grow with the
input."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from reports.figures import Bin, Confidence, Count, Latency, LatencyBin

CONFIDENCE_BINS = 20
LATENCY_BINS = 24
VOLUME_COLUMNS = 45

_MINUTE_MS = 60_000
_LONGEST_S = 86_400


class ConfidenceCount:
    """Scores from 0 to 1 in bins of 0.05, split by each record's own verdict on its own threshold."""

    def __init__(self) -> None:
        self._above = [0] * CONFIDENCE_BINS
        self._below = [0] * CONFIDENCE_BINS
        self._thresholds: Counter[float] = Counter()
        self.unusable = 0

    def add(self, score: float, below: bool, threshold: float | None) -> None:
        """Count one usable score, ``0 <= score <= 1``."""
        cells = self._below if below else self._above
        cells[min(int(score * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)] += 1
        if threshold is not None:
            # Four digits, so that a producer who varies its threshold cannot grow this table without bound.
            self._thresholds[round(threshold, 4)] += 1

    def result(self) -> Confidence:
        common = self._thresholds.most_common(6)
        return Confidence(
            bins=tuple(
                Bin(i / CONFIDENCE_BINS, (i + 1) / CONFIDENCE_BINS, self._above[i], self._below[i])
                for i in range(CONFIDENCE_BINS)
            ),
            scored=sum(self._above) + sum(self._below),
            unusable=self.unusable,
            thresholds=tuple(Count(f"{threshold:g}", count) for threshold, count in common),
            threshold=common[0][0] if common else None,
        )


class LatencyCount:
    """One cell a millisecond up to a minute, then one a second up to a day: nearest-rank quantiles without
    sorting."""

    def __init__(self) -> None:
        self._cells = array("Q", bytes(8 * (_MINUTE_MS + _LONGEST_S + 1)))
        self._longest: int | None = None

    def add(self, milliseconds: float) -> None:
        """Count one duration >= 0."""
        whole = math.ceil(milliseconds)
        self._longest = whole if self._longest is None else max(self._longest, whole)
        beyond = min(-(-whole // 1000) - _MINUTE_MS // 1000, _LONGEST_S)
        self._cells[whole if whole < _MINUTE_MS else _MINUTE_MS + beyond] += 1

    def result(self) -> Latency:
        measured = sum(self._cells)
        p50, p95, p99 = (self._quantile(measured, percent) for percent in (50, 95, 99))
        return Latency(
            bins=self._bins(measured, p99),
            measured=measured,
            p50=p50,
            p95=p95,
            p99=p99,
            longest=self._longest,
        )

    def _quantile(self, measured: int, percent: int) -> int | None:
        rank, seen = -(-measured * percent // 100), 0
        for cell, count in enumerate(self._cells):
            seen += count
            if count and seen >= rank:
                return cell if cell < _MINUTE_MS else _MINUTE_MS + (cell - _MINUTE_MS) * 1000
        return None

    def _bins(self, measured: int, p99: int | None) -> tuple[LatencyBin, ...]:
        """Equal bins from 0 to the 99th percentile, then one for everything slower."""
        if p99 is None:
            return ()
        width = _round_up(min(p99, _MINUTE_MS - LATENCY_BINS) / LATENCY_BINS)
        edges = [i * width for i in range(min(p99, _MINUTE_MS - 1) // width + 2)]
        bins = [LatencyBin(low, high, sum(self._cells[low:high])) for low, high in pairwise(edges)]
        slower = measured - sum(entry.count for entry in bins)
        return (*bins, LatencyBin(edges[-1], None, slower))


def _round_up(width: float) -> int:
    """The next 1, 2, 2.5 or 5 times a power of ten, at least 1."""
    power: int = 10 ** (math.floor(math.log10(width)) if width >= 1 else 0)
    return next(math.ceil(step * power) for step in (1, 2, 2.5, 5, 10) if step * power >= width)


class VolumeCount:
    """Records by local calendar day; at most one cell a day between the first and the last."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._days: Counter[int] = Counter()

    def add(self, at: datetime) -> None:
        self._days[at.astimezone(self._zone).toordinal()] += 1

    def result(self) -> tuple[str, tuple[Count, ...]]:
        """The finest unit that fits the chart, and its columns without holes. Years before the chart's first
        column are added to it, and its label says so."""
        if not self._days:
            return "day", ()
        first, last = date.fromordinal(min(self._days)), date.fromordinal(max(self._days))
        months = (last.year - first.year) * 12 + last.month - first.month + 1
        if (last - first).days < VOLUME_COLUMNS:
            return "day", self._columns([first + timedelta(days=i) for i in range((last - first).days + 1)])
        monday = first - timedelta(days=first.weekday())
        if (last - monday).days < 7 * VOLUME_COLUMNS:
            return "week", self._columns([monday + timedelta(days=7 * i) for i in range((last - monday).days // 7 + 1)])
        if months <= VOLUME_COLUMNS:
            index = first.year * 12 + first.month - 1
            return "month", self._columns([date((index + i) // 12, (index + i) % 12 + 1, 1) for i in range(months)], 7)
        shown = range(max(first.year, last.year - VOLUME_COLUMNS + 1), last.year + 1)
        columns = self._columns([date(year, 1, 1) for year in shown], 4)
        if first.year < shown[0]:
            columns = (Count(f"to {columns[0].label}", columns[0].count), *columns[1:])
        return "year", columns

    def _columns(self, starts: list[date], digits: int = 10) -> tuple[Count, ...]:
        """One count per start; a day belongs to the last start not after it, a day before them all to the
        first."""
        counts = [0] * len(starts)
        column, ends = 0, [start.toordinal() for start in starts[1:]]
        for day in sorted(self._days):
            while column < len(ends) and day >= ends[column]:
                column += 1
            counts[column] += self._days[day]
        return tuple(Count(start.isoformat()[:digits], count) for start, count in zip(starts, counts, strict=True))
