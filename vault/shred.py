"""Shredding: the keys of closed groups die, and what lay under them goes.

    destroyed = destroy(vault, ledger, ["2029-01.0"], reason=disposal, expect=doomed)

    1. see that exactly the expected entries are in the groups, and that every other entry whose key these groups ever
       wrapped lives elsewhere, and stands in the journal (vault.accounting)
    2. schedule each provider key's destruction, and have it destroyed. COMMIT POINT: from here it only goes forward.
       Only ``describe`` says that a key is destroyed; nothing else is ever taken for it
    3. ``key.destroyed`` for each, then the group's row says so too
    4. forget the opened keys, and try every epoch key of the groups: the provider must say that its key is gone. One
       that opens, or a provider that cannot be reached, proves nothing and stops here
    5. delete the sealed rows, a batch a transaction, so that appends go on
    6. take the wrapped epoch keys and index keys away

Interrupted anywhere, the same call goes on: the group's state, the provider and the events say how far it came. Who may
destroy what was decided before (retention.disposal); here it is only made sure that nothing else dies with it.

Not reached: opened keys in the memory of other processes, for as long as they keep them (vault.keys.ring), and what
PostgreSQL has not yet overwritten of deleted rows: ciphertext, and facets in clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from vault import chains, chronicle, events, generations, journal
from vault.accounting import require_accounted
from vault.context import Vault
from vault.core.errors import Forked, KeyGone, KeyUnavailable, UsageError
from vault.core.leaf import EventLeaf
from vault.core.selection import Selection
from vault.db import groups as stored
from vault.db import moving
from vault.db.engine import transact
from vault.events import Event
from vault.keys.provider import KeyDescription, KeyRef, KeyState
from vault.keys.ring import WRITE_SECONDS, EpochRow, group_ref

OPEN_SECONDS: Final = WRITE_SECONDS
"""For so long other processes may keep what they opened before."""
BATCH: Final = 1000
_LOOKED_AT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What is gone.

    Attributes:
        keys: references of the provider keys, aligned with ``groups``.
        deleted: sealed rows that this call deleted. A call that goes on after an interruption finds fewer of them, or
            none; that none of those expected is left anywhere is seen by every call.
        epochs_tried: epoch keys that this call found to open no more. A call that goes on behind step 6 finds none to
            try: those were tried before they were taken away.
        destroyed_at: when the provider destroyed the last of the keys.
    """

    groups: tuple[str, ...]
    keys: tuple[KeyRef, ...]
    deleted: int
    epochs_tried: int
    destroyed_at: datetime


def destroy(vault: Vault, ledger: UUID, names: Sequence[str], *, reason: str, expect: Selection | None) -> Destroyed:
    """Destroy the provider keys of closed groups, and delete what is left in them.

    Args:
        reason: a disposal's id or another, as the events say in ``for``.
        expect: the entries that must be left in them, no more and no fewer; None where none may be.

    Raises:
        UsageError: a group is live, or not there; nothing was destroyed.
        Forked: other entries are in the groups than expected, or one that left them is not in the journal; or a key
            still opens after its destruction.
        Missing: an entry whose key would die is not where rows say that it is; nothing was destroyed.
        KeyUnavailable: a key is not destroyed yet, or the provider cannot be reached; nothing more is reported.
        KeyGone: the provider does not know a key, which proves nothing.
        Modified: the journal is not what was written.
        Unavailable: run again, the call goes on.
    """
    wanted = expect or Selection()
    names = sorted(set(names))
    refs = [group_ref(ledger, name) for name in names]
    with journal.held(vault.rewraps, ledger) as log:
        told = [one for one in _told(vault) if one.facts.get("ledger") == str(ledger)]
        epochs = _looked_at(vault, ledger, names, wanted)
        if any(_describe(vault, ref).state is not KeyState.DESTROYED for ref in refs):
            require_accounted(vault, ledger, names, told, log)
        at = _destroyed(vault, refs)
        _tell(vault, ledger, dict(zip(names, at, strict=True)), chains.destroyed(told), reason)
        transact(vault.engine, lambda connection: generations.mark_destroyed(connection, ledger, names))
        tried = _prove(vault, ledger, names, epochs)
        deleted = _delete(vault, ledger, names, wanted)
        transact(vault.engine, lambda connection: moving.empty(connection, ledger, names))
    return Destroyed(tuple(names), tuple(refs), deleted, tried, max(at))


def check(vault: Vault, ledger: UUID, names: Sequence[str], *, expect: Selection | None) -> None:
    """Do step 1 alone, for whoever is about to decide that the groups die: raises what ``destroy`` would raise before
    anything is destroyed."""
    names = sorted(set(names))
    with journal.held(vault.rewraps, ledger) as log:
        _looked_at(vault, ledger, names, expect or Selection())
        told = [one for one in _told(vault) if one.facts.get("ledger") == str(ledger)]
        require_accounted(vault, ledger, names, told, log)


def _told(vault: Vault) -> list[EventLeaf]:
    return chronicle.read(vault, {chains.MOVED, chains.DESTROYED})[0]


def _looked_at(vault: Vault, ledger: UUID, names: Sequence[str], expect: Selection) -> list[EpochRow]:
    """Step 1. Returns the groups' epoch keys that are still there to be tried."""
    place = str(ledger)
    states = transact(vault.engine, lambda connection: generations.states(connection, ledger))
    for name in names:
        if states.get(name) not in ("closing", "destroyed"):
            raise UsageError(f"group {name} is {states.get(name, 'not there')}: only a closed one can be destroyed")
    left = Selection.of(transact(vault.engine, lambda connection: moving.seqs_in(connection, ledger, names)))
    if (left - expect).ranges:
        raise Forked("an entry that is not to be destroyed is in the group", place, (left - expect).ranges[0][0])
    gone = expect - left
    if gone.ranges and all(states[name] == "closing" for name in names):
        raise Forked("an entry that is to be destroyed is not in the group", place, gone.ranges[0][0])
    _require_absent(vault, ledger, gone)
    rows = transact(vault.engine, lambda connection: list(stored.epochs(connection, ledger)))
    # The key is the one that ledger and group call for: what a row says of it is not asked.
    return [
        EpochRow(ledger, epoch, group, group_ref(ledger, group), writer, day, wrapped)
        for epoch, group, _, writer, day, wrapped in rows
        if group in names and wrapped
    ]


def _require_absent(vault: Vault, ledger: UUID, gone: Selection) -> None:
    """Raise unless none of these entries has a sealed row: one that is not in its group must be nowhere."""
    for part in _parts(gone):
        found = transact(vault.engine, lambda connection, part=part: moving.places(connection, ledger, part))  # type: ignore[misc]
        if found:
            raise Forked("an entry that is to be destroyed is in another group", str(ledger), min(found))


def _describe(vault: Vault, ref: KeyRef) -> KeyDescription:
    found = vault.provider.describe(ref)
    if found.state is KeyState.UNKNOWN:
        raise KeyGone(f"the provider does not know key {ref}: that proves no destruction")
    return found


def _destroyed(vault: Vault, refs: Sequence[KeyRef]) -> list[datetime]:
    """Step 2. Returns when each key was destroyed, as the provider says."""
    now = datetime.fromtimestamp(vault.clock() / 1_000_000, UTC)
    states = {ref: _describe(vault, ref).state for ref in refs}
    for ref, state in states.items():
        if state in (KeyState.ENABLED, KeyState.DISABLED):
            vault.provider.schedule_destroy(ref, now)
    if any(state is not KeyState.DESTROYED for state in states.values()):
        vault.provider.destroy_due(now)
    at = []
    for ref in refs:
        found = _describe(vault, ref)
        if found.state is not KeyState.DESTROYED or found.destroy_at is None:
            due = f", due {found.destroy_at:%Y-%m-%dT%H:%M:%SZ}" if found.destroy_at else ""
            raise KeyUnavailable(f"key {ref} is {found.state.value}{due}, not destroyed: run the same command again")
        at.append(found.destroy_at)
    return at


def _tell(vault: Vault, ledger: UUID, at: dict[str, datetime], known: frozenset[str], reason: str) -> None:
    """Step 3, for the keys that were not told of before."""
    happened = [
        Event(
            "key.destroyed",
            {
                "ledger": str(ledger),
                "group": name,
                "key": group_ref(ledger, name),
                "provider": vault.provider.name,
                "for": reason,
                "destroyed_at": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            },
        )
        for name, moment in at.items()
        if name not in known
    ]
    if happened:
        events.record_all(vault, happened)


def _prove(vault: Vault, ledger: UUID, names: Sequence[str], epochs: Sequence[EpochRow]) -> int:
    """Step 4. Returns how many epoch keys were tried."""
    for name in names:
        vault.ring.forget(ledger, name)
    for epoch in epochs:
        with suppress(KeyGone):
            vault.ring.open_epoch(epoch)
            raise Forked(f"a key of group {epoch.group} still opens after its destruction", str(ledger))
    return len(epochs)


def _delete(vault: Vault, ledger: UUID, names: Sequence[str], expect: Selection) -> int:
    """Step 5. Returns how many rows were deleted."""
    deleted = 0
    left = transact(vault.engine, lambda connection: moving.seqs_in(connection, ledger, names))
    for start in range(0, len(left), BATCH):
        part = left[start : start + BATCH]
        deleted += transact(vault.engine, lambda connection, part=part: moving.delete(connection, ledger, part))  # type: ignore[misc]
    _require_absent(vault, ledger, expect)
    return deleted


def _parts(selection: Selection) -> list[list[int]]:
    seqs = list(selection)
    return [seqs[start : start + _LOOKED_AT] for start in range(0, len(seqs), _LOOKED_AT)]
