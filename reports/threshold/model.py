"""What stands on the pages of the threshold report. The conventions of ``reports.model`` hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from reports.basis import Basis
from reports.figures import Money
from reports.model import Identification


@dataclass(frozen=True, slots=True)
class Review:
    """Decisions below their threshold of one state of review, by whether money moved."""

    executed: int = 0
    held: int = 0

    @property
    def count(self) -> int:
        return self.executed + self.held


@dataclass(frozen=True, slots=True)
class Share:
    """AI decisions of one model, API, jurisdiction or month. The last four add up to ``below``.

    Attributes:
        alone: executed, and nobody reviewed it.
        overruled: executed, and a review that disagrees.
        agreed: executed, and a review agrees.
        held: no money moved.
    """

    label: str
    count: int
    below: int
    alone: int
    overruled: int
    agreed: int
    held: int


@dataclass(frozen=True, slots=True)
class Executed:
    """A decision below its threshold that executed without an agreeing review."""

    seq: int
    record_id: str
    occurred_at: datetime
    api: str
    model: str | None
    score: float | None
    threshold: float | None
    executed: Money | None
    overruled: bool


@dataclass(frozen=True, slots=True)
class Near:
    """Scores whose distance from their own threshold is ``hundredth`` to ``hundredth + 1`` hundredths, the end not
    included."""

    hundredth: int
    below: int
    above: int

    @property
    def count(self) -> int:
        return self.below + self.above


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Another threshold.

    Attributes:
        label: what it would be.
        more: decisions at or above their threshold that would lie below this one.
        moved: of these, those that moved money; ``sums`` by currency with the number of amounts, bounded;
            ``without_amount`` carry none.
        fewer: decisions below their own threshold that would not lie below this one.
    """

    label: str
    more: int
    moved: int
    sums: tuple[tuple[Money, int], ...]
    without_amount: int
    fewer: int


@dataclass(frozen=True, slots=True)
class InUse:
    """A threshold that decisions were held to.

    Attributes:
        policy: as the records name it; None where they name none.
        threshold: None where it has no place on the scale.
        stated: False where the records name no threshold and the ledger's counted.
        changed: decisions of the same API and policy were held to another one as well.
    """

    api: str
    policy: str | None
    threshold: float | None
    stated: bool
    count: int
    first: datetime
    last: datetime
    changed: bool


@dataclass(frozen=True, slots=True)
class ThresholdReport:
    """The whole report.

    Attributes:
        decisions: AI decisions of the period; ``others`` are its records in which no model decided.
        usable: AI decisions with a score on its own scale.
        unusable: AI decisions without one; they count as below the threshold.
        defaulted: AI decisions that name no threshold.
        alone, overruled, agreed: decisions below the threshold by review: none, one that disagrees, one that agrees.
        rows: the first of those that executed without an agreeing review, in the ledger's order.
        sums: their executed amounts, by currency with the number of them, bounded.
        without_amount: of them, those that carry no amount.
        near: from -0.10 to +0.10, in order.
        in_use: most frequent first, bounded; ``in_use_total`` are all.
        changed: pairs of API and policy with more than one threshold.
    """

    identification: Identification
    basis: Basis
    decisions: int
    others: int
    usable: int
    unusable: int
    defaulted: int
    alone: Review
    overruled: Review
    agreed: Review
    rows: tuple[Executed, ...]
    sums: tuple[tuple[Money, int], ...]
    without_amount: int
    models: tuple[Share, ...]
    apis: tuple[Share, ...]
    jurisdictions: tuple[Share, ...]
    months: tuple[Share, ...]
    near: tuple[Near, ...]
    what_if: tuple[WhatIf, ...]
    in_use: tuple[InUse, ...]
    in_use_total: int
    changed: int
    limits: tuple[str, ...] = field(default=())

    @property
    def below(self) -> int:
        return self.alone.count + self.overruled.count + self.agreed.count

    @property
    def exceptions(self) -> int:
        """Below the threshold, executed, and no review agreed."""
        return self.alone.executed + self.overruled.executed

    @property
    def just_above(self) -> int:
        """Scores less than 0.01 above their threshold, or on it."""
        return next((one.count for one in self.near if one.hundredth == 0), 0)

    @property
    def following(self) -> float:
        """Mean of the four bins behind that one."""
        return sum(one.count for one in self.near if 1 <= one.hundredth <= 4) / 4
