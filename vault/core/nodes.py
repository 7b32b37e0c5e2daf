"""Proofs from stored subtree roots: which hashes a proof needs, and the proof made of them.

A ledger of ten million entries keeps the root of every complete subtree of 256, 256**2 and 256**3 leaves
(vault.core.tree.Node). So a path needs no look at the whole ledger. RFC 6962 2.1.1 splits the tree on the way down to
the leaf; each part that is left aside is a range of leaves, and a range falls into perfect subtrees:

    path of leaf 5 in a tree of 7     ranges [0,4) [6,7) [4,5)      one hash each
    perfect subtree of 2**11 leaves   8 stored roots of level 1, hashed together

For one leaf these are at most 256 hashes of each level around the leaf, and 255 of each at the right edge of the tree.
With the tree's frontier at hand, whose peaks are the right edge, only the first are needed. A consistency proof (2.1.2)
is made of ranges too: those that the way down to the old tree's end leaves aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from vault.core import tree
from vault.core.errors import UsageError
from vault.core.tree import TILE_HEIGHT, Frontier


class Range(NamedTuple):
    """The leaves ``low`` to, but without, ``high``."""

    low: int
    high: int


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
    own = {Span(0, index, index + 1) for index in indexes}
    aside = (one for span in own for one in _aside(span.first, size))
    return list(_merged(sorted(own.union(_parts(aside, size, peaks=peaks)))))


def range_spans(ranges: Iterable[Range], size: int, *, peaks: bool = True) -> list[Span]:
    """Return what the roots of some ranges of leaves are made of, without overlap; ``peaks`` as for ``spans``.

    Each range is one that RFC 6962 splits a tree of at most ``size`` leaves into, or the beginning of such a tree.
    """
    return list(_merged(sorted(_parts(ranges, size, peaks=peaks))))


def consistency_ranges(old: int, new: int) -> list[Range]:
    """Return the ranges whose roots are PROOF(old, D[0:new]), in the proof's order; none where both are the same.

    Raises:
        UsageError: ``old`` is 0, since every tree begins with the empty one, or beyond ``new``.
    """
    if not 0 < old <= new:
        raise UsageError(f"no consistency proof from {old} to {new} leaves")
    ranges = []
    low, high = 0, new
    while old < high:
        middle = low + _left(high - low)
        if old <= middle:
            ranges.append(Range(middle, high))
            high = middle
        else:
            ranges.append(Range(low, middle))
            low = middle
    if low:  # whoever knows the old root knows the subtree [0, old), but no other
        ranges.append(Range(low, high))
    return ranges[::-1]


def subtree_ranges(level: int, place: int, size: int) -> list[Range]:
    """Return the ranges whose roots lead from a whole subtree of 256**level leaves to the root, the lowest first.

    A tree that is cut off above such subtrees has the shape of RFC 6962 again, with these subtrees as its leaves and
    what is left over as the last one. So ``tree.verify_inclusion`` checks the way as that of leaf ``place`` in a tree
    of as many leaves as there are subtrees, begun ones included.
    """
    first, end = place << level * TILE_HEIGHT, place + 1 << level * TILE_HEIGHT
    return [aside for aside in _aside(first, size) if aside.high <= first or aside.low >= end][::-1]


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

    return [range_root(aside, size, hashes, frontier) for aside in _aside(index, size)][::-1]


def range_root(
    leaves: Range, size: int, hashes: Mapping[tuple[int, int], bytes], frontier: Frontier | None = None
) -> bytes:
    """Return MTH of a range of leaves that is not empty; arguments and errors as for ``path``."""

    def root(part: _Perfect) -> bytes:
        if frontier is not None and _is_peak(part, size) and (peak := frontier.peak(part.height)):
            return peak
        level, first, end = _stored(part)
        return tree.root([hashes[level, at] for at in range(first, end)])

    roots = [root(part) for part in _perfect(*leaves)]
    node = roots.pop()
    while roots:
        node = tree.node_hash(roots.pop(), node)
    return node


class _Perfect(NamedTuple):
    """The perfect subtree of 2**height leaves that begins with a leaf."""

    leaf: int
    height: int


def _parts(ranges: Iterable[Range], size: int, *, peaks: bool) -> set[Span]:
    return {_stored(part) for low, high in ranges for part in _perfect(low, high) if peaks or not _is_peak(part, size)}


def _aside(index: int, size: int) -> Iterator[Range]:
    """Yield the ranges of leaves that the way down from the root to a leaf leaves aside."""
    low, high = 0, size
    while high - low > 1:
        middle = low + _left(high - low)
        if index < middle:
            yield Range(middle, high)
            high = middle
        else:
            yield Range(low, middle)
            low = middle


def _left(size: int) -> int:
    """Return the largest power of two below ``size`` (2 or more)."""
    return 1 << (size - 1).bit_length() - 1


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
