"""What reports read of an opened record. The rest of it, most of all its text, is passed over and never decoded.

That the whole is a record was decided when it came in (vault.core.parse), and that these are those bytes the leaf's
commitment says. So only what is read here is judged again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct, field

from vault.core.record import AI_APIS, Api, Confidence, Money, Timing, Usage


class _Part(Struct, frozen=True, kw_only=True, gc=False):
    """An object of the document, of which only some fields are read."""


class ToldDecision(_Part, frozen=True):
    """See ``vault.core.record.Decision``."""

    proposed: Money | None = None
    executed: Money | None = None
    transaction_id: str | None = None
    executed_at: datetime | None = None


class ToldReview(_Part, frozen=True):
    """See ``vault.core.record.Review``."""

    reviewer: str | None = None
    decided_at: datetime | None = None
    agreed: bool | None = None


class ToldRelation(_Part, frozen=True):
    """See ``vault.core.record.Relation``."""

    kind: str
    id: str


class Told(_Part, frozen=True):
    """One record; see ``vault.core.record.Record``."""

    schema: Literal["reasoning-log/1"]
    conversation_id: str
    api: Api
    decision: ToldDecision
    step_sent: int | None = field(name="step", default=None)
    confidence: Confidence | None = None
    review: ToldReview | None = None
    relates_to: list[ToldRelation] | None = None
    usage: Usage | None = None
    timing: Timing | None = None

    @property
    def is_ai(self) -> bool:
        """Whether a model decided."""
        return self.api in AI_APIS

    @property
    def step(self) -> int:
        """Which decision of the conversation, from 0."""
        return self.step_sent or 0
