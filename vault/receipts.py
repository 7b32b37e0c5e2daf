"""Receipts given again: for records that a retry found already sealed.

The leaf and the opening are those of the first receipt; the path leads to the newest checkpoint, since older notes
are not kept. One pass over the ledger's leaves serves any number of receipts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from uuid import UUID

from sqlalchemy import Connection

from vault.context import Vault
from vault.core import envelope, leaf, packing, receipt
from vault.core.checkpoint import open_checkpoint
from vault.core.errors import Forked, Missing
from vault.core.leaf import RecordLeaf
from vault.core.paths import inclusion_paths
from vault.core.proof import Proof
from vault.core.tree import leaf_hash
from vault.db import store
from vault.db.engine import transact, translated
from vault.ledgers import Ledger
from vault.opening import Opener


def again(vault: Vault, ledger: Ledger, seqs: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """Yield (seq, receipt) for entries of a ledger.

    Raises:
        Forked: the entries are not the tree that was signed.
        Missing: an entry is not there, or no record.
    """
    note = vault.checkpoints.note(ledger.id)
    if note is None:
        raise Forked("the checkpoint outside the database is missing", str(ledger.id))
    proved = proofs(vault, ledger.id, note, seqs)
    opener = Opener(vault.engine, vault.ring, ledger.id)
    rows = transact(vault.engine, lambda connection: list(store.fetch_entries(connection, ledger.id, list(proved))))
    sealed = {row.seq: row.sealed for row in rows}
    for seq, (data, proof) in proved.items():
        place, row = leaf.parse(data), sealed.get(seq)
        if not isinstance(place, RecordLeaf):
            raise Missing("there is no record to give a receipt for", str(ledger.id), seq)
        opening = envelope.opening(opener.record_key(place, row)) if row else None
        yield seq, receipt.issue(data, opening, proof)


def proofs(vault: Vault, ledger: UUID, note: str, seqs: Collection[int]) -> dict[int, tuple[bytes, Proof]]:
    """Return the leaf and its proof for entries of a ledger, by position in ascending order.

    Args:
        note: the checkpoint that the proofs lead to; its signature is verified.

    Raises:
        Forked: the entries are not the tree that was signed.
        Modified: the checkpoint is not this vault's, or a leaf on the way cannot be read.
        Missing: an entry is not there.
    """
    verifier, origin = vault.checkpoints.verifier(ledger), vault.checkpoints.origin(ledger)
    checkpoint = open_checkpoint(note, [verifier], origin)
    wanted = frozenset(seqs)
    leaves: dict[int, bytes] = {}

    def hashes(connection: Connection) -> Iterator[bytes]:
        for seq, stored in store.stream_leaves(connection, ledger, 0, checkpoint.size):
            data = packing.unpack(stored)
            if seq in wanted:
                leaves[seq] = data
            yield leaf_hash(data)

    with translated(), vault.engine.connect() as connection:
        root, paths = inclusion_paths(hashes(connection), wanted)
    if root != checkpoint.root:
        raise Forked("the entries are not the tree that was signed", str(ledger), checkpoint.size)
    for seq in wanted - leaves.keys():
        raise Missing("the entry is not there", str(ledger), seq)
    return {seq: (leaves[seq], Proof(seq, tuple(paths[seq]), note)) for seq in sorted(wanted)}
