"""What events say of a recovery, who may decide it, and what a freeze brings with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vault.core import succession
from vault.core.canonical import b64
from vault.core.errors import Modified
from vault.core.standing import Standing
from vault.core.succession import Asked, Recovery, recovery_of, why_not

ROOT = b64(bytes(32))
OLD, NEW = "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634", "00000000-0000-4000-8000-000000000007"
FOUND = Recovery(OLD, "cn", 11, ROOT, 9, 21, ROOT)
OFFICER = frozenset({"officer"})
FACTS = FOUND.facts() | {"successor": NEW, "successor_name": "cn-2"}


def test_the_word_of_the_genesis_leaf() -> None:
    assert FOUND.word == f"{OLD}:11:{ROOT}:21"
    assert FOUND.lost == 10


def test_facts_come_back() -> None:
    assert recovery_of(FACTS) == FOUND


@pytest.mark.parametrize(
    "change",
    [{"size": 22}, {"proved": 12}, {"proved": -1}, {"size": "11"}, {"end": True}, {"root": 1}],
    ids=["more than was signed", "proved more than is good", "negative", "text", "true", "no digest"],
)
def test_other_facts_are_no_recovery(change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        recovery_of(FACTS | change)
    with pytest.raises(Modified):
        Standing().take("ledger.frozen", "p-1", FACTS | change, 5, "2026-01-01T00:00:00.000Z")


def test_four_eyes() -> None:
    wanted = FOUND, "cn-2"
    asked = Asked(FOUND, "cn-2", "p-1", 4)
    assert why_not(None, wanted, "p-1", OFFICER) is None
    assert why_not(asked, wanted, "p-1", OFFICER) == succession.OWN
    assert why_not(asked, wanted, "p-2", OFFICER) is None
    assert why_not(asked, wanted, "p-2", frozenset({"auditor"})) == succession.NO_OFFICER
    assert why_not(replace(asked, successor_name="cn-9"), wanted, "p-1", OFFICER) is None  # asks anew


def test_a_freeze_widens_keys_and_open_holds_once() -> None:
    standing = Standing()

    def tell(event: str, seq: int, **facts: Any) -> None:
        standing.take(event, "p-1", facts, seq, "2026-01-01T00:00:00.000Z")

    for key, ledgers in (("k-1", [OLD]), ("k-2", ["other"])):
        tell("producer.added", 1, key=key, producer="psp", digest=ROOT, ledgers=ledgers)
    common = {"case": "c", "tags": [], "classes": [], "jurisdictions": [], "ledgers": [OLD], "selections": [ROOT]}
    tell("hold.placed", 2, hold="h-1", **common)
    tell("hold.placed", 3, hold="h-2", **common)
    tell("hold.released", 4, hold="h-2", request=3)
    before = standing.copy()
    tell("ledger.frozen", 5, **FACTS)
    tell("ledger.frozen", 6, **FACTS | {"successor": "11111111-0000-4000-8000-000000000007"})
    assert standing.frozen[OLD].successor == NEW
    assert standing.producers["k-1"].ledgers == {OLD, NEW}
    assert standing.producers["k-2"].ledgers == {"other"}
    holds = standing.governance.holds
    assert (set(holds["h-1"].scope.ledgers), holds["h-2"].scope.ledgers) == ({OLD, NEW}, (OLD,))
    assert before.frozen == {}
    assert before.producers["k-1"].ledgers == {OLD}
    tell("ledger.succeeded", 7, ledger=OLD, successor=NEW, name="cn-2")
    assert standing.frozen[OLD].succeeded
