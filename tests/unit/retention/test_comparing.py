"""What would change for whom: kinds of change, what they reach, and which ledgers they concern."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from retention.comparing import Change, Terms, compare
from retention.rules import load_default
from tests.support.books import loaded

OLD = load_default()
LEDGERS = [Terms("cn", ("CN",), ()), Terms("sg", ("SG",), ()), Terms("aml", ("CN",), ("CN-AML-34",))]


def changes(**arguments: Any) -> list[Change]:
    return compare(OLD, loaded("new", **arguments), LEDGERS)


def test_the_same_rules_under_another_name_change_nothing() -> None:
    assert changes() == []


@pytest.mark.parametrize(
    ("rule", "fields", "kind", "ledgers"),
    [
        ("PROD-3Y", {"minimum": "P7Y"}, "longer", 3),
        ("CN-AML-34", {"minimum": "P5Y"}, "shorter", 1),
        ("CN-AML-34", {"minimum": "P120M"}, "wording", 1),
        ("SG-PDPA-25", {"applies": "optional"}, "shorter", 1),
        ("SG-PSN-5Y", {"applies": "default"}, "longer", 1),
        ("CN-AML-34", {"trigger": "relationship_ended"}, "changed", 1),
        ("CN-AML-34", {"effective_until": date(2030, 1, 1)}, "changed", 1),
        ("HK-AMLO-20", {"status": "verified"}, "wording", 0),
    ],
)
def test_a_rule_that_differs(rule: str, fields: dict[str, Any], kind: str, ledgers: int) -> None:
    (one,) = changes(changed={rule: fields})
    assert (one.kind, one.id, one.ledgers) == (kind, rule, ledgers)


def test_a_rule_that_is_added_or_left_out() -> None:
    added, dropped = changes(
        added=[{"id": "CN-NEW", "jurisdiction": "CN", "applies": "default"}], without=["CN-AML-34"]
    )
    assert (added.kind, added.id, added.ledgers) == ("added", "CN-NEW", 2)
    assert (dropped.kind, dropped.id, dropped.ledgers) == ("dropped", "CN-AML-34", 1)


def test_a_jurisdiction_that_is_left_out() -> None:
    told = changes(without=["DE-HGB-257"], without_codes=["DE"])
    assert [(one.kind, one.id) for one in told] == [("dropped", "DE-HGB-257"), ("dropped", "DE")]
    assert told[1].what == "jurisdiction, Europe/Berlin, of EU"
