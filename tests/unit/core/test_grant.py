"""Grants: what one opens, and who may ask, approve and revoke; every rule as a decision over plain values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.core.grant import (
    MAX_DAYS,
    ROLES,
    Grant,
    Scope,
    why_no_approval,
    why_no_request,
    why_no_revocation,
)

LEDGERS = ("l-1", "l-2", "l-3")
CLASSES = ("payment", "aml", "refund")
DAY = 86_400_000_000
NOW = 1_800_000_000_000_000
AUDITOR, OFFICER = frozenset({"auditor"}), frozenset({"officer"})

instants = st.integers(0, 20)
scopes = st.builds(
    Scope,
    st.lists(st.sampled_from(LEDGERS), min_size=1, unique=True).map(tuple),
    st.none() | instants,
    st.none() | instants,
    st.lists(st.sampled_from(CLASSES), unique=True).map(tuple),
    st.sampled_from(("masked", "full")),
)
roles = st.frozensets(st.sampled_from(ROLES))


def _grant(**changes: object) -> Grant:
    scope = Scope(("l-1",), None, None, (), "full")
    return replace(Grant("g-1", "anna", scope, NOW, NOW + DAY, 7), **changes)  # type: ignore[arg-type]


@given(scopes, st.sampled_from(LEDGERS), instants, st.sampled_from(CLASSES))
def test_a_scope_covers_what_its_bounds_say(scope: Scope, ledger: str, at: int, record_class: str) -> None:
    named = ledger in set(scope.ledgers)
    after = scope.start is None or scope.start <= at
    before = scope.end is None or at < scope.end
    fitting = scope.classes == () or record_class in set(scope.classes)
    assert scope.covers(ledger, at, record_class) == (named and after and before and fitting)


@given(scopes, st.sampled_from(LEDGERS))
def test_a_scope_covers_a_ledger_where_it_shows_all_of_every_record_of_it(scope: Scope, ledger: str) -> None:
    every = [scope.covers(ledger, at, one) for at in (-(10**18), 0, 10, 20, 10**18) for one in (*CLASSES, "other")]
    assert scope.covers_ledger(ledger) == (all(every) and scope.fields == "full")


def test_the_first_instant_is_inside_and_the_last_outside() -> None:
    scope = Scope(("l-1",), 10, 20, (), "full")
    assert [scope.covers("l-1", at, "payment") for at in (9, 10, 19, 20)] == [False, True, True, False]


@given(st.integers(-3, 3))
def test_a_grant_holds_until_the_very_instant_it_expires(offset: int) -> None:
    grant = _grant().approved("olaf", NOW)
    assert grant.state(grant.expires_at + offset) == ("approved" if offset < 0 else "expired")


def test_what_became_of_a_grant() -> None:
    grant = _grant()
    assert grant.state(NOW) == "requested"
    assert grant.state(NOW + DAY) == "expired"
    assert grant.approved("olaf", NOW).state(NOW) == "approved"
    assert grant.revoked("anna", NOW).state(NOW) == "revoked"
    assert grant.approved("olaf", NOW).revoked("olaf", NOW).state(NOW + DAY) == "revoked"
    assert grant.revoked("olaf", NOW).approved("olaf", NOW).state(NOW) == "revoked"


@given(roles, st.sampled_from(("anna", "olaf")), st.sampled_from((0, DAY - 1, DAY, 2 * DAY)), st.booleans())
def test_who_may_approve(held: frozenset[str], person: str, later: int, revoked: bool) -> None:
    grant = _grant(revoked_by="anna", revoked_at=NOW) if revoked else _grant()
    may = "officer" in held and person != grant.auditor and later < DAY and not revoked
    assert (why_no_approval(grant, person, held, NOW + later) is None) == may


def test_nobody_approves_twice_or_their_own() -> None:
    both = AUDITOR | OFFICER
    assert why_no_approval(_grant(), "anna", both, NOW) == "nobody approves their own grant"
    assert why_no_approval(_grant().approved("olaf", NOW), "olga", OFFICER, NOW) == "the grant is approved"
    assert why_no_approval(_grant(), "olaf", AUDITOR, NOW) == "only a compliance officer approves a grant"


@given(roles, st.sampled_from(("anna", "olaf")), st.booleans())
def test_who_may_revoke(held: frozenset[str], person: str, revoked: bool) -> None:
    grant = _grant(revoked_by="anna", revoked_at=NOW) if revoked else _grant()
    may = ("officer" in held or person == grant.auditor) and not revoked
    assert (why_no_revocation(grant, person, held) is None) == may


@given(roles, scopes, st.integers(-2, 2))
def test_only_an_auditor_asks(held: frozenset[str], scope: Scope, offset: int) -> None:
    reason = why_no_request(held, scope, NOW + DAY, NOW)
    ordered = scope.start is None or scope.end is None or scope.start < scope.end
    assert (reason is None) == ("auditor" in held and ordered)
    assert (why_no_request(AUDITOR, replace(scope, end=None), NOW + offset, NOW) is None) == (offset > 0)


@pytest.mark.parametrize("late", [-1, 0, 1])
def test_no_grant_lasts_longer_than_a_year(late: int) -> None:
    scope = Scope(("l-1",), None, None, (), "masked")
    reason = why_no_request(AUDITOR, scope, NOW + MAX_DAYS * DAY + late, NOW)
    assert reason == (f"a grant lasts {MAX_DAYS} days at most" if late > 0 else None)


def test_a_grant_names_a_ledger() -> None:
    assert why_no_request(AUDITOR, Scope((), None, None, (), "masked"), NOW + DAY, NOW) is not None
