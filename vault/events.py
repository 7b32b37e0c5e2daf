"""Events: everything people and jobs do to the vault, in the tenant's own ledger.

An event's facts stand in clear for ever, so they hold governance only: ids, counts, digests. What could name a person
or quote a purpose goes into the sealed details, which follow the retention of the day they were written.

An event that announces an act (an access, a destruction) is committed and signed before the act: ``record`` returns
after the checkpoint, and raises where it could not be written. What an act depends on (a grant that still holds) is
decided in the same transaction: see ``rule``. Concurrent writers share a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar, cast
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from vault.context import Vault
from vault.core import canonical, entropy, envelope, leaf
from vault.core.errors import KeyGone, KeyUnavailable, UnknownOutcome, VaultError
from vault.core.groups import stem_of
from vault.core.keeping import Facts, Keeping
from vault.core.standing import Standing, interesting
from vault.db.copyrows import sealed_fields
from vault.keys.ring import GroupKeys, GroupRow
from vault.linking import Appended, GroupsClosed, Item, append
from vault.provision import OUTLAST_DAYS, Provisioner

_TRIES = 5  # a group of details may be closed between sealing and linking; not again and again
DETAIL_SCHEMA = "event-detail/1"
R = TypeVar("R")


class Event(NamedTuple):
    """One act.

    Attributes:
        name: what happened, such as ``record.opened``.
        facts: words, integers and lists of them, in clear for ever.
        details: sealed; anything JSON can hold. None where the facts say all.
    """

    name: str
    facts: dict[str, Any]
    details: dict[str, Any] | None = None


class Told(NamedTuple):
    """Where events stand: the position of the first in the events ledger, and how many of them follow."""

    seq: int
    number: int


class Ruling(NamedTuple, Generic[R]):
    """What a decision comes to.

    Attributes:
        happened: the events to commit, a denial's as well.
        outcome: what the caller gets once they are committed.
        refused: what the caller gets instead: raised, once they are committed.
    """

    happened: Sequence[Event]
    outcome: R
    refused: VaultError | None = None


def refuse(error: VaultError, *happened: Event) -> Ruling[Any]:
    """Return the ruling that commits events and then raises."""
    return Ruling(happened, None, error)


class Ticket:
    """One caller's events on their way into a group."""

    __slots__ = ("decide", "error", "happened", "outcome", "plain", "seq", "vault")

    def __init__(
        self,
        vault: Vault,
        happened: Sequence[Event],
        decide: Callable[[Standing], Ruling[Any]] | None,
        *,
        plain: bool = False,
    ) -> None:
        self.vault = vault
        self.happened = happened
        self.decide = decide
        self.plain = plain
        self.seq = 0
        self.outcome: Any = None
        self.error: Exception | None = UnknownOutcome("the commit was interrupted")  # until it is settled


def record(vault: Vault, name: str, facts: dict[str, Any], details: dict[str, Any] | None = None) -> Told:
    """Commit one event. When this returns it is durable and under a checkpoint."""
    return record_all(vault, [Event(name, facts, details)])


def record_all(vault: Vault, happened: Sequence[Event]) -> Told:
    """Commit events in one transaction, perhaps together with those of others."""
    return _settled(Ticket(vault, happened, None))


def rule(vault: Vault, decide: Callable[[Standing], Ruling[R]], *, plain: bool = False) -> tuple[Told, R]:
    """Decide by what the events ledger says at this very moment, and commit what was decided.

    ``decide`` runs under the ledger's head lock, so nothing that it relies on (a grant, an account) can be taken back
    between the decision and its event. It may run more than once, and only looks.

    Args:
        plain: its events never have details, so that no key provider is asked for what would seal them.

    Raises:
        VaultError: ``decide`` refused; its events, denials too, are committed.
    """
    ticket = Ticket(vault, (), decide, plain=plain)
    told = _settled(ticket)
    return told, cast(R, ticket.outcome)


def commit(tickets: list[Ticket]) -> None:
    """Write a group of tickets in one transaction and settle each; raises nothing."""
    vault = tickets[0].vault
    try:
        appended, decided = _appended(vault, tickets)
    except Exception as error:  # everybody in the group hears of it; nothing was committed, or nobody knows
        for ticket in tickets:
            ticket.error = error
        return
    seq = appended.before.size
    for ticket, refused in decided:
        ticket.seq, ticket.error = seq, refused
        seq += len(ticket.happened)
        for event in ticket.happened:
            vault.register.observe(event.name)


def _appended(vault: Vault, tickets: list[Ticket]) -> tuple[Appended, list[tuple[Ticket, Exception | None]]]:
    """Decide and append; once more, under the next group's keys, where details were sealed under one that is closed."""
    decided: list[tuple[Ticket, Exception | None]] = []
    for left in reversed(range(_TRIES)):
        now = vault.clock()
        keys = _keys(vault, now) if any(_may_have_details(ticket) for ticket in tickets) else None

        def choose(connection: Connection, keys: _Keys | None = keys, now: int = now) -> list[Item]:
            decided.clear()
            return _decided(connection, tickets, decided, keys, now)

        try:
            return append(vault.engine, vault.checkpoints, vault.events, choose), decided
        except GroupsClosed as closed:
            if not left:
                raise
            _provisioner(vault, now).forget(closed.groups)
    raise AssertionError("unreachable")


def _settled(ticket: Ticket) -> Told:
    ticket.vault.register.line.together(ticket)
    if ticket.error is not None:
        # A copy: the same error may go to several threads, and each adds its own traceback.
        raise _again(ticket.error) from None
    return Told(ticket.seq, len(ticket.happened))


def _again(error: Exception) -> Exception:
    twin = error.__class__.__new__(error.__class__, *error.args)
    twin.__dict__.update(error.__dict__)
    return twin


def _may_have_details(ticket: Ticket) -> bool:
    return (ticket.decide is not None and not ticket.plain) or any(one.details is not None for one in ticket.happened)


def _decided(
    connection: Connection,
    tickets: list[Ticket],
    decided: list[tuple[Ticket, Exception | None]],
    keys: _Keys | None,
    now: int,
) -> list[Item]:
    """Under the head's lock: let each ticket decide after those before it, and spell their events."""
    vault = tickets[0].vault
    at = leaf.instant_ms(now)
    draft = None
    if any(ticket.decide is not None for ticket in tickets):
        draft = vault.register.standing_under_lock(connection).copy()
    items: list[Item] = []
    for ticket in tickets:
        error: Exception | None = None
        try:
            if ticket.decide is not None and draft is not None:
                ticket.happened, ticket.outcome, error = ticket.decide(draft)
            spelled = [_item(ticket.vault, event, keys, now) for event in ticket.happened]
            draft = _after(draft, ticket, at)
        except GroupsClosed:  # nobody's fault: the whole group of tickets gets other keys
            raise
        except Exception as raised:  # this ticket's own fault: the others of the group are none the worse
            ticket.happened, error, spelled = (), raised, []
        items += spelled
        decided.append((ticket, error))
    return items


def _after(draft: Standing | None, ticket: Ticket, at: str) -> Standing | None:
    """Return the standing after a ticket's events: what the next ticket of the group decides by."""
    if draft is None:
        return None
    changed = draft.copy() if any(interesting(event.name) for event in ticket.happened) else draft
    for place, event in enumerate(ticket.happened, draft.size):
        changed.take(event.name, ticket.vault.actor.name, event.facts, place, at)
    changed.size = draft.size + len(ticket.happened)
    return changed


def _item(vault: Vault, event: Event, keys: _Keys | None, now: int) -> Item:
    fields: dict[str, Any] = {
        "actor": vault.actor.name,
        "at": leaf.instant_ms(now),
        "event": event.name,
        "facts": {**event.facts, "break_glass": int(vault.actor.break_glass)},
        "kind": "event",
        "ledger": str(vault.events),
    }
    sealed, group = None, ""
    if event.details is not None and keys is not None:
        keeping = keys.keeping
        assert keeping.keep_until is not None
        group = keys.of.group.group
        sealed, promised = _seal(vault, event.details, keys.of)
        fields |= promised | {
            "group": group,
            "keep_until": leaf.instant(keeping.keep_until),
            "rulebook": canonical.b64(keys.rulebook),
            "rules": list(keeping.rules),
        }
    return Item(*leaf.draft(fields), b"", sealed, None, group)


class _Keys(NamedTuple):
    """What seals today's details, and how long they are kept: both by one look at the rule book in force."""

    of: GroupKeys
    keeping: Keeping
    rulebook: bytes


def _keys(vault: Vault, now: int) -> _Keys:
    """Return what seals today's details."""
    law = vault.law()
    keeping = law.keeper((), ())(Facts(now, now, None, (), "event"))
    return _Keys(_provided(vault, stem_of(keeping.group), now), keeping, law.rulebook)


def _provided(vault: Vault, stem: str, now: int) -> GroupKeys:
    provisioner = _provisioner(vault, now)
    try:
        (keys,) = provisioner.provide([stem], now)
    except KeyUnavailable:
        # Yesterday's go on, as for records: while the provider is out, what happens must still be told.
        known = provisioner.latest(stem, now)
        if known is None:
            raise
        provisioner.stay(known, stem, now)  # no event of today asks again, and waits for a provider that hangs
        return known
    return keys


def provide_ahead(vault: Vault) -> None:
    """Get today's keys for details, and those that the next days need; blocks, and no event waits for it.

    Raises:
        KeyUnavailable, KeyGone: some are missing still; the next call goes on.
    """
    now = vault.clock()
    keeper = vault.keeper((), ())
    moments = (now, now + (OUTLAST_DAYS + 1) * 86_400_000_000)
    stems = {stem_of(keeper(Facts(at, at, None, (), "event")).group) for at in moments}
    Provisioner(vault, vault.events, key_created(vault), ready=vault.register.keys).provide(stems, now)


def _provisioner(vault: Vault, now: int) -> Provisioner:
    """Return what provides keys for details. It tells of a new key without the line, which waits for this thread."""

    def tell(made: GroupRow) -> None:
        item = _item(vault, _key_created(made), None, now)
        append(vault.engine, vault.checkpoints, vault.events, lambda _connection: [item])

    return Provisioner(vault, vault.events, tell, ready=vault.register.keys)


def key_created(vault: Vault) -> Callable[[GroupRow], None]:
    """Return what tells the events ledger of a new group key: an event without details, so it needs no key itself."""

    def tell(made: GroupRow) -> None:
        record_all(vault, [_key_created(made)])

    return tell


def _key_created(made: GroupRow) -> Event:
    return Event("key.created", {"ledger": str(made.ledger), "group": made.group, "key": made.key_ref})


def context(ledger: UUID) -> envelope.Context:
    """Return the context under which an event's details are sealed."""
    return envelope.Context(ledger, "", "", None, DETAIL_SCHEMA, "event", "")


def _seal(vault: Vault, details: dict[str, Any], keys: GroupKeys) -> tuple[bytes, dict[str, Any]]:
    record_key = entropy.draw(32)
    sealed = envelope.seal(msgspec.json.encode(details), record_key, context(vault.events))
    try:
        wrapped = vault.ring.wrap_record_key(keys.epoch, record_key, sealed.key_commitment)
    except KeyGone:  # closed, and destroyed since this process asked for it
        raise GroupsClosed(frozenset({keys.group.group})) from None
    promised = {
        "key": canonical.b64(sealed.key_commitment),
        "parts": [canonical.b64(sealed.part_digest)],
        "plaintext": canonical.b64(sealed.plaintext_commitment),
    }
    return sealed_fields(keys.epoch.epoch_id, wrapped, sealed.envelope, None, None, None), promised
