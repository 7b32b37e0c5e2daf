"""What stands on the pages of the completeness report. Conventions are those of ``reports.model``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from reports.basis import Basis
from reports.completeness.movements import Listed
from reports.figures import Money, Sequences
from reports.model import Identification, Refusals


@dataclass(frozen=True, slots=True)
class MovementRow:
    """One movement of the list, and the record that it was compared with, where there is one."""

    line: int
    transaction_id: str
    amount: Decimal
    currency: str
    at: datetime
    seq: int | None = None
    record_id: str | None = None
    logged: str = ""
    """What the record says instead: an amount, or nothing."""


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One record that says that money moved, and whose movement is not in the list."""

    seq: int
    record_id: str
    transaction_id: str | None
    amount: Decimal | None
    currency: str | None
    at: datetime
    producer: str


@dataclass(frozen=True, slots=True)
class Doubled:
    """One conversation and step with more than one movement."""

    conversation: str
    step: int | None
    movements: int
    seqs: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """A transaction id that the list has more than once."""

    transaction_id: str
    count: int
    first_line: int
    last_line: int


@dataclass(frozen=True, slots=True)
class Day:
    """Movements of one day (UTC): with an agreeing log, with one that disagrees, with none."""

    label: str
    matched: int
    differing: int
    unlogged: int


Sums = tuple[tuple[Money, int], ...]


@dataclass(frozen=True, slots=True)
class CompletenessReport:
    """The whole report; every tuple of rows is bounded, its count stands in ``counts``.

    Attributes:
        states: movements of the period by what became of them (reports.completeness.matching).
        counts: rows of each result.
        unopened: records of the period that did not open, so whose movement nobody knows.
        known_missing: logs that are known not to be here, as the vault sees it alone; an upper bound.
    """

    identification: Identification
    basis: Basis
    listed: Listed
    states: Mapping[str, int]
    outside: int
    grace_days: int
    counts: Mapping[str, int]
    unlogged: tuple[MovementRow, ...]
    unlogged_sums: Sums
    denied: tuple[MovementRow, ...]
    mismatched: tuple[MovementRow, ...]
    unlisted: tuple[RecordRow, ...]
    unlisted_sums: Sums
    doubled: tuple[Doubled, ...]
    repeated: tuple[Repeated, ...]
    days: tuple[Day, ...]
    refusals: Refusals
    conflicts: int
    sequences: Sequences
    kept: int

    @property
    def movements(self) -> int:
        return sum(self.states.values())

    @property
    def completeness(self) -> Fraction | None:
        """Movements that have a record which says that money moved, whatever its amount; None where there are none."""
        found = self.states["matched"] + self.states["mismatched"]
        return Fraction(found, self.movements) if self.movements else None

    @property
    def known_missing(self) -> int:
        return self.refusals.open + self.conflicts + self.sequences.missing

    @property
    def captured(self) -> Fraction | None:
        """Kept / (kept + known missing), over the ledger, as the vault sees it alone: a lower bound."""
        whole = self.kept + self.known_missing
        return Fraction(self.kept, whole) if whole else None

    @property
    def findings(self) -> int:
        return sum(self.counts.values())
