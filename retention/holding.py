"""Holds: records that may not be destroyed while somebody's case lasts, whatever the law says of their age.

A hold is two things at once:

    frozen sets   the records that were there when it was placed, and those inherited since: named by digest in events
    a live scope  what a record must be to be kept: asked of every record before anything is destroyed (``Held``)

Placing takes four steps, and between any two of them records may arrive, or a disposal may reach its commit point:

    1. find what matches now; freeze one set a ledger
    2. take out what a disposal destroys already: that cannot be saved any more, and the answer says so
    3. decide under the events ledger's lock that no disposal passed its commit point since 2, and commit
       ``hold.placed``; if one did, go back to 2
    4. what arrived after 1 is kept by the live scope, and frozen by the next ``inherit_all``

One person places; two let go. Several holds keep a record until the last of them is released. Ids stand in events as
tags (vault.core.hold); case, reason and terms are sealed.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from retention.held import Held, held_count
from retention.inheriting import inherit_all
from retention.saving import Saved, find, said, save, size_of, unchanged
from vault import events, grants, people, reading
from vault.context import Vault
from vault.core import canonical, hold, leaf
from vault.core.errors import Denied, Stale, Unknown, UsageError
from vault.core.governance import Hold, HoldScope
from vault.core.iso import COUNTRIES
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.ledgers import Ledger
from vault.matching import Terms

__all__ = [
    "Held",
    "Placed",
    "Step",
    "held_count",
    "inherit_all",
    "let_go",
    "place",
    "release",
    "request_release",
    "review",
]

_MAX_ID = 128
# Years that RFC 3339 and everybody's calendar spell alike, in microseconds.
_FIRST, _LAST = -30_610_224_000_000_000, 253_402_300_799_000_000


@dataclass(frozen=True, slots=True)
class Placed:
    """A hold that was placed.

    Attributes:
        counts: ledger's uuid -> records frozen.
        lost: disposal -> matching records that it destroys already.
        stopped: disposal that was planned or intended -> records that it will leave behind.
        unsound: matching records that are not what their leaf says; they are kept like the others.
    """

    hold: Hold
    counts: Mapping[str, int]
    lost: Mapping[str, int] = field(default_factory=dict)
    stopped: Mapping[str, int] = field(default_factory=dict)
    unsound: int = 0


class Step(NamedTuple):
    """What letting go came to: ``requested`` or ``released``."""

    hold: Hold
    done: str


def place(
    vault: Vault,
    *,
    case: str,
    reason: str,
    ledgers: Sequence[Ledger],
    customers: Sequence[str] = (),
    conversations: Sequence[str] = (),
    transactions: Sequence[str] = (),
    classes: Sequence[str] = (),
    jurisdictions: Sequence[str] = (),
    start: int | None = None,
    end: int | None = None,
    review_at: int | None = None,
    random: Callable[[int], bytes],
) -> Placed:
    """Place a hold. All terms must meet; of several ids, classes or jurisdictions, one. No terms hold whole ledgers.

    Args:
        jurisdictions: codes that the record itself names.
        start, end: bounds of ``occurred_at``, microseconds since the epoch; widened to whole seconds.
        review_at: when somebody should ask whether the case still lasts, microseconds since the epoch.

    Raises:
        Denied: whoever places is neither an officer nor the passphrase's holder.
        UsageError: something that no hold can say.
        KeyUnavailable: ids are looked for and a key of the blind indexes is out of reach.
    """
    _require_may_place(vault)
    grants.require_text("case", case)
    grants.require_text("reason", reason)
    terms = Terms(
        _ids(customers),
        _ids(conversations),
        _ids(transactions),
        _words(classes),
        tuple(sorted(set(jurisdictions))),
        None if start is None else _bound(start) // 1_000_000 * 1_000_000,
        None if end is None else -(-_bound(end) // 1_000_000) * 1_000_000,
    )
    if unknown := set(jurisdictions) - COUNTRIES:
        raise UsageError(f"{min(unknown)[:8]!r} is no ISO 3166-1 code")
    if review_at is not None and _bound(review_at) <= vault.clock():
        raise UsageError("the review date has passed already")
    key = hold.tag_key(people.person_key(vault))
    named = tuple(sorted({str(one.id) for one in ledgers}))
    scope = _scope(key, named, terms)
    if (why := hold.why_no_scope(scope)) is not None:
        raise UsageError(why)
    name = "h-" + b32encode(random(10)).decode().lower()
    sizes = {one: size_of(vault, one) for one in named}
    found = {one: find(vault, one, terms, 0, sizes[one]) for one in named}
    facts: dict[str, Any] = {
        "hold": name,
        "case": hold.case_id(key, case),
        "ledgers": list(named),
        "sizes": list(sizes.values()),
        "tags": sorted(scope.tags),
        "classes": list(scope.classes),
        "jurisdictions": list(scope.jurisdictions),
    }
    for bound, instant in (("start", scope.start), ("end", scope.end), ("review_at", review_at)):
        if instant is not None:
            facts[bound] = leaf.instant(instant // 1_000_000)
    details = {"case": case, "reason": reason, "terms": said(terms)}
    while True:
        saved = {one: save(vault, one, found[one].records) for one in named}
        told_of = facts | {
            "selections": [saved[one].selection for one in named],
            "counts": [saved[one].count for one in named],
        }

        def decide(
            standing: Standing, saved: Mapping[str, Saved] = saved, told_of: dict[str, Any] = told_of
        ) -> Ruling[None]:
            if (denied := _may_place(vault, standing)) is not None:
                return denied
            for one in saved.values():
                unchanged(standing.governance, one)
            return Ruling([Event("hold.placed", told_of, details)], None)

        try:
            told, _ = events.rule(vault, decide)
        except Stale:
            continue  # to step 2: a disposal passed its commit point meanwhile
        break
    counts = {one: saved[one].count for one in named}
    lost = {disposal: count for one in saved.values() for disposal, count in one.lost.items()}
    stopped = {disposal: count for one in saved.values() for disposal, count in one.stopped.items()}
    made = vault.register.standing().governance.holds[name]
    assert made.seq == told.seq
    return Placed(made, counts, lost, stopped, sum(one.unsound for one in found.values()))


def request_release(vault: Vault, name: str) -> Step:
    """Ask, as an officer, that a hold be released.

    Raises:
        Unknown: there is no such hold.
        Denied: no officer, asked for already, or released already.
    """
    return _step(vault, name, {"requested"})


def release(vault: Vault, name: str) -> Step:
    """Release a hold whose release another officer asked for. What only it kept is again due when the law says.

    Raises:
        Unknown: there is no such hold.
        Denied: no officer, the one who asked, nobody asked yet, or released already.
    """
    return _step(vault, name, {"released"})


def let_go(vault: Vault, name: str) -> Step:
    """Take the next of the two steps: ask, where nobody has; release, where another officer has.

    Raises:
        Unknown: there is no such hold.
        Denied: no officer, the one who asked, or released already.
    """
    return _step(vault, name, {"requested", "released"})


def review(vault: Vault, name: str, review_at: int) -> Hold:
    """Set the next review date, as an officer: the case still lasts, so a waiting release is taken back.

    Args:
        review_at: microseconds since the epoch; whole seconds count.

    Raises:
        Unknown: there is no such hold.
        Denied: no officer, or the hold is released.
        UsageError: the date has passed.
    """
    if _bound(review_at) <= vault.clock():
        raise UsageError("the review date has passed already")
    facts = {"hold": name, "review_at": leaf.instant(review_at // 1_000_000)}

    def decide(standing: Standing) -> Ruling[None]:
        roles, found = vault.actor.roles_by(standing), standing.governance.holds.get(name)
        if found is None:
            return _unknown("hold.review")
        if (why := hold.why_no_review(found, roles)) is not None:
            return refuse(Denied(why), _denied("hold.review", "role" if found.is_open else "state", name))
        return Ruling([Event("hold.reviewed", facts)], None)

    events.rule(vault, decide)
    return vault.register.standing().governance.holds[name]


def _step(vault: Vault, name: str, may: set[str]) -> Step:
    def decide(standing: Standing) -> Ruling[str]:
        person, roles = vault.actor.name, vault.actor.roles_by(standing)
        found = standing.governance.holds.get(name)
        if found is None:
            return _unknown("hold.release")
        asks = "requested" in may and (found.release_by is None or "released" not in may)
        why = (hold.why_no_release_request if asks else hold.why_no_release)(found, person, roles)
        if why is not None:
            code = "role" if "officer" not in roles else "four_eyes" if found.is_open else "state"
            return refuse(Denied(why), _denied("hold.release", code, name))
        if asks:
            return Ruling([Event("hold.release_requested", {"hold": name})], "requested")
        return Ruling([Event("hold.released", {"hold": name, "request": found.release_seq})], "released")

    _, done = events.rule(vault, decide)
    return Step(vault.register.standing().governance.holds[name], done)


def _require_may_place(vault: Vault) -> None:
    """Refuse whoever may not, before anything is looked for on their behalf."""
    if hold.why_no_place(vault.actor.roles_by(vault.register.standing()), vault.actor.break_glass) is not None:
        events.rule(vault, lambda standing: _may_place(vault, standing) or Ruling([], None))


def _may_place(vault: Vault, standing: Standing) -> Ruling[None] | None:
    why = hold.why_no_place(vault.actor.roles_by(standing), vault.actor.break_glass)
    return None if why is None else refuse(Denied(why), reading.denial("hold.place", "role", {}))


def _unknown(act: str) -> Ruling[Any]:
    return refuse(Unknown("there is no such hold"), reading.denial(act, "unknown", {}))


def _denied(act: str, code: str, name: str) -> Event:
    return reading.denial(act, code, {"hold": name})


def _scope(key: bytes, named: tuple[str, ...], terms: Terms) -> HoldScope:
    tags = {hold.tag(key, cast(hold.Field, field), value) for field, values in terms.named.items() for value in values}
    return HoldScope(named, frozenset(tags), terms.classes, terms.jurisdictions, terms.start, terms.end)


def _ids(values: Sequence[str]) -> tuple[str, ...]:
    for value in values:
        if not 0 < len(value) <= _MAX_ID or not value.isprintable():
            raise UsageError(f"a customer, conversation or transaction is named by 1 to {_MAX_ID} printable characters")
    return tuple(sorted(set(values)))


def _words(classes: Sequence[str]) -> tuple[str, ...]:
    if not all(canonical.is_word(one) and 0 < len(one) <= 64 for one in classes):
        raise UsageError("record classes are words of A-Z a-z 0-9 . _ : / + -")
    return tuple(sorted(set(classes)))


def _bound(instant: int) -> int:
    if not _FIRST <= instant <= _LAST:
        raise UsageError("times of a hold lie in the years 1000 to 9999")
    return instant
