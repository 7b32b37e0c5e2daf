"""The vault as its verbs see it: one value that holds what they need, made in one place (service.wiring)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine

from vault.checkpoints import Checkpoints
from vault.core.keeping import Facts, Keeping
from vault.keys.ring import Ring

Keeper = Callable[[Facts], Keeping]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, as every event names it. ``break_glass`` marks whoever holds the passphrase and needs no grant."""

    name: str
    break_glass: bool


@dataclass(frozen=True, slots=True)
class Vault:
    """Everything a verb needs, opened.

    Attributes:
        engine: database, in the application's role.
        checkpoints: the memory outside the database.
        ring: keys.
        tenant: id of the tenant, a word; its provider key is ``tenant.<tenant>``.
        region: where it runs, a word, as genesis leaves say.
        events: the tenant's events ledger.
        actor: who acts.
        clock: microseconds since the epoch.
        writer: id of this process among the writers of epoch keys.
        keeper: (ledger's jurisdictions, rules it opted into) -> how long a record is kept.
        rulebook: SHA-256 of the rule book behind ``keeper``.
    """

    engine: Engine
    checkpoints: Checkpoints
    ring: Ring
    tenant: str
    region: str
    events: UUID
    actor: Actor
    clock: Callable[[], int]
    writer: str
    keeper: Callable[[tuple[str, ...], tuple[str, ...]], Keeper]
    rulebook: bytes

    @property
    def tenant_key(self) -> str:
        """Return the reference of the tenant's provider key, which wraps ledger keys and is never destroyed."""
        return f"tenant.{self.tenant}"
