from __future__ import annotations

import pytest

from vault.core.governance import Governance, Proposal
from vault.core.rules_adoption import NO_OFFICER, OWN, why_no_adoption, why_no_proposal

OFFICER, AUDITOR = frozenset({"officer"}), frozenset({"auditor"})
KNOWN = {"first": "2026-11"}
STATE = Governance(rulebooks=("first",), proposals={"new": Proposal("new", "2027-01", "p-olga", 7)})


def test_an_officer_proposes_and_another_adopts() -> None:
    assert why_no_proposal(Governance(rulebooks=("first",)), OFFICER, "new", "2027-01", KNOWN) is None
    assert why_no_adoption(STATE, "p-olaf", OFFICER, "new", "2027-01", KNOWN) is None


@pytest.mark.parametrize(
    ("person", "roles", "rulebook", "version", "why"),
    [
        ("p-olga", OFFICER, "new", "2027-01", OWN),
        ("p-anna", AUDITOR, "new", "2027-01", NO_OFFICER),
        ("local:root", frozenset(), "new", "2027-01", NO_OFFICER),
        ("p-olaf", OFFICER, "other", "2027-02", "nobody has proposed this rule book"),
        ("p-olaf", OFFICER, "new", "2026-11", "a rule book with version 2026-11 was in force"),
        ("p-olaf", OFFICER, "first", "2026-11", "this rule book is in force"),
    ],
    ids=["own", "auditor", "passphrase", "unknown", "version", "in-force"],
)
def test_why_a_book_is_not_adopted(person: str, roles: frozenset[str], rulebook: str, version: str, why: str) -> None:
    said = why_no_adoption(STATE, person, roles, rulebook, version, KNOWN)
    assert said is not None
    assert said.startswith(why)


def test_why_a_book_is_not_proposed() -> None:
    assert why_no_proposal(STATE, AUDITOR, "other", "2027-02", KNOWN) == NO_OFFICER
    assert why_no_proposal(STATE, OFFICER, "new", "2027-01", KNOWN) == "this rule book is proposed already"
    state = Governance(rulebooks=("first", "second"))
    versions = KNOWN | {"second": "2027-01"}
    assert str(why_no_proposal(state, OFFICER, "first", "2026-11", versions)).startswith("this rule book was in force")
    assert str(why_no_proposal(state, OFFICER, "new", "2028", KNOWN)).startswith(
        "another rule book was adopted meanwhile"
    )
