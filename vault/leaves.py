"""Leaves of a whole ledger, believed only where their tree is the one that was signed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from vault.context import Vault
from vault.core import packing
from vault.core.errors import Forked, Missing
from vault.core.tree import Frontier, leaf_hash
from vault.db import store
from vault.db.engine import translated
from vault.linking import append

_AT_ONCE: Final = 256


def signed(vault: Vault, ledger: UUID, last: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (position, leaf, its hash) of every entry under the last checkpoint, which must reach ``last``.

    Nothing may be believed before the end was reached.

    Raises:
        Forked: the entries are not the tree that was signed; known at the end.
        Missing: nothing signed stands at ``last``.
        Modified: a leaf cannot be read.
    """
    place = str(ledger)
    checkpoint = vault.checkpoints.read(ledger)
    if checkpoint is None or checkpoint.size <= last:  # a commit that died left entries unsigned
        append(vault.engine, vault.checkpoints, ledger, lambda _connection: ())
        checkpoint = vault.checkpoints.read(ledger)
    if checkpoint is None or checkpoint.size <= last:
        raise Missing("no signed entry is there", place, last)
    frontier, some = Frontier(), list[bytes]()
    with translated(), vault.engine.connect() as connection:
        for seq, stored in store.stream_leaves(connection, ledger, 0, checkpoint.size):
            data = packing.unpack(stored)
            some.append(leaf_hash(data))
            yield seq, data, some[-1]
            if len(some) == _AT_ONCE:
                frontier.extend(some)
                some.clear()
    frontier.extend(some)
    if frontier.size != checkpoint.size or frontier.root() != checkpoint.root:
        raise Forked("the entries are not the tree that was signed", place, checkpoint.size)
