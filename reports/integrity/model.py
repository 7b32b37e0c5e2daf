"""What stands on the pages of the integrity report. Conventions are those of ``reports.model``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from reports.model import FAULTS, Fault, Identification


@dataclass(frozen=True, slots=True)
class LedgerState:
    """One ledger as it was verified.

    Attributes:
        kind: ``decisions`` or ``events``.
        size, root, note: the checkpoint it was verified against; size 0 and an empty note where there is none.
        keys: verifier keys that the ledger's checkpoints were ever signed with, oldest first, C2SP form.
        verdicts: entries by verdict word.
        lost: first and last position that a frozen ledger recorded as lost; None where it is not frozen.
    """

    name: str
    ledger: str
    kind: str
    entries: int
    records: int
    envelopes: int
    size: int
    root: bytes
    origin: str
    note: str
    keys: tuple[str, ...]
    verdicts: Mapping[str, int]
    lost: tuple[int, int] | None = None
    successor: str = ""

    @property
    def verdict(self) -> str:
        """The word that decides."""
        return next((word for word in FAULTS if self.verdicts.get(word, 0)), "OK")


@dataclass(frozen=True, slots=True)
class Anchored:
    """How often a ledger's checkpoint was copied into the events ledger. ``gap`` is the longest time between two."""

    name: str
    count: int
    first: datetime | None
    last: datetime | None
    size: int
    gap: timedelta


@dataclass(frozen=True, slots=True)
class Seen:
    """One checkpoint of the events ledger that somebody outside vouched for."""

    size: int
    at: datetime
    by: str
    how: str
    """``witness`` or ``time-stamp``."""
    own: bool


@dataclass(frozen=True, slots=True)
class Destruction:
    """One disposal that the verifier accepted. ``outside`` is when others had seen its intent; None: self-asserted."""

    disposal: str
    ledger: str
    kind: str
    count: int
    at: str
    approvers: int
    outside: str
    done: bool


@dataclass(frozen=True, slots=True)
class Key:
    """A key that signs checkpoints. ``retired`` is None while it signs."""

    public: bytes
    added: datetime | None
    retired: datetime | None


@dataclass(frozen=True, slots=True)
class IntegrityReport:
    """The whole report; every tuple but ``ledgers`` is bounded by whoever fills it, its total beside it.

    Attributes:
        ledgers: all of them, since each decides over the verdict; pages print the first.
    """

    identification: Identification
    depth: str
    checked_at: datetime
    ledgers: tuple[LedgerState, ...]
    total_ledgers: int
    faults: tuple[Fault, ...]
    total_faults: int
    anchored: tuple[Anchored, ...]
    seen: tuple[Seen, ...]
    total_seen: int
    longest_unseen: timedelta | None
    destructions: tuple[Destruction, ...]
    total_destructions: int
    keys: tuple[Key, ...]
    problems: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The word that decides over all ledgers."""
        found = {ledger.verdict for ledger in self.ledgers}
        return next((word for word in FAULTS if word in found), "OK")

    @property
    def entries(self) -> int:
        return sum(ledger.entries for ledger in self.ledgers)

    def count(self, word: str) -> int:
        """Entries of all ledgers with this verdict."""
        return sum(ledger.verdicts.get(word, 0) for ledger in self.ledgers)
