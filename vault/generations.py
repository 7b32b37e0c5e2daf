"""Generations: which of a stem's groups may still be written under, and how one stops being so.

    2029-01.0  destroyed      2029-01.1  closing      2029-01.2  live   <- what is written for 2029-01 goes here

A group is ``live``, then ``closing``, then ``destroyed``, and never goes back. Whoever closes one holds the ledger's
append lock, and linking looks at the states under the same lock (vault.linking), so from the commit of ``close`` on
nothing enters the group, whatever keys a writer still holds. Writers hear of it when they link, and seal again under
the next generation.

Closing and marking need a vault opened for retention; the application's role may do neither.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from sqlalchemy import Connection

from vault.context import Vault
from vault.core.errors import UsageError
from vault.core.groups import generation_of, name_of, stem_of
from vault.db import groups, store
from vault.db.engine import transact
from vault.db.groups import StoredGroup
from vault.keys.ring import GroupRow


def states(connection: Connection, ledger: UUID) -> dict[str, str]:
    """Return every group that a ledger ever had, and its state."""
    return {one.name: one.state for one in groups.listing(connection, ledger)}


def closed(connection: Connection, ledger: UUID) -> frozenset[str]:
    """Return the groups that nothing may enter any more."""
    return frozenset(name for name, state in states(connection, ledger).items() if state != "live")


def current(vault: Vault, ledger: UUID, stem: str, without: Collection[str] = ()) -> GroupRow | None:
    """Return the group that is written for a stem: its highest live generation, None where it has none.

    Args:
        without: groups to pass over.
    """
    found = [one for one in _of_stem(vault, ledger, stem) if one.state == "live" and one.name not in without]
    if not found:
        return None
    highest = max(found, key=lambda one: generation_of(one.name))
    return GroupRow(ledger, highest.name, highest.key_ref, highest.index_key)


def is_told(vault: Vault, ledger: UUID, name: str) -> bool:
    """Say whether the events tell of a group's key. That comes before its row, so a row of another was made up.

    Raises:
        Forked, Unavailable: the events cannot be believed, or read.
    """
    return name in vault.register.standing().groups.get(str(ledger), frozenset())


def next_name(vault: Vault, ledger: UUID, stem: str) -> str:
    """Return the name one above the highest generation that a stem ever had, ``<stem>.0`` where it had none."""
    highest = max((generation_of(one.name) for one in _of_stem(vault, ledger, stem)), default=-1)
    return name_of(stem, highest + 1)


def close(vault: Vault, ledger: UUID, names: Iterable[str]) -> None:
    """Stop groups from being written under. When this returns nothing enters them; doing it again changes nothing.

    Raises:
        UsageError: the ledger never had such a group; none is closed.
        Misconfigured: the vault is not opened for retention.
    """
    wanted = frozenset(names)

    def work(connection: Connection) -> None:
        store.lock_head(connection, ledger)
        _require_known(connection, ledger, wanted)
        groups.move_state(connection, ledger, wanted, "live", "closing")

    transact(vault.engine, work)
    for name in wanted:
        vault.ring.forget(ledger, name)


def mark_destroyed(connection: Connection, ledger: UUID, names: Collection[str]) -> None:
    """Say of closing groups that their provider keys are destroyed; doing it again changes nothing.

    Not checked: that they are. Whoever calls this has seen it (vault.shred), and forgets their keys
    (``Ring.forget``) once this is committed.

    Raises:
        UsageError: one of them is not there, or live: only a closed group can have lost its key lawfully.
    """
    wanted = frozenset(names)
    left = wanted - groups.move_state(connection, ledger, wanted, "closing", "destroyed")
    if left:
        raise UsageError(f"group {min(left)} is not closing, so it cannot be marked as destroyed")


def _require_known(connection: Connection, ledger: UUID, names: frozenset[str]) -> None:
    unknown = names - states(connection, ledger).keys()
    if unknown:
        raise UsageError(f"ledger {ledger} never had a group {min(unknown)}")


def _of_stem(vault: Vault, ledger: UUID, stem: str) -> list[StoredGroup]:
    rows = transact(vault.engine, lambda connection: groups.listing(connection, ledger))
    return [one for one in rows if stem_of(one.name) == stem]
