"""Strata: what is listed in full beside a sample, since a sample finds what is frequent and not what matters most.

Where a person overruled the model, what executed at low confidence, what is held, and the largest sums. Each finding
costs eight bytes; beside them some sixteen bytes an AI decision are kept until the end, since the review that overrules
a record may come a million entries later.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

import numpy as np

from reports.figures import Stratum
from reports.phrase import phrase
from reports.relations import tag_of
from reports.rows import Row
from vault.core.selection import Selection

LARGEST: Final = 25
"""Sums a currency, where no amount is named above which a sum is high."""

_NOT_OPENED: Final = phrase("records were not opened for this report")


class Strata:
    """Collects while rows pass by.

    Args:
        held: positions that open holds have frozen.
        above: by currency, the amount from which on a sum is high; a currency that is not named has its largest.
    """

    def __init__(self, held: Selection | None = None, above: Mapping[str, Decimal] | None = None) -> None:
        self._frozen = held or Selection()
        self._above = dict(above or {})
        self._held = array("Q")
        self._high = array("Q")
        self._largest: dict[str, list[tuple[Decimal, int]]] = {}
        self._overruled = array("Q")  # by a review in the record itself
        self._overruling = array("Q")  # tags of the ids that a review elsewhere disagrees with
        self._tags, self._seqs = array("Q"), array("Q")

    def add(self, row: Row) -> None:
        """A record of the period."""
        self.relate(row)
        if self._frozen.ranges and row.seq in self._frozen:
            self._held.append(row.seq)
        if row.opened is None:
            return
        if row.api != "human_review":
            self._tags.append(tag_of(row.record_id))
            self._seqs.append(row.seq)
            if row.opened.review_agreed is False:
                self._overruled.append(row.seq)
        if row.money_moved and row.opened.executed is not None:
            self._add_sum(row.seq, row.opened.executed.currency, row.opened.executed.amount)

    def relate(self, row: Row) -> None:
        """Take from a record only what it says about other records."""
        if row.opened is not None and row.opened.review_agreed is False:
            self._overruling.extend(tag_of(target) for kind, target in row.opened.relates_to if kind == "review_of")

    def _add_sum(self, seq: int, currency: str, amount: Decimal) -> None:
        limit = self._above.get(currency)
        if limit is not None:
            if amount >= limit:
                self._high.append(seq)
            return
        heap = self._largest.setdefault(currency, [])
        if len(heap) < LARGEST:
            heapq.heappush(heap, (amount, -seq))
        else:
            heapq.heappushpop(heap, (amount, -seq))

    def members(self, low: Sequence[int], *, opened: bool) -> Iterator[tuple[str, int]]:
        """Yield stratum and seq of everything, seqs ascending within a stratum.

        Args:
            low: the low-confidence executions (reports.relations).
            opened: whether rows carried what only opened records tell.
        """
        if opened:
            yield from (("overruled", seq) for seq in self._overrides())
        yield from (("low_confidence", seq) for seq in low)
        yield from (("held", seq) for seq in sorted(self._held))
        if opened:
            yield from (("high_value", seq) for seq in self._highest())

    def result(self, low: Sequence[int], *, opened: bool) -> tuple[Stratum, ...]:
        """Return the strata with their sizes."""
        why = None if opened else _NOT_OPENED
        return (
            Stratum(
                "overruled",
                phrase("A person overruled the model"),
                phrase("A review that disagrees, in the record itself or in another one that names it."),
                len(self._overrides()),
                why,
            ),
            Stratum(
                "low_confidence",
                phrase("Low-confidence executions"),
                phrase("Below the threshold, money moved, and no review agreed."),
                len(low),
            ),
            Stratum("held", phrase("Held"), phrase("Frozen by a hold that is open."), len(self._held)),
            Stratum("high_value", phrase("High value"), self._criterion(), len(self._highest()), why),
        )

    def _criterion(self) -> str:
        if not self._above:
            return phrase("Money moved: the {count} largest sums of each currency.", count=LARGEST)
        named = ", ".join(f"{currency} {amount:,f}" for currency, amount in sorted(self._above.items()))
        return phrase(
            "Money moved: from {amounts} on; of each other currency the {count} largest sums.",
            amounts=named,
            count=LARGEST,
        )

    def _highest(self) -> list[int]:
        return sorted([*self._high, *(-seq for heap in self._largest.values() for _, seq in heap)])

    def _overrides(self) -> list[int]:
        tags = np.frombuffer(self._tags, dtype=np.uint64) if self._tags else np.empty(0, dtype=np.uint64)
        seqs = np.frombuffer(self._seqs, dtype=np.uint64) if self._seqs else np.empty(0, dtype=np.uint64)
        named = np.array(self._overruling, dtype=np.uint64)
        elsewhere = seqs[np.isin(tags, named)] if named.size else seqs[:0]
        return sorted({*self._overruled, *elsewhere.tolist()})
