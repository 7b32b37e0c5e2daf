from __future__ import annotations

import pytest

from vault.core.dating import NO_OFFICER, TRIGGERS, reported, why_not, within

OFFICER = frozenset({"officer"})


def test_an_officer_tells_what_has_happened() -> None:
    assert [why_not(OFFICER, trigger, 5, 5) for trigger in TRIGGERS] == [None, None, None]
    assert why_not(frozenset({"auditor"}), TRIGGERS[0], 5, 5) == NO_OFFICER
    assert str(why_not(OFFICER, "decision_completed", 5, 5)).startswith("a trigger that is told later is one of")
    assert str(why_not(OFFICER, TRIGGERS[0], 6, 5)).startswith("an event that has not happened yet")


@pytest.mark.parametrize(
    ("occurred", "executed", "received", "waits", "own", "told"),
    [
        (7, None, 7, True, True, ("relationship_ended", 7)),
        (7, None, 70, True, True, ("relationship_ended", 70)),
        (7, None, 5, True, True, ("relationship_ended", 7)),
        (7, None, 7, True, False, None),
        (7, None, 70, False, False, ("transaction_completed", 7)),
        (7, 9, 70, True, False, ("transaction_completed", 9)),
        (7, 5, 70, False, True, ("transaction_completed", 7)),
    ],
)
def test_what_a_follow_up_reports(
    occurred: int, executed: int | None, received: int, waits: bool, own: bool, told: tuple[str, int] | None
) -> None:
    assert reported(occurred, executed, received, waits=waits, own=own) == told


def test_whoever_sends_too_many_loses_their_own() -> None:
    many = [(seq, "loud") for seq in range(10, 30)]
    assert within([(1, "quiet"), (2, "shy"), *many, (40, "shy")], 6) == [1, 2, 27, 28, 29, 40]
    assert within([(2, "a"), (1, "b")], 5) == [1, 2]
    assert within([], 5) == []
