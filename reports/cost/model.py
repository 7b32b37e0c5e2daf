"""What stands on the pages of the cost report. The conventions of ``reports.model`` hold; nothing is estimated."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from reports.basis import Basis
from reports.figures import Money
from reports.model import Identification


@dataclass(frozen=True, slots=True)
class Tokens:
    """Sums of what is recorded. ``recorded`` AI records name input or output tokens; ``missing`` name neither."""

    input: int
    output: int
    cached: int
    reasoning: int
    recorded: int
    missing: int


@dataclass(frozen=True, slots=True)
class Line:
    """AI records of one label.

    Attributes:
        fees: as recorded, by currency with the number of fees; bounded.
        without_fee: AI records that name none.
    """

    label: str
    count: int
    tokens: Tokens
    fees: tuple[tuple[Money, int], ...]
    without_fee: int


@dataclass(frozen=True, slots=True)
class Origin:
    """AI records whose answer came from a call, a batch or a cache.

    Attributes:
        means: mean recorded fee, by currency.
        median_ms: of ``timing.ai_ms``; None where none is recorded.
    """

    line: Line
    means: tuple[Money, ...]
    median_ms: int | None


@dataclass(frozen=True, slots=True)
class Discount:
    """Batches' discount as recorded; None where the batch names none."""

    share: float | None
    count: int
    fees: tuple[tuple[Money, int], ...]


@dataclass(frozen=True, slots=True)
class PerDecision:
    """What one decision cost, in one currency.

    Attributes:
        fees: of all AI records with a fee in this currency, whatever came of them.
        records: how many these are; ``accepted`` and ``moved`` are counted among them.
        per_accepted, per_moved: fees over their number, rounded to millionths; None where there are none.
    """

    fees: Money
    records: int
    accepted: int
    moved: int
    per_accepted: Decimal | None
    per_moved: Decimal | None


@dataclass(frozen=True, slots=True)
class Times:
    """Nearest-rank quantiles of one duration, in whole milliseconds (rounded up).

    Attributes:
        field: where the records say it.
        missing: records that could say it and do not.
    """

    label: str
    field: str
    measured: int
    missing: int
    p50: int | None
    p95: int | None
    p99: int | None
    longest: int | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Reviews by people that no waiting time comes of.

    Attributes:
        elsewhere: of a record that is not in the period.
        before: decided before the decision that they review was complete.
        inside: in the record itself, which says when it was complete, not since when it waited.
        undated: reviews that do not say when they were decided; the time of the review's record was taken.
    """

    elsewhere: int
    before: int
    inside: int
    undated: int


@dataclass(frozen=True, slots=True)
class MonthFees:
    """Fees of a month in the currency most in use, by origin: call, batch, cache."""

    label: str
    call: Decimal
    batch: Decimal
    cache: Decimal


@dataclass(frozen=True, slots=True)
class CostReport:
    """The whole report.

    Attributes:
        ai, bypass, reviews: records of the period by who decided.
        total: all AI records.
        elsewhere: fees that records without a model carry, by currency.
        currency: the one most in use; "" where no fee is recorded. ``by_month`` is drawn in it.
    """

    identification: Identification
    basis: Basis
    ai: int
    bypass: int
    reviews: int
    total: Line
    elsewhere: tuple[tuple[Money, int], ...]
    apis: tuple[Line, ...]
    models: tuple[Line, ...]
    months: tuple[Line, ...]
    origins: tuple[Origin, ...]
    discounts: tuple[Discount, ...]
    per_decision: tuple[PerDecision, ...]
    times: tuple[Times, ...]
    model_times: tuple[Times, ...]
    waiting: Waiting
    currency: str
    by_month: tuple[MonthFees, ...]
    limits: tuple[str, ...] = field(default=())

    @property
    def fees(self) -> tuple[tuple[Money, int], ...]:
        return self.total.fees
