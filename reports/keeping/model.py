"""What stands on the pages of the report on retention and holds. Conventions are those of ``reports.model``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from reports.model import FAULTS, BookInForce, Fault, Identification, Rule


@dataclass(frozen=True, slots=True)
class Month:
    """Records of a ledger whose dates end in one month. ``kept`` are still there; ``keep_until`` None: not dated."""

    ledger: str
    group: str
    kept: int
    destroyed: int
    keep_until: datetime | None
    """The latest among them: what the group waits for."""
    due: bool
    """The month has ended, so what is kept could go."""


@dataclass(frozen=True, slots=True)
class HoldState:
    """One hold. ``records`` counts what it has frozen so far; ``case`` is a pseudonym."""

    hold: str
    case: str
    placed_by: str
    placed_at: datetime
    records: int
    ledgers: int
    review_at: datetime | None
    late: bool
    """Its review date has passed."""
    releasing: bool
    released_by: str


@dataclass(frozen=True, slots=True)
class DisposalState:
    """One disposal that was planned, or went on, in the period or is not over."""

    disposal: str
    ledger: str
    kind: str
    state: str
    records: int
    planned_at: datetime
    approvals: int
    certified: bool


@dataclass(frozen=True, slots=True)
class LedgerKeeping:
    """One ledger's figures.

    Attributes:
        kept, destroyed: records; ``undated`` of the kept ones wait for an event that starts their period.
        due: kept records of months that have ended; ``held`` of them are under an open hold.
        asked: records that somebody asked to have erased, restricted until they are due.
        dated: records for which the start of a period was told after they were written.
    """

    name: str
    ledger: str
    kept: int
    destroyed: int
    undated: int
    due: int
    held: int
    asked: int
    dated: int
    jurisdictions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeepingReport:
    """The whole report; every tuple but ``ledgers`` is bounded by whoever fills it, its total beside it.

    Attributes:
        ledgers: all of them, since the sums are theirs; pages print the first.
    """

    identification: Identification
    ledgers: tuple[LedgerKeeping, ...]
    total_ledgers: int
    months: tuple[Month, ...]
    total_months: int
    holds: tuple[HoldState, ...]
    total_holds: int
    open_holds: int
    disposals: tuple[DisposalState, ...]
    total_disposals: int
    books: tuple[BookInForce, ...]
    rulebook_version: str
    rulebook_digest: bytes
    rules: tuple[Rule, ...]
    verdicts: Mapping[str, int]
    faults: tuple[Fault, ...]

    @property
    def kept(self) -> int:
        return sum(one.kept for one in self.ledgers)

    @property
    def due(self) -> int:
        """Kept although their month has ended: awaiting a disposal, or held."""
        return sum(one.due for one in self.ledgers)

    @property
    def held(self) -> int:
        return sum(one.held for one in self.ledgers)

    @property
    def destroyed(self) -> int:
        return sum(one.destroyed for one in self.ledgers)

    @property
    def verdict(self) -> str:
        """The word that decides: FORKED before MODIFIED before MISSING, else OK."""
        return next((word for word in FAULTS if self.verdicts.get(word, 0)), "OK")
