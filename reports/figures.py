"""What counting yields: frozen values that ``statistics`` and ``sequences`` make and ``model`` carries to the page.

The conventions of ``model`` hold: tuples are bounded, with a count beside them for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Count:
    """A label and how many."""

    label: str
    count: int


@dataclass(frozen=True, slots=True)
class ProducerSequence:
    """One producer's own numbering, over the whole ledger (a period would cut holes into it)."""

    producer: str
    numbered: int
    first: int
    last: int
    missing: int
    gaps: tuple[tuple[int, int], ...] = ()
    """The first few missing ranges, both ends included."""
    more_gaps: bool = False


@dataclass(frozen=True, slots=True)
class Sequences:
    """Producers' numbering. ``producers`` is bounded, worst first; ``unnumbered`` entries cannot show a gap."""

    producers: tuple[ProducerSequence, ...] = ()
    total_producers: int = 0
    numbered: int = 0
    unnumbered: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Money:
    """A decimal amount and its ISO 4217 code."""

    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class CurrencyTotal:
    """Sums of one currency, over records that moved money (executed) and over all that proposed to
    (proposed)."""

    currency: str
    executed_count: int
    executed: Decimal
    proposed_count: int
    proposed: Decimal


@dataclass(frozen=True, slots=True)
class Outcome:
    """One outcome, split by whether money moved."""

    outcome: str
    moved: int
    not_moved: int

    @property
    def count(self) -> int:
        return self.moved + self.not_moved


@dataclass(frozen=True, slots=True)
class Slice:
    """A share of the decisions: of one model, or of one jurisdiction."""

    label: str
    count: int
    moved: int
    below: int


@dataclass(frozen=True, slots=True)
class Bin:
    """Half-open ``low <= x < high`` (the last bin takes its upper end too), split by the record's own
    threshold."""

    low: float
    high: float
    at_or_above: int
    below: int


@dataclass(frozen=True, slots=True)
class Confidence:
    """Scores, each placed on its own scale from 0 (worst) to 1 (best)."""

    bins: tuple[Bin, ...]
    scored: int
    unusable: int
    """AI decisions whose score is missing, null or off its scale; they count as below the threshold."""
    thresholds: tuple[Count, ...]
    """Thresholds in force, most frequent first, on the same 0 to 1 scale; bounded."""
    threshold: float | None
    """The most frequent one: the line in the chart."""


@dataclass(frozen=True, slots=True)
class LatencyBin:
    """``low <= ms < high``; ``high`` is None for the last bin, which takes everything slower."""

    low: int
    high: int | None
    count: int


@dataclass(frozen=True, slots=True)
class Latency:
    """``timing.ai_ms`` in whole milliseconds (rounded up); nearest-rank quantiles, exact up to a minute and
    rounded up to the second beyond it."""

    bins: tuple[LatencyBin, ...]
    measured: int
    p50: int | None
    p95: int | None
    p99: int | None
    longest: int | None


@dataclass(frozen=True, slots=True)
class Decisions:
    """The numbers of the period's records. Empty tuples where there are none."""

    count: int
    moved: int
    below: int
    first_at: datetime | None
    last_at: datetime | None
    volume: tuple[Count, ...]
    volume_unit: str
    """``day``, ``week``, ``month`` or ``year``: what one column of the volume chart is."""
    apis: tuple[Count, ...]
    classes: tuple[Count, ...]
    outcomes: tuple[Outcome, ...]
    models: tuple[Slice, ...]
    jurisdictions: tuple[Slice, ...]
    confidence: Confidence
    latency: Latency
    totals: tuple[CurrencyTotal, ...]
    """Bounded, largest count first; needs opened records."""


@dataclass(frozen=True, slots=True)
class LowConfidenceRow:
    seq: int
    record_id: str
    occurred_at: datetime
    model: str | None
    score: float | None
    threshold: float | None
    executed: Money | None


@dataclass(frozen=True, slots=True)
class LowConfidence:
    """Below the threshold, money moved, no agreeing review in the record or in another that names it.

    ``rows`` are the lowest scores first; an unusable score comes before every score.
    """

    count: int
    reviewed: int
    """Below the threshold and moved money, but reviewed and agreed: no exception."""
    rows: tuple[LowConfidenceRow, ...]
    totals: tuple[tuple[Money, int], ...]
    """Executed amount and number of exceptions, by currency; bounded."""
    reviews_read: bool = True
    """False when records were not opened: a review in another record could not be seen, so ``count`` is too
    high."""


@dataclass(frozen=True, slots=True)
class Example:
    """One entry that an exception is about. ``record_id`` is None where only its place is known; ``detail``
    is short and holds no content of the record."""

    seq: int | None
    record_id: str | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ExceptionCheck:
    """One test and its result. ``not_tested`` gives the reason when the test could not be made; then
    ``count`` is 0 and the page does not say "none"."""

    area: str
    """The heading it stands under, such as ``Money``; tests of one area follow each other."""
    code: str
    title: str
    criterion: str
    count: int
    examples: tuple[Example, ...] = ()
    not_tested: str | None = None


@dataclass(frozen=True, slots=True)
class Stratum:
    """Records that are listed in full beside a sample. ``not_tested`` as in `ExceptionCheck`."""

    code: str
    title: str
    criterion: str
    count: int
    not_tested: str | None = None


@dataclass(frozen=True, slots=True)
class GroupState:
    """Entries that become eligible together. ``earliest`` and ``latest`` keep_until; None where all are
    open-ended."""

    group: str
    count: int
    open_ended: int
    earliest: datetime | None
    latest: datetime | None
