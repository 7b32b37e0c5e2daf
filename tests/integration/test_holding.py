"""Holds: placed by one, released by two; what is frozen, what is live, and what cannot be saved any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from retention import holding, holdlist, saving
from retention.holding import Held, held_count
from tests.support.acting import HOUR, happened, hire, last, later, recorded, stored
from tests.support.holding import CASE, REASON, frozen, keepers, placed
from tests.support.vault import RECORDS, Installation
from vault import ledgers, selections, trace
from vault.context import Actor, Vault
from vault.core import canonical, hold
from vault.core.errors import Denied, Missing, Modified, Unknown, UsageError
from vault.core.leaf import instant
from vault.core.selection import Selection

CN = RECORDS["cn"]
OF_3 = [n for n in range(1, CN + 1) if n % 7 == 3]  # records of customer cus-3; positions equal numbers


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def cn(vault: Vault) -> UUID:
    return ledgers.get(vault, "cn").id


@pytest.fixture
def olaf(vault: Vault) -> Actor:
    return hire(vault, "olaf", "officer")


@pytest.fixture
def olga(vault: Vault) -> Actor:
    return hire(vault, "olga", "officer")


TERMS: dict[str, tuple[dict[str, Any], set[int]]] = {
    "a customer": ({"customers": ["cus-3"]}, set(OF_3)),
    "a conversation": ({"conversations": ["conv-40"]}, {80, 81}),
    "a customer or a transaction": ({"customers": ["cus-3"], "transactions": ["txn-5"]}, {*OF_3, 5}),
    "a customer and a jurisdiction": ({"customers": ["cus-3"], "jurisdictions": ["SG"]}, {n for n in OF_3 if n % 3}),
    "a class": ({"classes": ["payment"]}, set(range(1, CN + 1))),
    "another class": ({"classes": ["aml"]}, set()),
    "a jurisdiction": ({"jurisdictions": ["SG"]}, {n for n in range(1, CN + 1) if n % 3}),
    "a period": (
        {"start": 1_767_571_200_000_000, "end": 1_767_657_600_000_000},  # 5 January 2026, UTC
        {n for n in range(1, CN + 1) if n % 28 == 4},
    ),
    "nobody": ({"customers": ["cus-nobody"]}, set()),
    "everything": ({}, set(range(1, CN + 1))),
}


@pytest.mark.parametrize("terms", TERMS)
def test_what_matches_is_frozen_and_kept(vault: Vault, cn: UUID, terms: str) -> None:
    wanted, expected = TERMS[terms]
    made = placed(vault, ["cn"], **wanted)
    assert frozen(vault, cn, made.hold.id) == sorted(expected)
    assert made.counts == {str(cn): len(expected)}
    for seq in (3, 5, 80, 90):
        assert keepers(vault, cn, seq) == ((made.hold.id,) if seq in expected else ())


def test_two_ledgers_in_one_hold(vault: Vault, cn: UUID) -> None:
    sg = ledgers.get(vault, "sg").id
    made = placed(vault, ["sg", "cn"], customers=["cus-3"])
    assert made.counts == {str(cn): len(OF_3), str(sg): len([n for n in OF_3 if n <= RECORDS["sg"]])}
    assert keepers(vault, sg, 3) == keepers(vault, cn, 3) == (made.hold.id,)
    governance = vault.register.standing().governance
    assert held_count(vault, cn, governance) == len(OF_3)


def test_one_person_places_and_two_release(vault: Vault, cn: UUID, olaf: Actor, olga: Actor) -> None:
    made = placed(vault.acting(olaf), ["cn"], customers=["cus-3"]).hold
    assert made.placed_by == olaf.name
    for nobody in (vault, vault.acting(hire(vault, "anna", "auditor"))):
        with pytest.raises(Denied, match="two of them"):
            holding.request_release(nobody, made.id)
    with pytest.raises(Denied, match="nobody asked"):
        holding.release(vault.acting(olaf), made.id)
    assert holding.let_go(vault.acting(olaf), made.id).done == "requested"
    for once_more in (holding.let_go, holding.release, holding.request_release):
        with pytest.raises(Denied, match="another compliance officer"):
            once_more(vault.acting(olaf), made.id)
    with pytest.raises(Denied, match="two of them"):
        holding.release(vault, made.id)
    assert keepers(vault, cn, 3) == (made.id,)
    assert last(vault, "access.denied").facts["act"] == "hold.release"
    step = holding.let_go(vault.acting(olga), made.id)
    assert (step.done, step.hold.released_by) == ("released", olga.name)
    assert keepers(vault, cn, 3) == ()
    with pytest.raises(Denied, match="released already"):
        holding.let_go(vault.acting(olaf), made.id)


@pytest.mark.parametrize("role", ["auditor", "operator"])
def test_who_is_no_officer_places_nothing(vault: Vault, role: str) -> None:
    with pytest.raises(Denied, match="only a compliance officer"):
        placed(vault.acting(hire(vault, "who", role)), ["cn"])
    assert happened(vault, "hold.placed") == []
    assert last(vault, "access.denied").facts["act"] == "hold.place"


def test_nobody_learns_of_a_hold_that_is_not_there(vault: Vault, olaf: Actor) -> None:
    for act in (holding.release, holding.request_release, holding.let_go, holdlist.show):
        with pytest.raises(Unknown):
            act(vault.acting(olaf), "h-made-up")


def test_the_trace_of_a_ledger_has_its_holds(vault: Vault, cn: UUID, olaf: Actor) -> None:
    made = placed(vault, ["sg", "cn"], customers=["cus-3"]).hold
    placed(vault, ["sg"], customers=["cus-3"])
    page = trace.page(vault.acting(olaf), trace.Wanted(event="hold.placed", ledger=str(cn)))
    assert [(one.seq, (one.details or {})["case"]) for one in page.shown] == [(made.seq, CASE)]


def test_several_holds_keep_until_the_last_is_released(vault: Vault, cn: UUID, olaf: Actor, olga: Actor) -> None:
    first = placed(vault, ["cn"], customers=["cus-3"]).hold
    second = placed(vault, ["cn"], conversations=["conv-1"]).hold
    assert keepers(vault, cn, 3) == tuple(sorted((first.id, second.id)))
    for one, left in ((first, (second.id,)), (second, ())):
        holding.request_release(vault.acting(olaf), one.id)
        holding.release(vault.acting(olga), one.id)
        assert keepers(vault, cn, 3) == left


def test_a_review_takes_a_waiting_release_back(vault: Vault, olaf: Actor, olga: Actor) -> None:
    day = vault.clock() + 30 * 24 * HOUR
    made = placed(vault, ["cn"], review_at=day).hold
    assert made.review_at == day // 1_000_000 * 1_000_000
    assert hold.due_reviews(vault.register.standing().governance, day) == [made]
    assert [one.due for one in holdlist.listing(later(vault, 31 * 24 * HOUR))] == [True]
    holding.request_release(vault.acting(olaf), made.id)
    reviewed = holding.review(vault.acting(olga), made.id, day + HOUR)
    assert (reviewed.release_by, (reviewed.review_at or 0) > day) == (None, True)
    with pytest.raises(Denied, match="nobody asked"):
        holding.release(vault.acting(olga), made.id)
    with pytest.raises(Denied, match="only a compliance officer"):
        holding.review(vault, made.id, day)
    with pytest.raises(UsageError, match="passed"):
        holding.review(vault.acting(olaf), made.id, vault.clock() - HOUR)


def test_a_record_that_was_not_opened_is_kept_where_it_might_be_meant(vault: Vault, cn: UUID) -> None:
    made = placed(vault, ["cn"], customers=["cus-4"]).hold
    wide = placed(vault, ["sg"], customers=["cus-4"]).hold
    assert keepers(vault, cn, 3, opened=False) == (made.id,)
    assert keepers(vault, cn, 3) == ()
    assert wide.id not in keepers(vault, cn, 4)


def _forget(vault: Vault) -> None:
    """As a process that starts: it has read no set yet."""
    selections._known.clear()


@pytest.mark.parametrize("crime", ["delete", "edit", "exchange"])
def test_without_its_whole_set_a_hold_answers_nothing(
    installation: Installation, vault: Vault, cn: UUID, crime: str
) -> None:
    made = placed(vault, ["cn"], customers=["cus-3"]).hold
    digest = canonical.unb64(dict(made.sets)[str(cn)], 32)
    other = canonical.unb64(selections.keep(vault, cn, Selection.of([1])), 32)
    statements = {
        "delete": "DELETE FROM vault.selection WHERE digest = %(digest)s",
        "edit": "UPDATE vault.selection SET content = substr(content, 2) WHERE digest = %(digest)s",
        "exchange": """UPDATE vault.selection SET content = (SELECT content FROM vault.selection o
                       WHERE o.digest = %(other)s) WHERE digest = %(digest)s""",
    }
    with installation.tampering() as connection:
        connection.execute("ALTER TABLE vault.selection DROP CONSTRAINT selection_digest_check")
        connection.execute(statements[crime], {"digest": digest, "other": other})
    _forget(vault)
    with pytest.raises(Missing if crime == "delete" else Modified):
        Held(vault, cn, vault.register.standing().governance)
    assert [one.counts for one in holdlist.listing(vault)] == [{str(cn): None}]


def test_a_damaged_record_is_held_all_the_same(installation: Installation, vault: Vault, cn: UUID) -> None:
    with installation.tampering() as connection:
        connection.execute("UPDATE vault.sealed SET model = 'x' WHERE ledger_id = %s AND seq = 3", [cn])
    made = placed(vault, ["cn"], customers=["cus-3"])
    assert made.unsound == 1
    assert 3 in frozen(vault, cn, made.hold.id)


def _plan(vault: Vault, cn: UUID, seqs: list[int], *steps: str) -> str:
    """Tell of a disposal as far as it came; nothing is destroyed."""
    digest = selections.keep(vault, cn, Selection.of(seqs))
    soon = instant(vault.clock() // 1_000_000)
    about: dict[str, Any] = {"disposal": "d-1", "manifest": digest}
    facts: dict[str, dict[str, Any]] = {
        "planned": {
            "kind": "expiry",
            "ledger": str(cn),
            "selection": digest,
            "count": len(seqs),
            "groups": [],
            "due": soon,
            "cooling_off": 0,
        },
        "intended": {"approvals": [], "not_before": soon},
        "destroying": {"selection": digest, "count": len(seqs), "holds_at": 10**6},
        "done": {},
    }
    for step in steps:
        recorded(vault, vault.actor, f"disposal.{step}", **about, **facts[step])
    return "d-1"


@pytest.mark.parametrize("steps", [("destroying",), ("destroying", "done")], ids=["destroying", "done"])
def test_what_a_disposal_destroys_already_cannot_be_saved_and_is_told(
    vault: Vault, cn: UUID, steps: tuple[str, ...]
) -> None:
    disposal = _plan(vault, cn, [3, 10, 12], "planned", "intended", *steps)
    made = placed(vault, ["cn"], customers=["cus-3"])
    assert made.lost == {disposal: 2}
    assert frozen(vault, cn, made.hold.id) == [n for n in OF_3 if n not in (3, 10)]


def test_a_disposal_that_cools_off_leaves_what_is_held_behind(vault: Vault, cn: UUID) -> None:
    disposal = _plan(vault, cn, [3, 10, 12], "planned", "intended")
    made = placed(vault, ["cn"], customers=["cus-3"])
    assert (made.stopped, made.lost) == ({disposal: 2}, {})
    assert keepers(vault, cn, 3) == (made.hold.id,)


def test_a_disposal_that_passes_its_commit_point_meanwhile_is_seen(
    installation: Installation, vault: Vault, cn: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It happens between the look at disposals and the decision, under whose lock it must not be passed over."""
    _plan(vault, cn, [3, 10, 12], "planned", "intended")
    honest = saving.save
    looks: list[str] = []

    def overtaken(second: Vault, ledger: str, found: Selection) -> Any:
        saved = honest(second, ledger, found)
        if not looks:
            with installation.opened() as other:
                _plan(other, cn, [3, 10, 12], "destroying")
        looks.append(ledger)
        return saved

    monkeypatch.setattr(holding, "save", overtaken)
    made = placed(vault, ["cn"], customers=["cus-3"])
    assert (len(looks), made.lost) == (2, {"d-1": 2})
    assert len(happened(vault, "hold.placed")) == 1


def test_what_tells_of_an_open_hold_is_held_too(vault: Vault, olaf: Actor, olga: Actor) -> None:
    made = placed(vault, ["cn"]).hold
    asked = holding.request_release(vault.acting(olaf), made.id).hold
    held = Held(vault, vault.events, vault.register.standing().governance)
    assert [held.of(seq) for seq in (made.seq, asked.release_seq or 0, made.seq - 1)] == [(made.id,), (made.id,), ()]
    holding.release(vault.acting(olga), made.id)
    assert Held(vault, vault.events, vault.register.standing().governance).of(made.seq) == ()


def test_case_and_ids_stand_nowhere_in_clear(installation: Installation, vault: Vault, olaf: Actor) -> None:
    secret = "cus-geheim-77"
    made = placed(vault, ["cn"], customers=[secret], transactions=["txn-geheim-78"])
    anna = hire(vault, "anna", "auditor")
    (shown,) = holdlist.listing(vault.acting(olaf))
    assert (shown.case, shown.reason, shown.terms["customer"]) == (CASE, REASON, [secret])
    (seen,) = holdlist.listing(vault.acting(anna))
    assert (seen.case, seen.reason, dict(seen.terms)) == ("", "", {})
    assert seen.hold.case.startswith("c-")
    with pytest.raises(Denied, match="only auditors and compliance officers"):
        holdlist.listing(vault.acting(hire(vault, "otto", "operator")))
    everything = stored(installation)
    for text in (CASE, REASON, secret, "txn-geheim-78"):
        assert text not in everything
        assert text.encode().hex() not in everything
    assert made.hold.case in everything


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no case": ({"case": " "}, "case"),
    "no reason": ({"reason": ""}, "reason"),
    "no code": ({"jurisdictions": ["XX"]}, "ISO"),
    "no id": ({"customers": [""]}, "printable"),
    "no word": ({"classes": ["zwei Wörter"]}, "words"),
    "too many ids": ({"customers": [f"c{n}" for n in range(13)]}, "at most 12"),
    "a period that ends before it starts": ({"start": 2_000_000, "end": 2_000_000}, "ends before"),
    "a review in the past": ({"review_at": 5}, "passed"),
    "a year that nobody spells": ({"start": -(10**18)}, "years"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_no_hold_can_say(vault: Vault, wrong: str) -> None:
    terms, words = WRONG[wrong]
    with pytest.raises(UsageError, match=words):
        placed(vault, ["cn"], **terms)
    assert happened(vault, "hold.placed") == []


def test_the_largest_hold_fits_into_its_leaf(vault: Vault, cn: UUID) -> None:
    scope = {
        "customers": [f"c{n}" for n in range(12)],
        "classes": [f"{n}" * 64 for n in range(8)],
        "jurisdictions": [
            "CN",
            "SG",
            "DE",
            "FR",
            "IT",
            "ES",
            "US",
            "GB",
            "JP",
            "KR",
            "IN",
            "BR",
            "CA",
            "AU",
            "AT",
            "BE",
        ],
        "start": 1,
        "end": 10**15,
        "review_at": vault.clock() + HOUR,
    }
    for number in range(14):
        ledgers.create(vault, f"more-{number}", ("CN",), ())
    names = ["cn", "sg", *(f"more-{n}" for n in range(14))]
    assert placed(vault, names, **scope).hold.scope.classes[0] == "0" * 64
    assert replace(vault) == vault
