"""The chronicle: events of some names from the first to the last, believed only where the chain holds.

    told, size = read(vault, {"rules.adopted", "record.dated"})

What ``vault.register`` keeps is what decisions need at any moment; this is for what is needed now and then and would be
too much to keep, such as everything that ever dated a record. One pass: every leaf is hashed, only those asked for are
parsed.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from vault.context import Vault
from vault.core import leaf, packing
from vault.core.errors import Forked, Modified
from vault.core.leaf import EventLeaf
from vault.core.tree import Frontier, leaf_hash
from vault.db import store
from vault.db.engine import translated

# A leaf's members stand in canonical order, so its name can be told without parsing the leaf.
_NAME = re.compile(rb'\{"actor":"[^"]*","at":"[^"]*","event":"([a-z._]+)"')


def read(vault: Vault, names: Collection[str]) -> tuple[list[EventLeaf], int]:
    """Return the events of these names, in order, and the size of the ledger that they were read at.

    Raises:
        Forked, Missing: the ledger is not the one this vault signed.
        Modified: a leaf is not one of ours.
        Unavailable: the database cannot be reached.
    """
    place, wanted = str(vault.events), {name.encode() for name in names}
    told: list[EventLeaf] = []
    frontier = Frontier()
    earlier = vault.checkpoints.read(vault.events)
    with translated(), vault.engine.connect() as connection:
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
        head = store.read_head(connection, vault.events)
        if head is None:
            raise Forked("the events ledger has no head", place)
        vault.checkpoints.require_consistent(vault.events, head, earlier)
        for seq, stored in store.stream_leaves(connection, vault.events, 0, head.size):
            if seq != frontier.size:
                raise Forked("an entry of the events ledger is missing", place, frontier.size)
            data = packing.unpack(stored)
            frontier.extend((leaf_hash(data),))
            found = _NAME.match(data)
            if found is not None and found[1] in wanted:
                told.append(_event(data, seq))
    if (frontier.size, frontier.to_bytes()) != (head.size, head.frontier):
        raise Forked("the events are not the tree that was signed", place, head.size)
    return told, head.size


def _event(data: bytes, seq: int) -> EventLeaf:
    told = leaf.parse(data)
    if not isinstance(told, EventLeaf) or told.seq != seq:
        raise Modified("an event is not in its place", told.ledger, seq)
    return told
