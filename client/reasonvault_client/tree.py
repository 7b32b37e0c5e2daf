"""The Merkle tree of RFC 6962, as much of it as a receipt needs: is this leaf in that tree?"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from reasonvault_client.errors import BadReceipt

HASH_BYTES = 32


def leaf_hash(leaf: bytes) -> bytes:
    """Return SHA-256(00 || leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def verify_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> None:
    """Check that the tree of ``size`` leaves with this root has the leaf hash ``leaf`` at ``index``.

    From: RFC 9162 2.1.3.2, step by step; its names are ``fn`` for ``node``, ``sn`` for ``last``, ``r`` for ``made``.

    Raises:
        BadReceipt: it has not, or no tree has such a path.
    """
    if not 0 <= index < size:
        raise BadReceipt("the leaf is outside the signed tree")
    if any(len(digest) != HASH_BYTES for digest in (leaf, root, *path)):
        raise BadReceipt("a hash of the path has a wrong length")
    node, last, made = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise BadReceipt("the path is too long")
        if node & 1 or node == last:
            made = node_hash(sibling, made)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            made = node_hash(made, sibling)
        node >>= 1
        last >>= 1
    if last or not hmac.compare_digest(made, root):
        raise BadReceipt("the path does not lead from the leaf to the signed root")
