"""Chains: whatever moves happen, in whatever order, no group that a record was in is left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vault.core.chain import Move, reached
from vault.core.selection import Selection

GROUPS = ("2029-01.0", "2029-01.1", "2029-02.0", "held.0", "held.1", "open.0")
SEQS = st.sets(st.integers(1, 30), max_size=30)
STEPS = st.lists(st.tuples(st.sampled_from(GROUPS), st.sampled_from(GROUPS), SEQS, st.integers(0, 30)), max_size=12)


@given(st.lists(st.sampled_from(GROUPS), min_size=31, max_size=31), STEPS, SEQS)
def test_never_understated(first: list[str], steps: list[tuple[str, str, set[int], int]], wanted: set[int]) -> None:
    """Each step announces a move and is then interrupted somewhere; what it did is always within what it told."""
    now = dict(enumerate(first))
    been = {seq: {group} for seq, group in now.items()}
    told: list[Move] = []
    for source, target, seqs, until in steps:
        leaving = sorted(seq for seq in seqs if now[seq] == source)
        told.append(Move(target, Selection.of(leaving)))
        for seq in leaving[:until]:
            now[seq] = target
            been[seq].add(target)
    written = {group: Selection.of(seq for seq, at in enumerate(first) if at == group) for group in GROUPS}
    found = reached(Selection.of(wanted), written, told)
    assert found >= {group for seq in wanted for group in been[seq]}
    every = {first[seq] for seq in wanted} | {move.to for move in told if any(seq in move.selection for seq in wanted)}
    assert found == every


def test_nothing_was_anywhere() -> None:
    assert reached(Selection(), {"open.0": Selection.of([1])}, [Move("held.0", Selection.of([1]))]) == frozenset()
