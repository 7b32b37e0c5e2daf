"""What goes over HTTP, as types: the API reference is made from them.

Times are RFC 3339 in UTC. Unknown members of a request are refused, so that a misspelt limit never means no limit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

Word = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:/+-]+$")]
LedgerName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]
Line = Annotated[str, Meta(min_length=1, max_length=500)]
Instant = Annotated[datetime, Meta(tz=True)]


class LoginAsk(Struct, forbid_unknown_fields=True):
    """A local account's name and password."""

    user: Annotated[str, Meta(min_length=1, max_length=200)]
    password: Annotated[str, Meta(min_length=1, max_length=1024)]

    def __repr__(self) -> str:
        return "LoginAsk(...)"


class Token(Struct):
    """An access token for the header ``Authorization: Bearer``."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int

    def __repr__(self) -> str:
        return "Token(...)"


class LedgerView(Struct):
    """What a producer needs to check receipts with: the ledger's origin, the key that signs its checkpoints, and every
    key that ever did, oldest first: what older receipts are checked with."""

    ledger: str
    name: str
    origin: str
    verifier: str
    verifiers: list[str]
    jurisdictions: list[str]


class GrantAsk(Struct, forbid_unknown_fields=True):
    """What an auditor asks to open. ``start`` and ``end`` bound ``occurred_at``, the end excluded. ``duty`` is the
    legal duty for which restricted records are to be opened; without it they stay closed."""

    ledgers: Annotated[list[LedgerName], Meta(min_length=1, max_length=16)]
    purpose: Line
    case: Line
    expires_at: Instant
    start: Instant | None = None
    end: Instant | None = None
    classes: Annotated[list[Word], Meta(max_length=32)] = []
    fields: Literal["masked", "full"] = "masked"
    duty: Word | None = None


class GrantView(Struct):
    """A grant and where it stands. People are pseudonymous ids."""

    grant: str
    state: Literal["requested", "approved", "expired", "revoked"]
    auditor: str
    ledgers: list[str]
    start: str | None
    end: str | None
    classes: list[str]
    fields: Literal["masked", "full"]
    duty: str | None
    purpose: str
    case: str
    requested_at: str
    expires_at: str
    approved_by: str | None
    approved_at: str | None
    revoked_by: str | None
    revoked_at: str | None


class GrantPage(Struct):
    """The grants that whoever asks may know of."""

    grants: list[GrantView]


class Verification(Struct):
    """What was checked before a record was shown, all of it true: else there is a problem instead."""

    checkpoint_size: int
    leaf_under_checkpoint: bool
    facets_match_leaf: bool
    plaintext_matches_leaf: bool


class RecordView(Struct):
    """One record, opened. ``record`` holds exactly the producer's bytes, or their masked form."""

    ledger: str
    seq: int
    leaf_hash: str
    masked: bool
    grant: str
    access_event: int
    verification: Verification
    receipt: Raw
    record: Raw

    def __repr__(self) -> str:
        return f"RecordView(seq={self.seq})"


class FoundView(Struct):
    """One entry that a search found: its leaf, as parsed JSON, and the few facets that searches use. No content."""

    seq: int
    leaf_hash: str
    leaf: dict[str, Any]
    record_id: str
    occurred_at: str
    record_class: str
    jurisdictions: list[str]
    api: str
    outcome: str
    money_moved: bool
    below_threshold: bool | None
    score: float | None
    model: str
    flags: list[str]


class SearchPage(Struct):
    """Entries in order of ``occurred_at``. ``cursor`` fetches the next page; null when this was the last."""

    records: list[FoundView]
    cursor: str | None
    access_event: int


class EventView(Struct):
    """One event. ``details`` is there for compliance officers only, and only where the event has any."""

    seq: int
    at: str
    event: str
    actor: str
    facts: dict[str, Any]
    details: dict[str, Any] | None


class EventPage(Struct):
    """Events, newest first. ``before`` goes on where the page ended; null when the beginning was reached."""

    events: list[EventView]
    before: int | None
    access_event: int


class ReportAsk(Struct, forbid_unknown_fields=True):
    """Which report to make. ``first`` and ``end`` are days in the ledger's first jurisdiction, the end excluded."""

    ledger: LedgerName
    kind: Literal["evidence", "threshold", "cost", "integrity", "retention"] = "evidence"
    language: Literal["en", "zh-Hans"] | None = None
    first: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = None
    end: Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = None


class ReportView(Struct):
    """Where a report stands. ``sha256``, ``pages`` and ``bytes`` once it is ready; ``detail`` where it failed."""

    report: str
    state: Literal["running", "ready", "failed"]
    ledger: str
    kind: str
    grant: str
    requested_at: str
    sha256: str | None = None
    pages: int | None = None
    bytes: int | None = None
    event: int | None = None
    detail: str | None = None


class Health(Struct):
    """``status`` is ``ok``, or ``down`` with what is out of reach."""

    status: Literal["ok", "down"]
    database: bool | None = None
    keys: bool | None = None
    evidence: bool | None = None
    identity: bool | None = None
