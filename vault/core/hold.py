"""Holds: which records a legal hold keeps, and who may place, prolong and release one.

Pure decisions over plain values. A hold is an event; ``vault.core.standing`` reads it from there. A decision is a
reason why not, or None: whoever asks writes the event and raises.

Ids of cases, customers, conversations and transactions stand in events for ever, so they stand there as tags: keyed
digests. Whoever has the key and a guess can test it; the same id has the same tag in every hold.

    key = tag_key(the key of the events ledger's ids)
    scope = HoldScope((ledger,), frozenset({tag(key, "customer", "cus-7")}))
    matches(scope, ledger, occurred_at, "payment", ("CN",), {tag(key, "customer", "cus-7")})
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Literal

from vault.core import canonical
from vault.core.governance import Governance, Hold, HoldScope
from vault.core.mac import hkdf_expand, hmac_sha256
from vault.core.record import Record

Field = Literal["case", "customer", "conversation", "transaction"]

MAX_LEDGERS: Final = 16
MAX_TAGS: Final = 12
MAX_CLASSES: Final = 8
MAX_JURISDICTIONS: Final = 16
"""All of them together fit into one event's leaf."""

_LABEL: Final = b"reasonvault/hold-tag/1"
_TAG_BYTES: Final = 16


def tag_key(id_key: bytes) -> bytes:
    """Return the key of tags, 32 bytes, from the 32-byte key that makes the events ledger's ids."""
    return hkdf_expand(id_key, _LABEL)


def tag(key: bytes, field: Field, value: str) -> str:
    """Return an id's tag: HMAC-SHA-256 over field, zero byte and value, first 16 bytes, base64url."""
    return canonical.b64(hmac_sha256(key, field.encode() + b"\0" + value.encode())[:_TAG_BYTES])


def case_id(key: bytes, case: str) -> str:
    """Return a case's pseudonym."""
    return f"c-{tag(key, 'case', case)}"


def tags_of(key: bytes, record: Record) -> frozenset[str]:
    """Return the tags that a record answers to."""
    named: tuple[tuple[Field, str | None], ...] = (
        ("conversation", record.conversation_id),
        ("transaction", record.decision.transaction_id),
        ("customer", record.customer_ref),
    )
    return frozenset(tag(key, field, value) for field, value in named if value is not None)


def matches(
    scope: HoldScope,
    ledger: str,
    occurred_at: int,
    record_class: str,
    jurisdictions: Iterable[str],
    tags: Collection[str],
) -> bool:
    """Say whether a record lies inside a hold's scope. All terms must meet; of several ids or jurisdictions, one."""
    return fits(scope, ledger, occurred_at, record_class, jurisdictions) and (
        not scope.tags or not scope.tags.isdisjoint(tags)
    )


def fits(scope: HoldScope, ledger: str, occurred_at: int, record_class: str, jurisdictions: Iterable[str]) -> bool:
    """Say whether a record meets every term but the ids."""
    return (
        ledger in scope.ledgers
        and (scope.start is None or occurred_at >= scope.start)
        and (scope.end is None or occurred_at < scope.end)
        and (not scope.classes or record_class in scope.classes)
        and (not scope.jurisdictions or not set(scope.jurisdictions).isdisjoint(jurisdictions))
    )


def why_no_place(roles: frozenset[str], holder: bool) -> str | None:
    """Return why this person may not place a hold, None when they may: one is enough, since keeping is always safe.

    Args:
        holder: whether they hold the vault's passphrase.
    """
    if "officer" not in roles and not holder:
        return "only a compliance officer, or the holder of the vault's passphrase, places a hold"
    return None


def why_no_scope(scope: HoldScope) -> str | None:
    """Return why no hold can have this scope, None when one can."""
    if not 0 < len(scope.ledgers) <= MAX_LEDGERS:
        return f"a hold names 1 to {MAX_LEDGERS} ledgers"
    if len(scope.tags) > MAX_TAGS:
        return f"a hold names at most {MAX_TAGS} customers, conversations and transactions: place another for the rest"
    if len(scope.classes) > MAX_CLASSES or len(scope.jurisdictions) > MAX_JURISDICTIONS:
        return f"a hold names at most {MAX_CLASSES} record classes and {MAX_JURISDICTIONS} jurisdictions"
    if scope.start is not None and scope.end is not None and scope.start >= scope.end:
        return "the period ends before it starts"
    return None


def why_no_release_request(hold: Hold, person: str, roles: frozenset[str]) -> str | None:
    """Return why this person may not ask for a release, None when they may."""
    if "officer" not in roles:
        return "only compliance officers who logged in release a hold, two of them"
    if not hold.is_open:
        return "the hold is released already"
    if hold.release_by == person:
        return "you asked for this release already: another compliance officer releases"
    if hold.release_by is not None:
        return "its release was asked for already"
    return None


def why_no_release(hold: Hold, person: str, roles: frozenset[str]) -> str | None:
    """Return why this person may not release a hold, None when they may. Two people: never who asked for it."""
    if "officer" not in roles:
        return "only compliance officers who logged in release a hold, two of them"
    if not hold.is_open:
        return "the hold is released already"
    if hold.release_by is None:
        return "nobody asked for its release yet: one compliance officer asks, another releases"
    if hold.release_by == person:
        return "you asked for this release already: another compliance officer releases"
    return None


def why_no_review(hold: Hold, roles: frozenset[str]) -> str | None:
    """Return why this person may not set a review date, None when they may."""
    if "officer" not in roles:
        return "only a compliance officer reviews a hold"
    if not hold.is_open:
        return "the hold is released already"
    return None


def due_reviews(governance: Governance, now_us: int) -> list[Hold]:
    """Return the open holds whose review date has come, the longest overdue first."""
    due = [one for one in governance.holds.values() if one.is_open and one.review_at is not None]
    return sorted((one for one in due if (one.review_at or 0) <= now_us), key=lambda one: (one.review_at, one.id))
