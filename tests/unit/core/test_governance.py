"""What two people decided, as it is taken from events. Who may decide it is tested beside each noun."""

from __future__ import annotations

from typing import Any

import pytest

from vault.core import canonical
from vault.core.errors import Modified
from vault.core.governance import Disposal, Hold, events
from vault.core.standing import Standing, interesting

AT = "2026-11-28T12:00:00.000Z"
KEY = canonical.b64(b"k" * 32)


def standing(*told: tuple[str, str, dict[str, Any]]) -> Standing:
    made = Standing()
    for seq, (event, actor, facts) in enumerate(told, 1):
        made.take(event, actor, facts, seq, AT)
    return made


PLACED = {
    "hold": "h-1",
    "case": "c-x",
    "ledgers": ["l1", "l2"],
    "selections": ["s1", "s2"],
    "counts": [3, 0],
    "tags": ["t1"],
    "classes": [],
    "jurisdictions": ["CN"],
    "start": "2026-01-01T00:00:00Z",
}
PLANNED = {
    "disposal": "d-1",
    "kind": "expiry",
    "ledger": "l1",
    "manifest": "m",
    "selection": "s",
    "count": 9,
    "groups": ["2026-10.0"],
    "due": "2026-10-31T16:00:00Z",
    "cooling_off": 259200,
}
DESTROYING = {"disposal": "d-1", "manifest": "m", "selection": "s2", "count": 9, "holds_at": 5}
APPROVED = {"disposal": "d-1", "manifest": "m", "signature": "sig", "key": KEY}


def test_every_event_of_it_is_interesting() -> None:
    assert all(interesting(name) for name in events())


def test_rule_books_come_into_force_in_order_and_the_first_word_on_the_first_counts() -> None:
    made = standing(
        ("vault.initialised", "local:x", {"rulebook": "b0", "region": "r"}),
        ("vault.initialised", "local:x", {"rulebook": "b9", "region": "r"}),
        ("rules.proposed", "p-1", {"rulebook": "b1", "version": "2027-01"}),
    ).governance
    assert made.rulebooks == ("b0",)
    assert made.proposals["b1"].by == "p-1"
    adopted = standing(
        ("vault.initialised", "local:x", {"rulebook": "b0", "region": "r"}),
        ("rules.proposed", "p-1", {"rulebook": "b1", "version": "2027-01"}),
        ("rules.adopted", "p-2", {"rulebook": "b1", "version": "2027-01", "proposal": 2}),
    ).governance
    assert adopted.rulebooks == ("b0", "b1")
    assert adopted.proposals == {}


def test_a_hold_is_open_until_it_is_released_and_grows_by_what_it_inherits() -> None:
    placed = ("hold.placed", "p-1", PLACED)
    inherited = ("hold.inherited", "local:worker", {"hold": "h-1", "ledger": "l2", "selection": "s3", "count": 1})
    asked = ("hold.release_requested", "p-1", {"hold": "h-1"})
    hold: Hold = standing(placed, inherited, asked).governance.holds["h-1"]
    assert hold.is_open
    assert hold.sets == (("l1", "s1"), ("l2", "s2"), ("l2", "s3"))
    assert (hold.release_by, hold.release_seq) == ("p-1", 3)
    released = standing(placed, asked, ("hold.released", "p-2", {"hold": "h-1", "request": 2})).governance.holds["h-1"]
    assert not released.is_open


def test_a_disposal_goes_its_way() -> None:
    told: list[tuple[str, str, dict[str, Any]]] = [
        ("disposal.planned", "p-1", PLANNED),
        ("disposal.approved", "p-2", APPROVED),
        ("disposal.approved", "p-3", APPROVED),
        ("disposal.intended", "p-3", {"disposal": "d-1", "not_before": "2026-12-01T12:00:00Z"}),
        ("disposal.destroying", "worker", DESTROYING),
        ("disposal.done", "worker", {"disposal": "d-1"}),
        ("certificate.issued", "worker", {"disposal": "d-1"}),
    ]
    states = [standing(*told[:length]).governance.disposals["d-1"].state for length in range(1, len(told) + 1)]
    assert states == ["planned", "planned", "planned", "intended", "destroying", "done", "done"]
    done = standing(*told).governance.disposals["d-1"]
    assert [approval.person for approval in done.approvals] == ["p-2", "p-3"]
    assert (done.final, done.destroying_seq, done.intended_seq, done.certified) == ("s2", 5, 4, True)


def test_no_second_plan_takes_an_id_over_not_even_of_one_that_was_cancelled() -> None:
    """Its approvals would be read as approvals of the second."""
    again = ("disposal.planned", "p-9", PLANNED | {"kind": "early", "cooling_off": 0})
    for between in ((), (("disposal.cancelled", "p-1", {"disposal": "d-1"}),)):
        with pytest.raises(Modified, match="planned before"):
            standing(("disposal.planned", "p-1", PLANNED), *between, again)


@pytest.mark.parametrize("seconds", [-1, True, "1", 0.5, None], ids=["negative", "bool", "text", "fraction", "none"])
def test_cooling_off_is_a_number_of_seconds(seconds: object) -> None:
    with pytest.raises(Modified, match="facts"):
        standing(("disposal.planned", "p-1", PLANNED | {"cooling_off": seconds}))


def test_what_is_out_of_turn_moves_nothing() -> None:
    planned = ("disposal.planned", "p-1", PLANNED)
    cancelled = ("disposal.cancelled", "p-1", {"disposal": "d-1"})
    intended = ("disposal.intended", "p-3", {"disposal": "d-1", "not_before": "2026-12-01T12:00:00Z"})
    sooner = ("disposal.intended", "p-3", {"disposal": "d-1", "not_before": "2026-11-01T12:00:00Z"})
    destroying = ("disposal.destroying", "worker", DESTROYING)
    assert _told(planned, cancelled, intended).state == "cancelled"
    assert _told(planned, cancelled, intended, destroying).state == "cancelled"
    assert _told(planned, destroying).state == "planned"
    assert _told(planned, intended, destroying, cancelled).state == "destroying"
    assert _told(planned, intended, sooner) == _told(planned, intended)


def _told(*happened: tuple[str, str, dict[str, Any]]) -> Disposal:
    return standing(*happened).governance.disposals["d-1"]


def test_a_removed_key_is_gone() -> None:
    registered = ("approver.registered", "p-2", {"person": "p-2", "public": KEY})
    assert standing(registered).governance.approvers["p-2"].public == b"k" * 32
    assert standing(registered, ("approver.removed", "p-1", {"person": "p-2"})).governance.approvers == {}


@pytest.mark.parametrize("event", sorted(events()))
def test_an_event_without_its_facts_is_edited(event: str) -> None:
    with pytest.raises(Modified, match="facts"):
        standing((event, "p-1", {}))


def test_a_copy_does_not_follow_the_original() -> None:
    made = standing(("hold.placed", "p-1", PLACED))
    copy = made.copy()
    made.take("hold.released", "p-2", {"hold": "h-1", "request": 1}, 2, AT)
    assert copy.governance.holds["h-1"].is_open
