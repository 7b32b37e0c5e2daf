from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from vault.core import tree
from vault.core.paths import inclusion_paths

HASHES = [hashlib.sha256(b"%d" % number).digest() for number in range(300)]


@given(st.integers(0, 300), st.sets(st.integers(0, 320), max_size=8))
def test_the_paths_are_those_of_the_whole_tree(size: int, wanted: set[int]) -> None:
    hashes = HASHES[:size]
    root, paths = inclusion_paths(iter(hashes), wanted)
    assert root == tree.root(hashes)
    assert paths == {index: tree.inclusion_path(index, hashes) for index in wanted if index < size}
