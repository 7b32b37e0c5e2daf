"""The Merkle tree of a ledger: hashes, roots, proofs, and the frontier that lets it grow.

From: RFC 6962 2.1 (SHA-256). The tree over leaves d[0] ... d[n-1]:

    empty tree   SHA-256("")
    leaf         SHA-256(00 || d)
    node         SHA-256(01 || left || right)     left covers the largest power of two below n, right the rest

The first byte keeps leaves and nodes apart: without it the 64 bytes of two hashes would also pass as a leaf,
and a tree of one leaf could claim the root of a tree of two.

A ledger's head does not keep the tree. It keeps the frontier: one hash for each perfect subtree, largest
first, which are as many as `size` has one-bits. Seven leaves have three of them, and an eighth leaf folds
them into one:

           r
         /   \\
        A     .          frontier of 7:  A  B  6
       / \\   / \\
      .   . B   6        from_bytes(7, A || B || 6)
     / \\ / \\ / \\
     0 1 2 3 4 5

Example:
    >>> frontier = Frontier()
    >>> frontier.extend(leaf_hash(leaf) for leaf in (b"one", b"two", b"three"))
    >>> path = inclusion_path(1, [leaf_hash(b"one"), leaf_hash(b"two"), leaf_hash(b"three")])
    >>> verify_inclusion(1, 3, leaf_hash(b"two"), path, frontier.root())
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import NamedTuple

from vault.core.errors import Modified, UsageError

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
TILE_HEIGHT = 8


class Node(NamedTuple):
    """The root of a perfect subtree of 256**level leaves: those from ``place * 256**level`` on. Level 0 is a leaf."""

    level: int
    place: int
    hash: bytes


def leaf_hash(data: bytes) -> bytes:
    """The 32-byte hash of one leaf's bytes."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The 32-byte hash of an inner node from its children, 32 bytes each (not checked: the hot path)."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The perfect subtrees ("peaks") of a tree of `size` leaves: enough to append and to know the root.

    32 bytes for each one-bit of `size`. It cannot prove inclusion by itself; see `appended_paths`.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        """The frontier of the empty tree."""
        self.size = 0
        self._peaks: list[bytes] = []

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """The frontier stored as `size` and `data`.

        Raises:
            Modified: `data` is not 32 bytes for each one-bit of `size`, or `size` is negative.

        NOT checked: that the peaks are those of the ledger. The caller compares `root()` with a checkpoint.
        """
        if size < 0:
            raise Modified(f"a frontier's size is negative ({size})")
        expected = HASH_BYTES * size.bit_count()
        if len(data) != expected:
            raise Modified(f"the frontier of {size} leaves has {len(data)} bytes instead of {expected}")
        frontier = cls()
        frontier.size = size
        frontier._peaks = [bytes(data[at : at + HASH_BYTES]) for at in range(0, expected, HASH_BYTES)]
        return frontier

    def to_bytes(self) -> bytes:
        """The peaks, left to right, so the largest first."""
        return b"".join(self._peaks)

    def append(self, leaf_hash: bytes) -> None:
        """Add one leaf by its hash. One node hash on average, log2(size) at most.

        Raises:
            Modified: `leaf_hash` is not 32 bytes; the frontier is unchanged.
        """
        self.extend((leaf_hash,))

    def extend(self, hashes: Iterable[bytes]) -> None:
        """Add leaves by their hashes, in order.

        Raises:
            Modified: a hash is not 32 bytes; the leaves before it have been added, it and the rest have not.
        """
        peaks = self._peaks
        for node in hashes:
            if len(node) != HASH_BYTES:
                raise Modified("a leaf hash is not 32 bytes", seq=self.size)
            # A trailing one-bit of the size is a peak as large as the tree to its right: the two make a node,
            # as a carry makes the next digit.
            carry = self.size
            while carry & 1:
                node = sha256(b"\x01" + peaks.pop() + node).digest()
                carry >>= 1
            peaks.append(node)
            self.size += 1

    def extend_noting(self, hashes: Sequence[bytes]) -> list[Node]:
        """Add leaves like `extend`, and return the subtrees of 256, 256**2, ... leaves that they completed.

        These are the entries of C2SP tiles of height 8 above the leaves. All but one in 256 leaves go through
        `extend` as they are.

        Raises:
            Modified: as `extend`.
        """
        nodes: list[Node] = []
        width = 1 << TILE_HEIGHT
        start = 0
        while len(hashes) - start >= (left := width - self.size % width):
            self.extend(hashes[start : start + left - 1])
            # The leaf that completes a subtree: what `extend` does, and a note at every eighth level.
            place, level, node = self.size, 0, hashes[start + left - 1]
            self._check(node)
            while place & 1:
                node = node_hash(self._peaks.pop(), node)
                place, level = place >> 1, level + 1
                if not level % TILE_HEIGHT:
                    nodes.append(Node(level // TILE_HEIGHT, place, node))
            self._peaks.append(node)
            self.size += 1
            start += left
        self.extend(hashes[start:])
        return nodes

    def _check(self, node: bytes) -> None:
        if len(node) != HASH_BYTES:
            raise Modified("a leaf hash is not 32 bytes", seq=self.size)

    def root(self) -> bytes:
        """The root of the tree as it stands; `EMPTY_ROOT` when it has no leaf."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node

    def copy(self) -> Frontier:
        """An independent frontier of the same tree."""
        twin = Frontier()
        twin.size = self.size
        twin._peaks = self._peaks.copy()
        return twin

    def peak(self, level: int) -> bytes | None:
        """The perfect subtree of 2**level leaves, or None where bit `level` of the size is zero."""
        if not self.size >> level & 1:
            return None
        return self._peaks[(self.size >> level + 1).bit_count()]


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """MTH: the root over all leaf hashes (32 bytes each, else Modified)."""
    frontier = Frontier()
    frontier.extend(leaf_hashes)
    return frontier.root()


def inclusion_path(index: int, leaf_hashes: Sequence[bytes]) -> list[bytes]:
    """PATH: the hashes that lead from leaf `index` to the root, from the leaf's sibling upwards.

    Hashes the whole tree once: right for verifiers and tests; a writer uses `appended_paths`.

    Raises:
        UsageError: there is no such leaf.
    """
    if not 0 <= index < len(leaf_hashes):
        raise UsageError(f"there is no leaf {index} in a tree of {len(leaf_hashes)}")
    path = []
    low, high = 0, len(leaf_hashes)
    while high - low > 1:
        middle = low + _left_size(high - low)
        if index < middle:
            path.append(root(leaf_hashes[middle:high]))
            high = middle
        else:
            path.append(root(leaf_hashes[low:middle]))
            low = middle
    path.reverse()
    return path


def consistency_path(size1: int, leaf_hashes: Sequence[bytes]) -> list[bytes]:
    """PROOF: the hashes that show that the tree of the first `size1` leaves is how the whole tree begins.

    Raises:
        UsageError: `size1` is 0 (every tree begins with the empty one: nothing to show) or too large.
    """
    if not 0 < size1 <= len(leaf_hashes):
        raise UsageError(f"no consistency proof from {size1} to {len(leaf_hashes)} leaves")
    path = []
    low, high = 0, len(leaf_hashes)
    while size1 < high:
        middle = low + _left_size(high - low)
        if size1 <= middle:
            path.append(root(leaf_hashes[middle:high]))
            high = middle
        else:
            path.append(root(leaf_hashes[low:middle]))
            low = middle
    if low:  # a verifier that knows root1 knows the subtree [0, size1), but no other
        path.append(root(leaf_hashes[low:high]))
    path.reverse()
    return path


def appended_paths(before: Frontier, appended: Sequence[bytes]) -> list[list[bytes]]:
    """The inclusion paths of leaves just appended, from the old frontier and the new leaf hashes alone.

    Args:
        before: the frontier without the new leaves; it is not changed.
        appended: the new leaf hashes, 32 bytes each, in order.

    Returns:
        One path for each of them, in the tree of `before.size + len(appended)` leaves. A node is hashed once
        and the upper part of a path is built once, so the work is linear in the number of new leaves.

    NOT checked: the lengths of the hashes.
    """
    # Upwards: on each level the nodes that a new leaf has above or beside it, with the old peak in front
    # where the first of them is a right child. So each list begins at an even index, and position ^ 1 is the
    # sibling. A last node without sibling rises as it is, which is what RFC 6962's uneven split amounts to.
    levels = []
    peak = before.peak(0)
    nodes = [*([peak] if peak else []), *appended]
    first = before.size & ~1
    while first + len(nodes) > 1:
        levels.append(nodes)
        parents = [node_hash(nodes[at], nodes[at + 1]) for at in range(0, len(nodes) - 1, 2)]
        if len(nodes) & 1:
            parents.append(nodes[-1])
        peak = before.peak(len(levels))
        nodes = [peak, *parents] if peak else parents
        first = before.size >> len(levels) & ~1

    # Downwards: a node's path is its sibling and then its parent's path.
    paths: list[list[bytes]] = [[]] * len(nodes)
    for level in range(len(levels) - 1, -1, -1):
        nodes = levels[level]
        skip = before.size >> level + 1 & 1  # the parents' list has an old peak in front
        above = paths
        paths = [
            [nodes[at ^ 1], *above[(at >> 1) + skip]] if at ^ 1 < len(nodes) else above[(at >> 1) + skip]
            for at in range(len(nodes))
        ]
    return paths[before.size & 1 :]


def verify_inclusion(index: int, size: int, leaf_hash: bytes, path: Sequence[bytes], root: bytes) -> None:
    """Check that leaf `index` of the tree of `size` leaves with this root has this hash.

    From: RFC 6962 2.1.1, RFC 9162 2.1.3.2.

    Raises:
        Modified: it does not, or the index, a hash or the number of hashes is impossible.

    NOT checked: that `root` and `size` are what a log signed; see `vault.core.proof`.
    """
    # 1. The leaf is inside the tree and every hash has its length.
    if not 0 <= index < size:
        raise Modified(f"leaf {index} is outside a tree of {size}")
    _check_lengths(leaf_hash, root, *path)

    # 2. The number of hashes follows from index and size: up to where the leaf's way meets the last leaf's,
    #    every level has a sibling; above it only a right child has one, on its left.
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(path) != inner + border:
        raise Modified(f"the path of leaf {index} in {size} has {len(path)} hashes instead of {inner + border}")

    # 3. The path leads to the root.
    node = leaf_hash
    for level, sibling in enumerate(path):
        is_right_child = level >= inner or index >> level & 1
        node = node_hash(sibling, node) if is_right_child else node_hash(node, sibling)
    if not compare_digest(node, root):
        raise Modified(f"the inclusion path of leaf {index} does not lead to the root of {size} leaves")


def verify_consistency(size1: int, size2: int, root1: bytes, root2: bytes, path: Sequence[bytes]) -> None:
    """Check that the tree of `size2` leaves with `root2` begins as that of `size1` leaves with `root1`.

    From: RFC 6962 2.1.2, RFC 9162 2.1.4.2.

    Raises:
        Modified: it is not; or sizes, hashes or their number are impossible; or `size1` is 0, since a proof
            from the empty tree shows nothing and must not look as if it did.
    """
    # 1. The sizes are in order.
    if not 0 < size1 <= size2:
        raise Modified(f"a consistency proof from {size1} to {size2} leaves shows nothing")

    # 2. The same tree needs no hashes. Its two roots are only compared: the published vectors accept equal roots
    #    of any length here, and that they are hashes is for whoever read them to know.
    if size1 == size2:
        if path:
            raise Modified("a consistency proof between equal sizes has hashes")
        if not compare_digest(root1, root2):
            raise Modified(f"two roots for the same {size1} leaves")
        return
    _check_lengths(root1, root2, *path)

    # 3. The walk starts at the last perfect subtree of the old tree. Where that is the whole old tree, its
    #    root is known; else the proof begins with its hash.
    old_at, new_at = size1 - 1, size2 - 1
    while old_at & 1:
        old_at >>= 1
        new_at >>= 1
    hashes = list(path) if old_at else [root1, *path]
    if not hashes:
        raise Modified(f"the consistency proof from {size1} to {size2} leaves is empty")
    old = new = hashes[0]

    # 4. Upwards, both roots at once: a left sibling belongs to both trees, a right one only to the new tree.
    for sibling in hashes[1:]:
        if not new_at:
            raise Modified(f"the consistency proof from {size1} to {size2} leaves has hashes to spare")
        if old_at & 1 or old_at == new_at:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while old_at and not old_at & 1:
                old_at >>= 1
                new_at >>= 1
        else:
            new = node_hash(new, sibling)
        old_at >>= 1
        new_at >>= 1

    # 5. The top is reached and both roots are met.
    if new_at:
        raise Modified(f"the consistency proof from {size1} to {size2} leaves lacks hashes")
    if not (compare_digest(old, root1) & compare_digest(new, root2)):
        raise Modified(f"the tree of {size1} leaves is not the beginning of the tree of {size2}")


def _left_size(size: int) -> int:
    """The largest power of two below `size` (2 or more)."""
    return 1 << (size - 1).bit_length() - 1


def _check_lengths(*hashes: bytes) -> None:
    if any(len(digest) != HASH_BYTES for digest in hashes):
        raise Modified("a hash of the proof is not 32 bytes")
