"""Verdicts: the words in which the verifier answers, everywhere the same.

    OK, ERASED_BY_POLICY, UNSEALED   exit 0, counted and printed
    MISSING   11   an entry, an envelope or a ledger is not there and no valid erasure explains it
    MODIFIED  10   bytes differ from what the leaf, the chain or the checkpoint commits to
    FORKED    12   the database tells another history than the checkpoint outside it

The worst decides: FORKED, then MODIFIED, then MISSING.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from vault.core.succession import Frozen


class Verdict(Enum):
    """What a fault is; ``exit_code`` is the verifier's, ``rank`` orders them, worst first."""

    FORKED = (0, 12)
    MODIFIED = (1, 10)
    MISSING = (2, 11)

    @property
    def rank(self) -> int:
        return self.value[0]

    @property
    def exit_code(self) -> int:
        return self.value[1]


class Depth(Enum):
    """How far verification goes. Only OPEN needs keys."""

    LEAVES = "leaves"  # canonical leaves, chain, tree, checkpoints, ledgers
    ENVELOPES = "envelopes"  # and facets and envelopes against their leaves
    OPEN = "open"  # and every envelope opened, its facets derived again from the plaintext


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that does not hold. ``seq`` is None when the ledger as a whole is meant; ``last`` ends a range."""

    verdict: Verdict
    ledger: UUID
    seq: int | None
    what: str
    last: int | None = None

    def __str__(self) -> str:
        place = "" if self.seq is None else f" seq {self.seq}"
        place += f"-{self.last}" if self.last is not None and self.last != self.seq else ""
        return f"{self.verdict.name} ledger {self.ledger}{place}: {self.what}"


@dataclass(frozen=True, slots=True)
class Erasure:
    """One disposal that destroyed records as it must.

    Attributes:
        count: records of the ledger that are gone by it.
        at: when their keys began to die, RFC 3339 UTC, by the vault's own clock.
        approvers: pseudonymous ids of those who signed.
        done: whether it says that it is over.
        outside: when others had seen that the keys were to die, RFC 3339 UTC; empty where nobody had: the time is
            self-asserted then.
        outside_by: who saw it.
        independent: whether they are not the vault's own; only then does their time count.
    """

    disposal: str
    kind: str
    count: int
    at: str
    approvers: tuple[str, ...]
    done: bool
    outside: str = ""
    outside_by: tuple[str, ...] = ()
    independent: bool = False

    @property
    def early(self) -> bool:
        """Whether it was ordered before its records were due."""
        return self.kind == "early"


MAX_FAULTS = 10_000
"""Faults kept for printing a ledger; all are counted, so a wrecked ledger cannot fill the memory."""


@dataclass(slots=True)
class LedgerReport:
    """What verification found in one ledger.

    Attributes:
        entries: leaves read.
        records: record leaves among them.
        envelopes: envelopes checked against their leaves.
        opened: envelopes opened.
        erased: entries destroyed by policy; ``erasures`` by which disposals.
        dying: entries whose disposal destroyed their keys and has still to delete them.
        unsealed: entries that no checkpoint covers yet.
        cleared: whether the tree is the one that was signed, so that an entry no fault names is what was written; false
            too where entries are gone and the tree cannot be computed.
        problems: what is no fault and has to be known, such as evidence from outside that is gone.
        size, root, origin: the checkpoint it was checked against; size 0 where there is none.
        frozen: of a frozen ledger: its good head, which is the checkpoint here, and what it lost.
        beyond: entries that stand behind the good head of a frozen ledger, and count for nothing.
    """

    ledger: UUID
    name: str = "?"
    kind: str = "?"
    entries: int = 0
    records: int = 0
    envelopes: int = 0
    opened: int = 0
    erased: int = 0
    dying: int = 0
    unsealed: int = 0
    cleared: bool = False
    size: int = 0
    root: bytes = b""
    origin: str = ""
    faults: list[Fault] = field(default_factory=list)
    counts: dict[Verdict, int] = field(default_factory=dict)
    erasures: list[Erasure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    frozen: Frozen | None = None
    beyond: int = 0

    @property
    def early(self) -> int:
        """Return how many of the erased were destroyed before they were due, by order."""
        return sum(one.count for one in self.erasures if one.early)

    def add(self, verdict: Verdict, seq: int | None, what: str, last: int | None = None) -> None:
        """Note a fault."""
        self.counts[verdict] = self.counts.get(verdict, 0) + 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(verdict, self.ledger, seq, what, last))


def besides_losses(reports: Iterable[LedgerReport]) -> Verdict | None:
    """Return the verdict that would decide without the losses that frozen ledgers record: whether anything is new."""
    found = []
    for report in reports:
        known = 1 if report.frozen is not None and report.frozen.recovery.lost else 0
        found += [one for one, count in report.counts.items() if count > (known if one is Verdict.MISSING else 0)]
    return min(found, key=lambda verdict: verdict.rank, default=None)


def worst(reports: Iterable[LedgerReport]) -> Verdict | None:
    """Return the verdict that decides the exit code, None when all holds."""
    found = [verdict for report in reports for verdict in report.counts]
    return min(found, key=lambda verdict: verdict.rank, default=None)
