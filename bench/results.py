"""What a whole run found, and whether it is enough. Decides; ``bench.table`` spells it, ``bench.__main__`` measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from bench.measure import Peak, Reading, Spread, ratios, spread

FLAT = 1.25
"""The largest run's peak may be this many times the smallest one's and still be called flat."""


@dataclass
class Line:
    """One contender over all rounds.

    Attributes:
        readings: one a round, in order; empty when it was not run.
        sizes: bytes kept a record, one a round.
        peaks: its processes' memory, one a round.
        not_run: why there are no readings.
    """

    name: str
    readings: list[Reading] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    peaks: list[Peak] = field(default_factory=list)
    not_run: str = ""

    @property
    def rates(self) -> list[float]:
        return [reading.rate for reading in self.readings]


@dataclass(frozen=True)
class Growth:
    """The vault at one size: rates and memory of taking records in and of verifying them."""

    count: int
    ingest: Reading
    ingest_peak: Peak | None
    verify: Reading
    verify_peak: Peak | None


@dataclass(frozen=True)
class Goal:
    """A figure that must be reached, and one to aim at. ``most`` says that less is better."""

    what: str
    must: float
    aim: float
    found: Spread
    most: bool = False

    @property
    def reached(self) -> bool:
        """Whether the median is what it must be."""
        return self.found.median <= self.must if self.most else self.found.median >= self.must

    @property
    def short_by(self) -> float:
        """The share that is missing, of what it must be; 0 when it is reached."""
        return 0.0 if self.reached else abs(self.found.median / self.must - 1)


@dataclass
class Results:
    """Everything the table says."""

    day: date
    machine: dict[str, str]
    settings: dict[str, str]
    records: str
    mean_bytes: float
    rounds: int
    plain: Line
    ours: Line
    others: list[Line]
    verify: Line
    open: Line
    growth: list[Growth] = field(default_factory=list)

    @property
    def contenders(self) -> list[Line]:
        return [self.plain, self.ours, *self.others]

    def against_plain(self, line: Line) -> Spread:
        """Return how many times plain COPY's rate a line has, round by round."""
        return ratios(line.rates, self.plain.rates)

    def goals(self) -> list[Goal]:
        """Return the figures that must be reached, as far as they were measured."""
        found = [
            Goal("ingest rate, x plain COPY", 1.2, 1.5, self.against_plain(self.ours)),
            Goal("bytes kept, x plain COPY", 0.75, 0.6, ratios(self.ours.sizes, self.plain.sizes), most=True),
            Goal("verified entries/s a core (envelopes)", 40_000, 50_000, spread(self.verify.rates)),
        ]
        for what, peaks in (
            ("ingest, parent", [size.ingest_peak and size.ingest_peak.parent for size in self.growth]),
            ("ingest, largest worker", [size.ingest_peak and size.ingest_peak.largest_child for size in self.growth]),
            ("verify", [size.verify_peak and size.verify_peak.parent for size in self.growth]),
        ):
            grown = _growth(peaks)
            if grown is not None:
                counts = f"{self.growth[0].count:,} to {self.growth[-1].count:,}"
                found.append(Goal(f"memory of {what}, x from {counts}", FLAT, 1.0, spread([grown]), most=True))
        return found


def _growth(peaks: Sequence[int | None]) -> float | None:
    known = [peak for peak in peaks if peak]
    return max(known) / known[0] if len(known) == len(peaks) > 1 else None
