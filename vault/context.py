"""The vault as its verbs see it: one value that holds what they need, made in one place (service.wiring)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Engine

from vault.checkpoints import Checkpoints
from vault.core.facets import Facets
from vault.core.keeping import Facts, Keeping
from vault.core.leaf import RecordLeaf
from vault.core.record import Record
from vault.core.standing import Standing
from vault.keys.provider import KeyProvider
from vault.keys.ring import Ring
from vault.register import Register

Keeper = Callable[[Facts], Keeping]
Conflict = Callable[[RecordLeaf, Facets, Record], bool]


class Law(NamedTuple):
    """The rule book in force, at the moment somebody asked: what new records live by.

    Attributes:
        rulebook: its SHA-256.
        keeper: (ledger's jurisdictions, rules it opted into) -> how long a record is kept.
        conflict: the same -> whether a record is in conflict under its own book and every later one, by what was known
            when it was written. Raises ``Missing`` where its leaf names a book that was never in force.
    """

    rulebook: bytes
    keeper: Callable[[tuple[str, ...], tuple[str, ...]], Keeper]
    conflict: Callable[[tuple[str, ...], tuple[str, ...]], Conflict]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, as every event names it.

    Attributes:
        name: ``local:<user>`` for whoever holds the passphrase, a pseudonymous id for a person who logged in, the
            producer's name for a producer.
        break_glass: marks the first of them, who needs no second person.
        roles: what a person may be, as their login said; a local account's are compared with the events again.
        generation: of a local account's login; None for everybody else.
    """

    name: str
    break_glass: bool
    roles: frozenset[str] = frozenset()
    generation: int | None = None

    def roles_by(self, standing: Standing) -> frozenset[str]:
        """Return what this actor may be right now: a local account's roles as the events say, else their login's."""
        if self.generation is None:
            return self.roles
        account = standing.people.get(self.name)
        if account is None or account.disabled or account.generation != self.generation:
            return frozenset()
        return account.roles


@dataclass(frozen=True, slots=True)
class Vault:
    """Everything a verb needs, opened.

    Attributes:
        engine: database, in the application's role.
        checkpoints: the memory outside the database.
        ring: keys.
        provider: keeps the keys of groups and of the tenant: for their state and their destruction.
        tenant: id of the tenant, a word; its provider key is ``tenant.<tenant>``.
        region: where it runs, a word, as genesis leaves say.
        events: the tenant's events ledger.
        actor: who acts.
        clock: microseconds since the epoch.
        writer: id of this process among the writers of epoch keys.
        law: the rule book in force as of the register's last look. Whoever freezes a date takes digest and keeper from
            one call.
        register: the events ledger as this process follows it and writes to it.
        rewraps: directory of the journals of moved record keys, beside the key store; made when first needed.
    """

    engine: Engine
    checkpoints: Checkpoints
    ring: Ring
    provider: KeyProvider
    tenant: str
    region: str
    events: UUID
    actor: Actor
    clock: Callable[[], int]
    writer: str
    law: Callable[[], Law]
    register: Register
    rewraps: Path

    def acting(self, actor: Actor) -> Vault:
        """Return the same vault with somebody else acting."""
        return replace(self, actor=actor)

    @property
    def keeper(self) -> Callable[[tuple[str, ...], tuple[str, ...]], Keeper]:
        """Return the keeper of the rule book in force."""
        return self.law().keeper

    @property
    def rulebook(self) -> bytes:
        """Return SHA-256 of the rule book in force."""
        return self.law().rulebook

    @property
    def tenant_key(self) -> str:
        """Return the reference of the tenant's provider key, which wraps ledger keys and is never destroyed."""
        return f"tenant.{self.tenant}"
