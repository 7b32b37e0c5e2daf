"""Standing: who may do what, as the events ledger says up to one of its positions.

Nothing about people, producers and grants is kept in a table that somebody could edit: it is read from the chained and
signed events, entry by entry. Whoever owns the database can neither add an approval nor hide a revocation without the
ledger being FORKED.

    standing = Standing()
    for seq, leaf in events: standing.take(leaf.event, leaf.facts, seq, at)
    standing.producers[key_id].ledgers

Pure: no clock, no SQL. ``vault.register`` follows the ledger and feeds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from vault.core import anchor, canonical, destruction, signer
from vault.core.anchor import Anchor
from vault.core.destruction import Destructions
from vault.core.errors import Modified
from vault.core.governance import Governance
from vault.core.governance import events as governance_events
from vault.core.grant import Fields, Grant, Scope
from vault.core.leaf import instant_ms, microseconds
from vault.core.succession import Asked, Frozen, recovery_of

LOCKED_AFTER: Final = 5
"""Failed logins in a row after which an account is locked."""
LOCKED_FOR: Final = 15 * 60 * 1_000_000
"""Microseconds from the last of them until it may be tried again."""


@dataclass(frozen=True, slots=True)
class ProducerKey:
    """One key of a producer. ``digest`` is SHA-256 of the secret: 256 random bits need no slow hash."""

    id: str
    producer: str
    digest: bytes = field(repr=False)
    ledgers: frozenset[str]
    added_at: int
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """One local account. ``verifier`` is the digest of the password's hash, which lies outside the database.

    Attributes:
        generation: position of the event that gave the account its present state; a token of an older one is void.
        added: position of the event that made it, which seals the name.
    """

    id: str
    roles: frozenset[str]
    verifier: str = field(repr=False)
    generation: int
    added: int
    added_at: int
    disabled: bool = False


@dataclass(slots=True)
class Standing:
    """The state after ``size`` entries. ``take`` moves it; everything else only looks.

    A new attribute is a new version of what ``vault.register`` remembers of it.

    Attributes:
        known: people of identity providers whose first login was told.
        failures: instants of the last failed logins, of accounts that exist.
        ledgers: leaf hash of each announced ledger's genesis, base64url: which name, kind and terms
            belong to a ledger's uuid.
        governance: what was decided about keeping and destroying.
        destructions: what was destroyed, and how things stood then.
        groups: of each ledger, whose keys were told before they had a row; a row of any other was not made here.
        frozen: ledgers that take nothing any more, and who goes on in their place.
        successions: recoveries that one officer asked for, by ledger.
        anchored: each ledger's last anchor.
        signers: checkpoint keys that were added or retired, by their public half in hex.
    """

    size: int = 0
    producers: dict[str, ProducerKey] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    grants: dict[str, Grant] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    failures: dict[str, list[int]] = field(default_factory=dict)
    grants_required: bool = False
    ledgers: dict[str, str] = field(default_factory=dict)
    governance: Governance = field(default_factory=Governance)
    destructions: Destructions = field(default_factory=Destructions)
    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    frozen: dict[str, Frozen] = field(default_factory=dict)
    successions: dict[str, Asked] = field(default_factory=dict)
    anchored: dict[str, Anchor] = field(default_factory=dict)
    signers: dict[str, signer.Told] = field(default_factory=dict)

    def copy(self) -> Standing:
        """Return an independent one: what a group of decisions is tried on before it is committed."""
        return Standing(
            self.size,
            dict(self.producers),
            dict(self.people),
            dict(self.grants),
            set(self.known),
            {person: list(times) for person, times in self.failures.items()},
            self.grants_required,
            dict(self.ledgers),
            self.governance.copy(),
            self.destructions.copy(),
            dict(self.groups),
            dict(self.frozen),
            dict(self.successions),
            dict(self.anchored),
            dict(self.signers),
        )

    def take(self, event: str, actor: str, facts: Mapping[str, Any], seq: int, at: str) -> None:
        """Take one event. Events that change nothing here are passed over.

        Raises:
            Modified: an event of ours without the facts that it is written with.
        """
        try:
            if event in destruction.EVENTS:  # before governance moves: it is about how things stood
                about = self.governance, event, facts, seq, microseconds(at)
                self.destructions.take(*about, actor=actor, people=self.people)
            if event in _GOVERNANCE:
                self.governance.take(event, actor, facts, seq, microseconds(at))
            elif (takes := _TAKES.get(event)) is not None:
                takes(self, actor, facts, seq, microseconds(at))
        except (KeyError, TypeError, ValueError):
            raise Modified(f"the event {event} does not have its facts", seq=seq) from None

    def locked_until(self, person: str) -> int | None:
        """Return when a locked account may be tried again, in microseconds; None when it is not locked."""
        times = self.failures.get(person, ())
        return times[-1] + LOCKED_FOR if len(times) >= LOCKED_AFTER else None

    def grants_of(self, person: str, now_us: int) -> list[Grant]:
        """Return a person's grants that hold now, those that show most first."""
        held = [one for one in self.grants.values() if one.auditor == person and one.state(now_us) == "approved"]
        return sorted(held, key=lambda one: (one.scope.fields != "full", one.expires_at))


def interesting(event: str) -> bool:
    """Say whether an event can change the standing."""
    return event in _TAKES or event in _GOVERNANCE or event in destruction.EVENTS


def _producer_added(standing: Standing, _actor: str, facts: Mapping[str, Any], _seq: int, at: int) -> None:
    key = facts["key"]
    digest = canonical.unb64(facts["digest"], 32)
    standing.producers[key] = ProducerKey(key, facts["producer"], digest, frozenset(facts["ledgers"]), at)


def _producer_revoked(standing: Standing, _actor: str, facts: Mapping[str, Any], _seq: int, at: int) -> None:
    key = facts["key"]
    standing.producers[key] = replace(standing.producers[key], revoked_at=at)


def _user_added(standing: Standing, _actor: str, facts: Mapping[str, Any], seq: int, at: int) -> None:
    person = facts["person"]
    standing.people[person] = Person(person, frozenset(facts["roles"]), facts["verifier"], seq, seq, at)
    standing.failures.pop(person, None)


def _user_disabled(standing: Standing, _actor: str, facts: Mapping[str, Any], seq: int, _at: int) -> None:
    person = facts["person"]
    standing.people[person] = replace(standing.people[person], disabled=True, generation=seq)


def _person_known(standing: Standing, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    standing.known.add(facts["person"])


def _login_failed(standing: Standing, _actor: str, facts: Mapping[str, Any], _seq: int, at: int) -> None:
    person, until = facts["person"], standing.locked_until(facts["person"])
    if person not in standing.people:
        return  # whoever makes names up fills no memory, and pushes nobody's failures out
    if facts.get("code") == "locked" or (until is not None and at < until):
        return  # else whoever goes on trying keeps the owner out for ever
    times = standing.failures.setdefault(person, [])
    times[:] = [one for one in times[1 - LOCKED_AFTER :] if one > at - LOCKED_FOR] + [at]


def _login_succeeded(standing: Standing, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    standing.failures.pop(facts["person"], None)


def _grant_requested(standing: Standing, _actor: str, facts: Mapping[str, Any], seq: int, at: int) -> None:
    start, end = facts.get("start"), facts.get("end")
    scope = Scope(
        tuple(facts["ledgers"]),
        None if start is None else microseconds(start),
        None if end is None else microseconds(end),
        tuple(facts["classes"]),
        cast(Fields, facts["fields"]),
        facts.get("duty", ""),
    )
    grant = facts["grant"]
    standing.grants[grant] = Grant(grant, facts["auditor"], scope, at, microseconds(facts["expires_at"]), seq)


def _grant_approved(standing: Standing, actor: str, facts: Mapping[str, Any], _seq: int, at: int) -> None:
    grant = facts["grant"]
    standing.grants[grant] = standing.grants[grant].approved(actor, at)


def _grant_revoked(standing: Standing, actor: str, facts: Mapping[str, Any], _seq: int, at: int) -> None:
    grant = facts["grant"]
    standing.grants[grant] = standing.grants[grant].revoked(actor, at)


def _grants_required(standing: Standing, _actor: str, _facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    standing.grants_required = True


def _ledger_created(standing: Standing, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    # The first word counts; a crash may have it told twice.
    standing.ledgers.setdefault(facts["ledger"], facts["genesis"])


def _key_created(standing: Standing, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    ledger = facts["ledger"]
    standing.groups[ledger] = standing.groups.get(ledger, frozenset()) | {facts["group"]}


def _succession_requested(standing: Standing, actor: str, facts: Mapping[str, Any], seq: int, _at: int) -> None:
    asked = Asked(recovery_of(facts), facts["successor_name"], actor, seq)
    standing.successions[asked.recovery.ledger] = asked


def _ledger_frozen(standing: Standing, _actor: str, facts: Mapping[str, Any], seq: int, _at: int) -> None:
    made = Frozen(recovery_of(facts), facts["successor"], facts["successor_name"], seq)
    old, new = made.recovery.ledger, made.successor
    if old in standing.frozen:
        return  # a frozen ledger stays frozen, and has one successor
    standing.successions.pop(old, None)
    standing.frozen[old] = made
    # Whoever sends to the old one sends to the new one, and what had to be kept has to be kept there: records that were
    # lost come in again. What may be read is not widened: a grant opens what its approver saw.
    for key in standing.producers.values():
        if old in key.ledgers:
            standing.producers[key.id] = replace(key, ledgers=key.ledgers | {new})
    holds = standing.governance.holds
    for hold in list(holds.values()):
        if hold.is_open and old in hold.scope.ledgers:
            scope = replace(hold.scope, ledgers=tuple(sorted({*hold.scope.ledgers, new})))
            holds[hold.id] = replace(hold, scope=scope)


def _ledger_succeeded(standing: Standing, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    standing.frozen[facts["ledger"]] = replace(standing.frozen[facts["ledger"]], succeeded=True)


def _checkpoint_anchored(standing: Standing, _actor: str, facts: Mapping[str, Any], seq: int, at: int) -> None:
    ledger, told = anchor.anchor_of(facts, seq, instant_ms(at))
    standing.anchored[ledger] = told


def _signer_added(standing: Standing, _actor: str, facts: Mapping[str, Any], seq: int, at: int) -> None:
    public = canonical.unb64(facts["public"], 32).hex()
    standing.signers[public] = signer.told_added(standing.signers.get(public), facts, seq, at)


def _signer_retired(standing: Standing, _actor: str, facts: Mapping[str, Any], seq: int, at: int) -> None:
    public = canonical.unb64(facts["public"], 32).hex()
    standing.signers[public] = signer.told_retired(standing.signers.get(public), facts, seq, at)


_TAKES: Final[Mapping[str, Callable[[Standing, str, Mapping[str, Any], int, int], None]]] = {
    "producer.added": _producer_added,
    "producer.revoked": _producer_revoked,
    "user.added": _user_added,
    "user.disabled": _user_disabled,
    "person.known": _person_known,
    "login.failed": _login_failed,
    "login.succeeded": _login_succeeded,
    "grant.requested": _grant_requested,
    "grant.approved": _grant_approved,
    "grant.revoked": _grant_revoked,
    "grants.required": _grants_required,
    "ledger.created": _ledger_created,
    "key.created": _key_created,
    "ledger.succession_requested": _succession_requested,
    "ledger.frozen": _ledger_frozen,
    "ledger.succeeded": _ledger_succeeded,
    "checkpoint.anchored": _checkpoint_anchored,
    "signer.added": _signer_added,
    "signer.retired": _signer_retired,
}

_GOVERNANCE: Final = governance_events()
