"""What a certificate of destruction says, as plain values. ``retention.evidence_of`` fills them; reports print them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from retention.copies import Copy

MOST_RANGES: Final = 1000
"""Ranges of positions that are spelled out; the selection's digest stands for all of them."""


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """One rule that kept some of the destroyed. Instants are RFC 3339; "" where there is none.

    Attributes:
        instrument: its citation.
        first_trigger, last_trigger: of what started its periods.
        first_until, last_until: the computed first days on which they might be destroyed.
    """

    id: str
    book: str
    rulebook: str
    jurisdiction: str
    instrument: str
    minimum: str
    trigger: str
    erase: str
    status: str
    note: str
    count: int
    first_trigger: str
    last_trigger: str
    first_until: str
    last_until: str


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """One key that wrapped some of the destroyed, and what the provider says of it.

    Attributes:
        state: as ``describe`` said when this was collected; "unreachable" where it did not answer.
        event: position of ``key.destroyed``.
        destroyed_for: the disposal, or other act, that it died for.
    """

    group: str
    key: str
    provider: str
    created_at: str
    destroyed_at: str
    state: str
    event: int
    destroyed_for: str


@dataclass(frozen=True, slots=True)
class ApproverFacts:
    """One approval. ``statement`` is the text that the signature is over, ASCII; key and signature are base64url."""

    person: str
    at: str
    event: int
    key: str
    fingerprint: str
    registered: int
    signature: str
    statement: str
    counts: bool


@dataclass(frozen=True, slots=True)
class Position:
    """Where the ledger stood: its checkpoint's size and root (base64url)."""

    size: int
    root: str


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """Everything that a certificate of destruction says. Instants are RFC 3339, digests base64url, people ids.

    Attributes:
        due: latest of the computed dates; "" where it was early.
        holds_checked_at, holds_checked: when the open holds were asked, and how many events the ledger then had.
        held, extended, open_ended: of the planned, left behind at that look, by reason.
        moved_before: left behind by an earlier, interrupted look.
        ranges: first and last positions of what was destroyed; empty where there are more than ``MOST_RANGES``.
        keys: every one that ever wrapped a destroyed record key.
        epochs_tried: epoch keys of the dead groups that the last run tried, none of which opened; 0 where an earlier
            run had tried all of them and taken them away.
        copies: what may still exist elsewhere, and until when.
        destroyed_at: when the last key died; "" where nothing was left to destroy.
        outside_at, outside_by: when others had seen that the destruction had begun, and who; "" where nobody had.
        outside_independent: whether they are not the vault's own.
    """

    disposal: str
    tenant: str
    kind: str
    early: bool
    ledger: str
    ledger_name: str
    ledger_kind: str
    jurisdictions: tuple[str, ...]
    requested_by: str
    reason: str
    planned_at: str
    rules: tuple[RuleFacts, ...]
    due: str
    manifest: str
    planned: int
    destroyed: int
    selection: str
    ranges: tuple[tuple[int, int], ...]
    holds_checked_at: str
    holds_checked: int
    held: int
    extended: int
    open_ended: int
    moved_before: int
    excepted: int
    exceptions: str
    exception_ranges: tuple[tuple[int, int], ...]
    groups: tuple[str, ...]
    keys: tuple[KeyFacts, ...]
    provider: str
    epochs_tried: int
    deleted: int
    approvers: tuple[ApproverFacts, ...]
    intended_at: str
    cooling_off_seconds: int
    not_before: str
    before: Position
    after: Position
    copies: tuple[Copy, ...]
    destroying_at: str
    destroyed_at: str
    done_at: str
    issued_at: str
    events: Mapping[str, int]
    outside_at: str = ""
    outside_by: tuple[str, ...] = ()
    outside_independent: bool = False
