"""Receipts given again: for records that a retry found already sealed.

The leaf and the opening are those of the first receipt; the path leads to the newest checkpoint, since older notes
are not kept. A destroyed record's receipt has no opening any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from uuid import UUID

from vault.context import Vault
from vault.core import envelope, leaf, receipt
from vault.core.errors import Forked, Missing
from vault.core.leaf import RecordLeaf
from vault.db import store
from vault.db.engine import transact
from vault.erasure import Explainer
from vault.ledgers import Ledger
from vault.opening import Opener
from vault.proving import prove


def again(vault: Vault, ledger: Ledger, seqs: Collection[int], note: str | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (seq, receipt) for entries of a ledger.

    Args:
        note: the checkpoint that the receipts lead to; None takes the newest.

    Raises:
        Forked: the checkpoint is missing, or the entries are not the tree that was signed.
        Modified: a leaf on the way cannot be read.
        Missing: an entry is not there, or no record.
    """
    yield from of_ledger(vault, ledger.id, seqs, note)


def of_several(vault: Vault, places: Collection[tuple[UUID, int]]) -> dict[tuple[UUID, int], bytes]:
    """Return the receipts of entries that may stand in several ledgers; raises like ``again``."""
    found: dict[tuple[UUID, int], bytes] = {}
    for ledger in {ledger for ledger, _ in places}:
        seqs = {seq for place, seq in places if place == ledger}
        found |= {(ledger, seq): data for seq, data in of_ledger(vault, ledger, seqs)}
    return found


def of_ledger(
    vault: Vault, ledger: UUID, seqs: Collection[int], note: str | None = None
) -> Iterator[tuple[int, bytes]]:
    """Do the same for a ledger that is known by its uuid."""
    note = note or vault.checkpoints.note(ledger)
    if note is None:
        raise Forked("the checkpoint outside the database is missing", str(ledger))
    proved = prove(vault, ledger, seqs, note)
    gone = Explainer(vault, ledger)
    opener = Opener(vault.engine, vault.ring, ledger)
    rows = transact(vault.engine, lambda connection: list(store.fetch_entries(connection, ledger, list(proved))))
    sealed = {row.seq: row.sealed for row in rows}
    for seq, (data, proof) in proved.items():
        place, row = leaf.parse(data), sealed.get(seq)
        if not isinstance(place, RecordLeaf):
            raise Missing("there is no record to give a receipt for", str(ledger), seq)
        opening = None  # of a destroyed record nobody can make it again
        if row is not None and not gone.is_destroyed(place):
            opening = envelope.opening(opener.record_key(place, row))
        yield seq, receipt.issue(data, opening, proof)
