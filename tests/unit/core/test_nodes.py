"""Stored subtree roots: noted while the tree grows, enough for every path."""

from __future__ import annotations

import hashlib
from functools import cache
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vault.core import tree
from vault.core.errors import Modified, UsageError
from vault.core.nodes import Range, consistency_ranges, path, range_root, range_spans, spans, subtree_ranges
from vault.core.tree import Frontier, Node

MANY = 140_000
"""More than two subtrees of 256**2 leaves."""


@cache
def leaves() -> list[bytes]:
    return [hashlib.sha256(b"%d" % number).digest() for number in range(MANY)]


@cache
def noted() -> dict[tuple[int, int], bytes]:
    """The nodes of the whole tree, and the leaves as level 0."""
    nodes = {(level, place): digest for level, place, digest in Frontier().extend_noting(leaves())}
    return nodes | {(0, place): digest for place, digest in enumerate(leaves())}


def needed(index: int, size: int, *, peaks: bool = True) -> dict[tuple[int, int], bytes]:
    """Exactly the hashes that ``spans`` asks for."""
    asked = spans([index], size, peaks=peaks)
    return {(span.level, at): noted()[span.level, at] for span in asked for at in range(span.first, span.end)}


def test_the_nodes_are_the_roots_of_their_leaves() -> None:
    nodes = Frontier().extend_noting(leaves())
    assert [(node.level, node.place) for node in nodes if node.level == 2] == [(2, 0), (2, 1)]
    assert [node.place for node in nodes if node.level == 1] == list(range(MANY // 256))
    for level, place, digest in nodes:
        width = 256**level
        assert digest == tree.root(leaves()[place * width : (place + 1) * width])


@given(st.lists(st.integers(0, 700), max_size=8))
@example([255, 1, 255, 1, 256, 0])
def test_the_nodes_do_not_depend_on_how_the_leaves_arrive(parts: list[int]) -> None:
    noting, plain, nodes = Frontier(), Frontier(), list[Node]()
    for count in parts:
        part = leaves()[noting.size : noting.size + count]
        nodes += noting.extend_noting(part)
        plain.extend(part)
        assert (noting.size, noting.to_bytes()) == (plain.size, plain.to_bytes())
    assert nodes == Frontier().extend_noting(leaves()[: sum(parts)])


@pytest.mark.parametrize("at", [0, 254, 255, 256, 300])
def test_a_hash_of_another_length_is_refused_where_it_stands(at: int) -> None:
    frontier = Frontier()
    hashes = [*leaves()[:at], b"short", *leaves()[at:300]]
    with pytest.raises(Modified, match="not 32 bytes") as refusal:
        frontier.extend_noting(hashes)
    assert refusal.value.seq == frontier.size == at
    assert frontier.root() == tree.root(leaves()[:at])


@pytest.mark.parametrize("size", range(1, 34))
def test_paths_of_small_trees(size: int) -> None:
    for index in range(size):
        way = tree.inclusion_path(index, leaves()[:size])
        assert path(index, size, needed(index, size)) == way
        assert path(index, size, needed(index, size, peaks=False), _frontier(size)) == way


@pytest.mark.parametrize("size", [255, 256, 257, 511, 512, 513, 767, 768, 1023, 1024, 1025])
def test_paths_around_whole_tiles(size: int) -> None:
    for index in {0, 1, 254, size // 2, size - 256, size - 2, size - 1} & set(range(size)):
        assert path(index, size, needed(index, size)) == tree.inclusion_path(index, leaves()[:size])


@settings(max_examples=40)
@given(st.integers(1, MANY).flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size))))
@example((0, 65_536))
@example((65_535, 65_536))
@example((65_536, 65_537))
@example((131_072, MANY))
def test_paths_of_large_trees_verify(place: tuple[int, int]) -> None:
    index, size = place
    hashes = needed(index, size)
    root = _frontier(size).root()
    tree.verify_inclusion(index, size, leaves()[index], path(index, size, hashes), root)
    assert len(hashes) <= 3 * 511  # three levels: a tile around the leaf and the right edge of the tree
    inside = needed(index, size, peaks=False)
    assert path(index, size, inside, _frontier(size)) == path(index, size, hashes)
    assert len(inside) <= 3 * 256


@given(st.sets(st.integers(0, 999), min_size=1, max_size=9))
def test_spans_of_several_leaves_do_not_overlap_and_hold_each_leafs_own(indexes: set[int]) -> None:
    together = spans(indexes, 1000)
    places = [(span.level, at) for span in together for at in range(*span[1:])]
    assert len(places) == len(set(places))
    assert all(needed(index, 1000).keys() <= set(places) for index in indexes)


@cache
def _frontier(size: int) -> Frontier:
    frontier = Frontier()
    frontier.extend(leaves()[:size])
    return frontier


def asked(ranges: list[Range], size: int, *, peaks: bool = True) -> dict[tuple[int, int], bytes]:
    """Exactly the hashes that ``range_spans`` asks for."""
    spans = range_spans(ranges, size, peaks=peaks)
    return {(span.level, at): noted()[span.level, at] for span in spans for at in range(span.first, span.end)}


@pytest.mark.parametrize("size", range(1, 34))
def test_consistency_proofs_of_small_trees_are_the_definitions(size: int) -> None:
    for old in range(1, size + 1):
        ranges = consistency_ranges(old, size)
        proof = [range_root(one, size, asked(ranges, size)) for one in ranges]
        assert proof == tree.consistency_path(old, leaves()[:size])


@settings(max_examples=40)
@given(st.tuples(st.integers(1, MANY), st.integers(1, MANY), st.integers(1, MANY)).map(sorted))
@example([256, 65_536, MANY])
@example([65_535, 65_537, 131_073])
@example([1, 131_072, 131_072])
def test_consistency_proofs_of_large_trees_verify_inside_a_larger_one(sizes: list[int]) -> None:
    """The hashes of the tree of ``size`` prove its beginnings, whether or not its frontier is at hand."""
    old, new, size = sizes
    ranges = [*consistency_ranges(old, new), Range(0, old), Range(0, new)]
    hashes = asked(ranges, size)
    *proof, root1, root2 = [range_root(one, size, hashes) for one in ranges]
    assert (root1, root2) == (_frontier(old).root(), _frontier(new).root())
    tree.verify_consistency(old, new, root1, root2, proof)
    inside = asked(ranges, size, peaks=False)
    assert [*proof, root1, root2] == [range_root(one, size, inside, _frontier(size)) for one in ranges]
    assert len(hashes) <= 3 * 4 * 256


@pytest.mark.parametrize(("old", "new"), [(0, 5), (0, 0), (6, 5), (-1, 5)])
def test_sizes_without_a_consistency_proof_are_refused(old: int, new: int) -> None:
    with pytest.raises(UsageError):
        consistency_ranges(old, new)


@settings(max_examples=40)
@given(st.integers(1, 2), st.integers(256, MANY), st.randoms(use_true_random=False))
@example(1, 256, None)
@example(2, 65_536, None)
@example(2, 65_537, None)
@example(2, 131_073, None)
def test_a_subtrees_way_verifies_in_the_tree_of_subtrees(level: int, size: int, random: Random | None) -> None:
    width = 256**level
    if size < width:
        return
    place = random.randrange(size // width) if random else size // width - 1
    ranges = subtree_ranges(level, place, size)
    inside = asked(ranges, size, peaks=False)
    way = [range_root(one, size, inside, _frontier(size)) for one in ranges]
    tree.verify_inclusion(place, -(-size // width), noted()[level, place], way, _frontier(size).root())
    assert len(inside) <= 2 * 256
