"""Restricted records: opened for a legal duty only, found and counted like any other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from retention import adoption
from retention.requests import request_erasure
from tests.support.acting import granted, happened, hire, last, later
from tests.support.books import book
from tests.support.decisions import decision, spelled
from tests.support.serving import bearer, serving
from tests.support.vault import RECORDS, Installation
from vault import events, ledgers, reading, search, selections
from vault.context import Actor, Vault
from vault.core import canonical
from vault.core.errors import Denied, Missing, UsageError
from vault.core.selection import Selection
from vault.reading import Reading
from vault.restricting import Restricted
from vault.search import Wanted

OF_3 = [n for n in range(1, RECORDS["cn"] + 1) if n % 7 == 3]


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def anna(vault: Vault) -> Actor:
    return hire(vault, "anna", "auditor")


@pytest.fixture
def olaf(vault: Vault) -> Actor:
    return hire(vault, "olaf", "officer")


def erase(vault: Vault, customer: str = "cus-3", *names: str) -> None:
    """Enter a request for erasure."""
    into = [ledgers.get(vault, one) for one in names or ("cn",)]
    request_erasure(vault, ledgers=into, customer=customer, reason="letter of 3 May", random=os.urandom)


def _read(vault: Vault, record_id: str = "dec-3", ledger: str = "cn", **more: Any) -> Reading:
    return reading.read(vault, ledgers.get(vault, ledger), record_id, "a test looks" * vault.actor.break_glass, **more)


def _find(vault: Vault, **terms: Any) -> list[int]:
    return [one.seq for one in search.search(vault, ledgers.get(vault, "cn"), Wanted(limit=500, **terms)).rows]


def test_the_passphrases_holder_names_a_duty(vault: Vault) -> None:
    erase(vault)
    with pytest.raises(Denied, match=r"this record is restricted: .* --duty"):
        _read(vault)
    denied = last(vault, "access.denied").facts
    assert (denied["act"], denied["code"], denied["seq"]) == ("record.open", "restricted", 3)
    assert happened(vault, "record.opened")[1:] == [], "but for the one that was built in"
    assert _read(vault, duty="court-order").raw == spelled(decision(3))
    assert last(vault, "record.opened").facts["duty"] == "court-order"
    assert _read(vault, "dec-4").seq == 4
    assert "duty" not in last(vault, "record.opened").facts
    with pytest.raises(UsageError, match="word"):
        _read(vault, duty="a court order")


def test_an_auditor_needs_a_grant_that_names_one(vault: Vault, anna: Actor, olaf: Actor) -> None:
    erase(vault)
    plain = granted(vault, anna, olaf, ["cn"])
    assert _read(vault.acting(anna), "dec-4").grant == plain.id
    with pytest.raises(Denied, match=r"restricted: .*a grant that names it"):
        _read(vault.acting(anna))
    assert last(vault, "access.denied").facts["grant"] == plain.id
    with pytest.raises(UsageError, match="named by the grant"):
        _read(vault.acting(anna), duty="court-order")
    dutiful = granted(vault, anna, olaf, ["cn"], duty="EU-AMLR-77", fields="masked")
    found = _read(vault.acting(anna))
    assert (found.grant, found.masked is None) == (dutiful.id, False)
    assert last(vault, "record.opened").facts["duty"] == "EU-AMLR-77"
    assert _read(vault.acting(anna), "dec-4").grant == plain.id, "what is not restricted is shown by what shows most"


def test_a_conflict_that_a_later_rule_book_brings_restricts_too(vault: Vault, anna: Actor, olaf: Actor) -> None:
    erased = {"id": "CN-ERASE", "jurisdiction": "CN", "minimum": "P1Y", "trigger": "decision_completed"}
    plain = granted(vault, anna, olaf, ["cn"])
    olga = hire(vault, "olga", "officer")
    for name, erase in (("keeps", "no"), ("erases", "at_minimum")):
        assert _read(vault).seq == 3
        assert _read(vault.acting(anna)).grant == plain.id
        content = book(name, added=[erased | {"applies": "default", "erase": erase}])
        adoption.propose(vault.acting(olaf), content)
        adoption.adopt(vault.acting(olga), content)
    before = len(happened(vault, "record.opened"))
    for who in (vault, vault.acting(anna)):
        with pytest.raises(Denied, match="restricted"):
            _read(who)
        assert last(vault, "access.denied").facts["code"] == "restricted"
    assert len(happened(vault, "record.opened")) == before
    assert _read(vault, duty="court-order").raw == spelled(decision(3))


def test_a_duty_reaches_no_further_than_its_grant(vault: Vault, anna: Actor, olaf: Actor) -> None:
    erase(vault)
    granted(vault, anna, olaf, ["cn"], duty="court-order", classes=("aml",))
    with pytest.raises(Denied, match="no record with this id"):
        _read(vault.acting(anna))
    granted(vault, anna, olaf, ["cn"])
    with pytest.raises(Denied, match="restricted"):
        _read(vault.acting(anna))


def test_a_record_whose_law_is_in_conflict_is_restricted_from_the_start(
    installation: Installation, vault: Vault
) -> None:
    ledgers.create(vault, "gb", ("GB",), ("GB-MLR-40", "US-OFAC-601"))
    installation.ingest("gb", [(1, spelled(decision(1, jurisdictions=["GB"])))])
    with pytest.raises(Denied, match="restricted"):
        _read(vault, "dec-1", "gb")
    assert _read(vault, "dec-1", "gb", duty="GB-MLR-40").seq == 1


def test_it_is_found_and_listed_but_not_told_whose_it_is(vault: Vault, anna: Actor, olaf: Actor) -> None:
    erase(vault)
    as_anna = vault.acting(anna)
    granted(vault, anna, olaf, ["cn"])
    assert set(OF_3) < set(_find(as_anna))
    assert _find(as_anna, record="dec-3") == [3]
    assert _find(as_anna, customer="cus-3") == []
    assert len(_find(as_anna, customer="cus-4")) > 20
    granted(vault, anna, olaf, ["cn"], duty="court-order")
    assert sorted(_find(as_anna, customer="cus-3")) == OF_3


def test_a_page_without_restricted_records_goes_on_behind_them(vault: Vault, anna: Actor, olaf: Actor) -> None:
    digest = selections.keep(vault, ledgers.get(vault, "cn").id, Selection.of(OF_3[:-1]))
    facts = {"request": "q-1", "ledger": str(ledgers.get(vault, "cn").id), "tag": "t", "selection": digest, "count": 1}
    events.record(vault, "erasure.requested", facts)
    granted(vault, anna, olaf, ["cn"])
    cursor, found = None, []
    while True:
        wanted = Wanted(limit=5, customer="cus-3", cursor=cursor)
        page = search.search(vault.acting(anna), ledgers.get(vault, "cn"), wanted)
        found += [one.seq for one in page.rows]
        if (cursor := page.cursor) is None:
            break
    assert found == OF_3[-1:]


def test_a_request_in_the_middle_of_a_reading_counts(
    installation: Installation, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is committed after the reading looked at requests, and before the reading's own event."""
    honest = Restricted.of
    looks: list[Any] = []

    def overtaken(second: Vault, ledger: Any) -> Any:
        found = honest(second, ledger)
        if not looks:
            with installation.opened() as other:
                erase(other)
        looks.append(ledger)
        return found

    monkeypatch.setattr(Restricted, "of", overtaken)
    with pytest.raises(Denied, match="restricted"):
        _read(vault)
    assert len(looks) == 2


def test_without_its_set_nobody_can_say_what_is_restricted(installation: Installation, vault: Vault) -> None:
    erase(vault)
    with installation.tampering() as connection:
        connection.execute("DELETE FROM vault.selection")
    selections._known.clear()
    with pytest.raises(Missing):
        _read(vault, "dec-4")


def test_a_grant_of_before_there_were_duties_holds(vault: Vault, anna: Actor, olaf: Actor) -> None:
    grant = granted(vault, anna, olaf, ["cn"])
    assert "duty" not in last(vault, "grant.requested").facts
    assert vault.register.standing().grants[grant.id].scope.duty == ""
    dutiful = granted(vault, anna, olaf, ["cn"], duty="court-order")
    assert last(vault, "grant.requested").facts["duty"] == "court-order"
    assert vault.register.standing().grants[dutiful.id].scope.duty == "court-order"
    assert canonical.is_word("court-order")


@pytest.mark.parametrize("duty", ["two words", "x" * 65, "é"])
def test_a_duty_is_a_word(vault: Vault, anna: Actor, olaf: Actor, duty: str) -> None:
    with pytest.raises(UsageError, match="word"):
        granted(vault, anna, olaf, ["cn"], duty=duty)
    with pytest.raises(UsageError, match="word"):
        _read(later(vault, 0), duty=duty)


def test_over_http_a_duty_is_part_of_the_grant(installation: Installation) -> None:
    with installation.opened() as vault:
        erase(vault)
    with serving(installation, workers=1) as service:
        anna, olaf = service.people()
        plain = service.granted(anna, olaf, "cn")
        path = "/v1/ledgers/cn/records/dec-3"
        closed = service.client.get(path, params={"grant": plain}, headers=bearer(anna))
        assert (closed.status_code, "restricted" in closed.json()["detail"]) == (403, True)
        found = service.client.get("/v1/ledgers/cn/records", params={"customer": "cus-3"}, headers=bearer(anna)).json()
        assert found["records"] == []
        dutiful = service.granted(anna, olaf, "cn", duty="court-order")
        opened = service.client.get(path, headers=bearer(anna))
        assert (opened.status_code, opened.json()["grant"]) == (200, dutiful)
        listed = service.client.get("/v1/grants", headers=bearer(anna)).json()["grants"]
        assert {one["grant"]: one["duty"] for one in listed} == {plain: None, dutiful: "court-order"}
