"""Counting for the threshold report: one pass over rows, then one over what lay below its threshold.

    count = ThresholdCount(zone, what_ifs, spool)     # spool: a file that is not there yet
    for row in rows: count.add(row)                   # count.relate(row) for later records: their reviews alone
    found = count.result(below, executed_lines, executed_csv)

A review may come long after the decision, so whether anybody agreed is known only at the end: rows below their
threshold wait in a file. Memory: 8 bytes for each of them and for each review; labels are bounded.
"""

from __future__ import annotations

import hashlib
import math
import os
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt

from reports.gathering import private
from reports.phrase import phrase
from reports.tally import OTHERS, Sums, bounded
from reports.threshold.model import InUse, Near, WhatIf
from reports.threshold.rows import Decided

REACH: Final = 10
"""Hundredths on either side of the threshold that the chart shows."""
IN_USE: Final = 20
_MOST_THRESHOLDS: Final = 2_000
ALONE, OVERRULED, AGREED = "none", "overruled", "agreed"

_Key = tuple[str, str | None, float | None, bool]


@dataclass(frozen=True, slots=True)
class Asked:
    """Another threshold to try: one for all, or each decision's own and ``add``."""

    threshold: float | None = None
    add: float = 0.0

    @property
    def label(self) -> str:
        if self.threshold is not None:
            return f"{self.threshold:.4f}".rstrip("0").ljust(4, "0")
        return phrase("each decision’s own threshold + {add}", add=f"{self.add:.2f}")

    def of(self, row: Decided) -> float | None:
        """Return the threshold for one decision, None where it has none to add to."""
        if self.threshold is not None:
            return self.threshold
        return None if row.threshold is None else round(min(row.threshold + self.add, 1.0), 12)


class ThresholdCount:
    """The first pass.

    Args:
        zone: cuts months.
        spool: where rows below their threshold wait; made here, readable by its owner alone.
    """

    def __init__(self, zone: ZoneInfo, asked: Sequence[Asked], spool: Path) -> None:
        self.decisions = self.others = self.usable = self.unusable = self.defaulted = 0
        self.models, self.apis = Counter[str](), Counter[str]()
        self.jurisdictions, self.months = Counter[str](), Counter[str]()
        self.spool = spool
        self._zone = zone
        self._file = open(spool, "xb", opener=private)  # noqa: SIM115 - closed by `close`
        self._near = [[0, 0] for _ in range(2 * REACH)]
        self._what_if = [_Trying(one) for one in asked]
        self._in_use: dict[_Key, list[datetime | int]] = {}
        self._agreed, self._disagreed, self._tags = array("Q"), array("Q"), array("Q")

    def add(self, row: Decided) -> None:
        """A record of the period."""
        self.relate(row)
        if not row.is_ai:
            self.others += 1
            return
        self.decisions += 1
        self.usable += row.score is not None
        self.unusable += row.unusable
        self.defaulted += row.defaulted
        for counter, label in self._labels(row):
            bounded(counter, label)
        if row.opened:
            self._use(row)
        if row.score is not None:
            self._place(row)
            for trying in self._what_if:
                trying.add(row)
        if row.below:
            self._tags.append(_tag(row.record_id))
            self._file.write(msgspec.json.encode(row) + b"\n")

    def relate(self, row: Decided) -> None:
        """A record that may review others."""
        for target, agreed in row.reviews:
            (self._agreed if agreed else self._disagreed).append(_tag(target))

    def close(self) -> None:
        """Close the file; what waits in it can be read now."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def month(self, row: Decided) -> str:
        return row.occurred_at.astimezone(self._zone).strftime("%Y-%m")

    def waiting(self) -> Iterator[tuple[Decided, str]]:
        """Yield every decision below its threshold, in the order in which they came, with its state of review: what
        the record itself says before what others say, agreement before disagreement."""
        self.close()
        tags = _array(self._tags)
        agreed, overruled = np.isin(tags, _array(self._agreed)), np.isin(tags, _array(self._disagreed))
        decoder = msgspec.json.Decoder(Decided)
        with self.spool.open("rb") as file:
            for at, line in enumerate(file):
                row = decoder.decode(line)
                if row.agreed or agreed[at]:
                    yield row, AGREED
                elif row.agreed is False or overruled[at]:
                    yield row, OVERRULED
                else:
                    yield row, ALONE

    def near(self) -> tuple[Near, ...]:
        return tuple(Near(at - REACH, *cells) for at, cells in enumerate(self._near))

    def what_if(self) -> tuple[WhatIf, ...]:
        return tuple(one.result() for one in self._what_if)

    def in_use(self) -> tuple[tuple[InUse, ...], int, int]:
        """Thresholds in use, how many there are in all, and how many pairs of API and policy had more than one."""
        kinds: dict[tuple[str, str | None], set[float | None]] = {}
        for api, policy, threshold, _ in self._in_use:
            kinds.setdefault((api, policy), set()).add(threshold)
        rows = []
        for (api, policy, threshold, stated), (count, first, last) in self._in_use.items():
            assert isinstance(count, int)
            assert isinstance(first, datetime)
            assert isinstance(last, datetime)
            changed = len(kinds[api, policy]) > 1
            rows.append(InUse(api, policy, threshold, stated, count, first, last, changed))
        rows.sort(key=lambda row: (not row.changed, -row.count, row.api, row.policy or "", row.threshold or 0))
        return tuple(rows[:IN_USE]), len(rows), sum(1 for held in kinds.values() if len(held) > 1)

    def _labels(self, row: Decided) -> Iterator[tuple[Counter[str], str]]:
        yield self.models, row.model or "–"
        yield self.apis, row.api
        yield self.months, self.month(row)
        yield from ((self.jurisdictions, code) for code in row.jurisdictions)

    def _use(self, row: Decided) -> None:
        threshold = None if row.threshold is None else round(row.threshold, 4)
        key: _Key = (row.api, row.policy, threshold, not row.defaulted)
        if key not in self._in_use and len(self._in_use) >= _MOST_THRESHOLDS:
            key = (OTHERS, None, None, True)
        cells = self._in_use.setdefault(key, [0, row.occurred_at, row.occurred_at])
        count, first, last = cells
        assert isinstance(count, int)
        assert isinstance(first, datetime)
        assert isinstance(last, datetime)
        cells[:] = count + 1, min(first, row.occurred_at), max(last, row.occurred_at)

    def _place(self, row: Decided) -> None:
        if row.score is None or row.threshold is None:
            return
        # The millionth makes up for binary fractions: 0.76 - 0.75 is just above a hundredth, 0.78 - 0.75 just below 3.
        at = math.floor((row.score - row.threshold) * 100 + 1e-6) + REACH
        if 0 <= at < 2 * REACH:
            self._near[at][not row.below] += 1


class _Trying:
    """Counts for one other threshold."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._more = self._moved = self._fewer = self._bare = 0
        self._sums = Sums()

    def add(self, row: Decided) -> None:
        threshold = self._asked.of(row)
        if threshold is None:
            return
        would = row.at(threshold)
        self._fewer += row.below and not would
        if not would or row.below:
            return
        self._more += 1
        if row.moved:
            self._moved += 1
            if row.executed is None:
                self._bare += 1
            else:
                self._sums.add(row.executed)

    def result(self) -> WhatIf:
        return WhatIf(self._asked.label, self._more, self._moved, self._sums.result(), self._bare, self._fewer)


def _tag(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _array(cells: array[int]) -> npt.NDArray[np.uint64]:
    return np.frombuffer(cells, dtype=np.uint64) if cells else np.empty(0, dtype=np.uint64)


def amount(value: Decimal) -> str:
    """All digits, without an exponent."""
    return f"{value:f}"
