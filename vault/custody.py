"""Custody: which keys a vault has, in which state each is, and the rotation of what wraps them; never a key.

The state of a key is asked of its provider, now; the state of a group is what the vault's own row says. They differ
while a disposal is under way, and otherwise only when somebody else laid hands on the keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from vault import events, ledgers
from vault.context import Vault
from vault.core.errors import KeyUnavailable
from vault.db import groups
from vault.db.engine import transact
from vault.keys.provider import KeyState

OUT_OF_REACH = "out of reach"


class GroupCustody(NamedTuple):
    """One group of a ledger.

    Attributes:
        state: of the group: live, closing or destroyed.
        key_state: of its provider key, as ``KeyState`` says it, or ``OUT_OF_REACH``.
        destroy_at: when the key falls due, or was destroyed.
        epochs: how many epoch keys it wraps, or wrapped.
    """

    ledger: UUID
    ledger_name: str
    group: str
    key: str
    state: str
    key_state: str
    destroy_at: datetime | None
    epochs: int


class Custody(NamedTuple):
    """The provider's kind, the state of the tenant's key, and every group, by ledger and name."""

    provider: str
    tenant_key: str
    tenant_state: str
    groups: list[GroupCustody]


def status(vault: Vault) -> Custody:
    """Ask the provider about every key. One that does not answer is not asked again: the rest is out of reach too."""
    reached = True

    def ask(key: str) -> tuple[str, datetime | None]:
        nonlocal reached
        if reached:
            try:
                found = vault.provider.describe(key)
                return found.state.value, found.destroy_at
            except KeyUnavailable:
                reached = False
        return OUT_OF_REACH, None

    tenant_state, _ = ask(vault.tenant_key)
    found: list[GroupCustody] = []
    for ledger in ledgers.listing(vault):

        def read(connection: Connection, ledger: UUID = ledger.id) -> tuple[list[groups.StoredGroup], Counter[str]]:
            epochs = Counter(row[1] for row in groups.epochs(connection, ledger))
            return groups.listing(connection, ledger), epochs

        rows, epochs = transact(vault.engine, read)
        for row in sorted(rows):
            state, at = ask(row.key_ref)
            place = (ledger.id, ledger.row.name, row.name, row.key_ref)
            found.append(GroupCustody(*place, row.state, state, at, epochs[row.name]))
    return Custody(vault.provider.name, vault.tenant_key, tenant_state, found)


def rotate(vault: Vault, *rotations: tuple[str, Callable[[], int | None]]) -> list[str]:
    """Rotate what each provider wraps keys with, and tell it. Returns the providers' kinds.

    Args:
        rotations: provider's kind, and what rotates it. Running one again after a crash does no harm.
    """
    done = []
    for provider, turn in rotations:
        turn()
        events.record(vault, "keys.rotated", {"provider": provider})
        done.append(provider)
    return done


def is_expected(group: GroupCustody) -> bool:
    """Whether a group's key is as the group's state says, as far as its provider could be asked."""
    if group.key_state == OUT_OF_REACH:
        return True
    if group.state == "destroyed":
        return group.key_state == KeyState.DESTROYED.value
    return group.state == "closing" or group.key_state == KeyState.ENABLED.value
