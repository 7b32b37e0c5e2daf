"""Testimony: which dates count for which disposal."""

from __future__ import annotations

from typing import Any

import pytest

from vault import testimony
from vault.core import canonical
from vault.core.leaf import EventLeaf, microseconds

LEDGER = "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"


def dated(at: int, seq: int, moment: str) -> EventLeaf:
    digest = canonical.b64(bytes(32))
    facts: dict[str, Any] = {"ledger": LEDGER, "seq": seq, "trigger": "relationship_ended", "at": moment, "by": 0}
    return EventLeaf(
        actor="p-1",
        at="2030-01-01T00:00:00.000Z",
        event="record.dated",
        facts=facts,
        kind="event",
        ledger=digest,
        prev=digest,
        seq=at,
        v=1,
    )


def taken(*leaves: EventLeaf) -> testimony.Testimony:
    made = testimony.Testimony(100)
    for leaf in leaves:
        made.take(leaf)
    assert made.fault is None
    return made


@pytest.mark.parametrize(
    ("seq", "before", "until", "counts"),
    [
        (7, 6, "2030-01-01T00:00:00Z", True),
        (7, 5, "2030-01-01T00:00:00Z", False),
        (7, 6, "2029-12-31T23:59:59Z", False),
        (8, 6, "2030-01-01T00:00:00Z", False),
        (3, 9, "2030-01-01T00:00:00Z", True),
        (7, 9, "2029-06-01T00:00:00Z", True),
        (7, 8, "2029-06-01T00:00:00Z", False),
    ],
    ids=["in time", "at the plan", "to a later moment", "another", "out of order", "the second date", "not by then"],
)
def test_a_date_counts_from_before_the_plan_and_to_no_later_moment(
    seq: int, before: int, until: str, counts: bool
) -> None:
    told = taken(
        dated(5, 7, "2030-01-01T00:00:00Z"), dated(6, 3, "2029-01-01T00:00:00Z"), dated(8, 7, "2029-06-01T00:00:00Z")
    )
    evidence = told.evidence("t", lambda *_: pytest.fail("nothing is loaded"), whole=True)
    assert evidence.dated is not None
    assert evidence.dated(LEDGER, seq, before, microseconds(until)) is counts
    assert not evidence.dated("another ledger", seq, before, microseconds(until))
