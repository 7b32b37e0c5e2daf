"""A history from events, without a vault."""

from __future__ import annotations

from typing import Any

import pytest

from retention.history import NAMES, History
from vault.core.canonical import b64
from vault.core.errors import Modified
from vault.core.leaf import EventLeaf, microseconds

FIRST, SECOND = b64(bytes(32)), b64(bytes([1]) * 32)


def event(seq: int, name: str, /, **facts: Any) -> EventLeaf:
    at = f"2026-01-{1 + seq:02d}T00:00:00.000Z"
    return EventLeaf(actor=f"p-{seq}", at=at, event=name, facts=facts, kind="event", ledger="e", prev="", seq=seq, v=1)


def test_each_book_comes_into_force_once_and_the_first_word_of_the_first_counts() -> None:
    told = [
        event(1, "vault.initialised", rulebook=FIRST),
        event(2, "rules.adopted", rulebook=SECOND),
        event(3, "vault.initialised", rulebook=SECOND),
        event(4, "rules.adopted", rulebook=FIRST),
    ]
    history = History.of(told, 5)
    assert [(one.seq, one.by) for one in history.books] == [(1, "p-1"), (2, "p-2")]
    assert history.books[1].at == microseconds("2026-01-03T00:00:00.000Z")
    assert history.size == 5


def test_datings_stand_by_ledger_and_position_in_the_order_they_were_told() -> None:
    dating = {"ledger": "l", "seq": 9, "trigger": "relationship_ended", "by": 0}
    told = [
        event(1, "record.dated", **dating, at="2031-01-01T00:00:00Z"),
        event(2, "record.dated", **dating | {"by": 12}, at="2030-01-01T00:00:00Z"),
        event(3, "followups.read", ledger="l", size=40, waiting_for=[3, 5]),
    ]
    history = History.of(told, 4)
    assert [(one.event, one.by) for one in history.dated("l")[9]] == [(1, 0), (2, 12)]
    assert history.dated("l")[9][1].at == microseconds("2030-01-01T00:00:00Z")
    assert history.dated("other") == {}
    assert history.followed["l"] == (40, (3, 5))


def test_keys_moves_and_disposals() -> None:
    key = {"ledger": "l", "group": "2029-01.0", "key": "k"}
    told = [
        event(1, "key.created", **key),
        event(2, "key.created", **key),
        event(
            3, "keys.moved", ledger="l", to="held.0", selection="s", count=2, **{"from": ["2029-01.0"], "for": "d-1"}
        ),
        event(4, "disposal.planned", disposal="d-1", manifest="m"),
        event(5, "key.destroyed", **key, provider="keyfile"),
        event(6, "disposal.done", disposal="d-1"),
    ]
    history = History.of(told, 7)
    assert history.created[("l", "2029-01.0")].seq == 1
    assert history.destroyed[("l", "2029-01.0")].facts["provider"] == "keyfile"
    (move,) = history.moves["l"]
    assert (move.sources, move.to, move.number, move.of) == (("2029-01.0",), "held.0", 2, "d-1")
    assert [(one.name, one.seq) for one in history.disposals["d-1"]] == [("disposal.planned", 4), ("disposal.done", 6)]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_event_without_its_facts_is_modified(name: str) -> None:
    with pytest.raises(Modified):
        History.of([event(1, name, at=7)], 2)
