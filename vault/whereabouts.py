"""Whereabouts: which entries a group holds, what their leaves hash to, where a record stands. For planning what dies.

Nothing is opened and nothing is shown, so no access event is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

from vault import generations
from vault.context import Vault
from vault.core import packing
from vault.core.errors import UsageError
from vault.core.selection import Selection
from vault.core.tree import leaf_hash
from vault.db import moving, store
from vault.db.engine import transact, translated
from vault.keys.provider import KeyRef
from vault.keys.ring import group_ref
from vault.ledgers import Ledger
from vault.sealing import id_tag

_PART: Final = 5000


def states(vault: Vault, ledger: UUID) -> dict[str, str]:
    """Return every group that a ledger ever had, and its state."""
    return transact(vault.engine, lambda connection: generations.states(connection, ledger))


def inside(vault: Vault, ledger: UUID, groups: Sequence[str]) -> Selection:
    """Return the entries whose keys are in these groups now."""
    return Selection.of(transact(vault.engine, lambda connection: moving.seqs_in(connection, ledger, groups)))


def leaf_hashes(vault: Vault, ledger: UUID, chosen: Selection) -> Iterator[tuple[int, bytes]]:
    """Yield (position, leaf hash) as leaves stand there now, ascending; a position without a leaf is left out.

    Not checked: that they are under a checkpoint.
    """
    with translated(), vault.engine.connect() as connection:
        part: list[int] = []
        for seq in chosen:
            part.append(seq)
            if len(part) == _PART:
                yield from _hashes(store.fetch_leaves(connection, ledger, part))
                part = []
        yield from _hashes(store.fetch_leaves(connection, ledger, part))


def positions(vault: Vault, ledger: Ledger, record_ids: Sequence[str]) -> list[int]:
    """Return where records stand. Raises ``UsageError`` where there is none of an id."""
    key = vault.ring.open_ledger_key(vault.tenant_key, ledger.id, ledger.row.id_key)
    tags = [id_tag(key, one) for one in record_ids]
    found = transact(vault.engine, lambda connection: store.find_tags(connection, ledger.id, tags))
    if len(found) < len(set(tags)):
        raise UsageError(f"ledger {ledger.row.name} has no record of one of these ids")
    return sorted(found.values())


def key_of(ledger: UUID, group: str) -> KeyRef:
    """Return the reference of a group's provider key."""
    return group_ref(ledger, group)


def _hashes(rows: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    for seq, stored in rows:
        yield seq, leaf_hash(packing.unpack(stored))
