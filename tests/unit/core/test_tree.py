from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.core import tree
from vault.core.errors import Modified, UsageError

VECTORS = Path(__file__).parents[2] / "vectors"
LEAVES = [tree.leaf_hash(b"leaf %d" % n) for n in range(300)]


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def mth(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962 2.1, word for word and slow."""
    if not leaves:
        return tree.EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return tree.node_hash(mth(leaves[:k]), mth(leaves[k:]))


def frontier_of(leaves: list[bytes]) -> tree.Frontier:
    frontier = tree.Frontier()
    frontier.extend(leaves)
    return frontier


def decoded(hashes: list[str] | None) -> list[bytes]:
    return [base64.b64decode(text) for text in hashes or []]


def id_of(case: dict[str, Any]) -> str:
    return str(case["name"])


@pytest.mark.parametrize("case", load("rfc6962-inclusion.json")["cases"], ids=id_of)
def test_published_inclusion_case(case: dict[str, Any]) -> None:
    leaf, root = decoded([case["leafHash"], case["root"]])
    arguments = (case["leafIdx"], case["treeSize"], leaf, decoded(case["proof"]), root)
    if case["wantErr"]:
        with pytest.raises(Modified):
            tree.verify_inclusion(*arguments)
    else:
        tree.verify_inclusion(*arguments)


@pytest.mark.parametrize("case", load("rfc6962-consistency.json")["cases"], ids=id_of)
def test_published_consistency_case(case: dict[str, Any]) -> None:
    root1, root2 = decoded([case["root1"], case["root2"]])
    arguments = (case["size1"], case["size2"], root1, root2, decoded(case["proof"]))
    if case["wantErr"]:
        with pytest.raises(Modified):
            tree.verify_consistency(*arguments)
    else:
        tree.verify_consistency(*arguments)


def test_no_published_case_is_missing() -> None:
    assert len(load("rfc6962-inclusion.json")["cases"]) == 98
    assert len(load("rfc6962-consistency.json")["cases"]) == 98


def test_known_roots_and_nodes() -> None:
    known = load("rfc6962-known-roots.json")
    leaves = [tree.leaf_hash(bytes.fromhex(text)) for text in known["leaf_inputs_hex"]]
    assert tree.EMPTY_ROOT.hex() == known["empty_root"]
    frontier = tree.Frontier()
    for size, expected in enumerate(known["root_hashes_by_size"]):
        assert frontier.root().hex() == tree.root(leaves[:size]).hex() == expected
        if size < len(leaves):
            frontier.append(leaves[size])
    for level, row in enumerate(known["node_hashes_level_index"]):
        for index, expected in enumerate(row):
            assert tree.root(leaves[index << level : index + 1 << level]).hex() == expected
    for example in known["hash_examples"]:
        if example["op"] == "leaf":
            digest = tree.leaf_hash(example["in_ascii"].encode())
        else:
            digest = tree.node_hash(example["left_ascii"].encode(), example["right_ascii"].encode())
        assert digest.hex() == example["out"]


def test_an_inner_node_cannot_pass_as_a_leaf() -> None:
    left, right = LEAVES[:2]
    assert tree.leaf_hash(left + right) != tree.node_hash(left, right)
    with pytest.raises(Modified):
        tree.verify_inclusion(0, 1, tree.leaf_hash(left + right), [], tree.root(LEAVES[:2]))


@pytest.mark.parametrize("size", range(1, 41))
def test_every_proof_of_a_small_tree_is_the_definition_s_and_verifies(size: int) -> None:
    leaves = LEAVES[:size]
    root = mth(leaves)
    assert tree.root(leaves) == frontier_of(leaves).root() == root
    for index in range(size):
        tree.verify_inclusion(index, size, leaves[index], tree.inclusion_path(index, leaves), root)
    for size1 in range(1, size + 1):
        path = tree.consistency_path(size1, leaves)
        tree.verify_consistency(size1, size, mth(leaves[:size1]), root, path)


sizes = st.integers(1, len(LEAVES))


@given(size=sizes, data=st.data())
def test_a_leaf_is_proved_at_its_own_place_only(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size + 1))
    root, path = mth(LEAVES[:size]), tree.inclusion_path(index, LEAVES[:size])
    tree.verify_inclusion(index, size, LEAVES[index], path, root)
    if other != index:
        with pytest.raises(Modified):
            tree.verify_inclusion(other, size, LEAVES[index], path, root)


@given(size=sizes, data=st.data())
def test_any_changed_bit_of_an_inclusion_proof_is_found(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root, path = mth(LEAVES[:size]), tree.inclusion_path(index, LEAVES[:size])
    leaf, *path, root = flip_a_bit([LEAVES[index], *path, root], data)
    with pytest.raises(Modified):
        tree.verify_inclusion(index, size, leaf, path, root)


@given(size2=sizes, data=st.data())
def test_any_changed_bit_of_a_consistency_proof_is_found(size2: int, data: st.DataObject) -> None:
    size1 = data.draw(st.integers(1, size2))
    root1, root2 = mth(LEAVES[:size1]), mth(LEAVES[:size2])
    path = tree.consistency_path(size1, LEAVES[:size2])
    tree.verify_consistency(size1, size2, root1, root2, path)
    root1, *path, root2 = flip_a_bit([root1, *path, root2], data)
    with pytest.raises(Modified):
        tree.verify_consistency(size1, size2, root1, root2, path)


@given(size2=st.integers(2, len(LEAVES)), data=st.data())
def test_a_rewritten_past_is_not_consistent(size2: int, data: st.DataObject) -> None:
    size1 = data.draw(st.integers(1, size2 - 1))
    rewritten = LEAVES[:size2]
    rewritten[data.draw(st.integers(0, size1 - 1))] = tree.leaf_hash(b"another past")
    path = tree.consistency_path(size1, rewritten)
    with pytest.raises(Modified):
        tree.verify_consistency(size1, size2, mth(LEAVES[:size1]), mth(rewritten), path)


@given(size=sizes, data=st.data())
def test_a_hash_too_many_or_too_few_is_found(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root = mth(LEAVES[:size])
    path = tree.inclusion_path(index, LEAVES[:size])
    with pytest.raises(Modified):
        tree.verify_inclusion(index, size, LEAVES[index], [*path, root], root)
    if path:
        with pytest.raises(Modified):
            tree.verify_inclusion(index, size, LEAVES[index], path[:-1], root)


@pytest.mark.parametrize("size", [2, 4, 8, 16])
def test_a_taller_tree_cannot_pass_as_a_smaller_one(size: int) -> None:
    """The last leaf's way goes right all along, so only the number of hashes tells these two trees apart."""
    path, root = tree.inclusion_path(2 * size - 1, LEAVES[: 2 * size]), mth(LEAVES[: 2 * size])
    tree.verify_inclusion(2 * size - 1, 2 * size, LEAVES[2 * size - 1], path, root)
    with pytest.raises(Modified, match="hashes"):
        tree.verify_inclusion(size - 1, size, LEAVES[2 * size - 1], path, root)


def test_a_longer_history_cannot_pass_as_a_shorter_one() -> None:
    """As above: 6 = 110 and 7 = 111 go the same way as 2 = 10 and 3 = 11, and one step further."""
    roots, path = (mth(LEAVES[:7]), mth(LEAVES[:8])), tree.consistency_path(7, LEAVES[:8])
    tree.verify_consistency(7, 8, *roots, path)
    with pytest.raises(Modified, match="spare"):
        tree.verify_consistency(3, 4, *roots, path)


def test_a_history_does_not_shrink() -> None:
    """Not even to a tree that claims the same root, which an empty proof would "show" for powers of two."""
    with pytest.raises(Modified):
        tree.verify_consistency(8, 4, mth(LEAVES[:8]), mth(LEAVES[:8]), [])


def test_no_leaf_stands_before_the_first() -> None:
    """-1 has all bits set, so its way would be that of the last leaf of any tree."""
    with pytest.raises(Modified, match="outside"):
        tree.verify_inclusion(-1, 1, LEAVES[0], [], LEAVES[0])
    with pytest.raises(Modified, match="outside"):
        tree.verify_inclusion(-1, 4, LEAVES[3], tree.inclusion_path(3, LEAVES[:4]), mth(LEAVES[:4]))


@given(size=st.integers(0, len(LEAVES)))
def test_a_frontier_is_stored_and_read_back(size: int) -> None:
    stored = frontier_of(LEAVES[:size]).to_bytes()
    assert len(stored) == 32 * size.bit_count()
    frontier = tree.Frontier.from_bytes(size, stored)
    assert (frontier.size, frontier.root(), frontier.to_bytes()) == (size, mth(LEAVES[:size]), stored)


@pytest.mark.parametrize(
    ("size", "length"), [(0, 32), (1, 0), (1, 31), (1, 64), (7, 64), (8, 96), (2**62, 0), (-1, 0), (-1, 32)]
)
def test_a_frontier_of_another_length_is_refused(size: int, length: int) -> None:
    with pytest.raises(Modified):
        tree.Frontier.from_bytes(size, bytes(length))


def test_a_hash_of_another_length_is_refused_and_leaves_the_frontier_as_it_was() -> None:
    frontier = frontier_of(LEAVES[:7])
    with pytest.raises(Modified, match="seq 7"):
        frontier.append(b"short")
    assert (frontier.size, frontier.root()) == (7, mth(LEAVES[:7]))


def test_a_copy_grows_alone() -> None:
    frontier = frontier_of(LEAVES[:7])
    twin = frontier.copy()
    twin.append(LEAVES[7])
    assert (frontier.size, frontier.root()) == (7, mth(LEAVES[:7]))
    assert (twin.size, twin.root()) == (8, mth(LEAVES[:8]))


@pytest.mark.parametrize("before", range(35))
def test_appended_paths_are_the_inclusion_paths(before: int) -> None:
    for count in range(35):
        check_appended(before, count)


@given(before=st.integers(0, 250), count=st.integers(0, 50))
def test_appended_paths_are_the_inclusion_paths_of_larger_trees(before: int, count: int) -> None:
    check_appended(before, count)


def check_appended(before: int, count: int) -> None:
    size = before + count
    frontier = frontier_of(LEAVES[:before])
    stored = frontier.to_bytes()
    paths = tree.appended_paths(frontier, LEAVES[before:size])
    assert paths == [tree.inclusion_path(index, LEAVES[:size]) for index in range(before, size)]
    assert frontier.to_bytes() == stored


def test_appended_paths_need_no_old_leaf() -> None:
    """A tree of 2^40 + 5 leaves that nobody could build: its peaks are enough."""
    size = 2**40 + 5
    frontier = tree.Frontier.from_bytes(size, b"".join(LEAVES[:3]))
    paths = tree.appended_paths(frontier, LEAVES[10:13])
    frontier.extend(LEAVES[10:13])
    for offset, path in enumerate(paths):
        tree.verify_inclusion(size + offset, size + 3, LEAVES[10 + offset], path, frontier.root())


def test_a_batch_hashes_each_node_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    node_hash = tree.node_hash

    def counting(left: bytes, right: bytes) -> bytes:
        nonlocal calls
        calls += 1
        return node_hash(left, right)

    frontier = tree.Frontier.from_bytes(2**40 - 1, b"".join(LEAVES[:40]))
    monkeypatch.setattr(tree, "node_hash", counting)
    tree.appended_paths(frontier, LEAVES)
    assert calls < len(LEAVES) + 42


@pytest.mark.parametrize("index", [-1, 7, 8])
def test_there_is_no_path_for_a_leaf_outside_the_tree(index: int) -> None:
    with pytest.raises(UsageError):
        tree.inclusion_path(index, LEAVES[:7])


@pytest.mark.parametrize("size1", [-1, 0, 8])
def test_there_is_no_consistency_path_from_nothing_or_from_the_future(size1: int) -> None:
    with pytest.raises(UsageError):
        tree.consistency_path(size1, LEAVES[:7])


def test_nothing_is_shown_from_the_empty_tree() -> None:
    with pytest.raises(Modified):
        tree.verify_consistency(0, 0, tree.EMPTY_ROOT, tree.EMPTY_ROOT, [])
    with pytest.raises(Modified):
        tree.verify_consistency(0, 7, tree.EMPTY_ROOT, mth(LEAVES[:7]), [])


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("length", [0, 31, 33])
def test_every_hash_has_32_bytes(place: int, length: int) -> None:
    inclusion = [LEAVES[0], tree.inclusion_path(0, LEAVES[:2])[0], mth(LEAVES[:2])]
    inclusion[place] = bytes(length)
    with pytest.raises(Modified, match="32 bytes"):
        tree.verify_inclusion(0, 2, inclusion[0], [inclusion[1]], inclusion[2])
    consistency = [LEAVES[0], LEAVES[1], mth(LEAVES[:2])]
    consistency[place] = bytes(length)
    with pytest.raises(Modified, match="32 bytes"):
        tree.verify_consistency(1, 2, consistency[0], consistency[2], [consistency[1]])


def flip_a_bit(hashes: list[bytes], data: st.DataObject) -> list[bytes]:
    place = data.draw(st.integers(0, len(hashes) - 1))
    number = int.from_bytes(hashes[place], "big") ^ 1 << data.draw(st.integers(0, 255))
    return [*hashes[:place], number.to_bytes(32, "big"), *hashes[place + 1 :]]
