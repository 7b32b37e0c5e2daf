"""Hashes of a ledger's tree as the database has them: leaves hashed, subtree roots as they stand. No evidence alone.

Whoever takes them from ``fetch`` checks what they lead to. Where that fails, ``recomputed`` reads all leaves, and only
they decide: either the stored roots were wrong or missing, or the ledger is not the one that was signed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from vault.context import Vault
from vault.core import packing
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Forked, Modified, VaultError
from vault.core.nodes import Span
from vault.core.tree import HASH_BYTES, TILE_HEIGHT, Frontier, Node, leaf_hash
from vault.db import nodes, store
from vault.db.engine import transact, translated

WIDTH: Final = 1 << TILE_HEIGHT
"""Hashes of a whole tile, and leaves below a subtree root of level 1."""

Hashes = dict[tuple[int, int], bytes]
"""By level (0: leaves) and place."""


def frontier_at(connection: Connection, ledger: UUID, checkpoint: Checkpoint) -> Frontier | None:
    """Return the head's frontier where it is the checkpoint's: the head may be ahead."""
    head = store.read_head(connection, ledger)
    with suppress(Modified):
        if head is not None and head.size == checkpoint.size:
            frontier = Frontier.from_bytes(head.size, head.frontier)
            return frontier if frontier.root() == checkpoint.root else None
    return None


def fetch(
    connection: Connection, ledger: UUID, needed: Sequence[Span], wanted: Collection[int] = ()
) -> tuple[dict[int, bytes], Hashes]:
    """Return the wanted leaves by position, and the needed hashes; what is not there is left out.

    Args:
        wanted: positions whose leaves are kept; inside ``needed``.

    Raises:
        Modified: a leaf cannot be unpacked.
    """
    leaves: dict[int, bytes] = {}
    hashes: Hashes = {}
    for number, seq, found in nodes.fetch_spans(connection, ledger, needed):
        level, first, end = needed[number]
        if level == 0:
            data = packing.unpack(found)
            hashes[0, seq] = leaf_hash(data)
            if seq in wanted:
                leaves[seq] = data
        elif len(found) == (end - first) * HASH_BYTES:
            for at in range(end - first):
                hashes[level, first + at] = found[at * HASH_BYTES : (at + 1) * HASH_BYTES]
    return leaves, hashes


def recomputed(vault: Vault, ledger: UUID, checkpoint: Checkpoint, needed: Sequence[Span]) -> Hashes:
    """Return the needed hashes from the leaves alone, all of them read; store the subtree roots that were missing.

    Raises:
        Forked: the entries are not the tree that was signed.
        Modified: a leaf cannot be unpacked.
    """
    kept = {at for level, first, end in needed if level == 0 for at in range(first, end)}
    hashes: Hashes = {}
    completed: list[Node] = []
    frontier, tile = Frontier(), list[bytes]()
    with translated(), vault.engine.connect() as connection:
        for seq, stored in store.stream_leaves(connection, ledger, 0, checkpoint.size):
            tile.append(digest := leaf_hash(packing.unpack(stored)))
            if seq in kept:
                hashes[0, seq] = digest
            if len(tile) == WIDTH:
                completed.extend(frontier.extend_noting(tile))
                tile.clear()
    frontier.extend(tile)
    if (frontier.size, frontier.root()) != (checkpoint.size, checkpoint.root):
        raise Forked("the entries are not the tree that was signed", str(ledger), checkpoint.size)
    heal(vault, ledger, completed)
    return hashes | {(level, place): digest for level, place, digest in completed}


def heal(vault: Vault, ledger: UUID, completed: Sequence[Node]) -> None:
    """Store subtree roots that were missing. A server that takes no writes just now costs the next caller its time, not
    this one its answer."""
    with suppress(VaultError):
        transact(vault.engine, lambda connection: nodes.insert(connection, ledger, completed))


def read_signed(vault: Vault, ledger: UUID) -> Checkpoint:
    """Return the last checkpoint.

    Raises:
        Forked: there is none, or not one of this vault's.
    """
    checkpoint = vault.checkpoints.read(ledger)
    if checkpoint is None:
        raise Forked("the checkpoint outside the database is missing", str(ledger))
    return checkpoint
