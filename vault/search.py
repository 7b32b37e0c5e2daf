"""Search: find entries within a grant, by facets and blind indexes. Leaves and facets come back, never content.

    1. which grant of whoever asks names the ledger; none is a denial. Under a masked grant nothing may be looked for by
       what reading would mask: whoever guesses a customer would be told
    2. one blind index a group for each term that names a conversation, a transaction or a customer
    3. query, bounded by the grant's period and classes and by the last checkpoint
    4. compare each row's facets with the leaf's digest: an edited row is no finding but MODIFIED
    5. decide under the events ledger's lock that the grant still holds, and commit the search with its range and count;
       the terms are sealed. Only then does the page leave

A restricted record (vault.restricting) is found like any other: its facets are what it is counted by. A search for a
customer is the exception: restricted records are what somebody wanted forgotten, so who they are about is told only
under a grant that names a legal duty. Such a page may be short, or empty, and still have a cursor.

Under a masked grant facets show what reading would show of the same fields (vault.core.masking).

Not checked: that each leaf is under the checkpoint. Opening a record checks it, and so does ``vault.audit``. Nor is any
blind index: no leaf commits to them, so whoever owns the database can have a conversation, a transaction or a customer
find another's entry, or not find one. A found entry says that it exists, not whose it is: that says the opened record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from vault import events
from vault.context import Vault
from vault.core import canonical, facets, leaf, masking, packing
from vault.core.errors import Denied, Forked, Modified, UsageError
from vault.core.facets import Facets
from vault.core.flags import Flag
from vault.core.grant import Grant, Scope
from vault.core.leaf import RecordLeaf
from vault.core.record import API_CODES, OUTCOME_CODES
from vault.core.standing import Standing
from vault.core.tree import leaf_hash
from vault.db import finding, groups
from vault.db.engine import transact
from vault.db.groups import StoredGroup
from vault.events import Event, Ruling, refuse
from vault.ledgers import Ledger
from vault.matching import index_keys
from vault.reading import denial, held_grants, no_grant
from vault.restricting import Restricted
from vault.sealing import blind_tag, from_columns, id_tag

MOST = 500
_MODEL = ("model", "served")
_CURSOR = re.compile(r"([0-9]{1,18})\.([0-9]{1,16})")
_APIS = {code: name for name, code in API_CODES.items()}
_OUTCOMES = {code: name for name, code in OUTCOME_CODES.items()}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; None means any. Times are microseconds since the epoch, the end excluded.

    Attributes:
        flags: lower-case names of ``Flag``; all of them must be set.
        cursor: where the page before ended.
    """

    start: int | None = None
    end: int | None = None
    record: str | None = None
    conversation: str | None = None
    transaction: str | None = None
    customer: str | None = None
    api: str | None = None
    outcome: str | None = None
    model: str | None = None
    flags: tuple[str, ...] = ()
    cursor: str | None = None
    limit: int = 100

    def terms(self) -> dict[str, Any]:
        """Return what was looked for, for the sealed details of the event."""
        named = ("start", "end", "record", "conversation", "transaction", "customer", "api", "outcome", "model")
        said = {name: getattr(self, name) for name in named if getattr(self, name) is not None}
        return said | ({"flags": list(self.flags)} if self.flags else {})


class Found(NamedTuple):
    """One entry: its leaf's bytes and hash, and the facets that the leaf commits to, with their codes spelled out.

    Under a masked grant ``MASKED`` stands for an id, a class or a model that does not have the form of one.
    """

    seq: int
    leaf: bytes
    leaf_hash: bytes
    facets: Facets
    api: str
    outcome: str
    flags: tuple[str, ...]


class Page(NamedTuple):
    """Entries in order of ``occurred_at``; ``cursor`` goes on after the last of them, None when there are no more."""

    rows: list[Found]
    cursor: str | None
    access: int


def search(vault: Vault, ledger: Ledger | None, wanted: Wanted, grant: str | None = None) -> Page:
    """Return a page of what a grant of whoever asks lets them find.

    Args:
        ledger: None where no such ledger is known; that is denied like one without a grant.
        grant: id of the grant to search under; None takes one that names the ledger.

    Raises:
        UsageError: a term that cannot be.
        Denied: no grant, or it ended while the search ran; or it masks what is looked for.
        Modified: a row was edited.
    """
    bounds = _bounds(wanted)
    if ledger is None:
        deny(vault, "records.search")
        raise AssertionError("unreachable")
    place = str(ledger.id)
    held = held_grants(vault, vault.register.standing(), place, grant)
    if wanted.customer is not None:
        held.sort(key=lambda one: not one.scope.duty)
    rows: list[Found] = []
    cursor = None
    if held:
        _require_shown(vault, place, wanted, held[0])
        rows, cursor = _find(vault, ledger, wanted, bounds, held[0].scope)
    access = _tell(vault, place, wanted, rows, held[0] if held else None)
    return Page(rows, cursor, access)


def deny(vault: Vault, act: str) -> None:
    """Refuse an act on a ledger that is not there, as one on a ledger without a grant is refused.

    Raises:
        Denied: always, once its event is committed.
    """

    def decide(standing: Standing) -> Ruling[None]:
        return refuse(no_grant(standing, vault), denial(act, "ledger", {}))

    events.rule(vault, decide)


def _require_shown(vault: Vault, place: str, wanted: Wanted, used: Grant) -> None:
    """Refuse terms that a masked grant would confirm without ever showing them."""
    if used.scope.fields == "full":
        return
    words = ""
    if wanted.customer is not None or wanted.transaction is not None:
        words = "searching by customer or transaction needs a grant that shows everything"
    elif wanted.conversation is not None and not masking.shows(wanted.conversation, "conversation_id"):
        words = "this grant masks such a conversation id: searching by it needs one that shows everything"
    elif wanted.model is not None and not masking.shows(wanted.model, *_MODEL):
        words = "this grant masks such a model: searching by it needs one that shows everything"
    if words:
        told = denial("records.search", "fields", {"ledger": place, "grant": used.id})
        events.rule(vault, lambda _standing: refuse(Denied(words), told))


class _Bounds(NamedTuple):
    """The terms as the database spells them."""

    api: int | None
    outcome: int | None
    flags: int
    after: tuple[datetime, int] | None


def _bounds(wanted: Wanted) -> _Bounds:
    if not 1 <= wanted.limit <= MOST:
        raise UsageError(f"a page has 1 to {MOST} records")
    for text in wanted.terms().values():
        if isinstance(text, str) and ("\0" in text or any("\ud800" <= one <= "\udfff" for one in text)):
            raise UsageError("a term of a search is text")
    if wanted.api is not None and wanted.api not in API_CODES:
        raise UsageError(f"api is one of {', '.join(API_CODES)}")
    if wanted.outcome is not None and wanted.outcome not in OUTCOME_CODES:
        raise UsageError(f"outcome is one of {', '.join(OUTCOME_CODES)}")
    flags = 0
    for name in wanted.flags:
        if name.upper() not in Flag.__members__ or name != name.lower():
            raise UsageError(f"a flag is one of {', '.join(flag.lower() for flag in Flag.__members__)}")
        flags |= Flag[name.upper()]
    after = None
    if wanted.cursor is not None:
        match = _CURSOR.fullmatch(wanted.cursor)
        moment = None if match is None else _moment(int(match[1]))
        if match is None or moment is None:
            raise UsageError("the cursor is not one that a page ended with")
        after = (moment, int(match[2]))
    api = None if wanted.api is None else API_CODES[wanted.api]
    return _Bounds(api, None if wanted.outcome is None else OUTCOME_CODES[wanted.outcome], flags, after)


def _find(
    vault: Vault, ledger: Ledger, wanted: Wanted, bounds: _Bounds, scope: Scope
) -> tuple[list[Found], str | None]:
    """Steps 2 to 4. Returns the rows, and where to go on after them."""
    checkpoint = vault.checkpoints.read(ledger.id)
    if checkpoint is None:
        raise Forked("the checkpoint outside the database is missing", str(ledger.id))
    known = _groups(vault, ledger)
    tags = _tags(vault, ledger, wanted, known)
    asked = finding.Wanted(
        start=_later(wanted.start, scope.start),
        end=_earlier(wanted.end, scope.end),
        id_tag=None if wanted.record is None else _id_tag(vault, ledger, wanted.record),
        conversation_tags=tags["conversation"],
        transaction_tags=tags["transaction"],
        customer_tags=tags["customer"],
        apis=None if bounds.api is None else (bounds.api,),
        outcomes=None if bounds.outcome is None else (bounds.outcome,),
        model=wanted.model,
        classes=scope.classes or None,
        flags=bounds.flags,
        end_seq=checkpoint.size,
    )
    found = transact(
        vault.engine, lambda connection: finding.find(connection, ledger.id, asked, bounds.after, wanted.limit + 1)
    )
    if any(value is not None for value in tags.values()):
        later = _groups(vault, ledger)
        if {one.name for one in later} != {one.name for one in known}:
            # Records may have moved into a group that is new since the terms were computed: once more, with its key.
            return _find(vault, ledger, wanted, bounds, scope)
    rows = [_checked(ledger, row) for row in found[: wanted.limit]]
    cursor = f"{rows[-1].facets.occurred_at}.{rows[-1].seq}" if len(found) > wanted.limit else None
    if wanted.customer is not None and not scope.duty:
        restricted = Restricted.of(vault, ledger.id)
        rows = [row for row in rows if not restricted.has(row.seq, row.facets.flags)]
    if scope.fields == "masked":
        rows = [row._replace(facets=_masked(row.facets)) for row in rows]
    return rows, cursor


def _masked(columns: Facets) -> Facets:
    def shown(value: str, *path: str) -> str:
        return value if not value or masking.shows(value, *path) else masking.MASKED

    return columns._replace(
        record_id=shown(columns.record_id, "id"),
        record_class=shown(columns.record_class, "record_class"),
        model=shown(columns.model, *_MODEL),
    )


def _id_tag(vault: Vault, ledger: Ledger, record_id: str) -> bytes:
    return id_tag(vault.ring.open_ledger_key(vault.tenant_key, ledger.id, ledger.row.id_key), record_id)


def _tags(vault: Vault, ledger: Ledger, wanted: Wanted, known: list[StoredGroup]) -> dict[str, tuple[int, ...] | None]:
    """Return each term's blind index under the key of every group that can still hold a record."""
    terms = {name: getattr(wanted, name) for name in ("conversation", "transaction", "customer")}
    keys = [] if all(value is None for value in terms.values()) else index_keys(vault, ledger.id, known)
    return {
        name: None if value is None else tuple(blind_tag(key, name.encode(), value) for key in keys)
        for name, value in terms.items()
    }


def _groups(vault: Vault, ledger: Ledger) -> list[StoredGroup]:
    return transact(vault.engine, lambda connection: groups.listing(connection, ledger.id))


def _checked(ledger: Ledger, row: finding.FoundRow) -> Found:
    """Step 4."""
    data = packing.unpack(row.leaf)
    place = leaf.parse(data)
    if not isinstance(place, RecordLeaf) or (place.ledger, place.seq) != (str(ledger.id), row.seq):
        raise Modified("the leaf is not in its place", str(ledger.id), row.seq)
    columns = from_columns(row.facets)
    if facets.digest(columns, row.salt) != canonical.unb64(place.facets, 32):
        raise Modified("the facets are not those the leaf commits to", str(ledger.id), row.seq)
    flags = tuple((flag.name or "").lower() for flag in Flag if columns.flags & flag)
    api, outcome = _APIS.get(columns.api, "?"), _OUTCOMES.get(columns.outcome, "?")
    return Found(row.seq, data, leaf_hash(data), columns, api, outcome, flags)


def _tell(vault: Vault, ledger: str, wanted: Wanted, rows: list[Found], used: Grant | None) -> int:
    """Step 5. Returns the position of the event."""

    def decide(standing: Standing) -> Ruling[None]:
        held = held_grants(vault, standing, ledger, None if used is None else used.id)
        if used is None or not held:
            return refuse(no_grant(standing, vault), denial("records.search", "grant", {"ledger": ledger}))
        facts: dict[str, Any] = {"ledger": ledger, "grant": used.id, "count": len(rows)}
        if rows:
            seqs = [row.seq for row in rows]
            facts |= {"first": min(seqs), "last": max(seqs)}
        return Ruling([Event("records.searched", facts, wanted.terms() or None)], None)

    told, _ = events.rule(vault, decide)
    return told.seq


def _later(one: int | None, other: int | None) -> datetime | None:
    known = [us for us in (one, other) if us is not None]
    return _within_calendar(max(known)) if known else None


def _earlier(one: int | None, other: int | None) -> datetime | None:
    known = [us for us in (one, other) if us is not None]
    return _within_calendar(min(known)) if known else None


def _within_calendar(us: int) -> datetime:
    """Return a bound as the database can compare it. One beyond the calendar must bound nothing less for that."""
    return _moment(us) or (datetime.max if us > 0 else datetime.min).replace(tzinfo=UTC)


def _moment(us: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)
    except (ValueError, OverflowError, OSError):
        return None
