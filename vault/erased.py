"""Erased: the proof that what was destroyed cannot be read, made again long after.

For every group whose destruction was told, or that the database calls destroyed:

    1. both say so
    2. the key provider says DESTROYED
    3. every epoch key that ever was under it is refused with ``KeyGone``; nothing else counts as refused
    4. no record stands under it

And the other half of the promise: which groups are due and hold records still. Why (a hold, a disposal that nobody
approved) is for a plan to say. Not looked at: copies elsewhere, such as backups of the key store; a certificate names
those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from vault import chronicle
from vault.context import Vault
from vault.core.errors import KeyGone, Modified
from vault.core.groups import due_at, stem_of
from vault.db import groups, store
from vault.db.engine import translated
from vault.keys.provider import KeyState
from vault.keys.ring import EpochRow, group_ref

_TOLD = "key.destroyed"


class Proof(NamedTuple):
    """What was found.

    Attributes:
        groups: destroyed groups looked at.
        epochs: epoch keys tried.
        alive: what is not as destroyed as was told, a line each.
        due: groups that are due and hold records still, ``<ledger uuid>/<group>``.
    """

    groups: int
    epochs: int
    alive: list[str]
    due: list[str]


class _Stored(NamedTuple):
    """One group as the database has it, with its epoch keys and how many records stand under it."""

    name: str
    state: str
    epochs: list[EpochRow]
    records: int


def prove(vault: Vault, step: Callable[[], None] = lambda: None) -> Proof:
    """Try to open what was destroyed.

    Args:
        step: called between groups.

    Raises:
        KeyUnavailable, Unavailable: the provider or the database is out of reach; nothing was proved.
        Forked: the events are not those this vault signed.
    """
    told = _destroyed(vault)
    with translated(), vault.engine.connect() as connection:
        ledgers = [row.ledger_id for row in store.ledgers(connection)]
    made = Proof(0, 0, [], [])
    for ledger in ledgers:
        for group in _stored(vault, ledger):
            step()
            gone = (str(ledger), group.name) in told
            if gone or group.state == "destroyed":
                made = _tried(vault, ledger, group, gone, made)
            elif group.records and _is_due(group.name, vault.clock()):
                made.due.append(f"{ledger}/{group.name}")
    return made


def _destroyed(vault: Vault) -> set[tuple[str, str]]:
    told, _ = chronicle.read(vault, {_TOLD})
    return {(str(one.facts["ledger"]), str(one.facts["group"])) for one in told}


def _stored(vault: Vault, ledger: UUID) -> list[_Stored]:
    with translated(), vault.engine.connect() as connection:
        epochs: dict[str, list[EpochRow]] = {}
        for epoch_id, group, key_ref, writer, day, wrapped in groups.epochs(connection, ledger):
            epochs.setdefault(group, []).append(EpochRow(ledger, epoch_id, group, key_ref, writer, day, wrapped))
        return [
            _Stored(one.name, one.state, epochs.get(one.name, []), store.count_grouped(connection, ledger, [one.name]))
            for one in sorted(groups.listing(connection, ledger))
        ]


def _tried(vault: Vault, ledger: UUID, group: _Stored, told: bool, so_far: Proof) -> Proof:
    place = f"{ledger}/{group.name}"
    faults = []
    if not told:
        faults.append("the database calls it destroyed, and no event does")
    elif group.state != "destroyed":
        faults.append(f"its destruction was told, and the database calls it {group.state}")
    state = vault.provider.describe(group_ref(ledger, group.name)).state
    if state is not KeyState.DESTROYED:
        faults.append(f"the key provider calls its key {state.value}")
    vault.ring.forget(ledger, group.name)
    opened = sum(not _is_refused(vault, epoch) for epoch in group.epochs)
    if opened:
        faults.append(f"{opened} of its {len(group.epochs)} epoch keys are not refused as gone")
    if group.records:
        faults.append(f"{group.records} records stand under it")
    return so_far._replace(
        groups=so_far.groups + 1,
        epochs=so_far.epochs + len(group.epochs),
        alive=[*so_far.alive, *(f"{place}: {fault}" for fault in faults)],
    )


def _is_refused(vault: Vault, epoch: EpochRow) -> bool:
    try:
        vault.ring.open_epoch(epoch)
    except KeyGone:
        return True
    except Modified:
        return False  # of another key or damaged: that proves nothing about this one
    return False


def _is_due(name: str, now_us: int) -> bool:
    due = due_at(stem_of(name))
    return due is not None and due * 1_000_000 <= now_us
