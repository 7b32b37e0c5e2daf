"""What stands on the pages of the access review. Conventions are those of ``reports.model``; people are pseudonyms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from reports.figures import Count
from reports.model import FAULTS, Fault, Identification


@dataclass(frozen=True, slots=True)
class Reader:
    """What one person did in the period.

    Attributes:
        one_by_one: records opened singly.
        together: openings of many records for a report or a bundle, and ``records`` how many records those were.
        taken: reports, bundles and exports that were handed to them.
        break_glass: openings with nothing but the vault's passphrase.
    """

    person: str
    one_by_one: int
    together: int
    records: int
    searches: int
    taken: int
    denied: int
    break_glass: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class GrantUse:
    """One grant that was asked for, held, used or ended in the period. ``used`` counts openings and searches."""

    grant: str
    auditor: str
    approver: str
    state: str
    fields: str
    ledgers: int
    expires_at: datetime
    used: int
    last_used: datetime | None


@dataclass(frozen=True, slots=True)
class Taken:
    """Something that left the vault: a report, a bundle, an export."""

    at: datetime
    kind: str
    id: str
    recipient: str
    count: int
    sha256: str
    text: bool
    """Whether it holds prompts and answers."""


@dataclass(frozen=True, slots=True)
class Account:
    """A local account as it stands now. ``logins`` and ``failures`` are those of the period."""

    person: str
    roles: tuple[str, ...]
    disabled: bool
    logins: int
    failures: int


@dataclass(frozen=True, slots=True)
class AccessReview:
    """The whole report; every tuple is bounded by whoever fills it, its total beside it."""

    identification: Identification
    events: int
    """Events of the period that were read."""
    readers: tuple[Reader, ...]
    total_readers: int
    records: int
    """Records opened, one by one or together; a record opened twice counts twice."""
    searches: int
    break_glass: int
    denials: tuple[Count, ...]
    """By act and what was missing, such as ``record.read: grant``."""
    total_denials: int
    strangers: tuple[Count, ...]
    """Keys, tokens and passwords that did not count, by kind and reason."""
    total_strangers: int
    grants: tuple[GrantUse, ...]
    total_grants: int
    unused: int
    """Grants that held in the period and opened nothing."""
    taken: tuple[Taken, ...]
    total_taken: int
    accounts: tuple[Account, ...]
    total_accounts: int
    producers: tuple[tuple[str, int, int], ...]
    """Producer, keys in force, keys revoked so far."""
    total_producers: int
    policy: bool
    """Whether reading needs a grant for the passphrase's holder, too."""
    days: tuple[Count, ...]
    """Openings a day, week or month; ``unit`` says which."""
    unit: str
    verdicts: Mapping[str, int] = field(default_factory=dict)
    """Entries of the events ledger by verdict word: all of it is verified, whatever the period."""
    faults: tuple[Fault, ...] = ()

    @property
    def verdict(self) -> str:
        """The word that decides: FORKED before MODIFIED before MISSING, else OK."""
        return next((word for word in FAULTS if self.verdicts.get(word, 0)), "OK")
