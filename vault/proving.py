"""Proving: inclusion proofs to a signed checkpoint, from stored subtree roots where they are right.

    1. open the checkpoint: its signature says which tree is meant
    2. read the leaves and subtree roots that the paths need, some hundreds for each entry
    3. verify each path against the signed root. Stored roots are no evidence: where one is missing or wrong, go on
    4. read all leaves; where their tree is not the signed one, the ledger was changed and nobody gets a proof
    5. store the subtree roots that were missing, so that the next proof is quick

A ledger from before the roots were stored heals by 5, at the price of one pass. Where so many entries are asked for
that 2 would read most of the ledger, 4 comes first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from uuid import UUID

from sqlalchemy import Connection

from vault import hashes
from vault.context import Vault
from vault.core import packing
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Forked, Missing, Modified
from vault.core.nodes import path, spans
from vault.core.paths import inclusion_paths
from vault.core.proof import Proof
from vault.core.tree import Frontier, Node, leaf_hash, verify_inclusion
from vault.db import store
from vault.db.engine import translated

_AT_ONCE = 256
"""Entries proved from one set of hashes: bounds memory at about 10 MB wherever they lie."""

Proved = dict[int, tuple[bytes, list[bytes]]]


def prove(vault: Vault, ledger: UUID, seqs: Collection[int], note: str) -> dict[int, tuple[bytes, Proof]]:
    """Return the leaf and its proof for entries of a ledger, by position in ascending order.

    Args:
        note: the checkpoint that the proofs lead to; its signature is verified.

    Raises:
        Forked: the entries are not the tree that was signed.
        Modified: the checkpoint is not this vault's, or a leaf on the way cannot be read.
        Missing: an entry is not there.
    """
    checkpoint = vault.checkpoints.open(ledger, note)
    wanted = sorted(set(seqs))
    for seq in wanted:
        if not 0 <= seq < checkpoint.size:
            raise Missing("the entry is not there", str(ledger), seq)
    reading = sum(span.end - span.first for span in spans(wanted, checkpoint.size) if span.level == 0)
    if reading > checkpoint.size // 2:
        proved = _from_leaves(vault, ledger, wanted, checkpoint)
    else:
        proved = _from_nodes(vault, ledger, wanted, checkpoint)
        if proved.keys() != set(wanted):
            proved = _from_leaves(vault, ledger, wanted, checkpoint, heal=True)
    return {seq: (proved[seq][0], Proof(seq, tuple(proved[seq][1]), note)) for seq in wanted}


def _from_nodes(vault: Vault, ledger: UUID, wanted: Sequence[int], checkpoint: Checkpoint) -> Proved:
    """Steps 2 and 3. What comes back short was not proved; what is there, was."""
    proved: Proved = {}
    size, root = checkpoint.size, checkpoint.root
    with translated(), vault.engine.connect() as connection:
        frontier = hashes.frontier_at(connection, ledger, checkpoint)
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            needed = spans(part, size, peaks=frontier is None)
            leaves, found = hashes.fetch(connection, ledger, needed, frozenset(part))
            for seq in part:
                try:
                    way = path(seq, size, found, frontier)
                    verify_inclusion(seq, size, found[0, seq], way, root)
                except (KeyError, Modified):
                    return proved
                proved[seq] = leaves[seq], way
    return proved


def _from_leaves(
    vault: Vault, ledger: UUID, wanted: Sequence[int], checkpoint: Checkpoint, *, heal: bool = False
) -> Proved:
    """Step 4, and 5 where ``heal`` says so."""
    seqs = frozenset(wanted)
    leaves: dict[int, bytes] = {}
    completed: list[Node] = []

    def read(connection: Connection) -> Iterator[bytes]:
        frontier, tile = Frontier(), list[bytes]()
        for seq, stored in store.stream_leaves(connection, ledger, 0, checkpoint.size):
            data = packing.unpack(stored)
            if seq in seqs:
                leaves[seq] = data
            yield (digest := leaf_hash(data))
            if heal:
                tile.append(digest)
            if len(tile) == hashes.WIDTH:
                completed.extend(frontier.extend_noting(tile))
                tile.clear()

    with translated(), vault.engine.connect() as connection:
        root, ways = inclusion_paths(read(connection), seqs)
    if root != checkpoint.root:
        raise Forked("the entries are not the tree that was signed", str(ledger), checkpoint.size)
    for seq in wanted:
        if seq not in leaves:
            raise Missing("the entry is not there", str(ledger), seq)
    hashes.heal(vault, ledger, completed)
    return {seq: (leaves[seq], ways[seq]) for seq in wanted}
