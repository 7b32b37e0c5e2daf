"""Consistency proofs between two sizes of a ledger's tree, from stored subtree roots: nobody re-hashes the ledger.

    1. read the last checkpoint: its signature says which tree is meant
    2. read the leaves and subtree roots that the proof and both roots need, some hundreds
    3. compute both roots; show that the new tree is how the signed one begins, and the old one how the new one begins.
       Stored roots are no evidence: where one is missing or wrong, read all leaves, and only they decide
    4. where the caller brought a checkpoint for a size, its root must be the one computed

So a proof that leaves here leads to a tree that this vault signed, whatever a database owner did to the stored roots.
"""

from __future__ import annotations

from uuid import UUID

from vault import hashes
from vault.context import Vault
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Forked, Missing, Modified, UsageError
from vault.core.nodes import Range, consistency_ranges, range_root, range_spans
from vault.core.tree import EMPTY_ROOT, Frontier, verify_consistency
from vault.db.engine import translated
from vault.hashes import Hashes


def consistency(vault: Vault, ledger: UUID, old: Checkpoint | int, new: Checkpoint | int) -> list[bytes]:
    """Return RFC 6962's PROOF(old, D[0:new]): 32-byte hashes, none where both sizes are the same.

    From the empty tree the proof is empty as well, as C2SP tlog-witness has it; it shows nothing, and the new tree is
    checked all the same.

    Args:
        old: a size, or a checkpoint of the ledger that the caller verified, whose root is then compared.
        new: the same; not beyond the last checkpoint.

    Raises:
        UsageError: ``old`` is larger than ``new``, or negative.
        Missing: ``new`` is larger than what was signed.
        Modified: a checkpoint is another ledger's, or a leaf on the way cannot be read.
        Forked: the entries are not the tree that was signed, or a checkpoint's root is not this ledger's at its size.
    """
    signed = hashes.read_signed(vault, ledger)
    first, last = _size(signed, old), _size(signed, new)
    if not 0 <= first <= last:
        raise UsageError(f"no consistency proof from {first} to {last} entries: from the smaller to the larger")
    if last > signed.size:
        raise Missing(f"nothing signed reaches {last} entries", str(ledger), signed.size)
    proof, roots = _proved(vault, ledger, signed, first, last)
    for known in (old, new):
        if isinstance(known, Checkpoint) and known.root != roots[known.size]:
            raise Forked("the checkpoint's root is not this ledger's", str(ledger), known.size)
    return proof


def _size(signed: Checkpoint, known: Checkpoint | int) -> int:
    if isinstance(known, int):
        return known
    if known.origin != signed.origin:
        raise Modified("the checkpoint is another ledger's")
    return known.size


Proved = tuple[list[bytes], dict[int, bytes]]
"""The proof, and the roots by size."""


def _proved(vault: Vault, ledger: UUID, signed: Checkpoint, old: int, new: int) -> Proved:
    """Steps 2 and 3."""
    sizes = [size for size in (old, new) if size]
    asked = [Range(0, size) for size in sizes]
    asked += [one for size in sizes for one in consistency_ranges(size, signed.size)]
    asked += consistency_ranges(old, new) if old else []
    with translated(), vault.engine.connect() as connection:
        frontier = hashes.frontier_at(connection, ledger, signed)
        needed = range_spans(asked, signed.size, peaks=frontier is None)
        _, found = hashes.fetch(connection, ledger, needed)
    try:
        return _checked(signed, old, new, found, frontier)
    except (KeyError, Modified):
        needed = range_spans(asked, signed.size)
        return _checked(signed, old, new, hashes.recomputed(vault, ledger, signed, needed), None)


def _checked(signed: Checkpoint, old: int, new: int, found: Hashes, frontier: Frontier | None) -> Proved:
    """Step 3.

    Raises:
        KeyError: a hash is not there.
        Modified: the hashes do not lead to the signed root.
    """

    def proof(first: int, last: int) -> list[bytes]:
        return [range_root(one, signed.size, found, frontier) for one in consistency_ranges(first, last)]

    roots = {0: EMPTY_ROOT}
    for size in filter(None, {old, new}):
        roots[size] = range_root(Range(0, size), signed.size, found, frontier)
    if new:
        verify_consistency(new, signed.size, roots[new], signed.root, proof(new, signed.size))
    if not old:
        return [], roots
    between = proof(old, new)
    verify_consistency(old, new, roots[old], roots[new], between)
    return between, roots
