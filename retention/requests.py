"""Requests of people, and what became of them.

    request_erasure(...)   retention.erasure     restrict now, destroy when due
    export(...)            retention.exporting   what is kept about somebody, in one file
    listing(...)           here

The list says of each request for erasure when the last of its records will be due, as the law stands now, and how many
are still there; for that they are opened, and nobody is shown what they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from uuid import UUID

from retention.effective import Effective
from retention.erasure import Asked, request_erasure
from retention.exporting import Exported, export
from retention.held import Held
from retention.history import History
from vault import chronicle, events, ledgers, matching, selections, trace
from vault.context import Vault
from vault.core.errors import Denied, EvidenceError
from vault.core.leaf import EventLeaf
from vault.core.selection import Selection
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.ledgers import Ledger
from vault.matching import Entry, Reader
from vault.reading import denial

__all__ = ["Asked", "Exported", "Left", "Request", "export", "listing", "request_erasure"]

_NAMES = frozenset({"erasure.requested", "access.requested", "access.exported"})


class Left(NamedTuple):
    """What is left of a request's records in one ledger.

    Attributes:
        number: records that it named.
        standing: of them, not destroyed yet.
        held: of those, kept by a hold.
        due: Unix seconds at which the last of them may be destroyed, holds aside; None where none is left, or one is
            open-ended.
        open_ended: how many wait for an event that starts their time.
        unsound: how many could not be opened; they are in none of the other figures but the first two.
    """

    number: int
    standing: int
    held: int = 0
    due: int | None = None
    open_ended: int = 0
    unsound: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        kind: ``erasure`` or ``access``.
        at: RFC 3339.
        counts: ledger's uuid -> records it named.
        left: ledger's uuid -> what is left of them; of requests for erasure only.
        exported: whether the file of a request for access was handed out.
        customer, reason: empty where whoever looks may not see them, or they cannot be opened.
    """

    id: str
    kind: str
    at: str
    by: str
    seq: int
    counts: Mapping[str, int]
    left: Mapping[str, Left] = field(default_factory=dict)
    exported: bool = False
    customer: str = ""
    reason: str = ""


def listing(vault: Vault) -> list[Request]:
    """Return every request, the newest first; an event.

    Customer and reason are opened for compliance officers and the passphrase's holder only.

    Raises:
        Denied: neither an officer, an auditor nor the passphrase's holder.
    """
    actor = vault.actor
    told, _ = chronicle.read(vault, _NAMES)
    found = _requests(told)

    def decide(standing: Standing) -> Ruling[bool]:
        roles = actor.roles_by(standing)
        if not actor.break_glass and not roles & {"auditor", "officer"}:
            why = Denied("only auditors and compliance officers see requests")
            return refuse(why, denial("request.list", "role", {}))
        return Ruling([Event("requests.listed", {"count": len(found)})], actor.break_glass or "officer" in roles)

    _, all_said = events.rule(vault, decide)
    sealed = trace.details(vault, [one.seq for one in found]) if all_said else {}
    asking = _Asking(vault)
    named = _selections(told)
    shown = []
    for one in found:
        said = sealed.get(one.seq, {})
        left = {place: asking.left(place, digest) for place, digest in named.get(one.id, {}).items()}
        words = {name: str(said.get(name, "")) for name in ("customer", "reason")}
        shown.append(replace(one, left=left, customer=words["customer"], reason=words["reason"]))
    return shown


def _requests(told: Iterable[EventLeaf]) -> list[Request]:
    found: dict[str, Request] = {}
    for event in told:
        facts = event.facts
        name, place, count = str(facts["request"]), str(facts["ledger"]), int(facts["count"])
        kind = event.event.partition(".")[0]
        known = found.setdefault(name, Request(name, kind, event.at, event.actor, event.seq, {}))
        done = event.event == "access.exported"
        found[name] = replace(known, counts={**known.counts, place: count}, exported=known.exported or done)
    return sorted(found.values(), key=lambda one: -one.seq)


def _selections(told: Iterable[EventLeaf]) -> dict[str, dict[str, str]]:
    """Return of each request for erasure: ledger -> digest of its records."""
    named: dict[str, dict[str, str]] = {}
    for event in told:
        if event.event == "erasure.requested":
            named.setdefault(event.facts["request"], {})[event.facts["ledger"]] = event.facts["selection"]
    return named


class _Asking:
    """Looks after what is left; reads what it needs of a ledger once."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._history: History | None = None
        self._ledgers: dict[str, Ledger] = {}
        self._tools: dict[str, tuple[Held, Effective, Reader]] = {}

    def left(self, place: str, digest: str) -> Left:
        vault, ledger = self._vault, UUID(place)
        named = selections.load(vault, ledger, digest)
        standing = matching.standing_of(vault, ledger, named)
        if not standing:
            return Left(len(named), 0)
        held = open_ended = unsound = 0
        due: int | None = None
        for seq in standing:
            try:
                (entry,) = matching.entries(vault, ledger, Selection.of([seq]))
                keeping, until = self._asked(place, entry)
            except EvidenceError:
                unsound += 1
                continue
            held += keeping
            if until is None:
                open_ended += 1
            else:
                due = max(due or 0, until)
        return Left(len(named), len(standing), held, None if open_ended else due, open_ended, unsound)

    def _asked(self, place: str, entry: Entry) -> tuple[bool, int | None]:
        held, effective, reader = self._tools_of(place)
        record = reader.record(entry)
        keeping = bool(held.of(entry.leaf.seq, entry.facets, record))
        return keeping, effective.of(entry.leaf, entry.facets, record).keep_until

    def _tools_of(self, place: str) -> tuple[Held, Effective, Reader]:
        if place not in self._tools:
            vault, ledger = self._vault, UUID(place)
            if self._history is None:
                self._history = History.read(vault)
                self._ledgers = {str(one.id): one for one in ledgers.listing(vault)}
            held = Held(vault, ledger, vault.register.standing().governance)
            effective = Effective(vault, self._ledgers[place], self._history)
            self._tools[place] = held, effective, Reader(vault, ledger)
        return self._tools[place]
