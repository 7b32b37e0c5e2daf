"""Holds: which records one keeps, and who may place, prolong and release one; every rule over plain values."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.decisions import decision, spelled
from vault.core import hold
from vault.core.governance import Governance, Hold, HoldScope
from vault.core.record import Record

KEY = hold.tag_key(bytes(32))
OFFICER, AUDITOR, NOBODY = frozenset({"officer"}), frozenset({"auditor"}), frozenset[str]()
CODES = ("CN", "SG", "DE")
CLASSES = ("payment", "aml")
TAGS = ("t1", "t2", "t3")

some = st.none() | st.integers(0, 20)
scopes = st.builds(
    HoldScope,
    st.lists(st.sampled_from(("l-1", "l-2")), min_size=1, unique=True).map(tuple),
    st.frozensets(st.sampled_from(TAGS)),
    st.lists(st.sampled_from(CLASSES), unique=True).map(tuple),
    st.lists(st.sampled_from(CODES), unique=True).map(tuple),
    some,
    some,
)


def _hold(**changes: object) -> Hold:
    return replace(Hold("h-1", "c-1", HoldScope(("l-1",)), (), "olaf", 1, 7), **changes)  # type: ignore[arg-type]


def test_a_tag_is_the_ids_own_and_tells_nobody_without_the_key_anything() -> None:
    assert hold.tag(KEY, "customer", "cus-7") == hold.tag(KEY, "customer", "cus-7")
    others = [
        hold.tag(KEY, "customer", "cus-8"),
        hold.tag(KEY, "conversation", "cus-7"),
        hold.tag(KEY, "case", "cus-7"),
        hold.tag(hold.tag_key(bytes([1]) * 32), "customer", "cus-7"),
        hold.tag(bytes(32), "customer", "cus-7"),
    ]
    assert len({*others, hold.tag(KEY, "customer", "cus-7")}) == 6
    assert hold.case_id(KEY, "C-17").startswith("c-")
    assert "C-17" not in hold.case_id(KEY, "C-17")


def test_a_record_answers_to_its_three_ids() -> None:
    record = msgspec.json.decode(spelled(decision(3)), type=Record)
    expected = {("customer", "cus-3"), ("conversation", "conv-1"), ("transaction", "txn-3")}
    assert hold.tags_of(KEY, record) == {hold.tag(KEY, field, value) for field, value in expected}  # type: ignore[arg-type]
    without = msgspec.json.decode(spelled(decision(3, customer_ref=None)), type=Record)
    assert len(hold.tags_of(KEY, without)) == 2


@given(
    scopes,
    st.sampled_from(("l-1", "l-2")),
    st.integers(0, 20),
    st.sampled_from(CLASSES),
    st.lists(st.sampled_from(CODES), min_size=1, unique=True),
    st.frozensets(st.sampled_from(TAGS)),
)
def test_all_terms_must_meet_and_of_several_one(
    scope: HoldScope, ledger: str, at: int, record_class: str, codes: list[str], tags: frozenset[str]
) -> None:
    expected = (
        ledger in scope.ledgers
        and (scope.start is None or scope.start <= at)
        and (scope.end is None or at < scope.end)
        and (scope.classes == () or record_class in scope.classes)
        and (scope.jurisdictions == () or any(code in scope.jurisdictions for code in codes))
        and (not scope.tags or any(tag in scope.tags for tag in tags))
    )
    assert hold.matches(scope, ledger, at, record_class, codes, tags) == expected


def test_one_person_places() -> None:
    assert hold.why_no_place(OFFICER, holder=False) is None
    assert hold.why_no_place(NOBODY, holder=True) is None
    for roles in (AUDITOR, NOBODY, frozenset({"operator"})):
        assert hold.why_no_place(roles, holder=False) is not None


@given(
    st.frozensets(st.sampled_from(("auditor", "officer", "operator"))),
    st.sampled_from(("olaf", "olga")),
    st.sampled_from((None, "olaf")),
    st.booleans(),
)
def test_two_release(roles: frozenset[str], person: str, asked: str | None, released: bool) -> None:
    one = _hold(release_by=asked, release_seq=9 if asked else None, released_by="olga" if released else None)
    officer = "officer" in roles
    may_ask = officer and asked is None and not released
    may_release = officer and asked is not None and asked != person and not released
    assert (hold.why_no_release_request(one, person, roles) is None) == may_ask
    assert (hold.why_no_release(one, person, roles) is None) == may_release
    assert (hold.why_no_review(one, roles) is None) == (officer and not released)


WRONG = {
    "no ledger": HoldScope(()),
    "too many ledgers": HoldScope(tuple(f"l-{n}" for n in range(17))),
    "too many ids": HoldScope(("l",), frozenset(f"t{n}" for n in range(13))),
    "too many classes": HoldScope(("l",), classes=tuple(f"c{n}" for n in range(9))),
    "too many jurisdictions": HoldScope(("l",), jurisdictions=tuple(f"{n}" for n in range(17))),
    "an end before the start": HoldScope(("l",), start=5, end=5),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_no_hold_can_say(wrong: str) -> None:
    assert hold.why_no_scope(WRONG[wrong]) is not None


def test_reviews_are_due_from_their_instant_on_the_oldest_first() -> None:
    holds = [
        _hold(id="late", review_at=20),
        _hold(id="never"),
        _hold(id="first", review_at=5),
        _hold(id="now", review_at=10),
        _hold(id="gone", review_at=1, released_by="olga"),
    ]
    governance = Governance(holds={one.id: one for one in holds})
    assert [one.id for one in hold.due_reviews(governance, 10)] == ["first", "now"]
    assert hold.due_reviews(governance, 4) == []
