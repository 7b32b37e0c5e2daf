from __future__ import annotations

import pytest

from vault.core.dating import NO_OFFICER, TRIGGERS, reported, why_not

OFFICER = frozenset({"officer"})


def test_an_officer_tells_what_has_happened() -> None:
    assert [why_not(OFFICER, trigger, 5, 5) for trigger in TRIGGERS] == [None, None, None]
    assert why_not(frozenset({"auditor"}), TRIGGERS[0], 5, 5) == NO_OFFICER
    assert str(why_not(OFFICER, "decision_completed", 5, 5)).startswith("a trigger that is told later is one of")
    assert str(why_not(OFFICER, TRIGGERS[0], 6, 5)).startswith("an event that has not happened yet")


@pytest.mark.parametrize(
    ("occurred", "executed", "waits", "told"),
    [
        (7, None, True, ("relationship_ended", 7)),
        (7, None, False, ("transaction_completed", 7)),
        (7, 9, True, ("transaction_completed", 9)),
        (7, 5, False, ("transaction_completed", 7)),
    ],
)
def test_what_a_follow_up_reports(occurred: int, executed: int | None, waits: bool, told: tuple[str, int]) -> None:
    assert reported(occurred, executed, waits=waits) == told
