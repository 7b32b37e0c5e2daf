"""What a run over the wire found, and whether it is enough. Decides; ``bench.http.table`` spells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from bench.http.family import Sample, growth, settled, slope
from bench.http.load import Load
from bench.http.stream import Streamed
from bench.measure import Spread, ratios, spread
from bench.results import Goal

CONNECTIONS = (1, 16, 64, 256)
GOAL = 64
"""The number of connections at which goals are set."""


@dataclass(frozen=True)
class Turn:
    """One contender at one number of connections, in one round.

    Attributes:
        server_cpu: processor seconds of the service's own processes.
        database_cpu: those of PostgreSQL's, None where they cannot be seen.
        wal_bytes: what PostgreSQL wrote to its log ahead.
        fsyncs: how often that log was forced to disk, as far as PostgreSQL told by then; None where it does not tell.
    """

    load: Load
    server_cpu: float
    database_cpu: float | None
    wal_bytes: int
    fsyncs: int | None


@dataclass
class Singles:
    """One contender's single appends: a list of turns, one a round, for each number of connections."""

    name: str
    turns: dict[int, list[Turn]] = field(default_factory=dict)

    def add(self, connections: int, turn: Turn) -> None:
        """Keep a turn."""
        self.turns.setdefault(connections, []).append(turn)

    def rates(self, connections: int) -> list[float]:
        """Return requests a second, one a round."""
        return [turn.load.rate for turn in self.turns[connections]]


@dataclass
class Batches:
    """The batch route in one way, one reading a round."""

    name: str
    readings: list[Streamed] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        return [reading.rate for reading in self.readings]


@dataclass
class Soak:
    """Memory of all the service's processes under steady load."""

    connections: int
    load: Load
    samples: list[Sample]

    @property
    def settled(self) -> Sequence[Sample]:
        return settled(self.samples)

    @property
    def slope(self) -> float:
        """Bytes a second, after the first quarter."""
        return slope(self.settled)

    @property
    def growth(self) -> float:
        """How many times larger the end is than the end of the first quarter."""
        return growth(self.settled)


@dataclass
class Results:
    """Everything the document says.

    Attributes:
        library: records a second by the library path, one a round; empty where it was not measured.
        reads: one a round; empty where no record was opened, for the reason ``not_read``.
    """

    day: date
    machine: dict[str, str]
    settings: dict[str, str]
    records: str
    mean_bytes: float
    rounds: int
    workers: int
    ours: Singles
    rival: Singles
    library: list[float] = field(default_factory=list)
    batches: list[Batches] = field(default_factory=list)
    reads: list[Load] = field(default_factory=list)
    not_read: str = ""
    soak: Soak | None = None

    def against_rival(self, connections: int) -> Spread:
        """Return how many times the plain handler's rate ours has, round by round."""
        return ratios(self.ours.rates(connections), self.rival.rates(connections))

    def goals(self) -> list[Goal]:
        """Return the figures that must be reached, as far as they were measured."""
        turns = self.ours.turns[GOAL]
        p99 = spread([turn.load.p99 * 1000 for turn in turns])
        found = [
            Goal(f"durable appends/s, {GOAL} connections", 4000, 4000, spread(self.ours.rates(GOAL))),
            Goal(f"p99 of an append, ms, {GOAL} connections", 50, 50, p99, most=True),
            Goal(f"appends, x the plain handler, {GOAL} connections", 1.5, 1.5, self.against_rival(GOAL)),
        ]
        if self.batches and self.library:
            like = self.batches[0]  # one stream, and no receipts either: the way that is named first, not the best
            found.append(Goal(f"batch route ({like.name}), x library", 0.8, 0.8, ratios(like.rates, self.library)))
        if self.reads:
            p50 = spread([one.p50 * 1000 for one in self.reads])
            found.append(Goal("p50 of a record opened, its access an entry, ms", 10, 10, p50, most=True))
        if self.soak is not None:
            grown = self.soak.growth
            minutes = self.soak.samples[-1].at / 60
            found.append(
                Goal(f"memory, x over {minutes:.0f} minutes", 1.05, 1.0, Spread(grown, grown, grown), most=True)
            )
        return found
