"""The record ``reasoning-log/1`` as types: a frozen struct per object, a code per word that is searched.

The structs say what may stand where: type, length, range, form. What several fields say together (a bypass
needs a reason, an AI decision needs its prompt) is ``vault.core.record_rules``; ``vault.core.parse`` puts
both to work.

null means absent, wherever a field is optional. A field that has a default in the reference is read through
the property that knows it (``record.step``), never through the ``..._sent`` attribute that holds what the
producer wrote.

How it may grow: a new optional field may be added to ``reasoning-log/1``; a field that is removed, renamed or
read differently needs ``reasoning-log/2`` beside it, since records of every version stay readable for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field

SCHEMA: Final = "reasoning-log/1"
DEFAULT_CLASS: Final = "payment"
MAX_ATTACHMENT: Final = 16 * 1024 * 1024
"""Bytes one attachment may have."""
MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON reader reads alike (RFC 8259 section 6)."""

Api = Literal["payment_intelligence", "risk_compliance", "customer_interaction", "non_ai_bypass", "human_review"]
Outcome = Literal["accepted", "human_review", "deterministic_rule", "rejected", "failed", "outcome_unknown"]
Fidelity = Literal["wire", "reconstructed", "truncated", "redacted"]
RelationKind = Literal["retry_of", "review_of", "correction_of", "cached_from", "refund_of", "settles", "dates"]
Direction = Literal["higher_is_better", "lower_is_better"]
Comparator = Literal[">=", ">", "<=", "<"]

# One byte each in the canonical facets: stable for ever, append only, 0 is never given out.
API_CODES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "payment_intelligence": 1,
        "risk_compliance": 2,
        "customer_interaction": 3,
        "non_ai_bypass": 4,
        "human_review": 5,
    }
)
OUTCOME_CODES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "accepted": 1,
        "human_review": 2,
        "deterministic_rule": 3,
        "rejected": 4,
        "failed": 5,
        "outcome_unknown": 6,
    }
)
FIDELITY_CODES: Final[Mapping[str, int]] = MappingProxyType(
    {"wire": 1, "reconstructed": 2, "truncated": 3, "redacted": 4}
)
RELATION_CODES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "retry_of": 1,
        "review_of": 2,
        "correction_of": 3,
        "cached_from": 4,
        "refund_of": 5,
        "settles": 6,
        "dates": 7,
    }
)
AI_APIS: Final = frozenset({"payment_intelligence", "risk_compliance", "customer_interaction"})
"""The APIs in which a model decided."""

# Characters that show nothing or reorder what is shown: controls (C0, DEL, C1), soft hyphen, zero-width and
# bidirectional controls, line and paragraph separators, tags. Two ids that look alike must be alike.
_UNSEEN = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
)
VISIBLE: Final = rf"\A[^{_UNSEEN}]+\Z"
WORD: Final = r"\A[a-z][a-z0-9_.-]*\Z"
AMOUNT: Final = r"\A[0-9]{1,18}(?:\.[0-9]{1,6})?\Z"
SHA256_HEX: Final = r"\A[0-9a-f]{64}\Z"
LANGUAGE: Final = r"\A[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*\Z"
MEDIA_TYPE: Final = r"\A[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*\Z"

Id = Annotated[str, Meta(min_length=1, max_length=128, pattern=VISIBLE)]
Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=VISIBLE)]
"""A name given by somebody else's system: longer than an id, and searched or printed."""
Label = Annotated[str, Meta(min_length=1, max_length=256)]
Word = Annotated[str, Meta(max_length=64, pattern=WORD)]
Digest = Annotated[str, Meta(pattern=SHA256_HEX)]
Time = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Ordinal = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
Millis = Annotated[float, Meta(ge=0, le=MAX_INTEGER)]
Prose = Annotated[str, Meta(min_length=1)]


# gc=False: nothing in a decoded record can point back to it, so there are no cycles to look for.
class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """An object of the document; fields that it does not name are refused."""


class Money(_Part, frozen=True):
    """Decimal string, at most 18 digits before and 6 after the point. Not checked: the currency's scale."""

    amount: Annotated[str, Meta(pattern=AMOUNT)]
    currency: str


class Source(_Part, frozen=True):
    """Which adapter wrote the record, and how near it is to what went over the wire."""

    adapter: Label
    fidelity: Fidelity
    adapter_version: Label | None = None
    endpoint: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    call_id: Label | None = None
    raw_sha256: Digest | None = None


class TextPart(_Part, frozen=True, tag_field="type", tag="text"):
    """A piece of text of a message."""

    text: str


class ImagePart(_Part, frozen=True, tag_field="type", tag="image"):
    """An image of a message: ``attachment`` is the ``name`` of an entry of ``attachments``."""

    attachment: Label


class Message(_Part, frozen=True):
    """One message of a prompt. ``tool_calls`` are kept in whatever shape the provider gave them."""

    role: Annotated[str, Meta(min_length=1, max_length=64)]
    content: str | list[TextPart | ImagePart] | None = None
    name: Label | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: Label | None = None


class Model(_Part, frozen=True):
    """Who was asked and who answered; at least one of ``requested`` and ``served`` is there."""

    provider: Name | None = None
    requested: Name | None = None
    served: Name | None = None
    gateway: Label | None = None
    call_id: Label | None = None
    parameters: dict[str, Any] | None = None


class Confidence(_Part, frozen=True):
    """A score and the scale that gives it meaning; ``vault.core.record_rules.below_threshold`` judges it."""

    score: float | None = None
    direction: Direction | None = None
    minimum: float | None = None
    maximum: float | None = None
    threshold: float | None = None
    comparator: Comparator | None = None
    policy: Label | None = None


class Decision(_Part, frozen=True):
    """What was decided and what came of it. Action, outcome and money_moved are never guessed: required."""

    action: Word
    outcome: Outcome
    money_moved: bool
    proposed: Money | None = None
    executed: Money | None = None
    transaction_id: Id | None = None
    executed_at: Time | None = None
    reason: str | None = None
    explanation: str | None = None
    alternative: str | None = None
    consent: bool | None = None


class Review(_Part, frozen=True):
    """A human's review (``reviewer`` and ``agreed``), or the rule that decided (``rule_id`` alone)."""

    reviewer: Id | None = None
    decided_at: Time | None = None
    agreed: bool | None = None
    reason: str | None = None
    rule_id: Id | None = None


class Relation(_Part, frozen=True):
    """A link to an earlier record of the same ledger, by its record id."""

    kind: RelationKind
    id: Id


class Batch(_Part, frozen=True):
    """``discount``: share of the price, 0 to 1."""

    id: Id
    item: Id | None = None
    discount: Annotated[float, Meta(ge=0, le=1)] | None = None


class Cache(_Part, frozen=True):
    """Whether the answer came from a cache."""

    hit: bool
    key: Label | None = None


class Usage(_Part, frozen=True):
    """Tokens by kind, and what they cost."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    cost: Money | None = None
    price_table: Label | None = None
    batch: Batch | None = None
    cache: Cache | None = None


class Timing(_Part, frozen=True):
    """Milliseconds, fractions allowed."""

    ai_ms: Millis | None = None
    total_ms: Millis | None = None
    first_token_ms: Millis | None = None


class Redaction(_Part, frozen=True):
    """What kind of thing was removed before the model saw it, and how often; never the thing itself."""

    type: Label
    count: Count
    rule: Label | None = None


class Validation(_Part, frozen=True):
    """How the model's answer was checked. ``errors`` are kept in the checker's own words or objects."""

    ok: bool
    schema: Label | None = None
    errors: list[str | dict[str, Any]] | None = None


class Attachment(_Part, frozen=True):
    """A file by name and digest. Inline ``content`` has a place here so that its refusal can say why."""

    name: Label
    sha256: Digest
    media_type: Annotated[str, Meta(max_length=255, pattern=MEDIA_TYPE)] | None = None
    size: Annotated[int, Meta(ge=0, le=MAX_ATTACHMENT)] | None = None
    content: str | None = None


class Record(_Part, frozen=True):
    """One reasoning log."""

    schema: Literal["reasoning-log/1"]
    id: Id
    conversation_id: Id
    occurred_at: Time
    jurisdictions: Annotated[list[str], Meta(min_length=1, max_length=8)]
    api: Api
    source: Source
    decision: Decision
    step_sent: Count | None = field(name="step", default=None)
    attempt_sent: Ordinal | None = field(name="attempt", default=None)
    producer_seq: Ordinal | None = None
    record_class_sent: Word | None = field(name="record_class", default=None)
    prompt: Prose | Annotated[list[Message], Meta(min_length=1)] | None = None
    response: str | dict[str, Any] | None = None
    model: Model | None = None
    confidence: Confidence | None = None
    review: Review | None = None
    relates_to: list[Relation] | None = None
    customer_ref: Id | None = None
    language: Annotated[str, Meta(max_length=64, pattern=LANGUAGE)] | None = None
    usage: Usage | None = None
    timing: Timing | None = None
    redactions: list[Redaction] | None = None
    validation: Validation | None = None
    attachments: list[Attachment] | None = None
    extra: dict[str, Any] | None = None

    @property
    def is_ai(self) -> bool:
        """Whether a model decided."""
        return self.api in AI_APIS

    @property
    def step(self) -> int:
        """Which decision of the conversation, from 0."""
        return self.step_sent or 0

    @property
    def attempt(self) -> int:
        """Which try of that step, from 1."""
        return self.attempt_sent or 1

    @property
    def record_class(self) -> str:
        """The class that chooses optional retention rules and the scope of access."""
        return self.record_class_sent or DEFAULT_CLASS
