"""Which disposals name a position, told while positions ascend, in memory that does not follow how many there are."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from vault.core.selection import Selection
from vault.judge import _Named, _Runs

SETS = st.sets(st.integers(0, 40))


@given(st.lists(st.tuples(SETS, SETS), max_size=4), st.sets(st.integers(0, 45)))
def test_they_are_those_whose_sets_have_it(groups: list[tuple[set[int], set[int]]], asked: set[int]) -> None:
    named = _Named([(Selection.of(one), Selection.of(other)) for one, other in groups])
    for seq in sorted(asked):
        expected = [number for number, (one, other) in enumerate(groups) if seq in one or seq in other]
        assert named.at(seq) == expected
        assert named.at(seq) == expected  # asked twice of each entry


def test_interleaved_sets_cost_no_memory_of_their_own() -> None:
    size = 40_000
    sets = [(Selection.of(range(first, size, 2)), Selection.of(range(first, size, 2))) for first in (0, 1)]
    tracemalloc.start()
    named = _Named(sets)
    for seq in range(size):
        assert named.at(seq) == [seq % 2]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


@given(SETS)
def test_runs_are_a_sets_ranges(seqs: set[int]) -> None:
    runs = _Runs()
    for seq in sorted(seqs):
        runs.add(seq)
    assert tuple(runs.ranges) == Selection.of(seqs).ranges
    assert len(runs) == len(seqs)
