"""People: local accounts, and who is behind a pseudonymous id.

A person appears in events as ``p-`` and 16 characters: HMAC of the identity's issuer and subject under a key of the
tenant. Names stand in sealed details only. What a local account is and may do is an event; its password's hash lies in
the home directory, and the event holds that hash's digest, so neither can be exchanged alone.

Accounts are made by whoever holds the passphrase; people of an identity provider need none.
"""

from __future__ import annotations

import hmac
from base64 import b32encode
from typing import NamedTuple

from vault import events, trace
from vault.context import Actor, Vault
from vault.core.errors import Denied, UsageError
from vault.core.grant import ROLES
from vault.core.mac import hmac_sha256
from vault.core.standing import Person, Standing
from vault.db import store
from vault.db.engine import transact
from vault.events import Event, Ruling, refuse

LOCAL = "local"
"""The issuer of local accounts."""

_MAX_NAME = 200


class Account(NamedTuple):
    """A local account with the name that its events seal."""

    person: Person
    name: str


def person_id(vault: Vault, issuer: str, subject: str) -> str:
    """Return the pseudonymous id of an identity; the same for ever, and told by nobody without the tenant's key."""
    digest = hmac_sha256(person_key(vault), issuer.encode() + b"\0" + subject.encode())
    return "p-" + b32encode(digest[:10]).decode().lower()


def add(vault: Vault, name: str, roles: tuple[str, ...], verifier: str) -> Person:
    """Make a local account, or give one a new password and roles; what it was ends at once.

    Args:
        verifier: digest of the password's hash, base64url.

    Raises:
        UsageError: a name that is no single printable line, or an unknown role.
        Denied: only the passphrase's holder makes accounts.
    """
    check(vault, name, roles)
    person = person_id(vault, LOCAL, name)
    facts = {"person": person, "roles": sorted(set(roles)), "verifier": verifier}
    told = events.record(vault, "user.added", facts, {"name": name})
    return Person(person, frozenset(roles), verifier, told.seq, told.seq, vault.clock())


def check(vault: Vault, name: str, roles: tuple[str, ...]) -> None:
    """Raise what ``add`` would raise, before anything is written."""
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise UsageError(f"a user's name is a printable line of up to {_MAX_NAME} characters")
    if not roles or set(roles) - set(ROLES):
        raise UsageError(f"a user has one or more of the roles {', '.join(ROLES)}")
    if "operator" in roles and len(set(roles)) > 1:
        raise UsageError("an operator reads nothing and approves nothing: give that person no other role")
    _require_passphrase(vault, "makes accounts")


def disable(vault: Vault, name: str) -> str:
    """End a local account; its tokens are void at once.

    Raises:
        UsageError: there is no such account, or it is disabled already.
    """
    _require_passphrase(vault, "disables accounts")
    person = person_id(vault, LOCAL, name)

    def decide(standing: Standing) -> Ruling[None]:
        found = standing.people.get(person)
        if found is None or found.disabled:
            raise UsageError(f"no account of that name is enabled: see 'reasonvault user list' ({person})")
        return Ruling([Event("user.disabled", {"person": person})], None)

    events.rule(vault, decide)
    return person


def listing(vault: Vault) -> list[Account]:
    """Return the local accounts, with the names their events seal."""
    people = list(vault.register.standing().people.values())
    sealed = trace.details(vault, [person.added for person in people])
    return [Account(person, str(sealed.get(person.added, {}).get("name", ""))) for person in people]


def meet(vault: Vault, issuer: str, subject: str, name: str) -> str:
    """Return the id of a person whom an identity provider vouches for; the first time, an event keeps who that is."""
    person = person_id(vault, issuer, subject)
    if person not in vault.register.standing().known:
        detail = {"issuer": issuer, "subject": subject, "name": name}

        def decide(standing: Standing) -> Ruling[None]:
            fresh = person not in standing.known
            return Ruling([Event("person.known", {"person": person}, detail)] if fresh else [], None)

        events.rule(vault.acting(Actor(person, break_glass=False)), decide)
    return person


def locked(vault: Vault, person: str) -> bool:
    """Say whether an account had too many failed logins to be tried now."""
    until = vault.register.standing().locked_until(person)
    return until is not None and vault.clock() < until


def login_failed(vault: Vault, person: str, code: str) -> None:
    """Write a failed login down. ``code`` says why, for the officer; the person is told nothing."""
    actor = Actor(person, break_glass=False)
    events.record(vault.acting(actor), "login.failed", {"person": person, "code": code})


def login_succeeded(vault: Vault, person: str, verifier: str) -> Person:
    """Let somebody in whose password was right, and return the account as it stands at that moment.

    Raises:
        Denied: the account does not exist, is disabled or locked, or has another password by now.
    """

    def decide(standing: Standing) -> Ruling[Person]:
        found, until = standing.people.get(person), standing.locked_until(person)
        code = None
        if found is None or not hmac.compare_digest(found.verifier, verifier):
            code = "password"
        elif found.disabled:
            code = "disabled"
        elif until is not None and vault.clock() < until:
            code = "locked"
        if code is not None or found is None:
            return refuse(Denied("wrong name or password"), Event("login.failed", {"person": person, "code": code}))
        return Ruling([Event("login.succeeded", {"person": person})], found)

    _, account = events.rule(vault.acting(Actor(person, break_glass=False)), decide)
    return account


def _require_passphrase(vault: Vault, what: str) -> None:
    if not vault.actor.break_glass:
        raise Denied(f"only the holder of the vault's passphrase {what}")


def person_key(vault: Vault) -> bytes:
    """Return the key of the events ledger's ids, 32 bytes: what pseudonyms are made with."""
    if vault.register.person_key is None:
        rows = {row.ledger_id: row for row in transact(vault.engine, store.ledgers)}
        wrapped = rows[vault.events].id_key
        vault.register.person_key = vault.ring.open_ledger_key(vault.tenant_key, vault.events, wrapped)
    return vault.register.person_key
