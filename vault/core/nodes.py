"""Inclusion paths from stored subtree roots: which hashes a path needs, and the path made of them.

A ledger of ten million entries keeps the root of every complete subtree of 256, 256**2 and 256**3 leaves
(vault.core.tree.Node). So a path needs no look at the whole ledger. RFC 6962 2.1.1 splits the tree on the way down to
the leaf; each part that is left aside is a range of leaves, and a range falls into perfect subtrees:

    path of leaf 5 in a tree of 7     ranges [0,4) [6,7) [4,5)      one hash each
    perfect subtree of 2**11 leaves   8 stored roots of level 1, hashed together

For one leaf these are at most 256 hashes of each level around the leaf, and 255 of each at the right edge of the tree.
With the tree's frontier at hand, whose peaks are the right edge, only the first are needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from vault.core import tree
from vault.core.tree import TILE_HEIGHT, Frontier


class Span(NamedTuple):
    """The hashes ``first`` to, but without, ``end`` of a level (0: leaf hashes)."""

    level: int
    first: int
    end: int


def spans(indexes: Iterable[int], size: int, *, peaks: bool = True) -> list[Span]:
    """Return what the paths of some leaves in a tree of ``size`` are made of, the leaves included, without overlap.

    Args:
        peaks: False where the tree's frontier is at hand, which has them.
    """
    wanted = {Span(0, index, index + 1) for index in indexes}
    for span in list(wanted):
        for low, high in _aside(span.first, size):
            wanted.update(_stored(part) for part in _perfect(low, high) if peaks or not _is_peak(part, size))
    return list(_merged(sorted(wanted)))


def path(
    index: int, size: int, hashes: Mapping[tuple[int, int], bytes], frontier: Frontier | None = None
) -> list[bytes]:
    """Return the inclusion path of a leaf, from its sibling upwards.

    Args:
        hashes: by (level, place), at least those of ``spans``.
        frontier: of the tree of ``size``; None where ``hashes`` has its peaks.

    Raises:
        KeyError: one of them is not there.

    Not checked: the hashes. The caller verifies the path against a signed root.
    """

    def root(part: _Perfect) -> bytes:
        if frontier is not None and _is_peak(part, size) and (peak := frontier.peak(part.height)):
            return peak
        level, first, end = _stored(part)
        return tree.root([hashes[level, at] for at in range(first, end)])

    path = []
    for low, high in _aside(index, size):
        roots = [root(part) for part in _perfect(low, high)]
        node = roots.pop()
        while roots:
            node = tree.node_hash(roots.pop(), node)
        path.append(node)
    return path[::-1]


class _Perfect(NamedTuple):
    """The perfect subtree of 2**height leaves that begins with a leaf."""

    leaf: int
    height: int


def _aside(index: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of leaves that the way down from the root to a leaf leaves aside."""
    low, high = 0, size
    while high - low > 1:
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        if index < middle:
            yield middle, high
            high = middle
        else:
            yield low, middle
            low = middle


def _perfect(low: int, high: int) -> Iterator[_Perfect]:
    """Yield the perfect subtrees of a range, the largest first."""
    while low < high:
        height = (high - low).bit_length() - 1
        yield _Perfect(low, height)
        low += 1 << height


def _is_peak(part: _Perfect, size: int) -> bool:
    """Say whether a perfect subtree is one of those that the frontier of ``size`` keeps."""
    return size >> part.height & 1 == 1 and part.leaf >> part.height + 1 == size >> part.height + 1


def _stored(part: _Perfect) -> Span:
    """Return the stored hashes right below a perfect subtree's root, or that root itself."""
    level = part.height // TILE_HEIGHT
    below = level * TILE_HEIGHT
    return Span(level, part.leaf >> below, (part.leaf + (1 << part.height)) >> below)


def _merged(ordered: Iterable[Span]) -> Iterator[Span]:
    last: Span | None = None
    for span in ordered:
        if last is not None and span.level == last.level and span.first <= last.end:
            last = last._replace(end=max(last.end, span.end))
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last
