"""Grants: what one auditor may open, for which purpose, until when, approved by whom.

Pure decisions over plain values. The events ledger is where grants live; ``vault.core.standing`` reads them from it.
A decision is a reason why not, or None: whoever asks writes the event and raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

Fields = Literal["masked", "full"]
State = Literal["requested", "approved", "expired", "revoked"]
Role = Literal["auditor", "officer", "operator"]

ROLES: Final = ("auditor", "officer", "operator")
"""What a person may be. Producers are no people: they hold keys."""

MAX_DAYS: Final = 366
"""No grant lasts longer; a longer need is asked for again."""

NO_AUDITOR: Final = "the role auditor is missing"

_US_A_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Scope:
    """What a grant opens. Times are microseconds since the epoch; None leaves that end open.

    Attributes:
        ledgers: uuids of the ledgers, at least one.
        start, end: bounds of ``occurred_at``, the end excluded.
        classes: record classes; empty means all.
        fields: ``full`` shows the record's exact bytes, ``masked`` only what ``vault.core.masking`` lets through.
        duty: the legal duty that restricted records are opened for, a word; "" leaves them closed.
    """

    ledgers: tuple[str, ...]
    start: int | None
    end: int | None
    classes: tuple[str, ...]
    fields: Fields
    duty: str = ""

    def covers(self, ledger: str, occurred_at: int, record_class: str) -> bool:
        """Say whether a record lies inside."""
        return (
            ledger in self.ledgers
            and (self.start is None or occurred_at >= self.start)
            and (self.end is None or occurred_at < self.end)
            and (not self.classes or record_class in self.classes)
        )

    def covers_ledger(self, ledger: str) -> bool:
        """Say whether a ledger lies inside as a whole: what a report needs, whose attachments hold facets in clear."""
        whole = self.start is None and self.end is None and not self.classes
        return ledger in self.ledgers and whole and self.fields == "full"


@dataclass(frozen=True, slots=True)
class Grant:
    """One grant and what became of it. Times are microseconds since the epoch, people are pseudonymous ids.

    Attributes:
        request: position of ``grant.requested`` in the events ledger; purpose and case are sealed beside it.
    """

    id: str
    auditor: str
    scope: Scope
    requested_at: int
    expires_at: int
    request: int
    approved_by: str | None = None
    approved_at: int | None = None
    revoked_by: str | None = None
    revoked_at: int | None = None

    def state(self, now_us: int) -> State:
        """Return where the grant stands; a request that nobody approved in time is expired too."""
        if self.revoked_by is not None:
            return "revoked"
        if now_us >= self.expires_at:
            return "expired"
        return "requested" if self.approved_by is None else "approved"

    def approved(self, by: str, at: int) -> Grant:
        return replace(self, approved_by=by, approved_at=at)

    def revoked(self, by: str, at: int) -> Grant:
        return replace(self, revoked_by=by, revoked_at=at)


def that_opens(
    held: Sequence[Grant], ledger: str, occurred_at: int, record_class: str, *, restricted: bool
) -> tuple[Grant | None, Grant | None]:
    """Return the first of these grants that opens a record, and the first that covers it; None where none does.

    A restricted record is covered like any other, and opened by a grant that names a legal duty only.
    """
    covering = [one for one in held if one.scope.covers(ledger, occurred_at, record_class)]
    opening = (one for one in covering if one.scope.duty or not restricted)
    return next(opening, None), next(iter(covering), None)


def why_no_request(roles: frozenset[str], scope: Scope, expires_at: int, now_us: int) -> str | None:
    """Return why this may not be asked for, None when it may."""
    if "auditor" not in roles:
        return NO_AUDITOR
    if not scope.ledgers:
        return "a grant names at least one ledger"
    if scope.start is not None and scope.end is not None and scope.start >= scope.end:
        return "the period ends before it starts"
    if expires_at <= now_us:
        return "the grant would have expired already"
    if expires_at > now_us + MAX_DAYS * _US_A_DAY:
        return f"a grant lasts {MAX_DAYS} days at most"
    return None


def why_no_approval(grant: Grant, person: str, roles: frozenset[str], now_us: int) -> str | None:
    """Return why this person may not approve, None when they may. Four eyes: never one's own."""
    if "officer" not in roles:
        return "only a compliance officer approves a grant"
    if grant.auditor == person:
        return "nobody approves their own grant"
    if (state := grant.state(now_us)) != "requested":
        return f"the grant is {state}"
    return None


def why_no_revocation(grant: Grant, person: str, roles: frozenset[str]) -> str | None:
    """Return why this person may not revoke, None when they may: an officer, or the auditor who no longer needs it."""
    if "officer" not in roles and grant.auditor != person:
        return "only a compliance officer, or the auditor it was given to, revokes a grant"
    if grant.revoked_by is not None:
        return "the grant is revoked already"
    return None
