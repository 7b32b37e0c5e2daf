"""What a run of disposals found, and whether it is enough. Decides; ``bench.retention.table`` spells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from bench.measure import Spread, spread
from bench.results import FLAT, Goal
from bench.retention.pace import Latency
from bench.retention.space import Stored
from bench.retention.step import Answer

SPACE: Final = 9.0
SECONDS: Final = 60.0
TIMES_NORMAL: Final = 2.0
KEPT: Final = ("entry", "node")
"""Tables whose rows no disposal deletes: leaves, and the subtrees over them."""


@dataclass(frozen=True)
class Disposal:
    """One disposal, from its plan to its end, in a ledger of ``records``. ``words`` say what is special about it."""

    words: str
    records: int
    plan: Answer
    approve: Answer
    run: Answer

    @property
    def destroyed(self) -> int:
        return self.run.reading.records

    @property
    def name(self) -> str:
        """How many records it destroyed, and its words."""
        return f"{self.destroyed:,} {self.words}".strip()

    @property
    def seconds(self) -> float:
        """Wall time of everything a machine does: plan, both approvals, run."""
        return sum(step.reading.seconds for step in (self.plan, self.approve, self.run))


@dataclass(frozen=True)
class Space:
    """What the database holds before and after one disposal.

    Attributes:
        before, after: after a plain VACUUM.
        full_before, full_after: after VACUUM FULL; the first of a copy.
    """

    records: int
    destroyed: int
    before: Stored
    after: Stored
    full_before: Stored
    full_after: Stored

    @property
    def saved(self) -> float:
        """Percent less in use after a plain VACUUM."""
        return 100 * (1 - self.after.held / self.before.held)

    @property
    def full_saved(self) -> float:
        """Percent less in files after VACUUM FULL."""
        return 100 * (1 - self.full_after.size / self.full_before.size)

    @property
    def kept_a_record(self) -> float:
        """Bytes that stay for ever, after VACUUM FULL."""
        return self.full_before.table(*KEPT) / self.records

    @property
    def freed_a_record(self) -> float:
        """Bytes that a destroyed record gave back, after VACUUM FULL."""
        return (self.full_before.held - self.full_after.held) / self.destroyed


@dataclass(frozen=True)
class Appends:
    """Appends beside a disposal, and before it began."""

    rate: float
    before: Latency
    during: Latency

    @property
    def times(self) -> float:
        return self.during.p99 / self.before.p99


@dataclass
class Results:
    """Everything the document says.

    Attributes:
        small, large: the same disposal of a tenth in a tenth of the ledger, and in the whole of it.
        beside: the next tenth, while records are appended.
        spread: one more, whose records lie all over the ledger.
        verify: (small, large) one before the disposal, and one after.
        moves: (processes, what came of it).
    """

    day: date
    machine: dict[str, str]
    settings: dict[str, str]
    records: str
    mean_bytes: float
    ingest: Answer
    small: Disposal
    large: Disposal
    beside: Disposal
    spread: Disposal
    space: Space
    appends: Appends
    verify: tuple[Answer, Answer]
    moves: list[tuple[int, Answer]] = field(default_factory=list)

    def goals(self) -> list[Goal]:
        """Return the figures that must be reached, as far as they were measured."""
        space, count = self.space, f"{self.large.destroyed:,}"
        found = [
            Goal("in use after VACUUM, % less", SPACE, SPACE, _one(space.saved)),
            Goal("in files after VACUUM FULL, % less", SPACE, SPACE, _one(space.full_saved)),
            Goal(f"disposal of {count} records, s", SECONDS, SECONDS, _one(self.large.seconds), most=True),
            *(
                Goal(f"the same {one.words}, s", SECONDS, SECONDS, _one(one.seconds), most=True)
                for one in (self.beside, self.spread)
            ),
            Goal(
                "p99 of an append meanwhile, x before", TIMES_NORMAL, TIMES_NORMAL, _one(self.appends.times), most=True
            ),
        ]
        for what, small, large in (
            ("plan", self.small.plan, self.large.plan),
            ("run", self.small.run, self.large.run),
        ):
            grown = _growth([small, large])
            if grown is not None:
                sizes = f"{self.small.destroyed:,} to {self.large.destroyed:,} records"
                found.append(Goal(f"memory of {what}, x from {sizes}", FLAT, 1.0, _one(grown), most=True))
        return found


def _one(value: float) -> Spread:
    return spread([value])


def _growth(steps: Sequence[Answer]) -> float | None:
    peaks = [step.memory for step in steps]
    first, last = peaks[0], peaks[-1]
    return None if first is None or last is None else last.total / first.total
