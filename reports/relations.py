"""What only two records together tell: a review in another record, a settled retry, a second charge.

A review may come a million entries after the record it reviews, so something of every money-moving record
must be remembered to the end. It is remembered as 64-bit BLAKE2 tags in flat arrays: 24 bytes a
money-moving record, some 40 more for each low-confidence one. (Two of a million tags collide once in 37
million reports; the printed places let a reader check.) Reviews and settlements count whatever their place
in the ledger, since spooled producers send late.
"""

from __future__ import annotations

import hashlib
import heapq
from array import array
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from reports.figures import Example, LowConfidence, LowConfidenceRow, Money
from reports.phrase import phrase
from reports.rows import Row
from vault.core.flags import Flag

# Details are kept for the lowest scores only; more than this many would have to be reviewed for the table to run short.
_DETAILED = 4096
_MICRO = 6  # money has at most six digits after the point
_AMOUNT = 12  # bytes: 18 digits before and 6 after the point take 80 bits

_Tags = npt.NDArray[np.uint64]


class Relations:
    """Collects while rows pass by; the answers are read once, at the end."""

    def __init__(self) -> None:
        self._agreed = array("Q")
        self._settled = array("Q")
        self._moved = _Columns(3)  # tag of conversation and step, tag of the id, seq
        self._unknown = _Columns(2)  # tag of the id, seq
        self._low = _Columns(3)  # tag of the id, seq, index of the currency (0: no amount)
        self._low_amounts = bytearray()
        self._currencies: list[str] = [""]
        self._digits: list[int] = [0]  # after the point, most that any amount of that currency has
        self._self_reviewed = 0
        self._detailed: list[tuple[float, int, LowConfidenceRow]] = []

    def relate(self, row: Row) -> None:
        """Take from a record only what it says about other records."""
        if row.opened is None:
            return
        for kind, target in row.opened.relates_to:
            if kind == "settles":
                self._settled.append(tag_of(target))
            elif kind == "review_of" and row.opened.review_agreed:
                self._agreed.append(tag_of(target))

    def add(self, row: Row) -> None:
        """A record of the period."""
        self.relate(row)
        if row.outcome == "outcome_unknown":
            self._unknown.append(tag_of(row.record_id), row.seq)
        if not row.money_moved:
            return
        if row.opened is not None:
            step = tag_of(f"{row.opened.step}\0{row.opened.conversation_id}")
            self._moved.append(step, tag_of(row.record_id), row.seq)
        if row.below_threshold and row.flags & Flag.REVIEW_AGREED.value:
            self._self_reviewed += 1
        elif row.below_threshold:
            self._add_low(row)

    def _add_low(self, row: Row) -> None:
        executed = row.opened.executed if row.opened else None
        currency = 0
        if executed is not None:
            if executed.currency not in self._currencies:
                self._currencies.append(executed.currency)
                self._digits.append(0)
            currency = self._currencies.index(executed.currency)
            exponent = executed.amount.as_tuple().exponent
            self._digits[currency] = max(self._digits[currency], -exponent if isinstance(exponent, int) else 0)
        self._low.append(tag_of(row.record_id), row.seq, currency)
        micro = int(executed.amount.scaleb(_MICRO)) if executed is not None else 0
        self._low_amounts += micro.to_bytes(_AMOUNT, "big")
        detail = LowConfidenceRow(
            seq=row.seq,
            record_id=row.record_id,
            occurred_at=row.occurred_at,
            model=row.model,
            score=row.score,
            threshold=row.opened.threshold if row.opened else None,
            executed=executed,
        )
        # A heap whose smallest item is the highest score: that one goes when a lower score comes.
        item = (-(row.score if row.score is not None else -1.0), -row.seq, detail)
        if len(self._detailed) < _DETAILED:
            heapq.heappush(self._detailed, item)
        else:
            heapq.heappushpop(self._detailed, item)

    def low_confidence(self, *, rows: int, reviews_read: bool) -> LowConfidence:
        """Below the threshold, moved money, nobody agreed."""
        open_ = self._open_low()
        seqs = self._low.column(1)[open_]
        totals: dict[int, tuple[int, int]] = {}
        for index, currency in zip(np.flatnonzero(open_).tolist(), self._low.column(2)[open_].tolist(), strict=True):
            amount, count = totals.get(currency, (0, 0))
            totals[currency] = (amount + self._low_amount(index), count + 1)
        totals.pop(0, None)
        shown = {int(seq) for seq in seqs}
        lowest = (detail for _, _, detail in sorted(self._detailed, reverse=True) if detail.seq in shown)
        return LowConfidence(
            count=int(seqs.size),
            reviewed=self._self_reviewed + int(open_.size - seqs.size),
            rows=tuple(detail for detail, _ in zip(lowest, range(rows), strict=False)),
            totals=tuple(
                (Money(_units(amount, self._digits[currency]), self._currencies[currency]), count)
                for currency, (amount, count) in sorted(totals.items(), key=lambda item: -item[1][1])
            ),
            reviews_read=reviews_read,
        )

    def unsettled(self) -> tuple[int, ...]:
        """Places of outcome_unknown records that no record settles."""
        tags, seqs = self._unknown.column(0), self._unknown.column(1)
        return tuple(seqs[~np.isin(tags, _tags(self._settled))].tolist())

    def double_charges(self) -> tuple[int, ...]:
        """Places of money-moving records that share conversation and step with another, settled ones left
        aside."""
        return tuple(seq for group in self._double_groups() for seq in group)

    def double_examples(self, limit: int) -> tuple[Example, ...]:
        """The first few, each with the places of its twins."""
        examples = []
        for group in self._double_groups():
            others = ", ".join(str(seq) for seq in group[1:5]) + (", ..." if len(group) > 5 else "")
            examples.append(
                Example(
                    seq=group[0],
                    record_id=None,
                    detail=phrase("same conversation and step as seq {others}", others=others),
                )
            )
            if len(examples) == limit:
                break
        return tuple(examples)

    def low_seqs(self) -> tuple[int, ...]:
        """Places of all low-confidence executions."""
        return tuple(self._low.column(1)[self._open_low()].tolist())

    def _double_groups(self) -> Iterator[list[int]]:
        live = ~np.isin(self._moved.column(1), _tags(self._settled))
        steps, seqs = self._moved.column(0)[live], self._moved.column(2)[live]
        order = np.lexsort((seqs, steps))
        steps, seqs = steps[order], seqs[order]
        twin = np.zeros(steps.size, dtype=bool)
        same = steps[1:] == steps[:-1]
        twin[1:] |= same
        twin[:-1] |= same
        groups: dict[int, list[int]] = {}
        for step, seq in zip(steps[twin].tolist(), seqs[twin].tolist(), strict=True):
            groups.setdefault(step, []).append(seq)
        yield from sorted(groups.values())

    def _open_low(self) -> npt.NDArray[np.bool_]:
        return ~np.isin(self._low.column(0), _tags(self._agreed))

    def _low_amount(self, index: int) -> int:
        return int.from_bytes(self._low_amounts[index * _AMOUNT : (index + 1) * _AMOUNT], "big")


def _units(micro: int, digits: int) -> Decimal:
    """Millionths as an amount with that many digits after the point, exactly."""
    return Decimal((0, tuple(map(int, str(micro // 10 ** (_MICRO - digits)))), -digits))


class _Columns:
    """Rows of unsigned 64-bit numbers, kept by column in one flat array."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._cells = array("Q")

    def append(self, *cells: int) -> None:
        self._cells.extend(cells)

    def column(self, index: int) -> _Tags:
        return _tags(self._cells)[index :: self._width]


def _tags(cells: array[int]) -> _Tags:
    return np.frombuffer(cells, dtype=np.uint64) if cells else np.empty(0, dtype=np.uint64)


def tag_of(text: str) -> int:
    """Return what a record is remembered by."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
