"""What stands on the pages of a dossier. The conventions of ``reports.model`` hold, but for one: here text of records
is printed, as the grant shows it and cut; a masked record's values are ``[masked]`` wherever the grant hides them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from reports.model import Checkpoint, Identification


@dataclass(frozen=True, slots=True)
class Said:
    """One text of a prompt or an answer.

    Attributes:
        role: of the message, "" where there is none.
        text: as far as it is printed; ``length`` is that of all of it, in characters.
    """

    role: str
    text: str
    length: int

    @property
    def cut(self) -> bool:
        return len(self.text) < self.length


@dataclass(frozen=True, slots=True)
class Score:
    """A score against its threshold, on the record's own scale; None is what the record does not name.

    Attributes:
        below: as the vault judged it on arrival.
        stated: False where the record names no threshold and the ledger's counted.
    """

    score: float | None
    comparator: str
    threshold: float | None
    below: bool
    stated: bool
    policy: str


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A review: a human's, or a rule's."""

    reviewer: str
    decided_at: datetime | None
    agreed: bool | None
    reason: str
    rule: str


@dataclass(frozen=True, slots=True)
class Used:
    """What an answer took. None is what the record does not name.

    Attributes:
        batch: id of the batch, "" where there is none; ``discount`` a share of the price.
        cached: the answer came from a cache.
        fee: amount and currency, "" where none is recorded.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    fee: str = ""
    batch: str = ""
    discount: float | None = None
    cached: bool = False
    ai_ms: float | None = None
    total_ms: float | None = None
    first_token_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One record of the conversation. Texts are "" where the record names none.

    Attributes:
        masked: opened under a grant that masks; ``grant`` is its id.
        earlier: messages of the prompt that stand before those in ``prompt`` and are not printed.
        money: executed amount, "" where there is none.
        relations: (kind, record id).
        leaf_hash, leaf: 32 bytes, and the hash's preimage as stored.
    """

    seq: int
    record_id: str
    step: int
    attempt: int
    occurred_at: datetime
    api: str
    record_class: str
    action: str
    outcome: str
    moved: bool
    masked: bool
    grant: str
    model: str = ""
    asked: str = ""
    gateway: str = ""
    score: Score | None = None
    used: Used = field(default_factory=Used)
    proposed: str = ""
    money: str = ""
    executed_at: datetime | None = None
    transaction: str = ""
    reason: str = ""
    explanation: str = ""
    consent: bool | None = None
    review: Reviewed | None = None
    relations: tuple[tuple[str, str], ...] = ()
    redactions: tuple[str, ...] = ()
    valid: bool | None = None
    fidelity: str = ""
    prompt: tuple[Said, ...] = ()
    earlier: int = 0
    response: tuple[Said, ...] = ()
    keep_until: str = ""
    leaf_hash: bytes = b""


@dataclass(frozen=True, slots=True)
class Moment:
    """One point of the timeline.

    Attributes:
        after: seconds since the first one.
        alert: below the threshold, failed, unknown or overruled.
    """

    at: datetime
    after: float
    seq: int
    what: str
    detail: str
    alert: bool


@dataclass(frozen=True, slots=True)
class Access:
    """One event that opened these records, looked for them or was denied them.

    Attributes:
        own: this dossier's own.
    """

    seq: int
    at: str
    actor: str
    event: str
    grant: str
    fields: str
    own: bool


@dataclass(frozen=True, slots=True)
class Dossier:
    """The whole dossier.

    Attributes:
        conversation: its id, as the grant shows it.
        steps: those that are printed, in order of step and attempt; ``records`` are all that were opened.
        timeline: bounded; ``moments`` are all.
        executed: executed amounts of records that moved money, by currency, with their number. One that another record
            settles is left out: both tell of one movement.
        accesses: bounded, newest last; ``access_count`` are all.
        own: positions of this dossier's access events.
        closed, uncovered, gone, strangers: records that were found and are not shown: restricted without a duty; that
            only another grant covers; destroyed meanwhile; of another conversation than the index said.
        shows: ``full``, ``masked`` or ``mixed``.
    """

    identification: Identification
    conversation: str
    steps: tuple[Step, ...]
    records: int
    timeline: tuple[Moment, ...]
    moments: int
    executed: tuple[tuple[str, int], ...]
    accesses: tuple[Access, ...]
    access_count: int
    own: tuple[int, ...]
    grants: tuple[str, ...]
    closed: int
    uncovered: int
    gone: int
    strangers: int
    shows: str
    checkpoint: Checkpoint
    limits: tuple[str, ...] = ()
