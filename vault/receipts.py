"""Receipts given again: for records that a retry found already sealed.

The leaf and the opening are those of the first receipt; the path leads to the newest checkpoint, since older notes are not
kept. One pass over the ledger's leaves serves any number of receipts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from vault.context import Vault
from vault.core import envelope, leaf, packing, receipt
from vault.core.errors import Forked, Missing
from vault.core.leaf import RecordLeaf
from vault.core.paths import inclusion_paths
from vault.core.proof import Proof
from vault.core.tree import leaf_hash
from vault.db import store
from vault.db.engine import translated
from vault.ledgers import Ledger
from vault.opening import Opener


def again(vault: Vault, ledger: Ledger, seqs: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """Yield (seq, receipt) for entries of a ledger.

    Raises:
        Forked: the entries are not the tree that was signed.
        Missing: an entry is not there, or no record.
    """
    checkpoint, note = vault.checkpoints.read(ledger.id), vault.checkpoints.note(ledger.id)
    if checkpoint is None or note is None:
        raise Forked("the checkpoint outside the database is missing", str(ledger.id))
    opener = Opener(vault.engine, vault.ring, ledger.id)
    with translated(), vault.engine.connect() as connection:
        leaves: dict[int, bytes] = {}

        def hashes() -> Iterator[bytes]:
            for seq, stored in store.stream_leaves(connection, ledger.id, 0, checkpoint.size):
                data = packing.unpack(stored)
                if seq in seqs:
                    leaves[seq] = data
                yield leaf_hash(data)

        root, paths = inclusion_paths(hashes(), frozenset(seqs))
        if root != checkpoint.root:
            raise Forked("the entries are not the tree that was signed", str(ledger.id), checkpoint.size)
        rows = {row.seq: row.sealed for row in store.fetch_entries(connection, ledger.id, list(seqs))}
        for seq in sorted(seqs):
            place = leaf.parse(leaves[seq]) if seq in leaves else None
            if not isinstance(place, RecordLeaf):
                raise Missing("there is no record to give a receipt for", str(ledger.id), seq)
            row = rows.get(seq)
            opening = envelope.opening(opener.record_key(place, row)) if row else None
            yield seq, receipt.issue(leaves[seq], opening, Proof(seq, tuple(paths[seq]), note))
