"""Anchors held against a tree as it grows: which fit, which do not, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from vault import anchored
from vault.core import canonical
from vault.core.leaf import EventLeaf
from vault.core.tree import Frontier, leaf_hash
from vault.verdict import LedgerReport

LEDGER = UUID("3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634")
OTHER = UUID("8e1f0a55-6a2c-4b7e-9d0f-2f6f3c9a7b10")


def event(seq: int, name: str = "checkpoint.anchored", **facts: Any) -> EventLeaf:
    return EventLeaf(
        actor="worker",
        at="2030-01-01T00:00:00.000Z",
        event=name,
        facts=facts,
        kind="event",
        ledger=str(OTHER),
        prev=canonical.b64(bytes(32)),
        seq=seq,
        v=1,
    )


def roots(count: int) -> list[bytes]:
    frontier, found = Frontier(), [Frontier().root()]
    for at in range(count):
        frontier.append(leaf_hash(b"%d" % at))
        found.append(frontier.root())
    return found


ROOTS = roots(40)


def told(*sizes: int, wrong: Sequence[int] = (), signed: int = 1000, ledger: UUID = LEDGER) -> anchored.Anchored:
    made = anchored.Anchored(signed)
    for seq, size in enumerate(sizes, 1):
        root = bytes(32) if size in wrong else ROOTS[size]
        made.take(event(seq, ledger=str(ledger), size=size, root=canonical.b64(root)))
    return made


def faults(course: anchored.Course, count: int, first: int = 0, *, whole: bool = True) -> list[tuple[Any, Any, str]]:
    """Let a tree pass from ``first`` up to ``count`` entries, and return what is told."""
    frontier, report = Frontier(), LedgerReport(LEDGER)
    frontier.extend(leaf_hash(b"%d" % at) for at in range(first))
    for at in range(first, count):
        if frontier.size >= course.next:
            course.look(frontier)
        frontier.append(leaf_hash(b"%d" % at))
    if frontier.size >= course.next:
        course.look(frontier)
    course.finish(report, leaves_are_whole=whole)
    return [(fault.seq, fault.last, fault.what) for fault in report.faults]


def test_anchors_that_fit_say_nothing() -> None:
    assert faults(told(1, 7, 8, 40).course(LEDGER, 40), 40) == []
    assert faults(told(1, 7).course(OTHER, 40), 40) == []
    assert faults(told(3, 9).course(LEDGER, 40), 40, first=9) == []  # from where an earlier run ended


def test_the_first_that_does_not_fit_names_the_stretch_since_the_last_that_did() -> None:
    words = "event 3 anchored another tree of these entries"
    assert faults(told(1, 7, 20, 30, wrong=(20, 30)).course(LEDGER, 40), 40) == [(7, 19, words)]
    assert faults(told(1, 7, 20, wrong=(20,)).course(LEDGER, 40), 40, whole=False) == []  # an edited leaf is named


def test_more_than_the_checkpoint_holds() -> None:
    words = "its checkpoint is behind the one of size 30 that event 2 anchored"
    assert faults(told(7, 30).course(LEDGER, 20), 20) == [(20, None, words)]
    assert faults(told(7, 30).course(LEDGER, None), 20) == []


def test_a_smaller_tree_than_the_one_before() -> None:
    assert faults(told(7, 30, 20).course(LEDGER, 40), 40) == [
        (None, None, "event 3 anchored a smaller tree than one before it")
    ]


def test_what_does_not_count() -> None:
    made = told(7, 30, signed=2)
    assert faults(made.course(LEDGER, 7), 7) == []  # the second stands behind the events' checkpoint
    for facts in ({}, {"ledger": str(LEDGER), "size": "9", "root": ""}, {"ledger": "x", "size": 9, "root": "AA"}):
        made.take(event(1, **facts))
    made.take(event(1, "hold.placed", ledger=str(LEDGER), size=9, root=canonical.b64(bytes(32))))
    assert faults(made.course(LEDGER, 40), 40) == []


@pytest.mark.parametrize("wrong", [None, 2, 15])
def test_many_are_kept_in_a_file(monkeypatch: pytest.MonkeyPatch, wrong: int | None) -> None:
    monkeypatch.setattr(anchored, "_AT_ONCE", anchored._LINE.size * 4)
    made = told(*range(1, 41), wrong=() if wrong is None else (wrong,))
    expected = (
        [] if wrong is None else [(wrong - 1, wrong - 1, f"event {wrong} anchored another tree of these entries")]
    )
    assert faults(made.course(LEDGER, 40), 40) == expected
