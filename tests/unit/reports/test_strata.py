"""Strata: each record that belongs to one is listed, whatever order it came in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from reports.figures import Money
from reports.rows import Opened, Row
from reports.strata import LARGEST, Strata
from tests.support import report_model
from vault.core.selection import Selection

(ROW,) = report_model.rows(1)


def row(seq: int, amount: str | None = None, *, api: str = "payment_intelligence", **opened: Any) -> Row:
    executed = None if amount is None else Money(Decimal(amount.split(" ")[1]), amount.split(" ")[0])
    said = Opened(conversation_id=f"c-{seq}", executed=executed, **opened)
    return msgspec.structs.replace(ROW, seq=seq, record_id=f"dec-{seq}", api=api, money_moved=True, opened=said)


def members(strata: Strata, low: tuple[int, ...] = (), *, opened: bool = True) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for code, seq in strata.members(low, opened=opened):
        found.setdefault(code, []).append(seq)
    assert {one.code: one.count for one in strata.result(low, opened=opened) if one.not_tested is None} == {
        one.code: len(found.get(one.code, ())) for one in strata.result(low, opened=opened) if one.not_tested is None
    }
    return found


def test_whoever_is_overruled_is_found_whether_the_review_came_before_or_after() -> None:
    strata = Strata()
    strata.add(row(1, api="human_review", review_agreed=False, relates_to=(("review_of", "dec-3"),)))
    for seq in range(2, 7):
        strata.add(row(seq, review_agreed={2: False, 5: True}.get(seq)))
    strata.relate(row(99, api="human_review", review_agreed=False, relates_to=(("review_of", "dec-4"),)))
    strata.relate(row(98, api="human_review", review_agreed=True, relates_to=(("review_of", "dec-6"),)))
    strata.relate(row(97, review_agreed=False, relates_to=(("retry_of", "dec-6"),)))
    assert members(strata)["overruled"] == [2, 3, 4]


def test_sums_are_high_from_an_amount_on_or_among_the_largest_of_their_currency() -> None:
    strata = Strata(above={"CNY": Decimal("50000")})
    amounts = ["CNY 49999.99", "CNY 50000", "CNY 50000.000001", *(f"USD {at}" for at in range(LARGEST + 3)), "EUR 1"]
    for seq, amount in enumerate(amounts):
        strata.add(row(seq, amount))
    strata.add(msgspec.structs.replace(row(900, "CNY 99999"), money_moved=False))
    largest = [seq for seq, amount in enumerate(amounts) if amount.startswith("USD") and int(amount[4:]) >= 3]
    assert members(strata)["high_value"] == [1, 2, *largest, len(amounts) - 1]


def test_equal_sums_are_taken_from_the_first_on() -> None:
    strata = Strata()
    for seq in range(LARGEST + 5):
        strata.add(row(seq, "CNY 7"))
    assert members(strata)["high_value"] == list(range(LARGEST))


def test_what_is_held_is_listed_and_what_was_not_opened_is_not_tested() -> None:
    strata = Strata(Selection.of([2, 3, 9]))
    for seq in range(1, 6):
        strata.add(msgspec.structs.replace(ROW, seq=seq, opened=None))
    assert members(strata, (4,), opened=False) == {"low_confidence": [4], "held": [2, 3]}
    found = {one.code: one.not_tested for one in strata.result((4,), opened=False)}
    assert {code for code, why in found.items() if why} == {"overruled", "high_value"}
