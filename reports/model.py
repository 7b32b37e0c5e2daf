"""Everything that stands on the pages of the evidence report, as plain frozen values.

``collect`` fills an `EvidenceReport`, ``render`` prints it; neither SQL nor layout is in here. Whoever
fills it has three helpers: ``statistics.PopulationCount`` makes `Decisions`, `LowConfidence`, most
`ExceptionCheck`s and `GroupState`s from a stream of rows, ``statistics.SequenceCount`` makes `Sequences`,
``sampling`` draws the sample.

Conventions, all checked by nobody but kept by everything:

- every instant is timezone-aware; pages print UTC;
- every tuple that could grow with the population is bounded by whoever fills it, and a count beside it
  says how many there are in all (``count``, ``total``): pages stay bounded, the attachment carries the
  rest;
- strings may hold anything a producer can send. They are escaped, checked for glyphs and cut when they are
  printed, never here;
- no prompt, no answer, no key material. Record ids and facets are metadata in clear: an issued report
  outlives the shredding of the records it names, which is why issuing one is an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Protocol

from reports.figures import Count, Decisions, ExceptionCheck, GroupState, LowConfidence, Sequences, Stratum

VERDICTS = ("OK", "ERASED-BY-POLICY", "UNSEALED", "MODIFIED", "MISSING", "FORKED")
"""Verdict words in printing order; the same words, everywhere, as the command line and the verifier use."""
FAULTS = ("FORKED", "MODIFIED", "MISSING")
"""The words that mean something is wrong; the first one found decides."""


class Assured(Protocol):
    """What a page says of the world outside (vault.outside): ``independent`` is False where all who saw the vault's
    history belong to whoever runs it."""

    @property
    def witnessed_at(self) -> datetime | None: ...
    @property
    def witnesses(self) -> tuple[str, ...]: ...
    @property
    def independent(self) -> bool: ...
    @property
    def stamped_at(self) -> datetime | None: ...
    @property
    def authority(self) -> str | None: ...
    @property
    def problems(self) -> tuple[str, ...]: ...


class SignerFacts(Protocol):
    """What a page says of the signature that will be put on it (reports.signing)."""

    @property
    def subject(self) -> str: ...
    @property
    def fingerprint(self) -> bytes: ...
    @property
    def not_after(self) -> datetime: ...
    @property
    def self_signed(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Period:
    """Records with ``start <= occurred_at < end``; a missing bound is open. ``zone`` is the IANA zone that
    the dates were given in (the ledger's first jurisdiction)."""

    start: datetime | None
    end: datetime | None
    zone: str


@dataclass(frozen=True, slots=True)
class Identification:
    """Whose report this is and who made it. ``made_by`` is ``local:<user>`` for whoever holds the passphrase."""

    report_id: str
    ledger: str
    ledger_id: str
    tenant: str
    region: str
    jurisdictions: tuple[str, ...]
    period: Period
    made_by: str
    break_glass: bool
    purpose: str
    generated_at: datetime
    vault_version: str
    access_entry: str | None = None
    """Where this report's own access entry stands, such as ``events ledger, seq 41``; None when nothing was opened."""
    problems: tuple[str, ...] = ()
    """What the reader has to know before anything else: one sentence each, on page one."""
    assured: Assured | None = None
    """When somebody outside last saw the vault's history; filled when the report is issued."""
    signer: SignerFacts | None = None
    """Who will sign the file; filled when the report is issued."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused record. ``reason`` is the guard's sentence or code; it never carries the offending digits."""

    at: datetime
    producer: str
    place: str
    """Where it stood, such as ``line 17, $.prompt[2].content``."""
    reason: str


@dataclass(frozen=True, slots=True)
class Refusals:
    """Refused on arrival. Open: no redacted resend has closed it, so a log is missing. Examples are the
    oldest open."""

    open: int = 0
    closed: int = 0
    by_reason: tuple[Count, ...] = ()
    examples: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Population:
    """What the ledger holds under the checkpoint, and what reached it and is not in it.

    ``tree_size = governance + in_period + outside_period + destroyed`` must hold; ``adds_up`` says whether
    it does, and the report prints the difference when it does not.
    """

    tree_size: int
    governance: int
    """Genesis and other entries that are no records."""
    in_period: int
    outside_period: int
    destroyed: int
    """Records destroyed by policy: their leaves stay, their facets do not, so no period can claim them."""
    opened: int
    """Records of the period that were decrypted for this report, under one access entry."""
    refusals: Refusals
    conflicts: int
    """Same id, other bytes: the second version is not kept."""
    sequences: Sequences
    accesses: int
    """Access entries in the ledger of events for the same period, this report's own included."""
    destroyed_early: int = 0
    """Of the destroyed: those that two people ordered destroyed before they were due."""
    disposals: int = 0
    """Disposals that destroyed them."""
    dying: int = 0
    """Records of the period or after it whose keys a disposal destroyed and whose envelopes still stand there."""
    related: int = 0
    """Records after the period that were opened as well, for their reviews and settlements alone."""

    @property
    def adds_up(self) -> bool:
        return self.difference == 0

    @property
    def difference(self) -> int:
        """Entries of the tree that no line of the table accounts for; negative when it accounts for too many."""
        return self.tree_size - self.governance - self.in_period - self.outside_period - self.destroyed

    @property
    def kept(self) -> int:
        """Records of the whole ledger, destroyed ones included: they were kept as long as they had to be."""
        return self.in_period + self.outside_period + self.destroyed

    @property
    def known_missing(self) -> int:
        """Logs that are known not to be here. An upper bound: a refused record that its producer had numbered
        is counted as a refusal and again as a gap, since the vault cannot tell that both are the same one."""
        return self.refusals.open + self.conflicts + self.sequences.missing

    @property
    def completeness(self) -> Fraction | None:
        """Kept / (kept + known missing), over the ledger; None for a ledger without records. A lower bound,
        and only of what the vault can see: an unnumbered record that was never sent leaves no trace here."""
        whole = self.kept + self.known_missing
        return Fraction(self.kept, whole) if whole else None


@dataclass(frozen=True, slots=True)
class SampleItem:
    """``position`` counts the lines of the population attachment from 1."""

    position: int
    seq: int
    leaf_hash: bytes
    verdict: str


@dataclass(frozen=True, slots=True)
class Seen:
    """Somebody outside saw it then; ``own``: they belong to whoever runs the vault."""

    at: datetime
    by: str
    own: bool


@dataclass(frozen=True, slots=True)
class Commitment:
    """A population that was fixed before the auditor's nonce was known (reports.committing).

    Attributes:
        seq: of the event ``sample.committed``; ``nonce_seq`` of ``sample.drawn``.
        seen: who outside saw it before the nonce was given; empty where nobody did.
        draws: different nonces that were given for it so far, this one included.
    """

    sample: str
    seq: int
    committed_at: datetime
    seen: tuple[Seen, ...]
    nonce: bytes
    nonce_seq: int
    nonce_at: datetime
    draws: int


@dataclass(frozen=True, slots=True)
class Sample:
    """How the sample was drawn, and what came out. ``seed`` makes it repeatable with ``sampling.draw``."""

    items: tuple[SampleItem, ...]
    population: int
    confidence: Fraction
    tolerable_rate: Fraction
    seed: bytes
    seed_origin: str
    """One sentence: where the seed comes from and who could have influenced it."""
    self_drawn: bool
    commitment: Commitment | None = None
    """None for a sample that the vault drew itself."""

    @property
    def findings(self) -> int:
        """Drawn entries that did not verify."""
        return sum(1 for item in self.items if item.verdict in FAULTS)

    @property
    def full_size(self) -> bool:
        """Whether the population was larger than the sample, so that the stated confidence was needed at all."""
        return len(self.items) < self.population


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The signed tree head that everything in the report stands under, as stored outside the database."""

    origin: str
    size: int
    root: bytes
    note: str
    verifier_key: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that verification found."""

    verdict: str
    seq: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Integrity:
    """What ``verify`` said, at which depth, and when."""

    depth: str
    checked_at: datetime
    verdicts: Mapping[str, int]
    """Entries by verdict word; words that are missing count 0."""
    faults: tuple[Fault, ...]
    checkpoint: Checkpoint
    sample: Sample

    @property
    def entries(self) -> int:
        """Entries that have a verdict."""
        return sum(self.verdicts.values())

    @property
    def faulty(self) -> int:
        return sum(self.verdicts.get(word, 0) for word in FAULTS)

    @property
    def verdict(self) -> str:
        """The word that decides: FORKED before MODIFIED before MISSING, else OK."""
        return next((word for word in FAULTS if self.verdicts.get(word, 0)), "OK")


@dataclass(frozen=True, slots=True)
class Rule:
    """A retention rule, adopted by this ledger or not, with how far its source was checked."""

    rule_id: str
    jurisdiction: str
    instrument: str
    minimum: str
    trigger: str
    erase: str
    status: str
    adopted: bool
    reason: str | None = None
    """Why the ledger does not apply it."""
    records: int = 0
    """Records of the period whose leaf names this rule."""


@dataclass(frozen=True, slots=True)
class BookInForce:
    """A rule book that was in force from an instant on, and how many records of the period were written under it."""

    version: str
    digest: bytes
    since: datetime
    records: int


@dataclass(frozen=True, slots=True)
class Retention:
    """Keeping dates as frozen in the leaves of the period's records. ``groups`` is bounded, earliest due
    first."""

    rulebook_version: str
    rulebook_digest: bytes
    rules: tuple[Rule, ...]
    groups: tuple[GroupState, ...]
    total_groups: int
    restricted: int
    """Records whose erasure date lies before keep_until: flagged and restricted, never settled silently."""
    unconfigured: int
    """Records with a jurisdiction that the rule book does not list."""
    holds: tuple[Count, ...] = ()
    """Open holds and how many records of the ledger each has frozen so far."""
    destroyed_keys: int = 0
    books: tuple[BookInForce, ...] = ()
    """In the order in which they came into force; the last one is in force."""
    asked: int = 0
    """Records of the ledger that somebody asked to have erased: restricted until they are due."""
    dated: int = 0
    """Records of the ledger for which the start of a period was told after they were written."""


@dataclass(frozen=True, slots=True)
class EvidenceReport:
    """The whole report. ``limits`` adds to the standing list of what is not proved."""

    identification: Identification
    population: Population
    decisions: Decisions
    low_confidence: LowConfidence
    exceptions: tuple[ExceptionCheck, ...]
    integrity: Integrity
    retention: Retention
    strata: tuple[Stratum, ...] = ()
    limits: tuple[str, ...] = field(default=())

    @property
    def exceptions_found(self) -> int:
        """Tests with at least one finding; the low-confidence section counts as one of them."""
        return sum(1 for check in self.exceptions if check.count) + (1 if self.low_confidence.count else 0)

    @property
    def exceptions_tested(self) -> int:
        return sum(1 for check in self.exceptions if check.not_tested is None) + 1
