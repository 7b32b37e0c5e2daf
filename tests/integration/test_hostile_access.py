"""Access against people who mean harm: what a grant opens, what search and report let through, who is kept out."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.support.acting import granted, happened, hire, last
from tests.support.decisions import decision, spelled
from tests.support.vault import Installation
from vault import ledgers, reading, register, search
from vault.context import Actor, Vault
from vault.core import packing
from vault.core.errors import Denied, EvidenceError, Forked, Modified, Unknown, UsageError
from vault.core.masking import MASKED
from vault.core.standing import Standing
from vault.register import Register
from vault.search import Page, Wanted


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


def test_ledgers_that_traded_their_names_open_nothing(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor
) -> None:
    granted(vault, anna, olaf, ["sg"])
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.ledger SET name = CASE name WHEN 'cn' THEN 'sg' ELSE 'cn' END WHERE name IN ('cn', 'sg')"
        )
    for name in ("cn", "sg"):
        with pytest.raises(Modified, match="row is not what its genesis leaf says"):
            ledgers.get(vault, name)
    with pytest.raises(Modified):
        ledgers.listing(vault)


def test_a_row_and_a_genesis_leaf_that_agree_are_not_enough(installation: Installation, vault: Vault) -> None:
    """Both lie in the database; the announcement is a chained event."""
    cn = installation.ledger("cn")
    genesis = ledgers.genesis_bytes(vault, cn).replace(b'"name":"cn"', b'"name":"xx"')
    with installation.tampering() as connection:
        connection.execute("UPDATE vault.ledger SET name = 'xx' WHERE ledger_id = %s", [cn])
        connection.execute(
            "UPDATE vault.entry SET leaf = %s WHERE ledger_id = %s AND seq = 0", [packing.pack(genesis), cn]
        )
    with pytest.raises(Forked, match="not the one that was announced"):
        ledgers.get(vault, "xx")


@pytest.mark.parametrize("column", ["kind", "tenant"])
def test_neither_kind_nor_tenant_is_believed(installation: Installation, vault: Vault, column: str) -> None:
    told = {"kind": "events", "tenant": "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"}[column]
    with installation.tampering() as connection:
        connection.execute(f"UPDATE vault.ledger SET {column} = %s WHERE name = 'cn'", [told])
    with pytest.raises(Modified):
        ledgers.listing(vault)


@pytest.mark.parametrize("lead", ["", "1\n", "2\n"])
def test_what_an_older_version_remembered_is_read_again(
    installation: Installation, vault: Vault, monkeypatch: pytest.MonkeyPatch, lead: str
) -> None:
    """It knows no ledgers, and would have every genesis leaf pass for one that was never announced."""
    monkeypatch.setattr(register, "_WORTH", 1)
    true = _followed(vault)
    assert set(true.ledgers) == {str(installation.ledger(name)) for name in ("cn", "sg")}
    text = vault.checkpoints.recall(vault.events, "standing")
    assert text is not None
    _, peaks, document = text.splitlines()
    older = json.loads(msgspec.json.encode(register.unpacked(document)))  # it was not packed then
    del older["ledgers"]
    spelled_older = urlsafe_b64encode(json.dumps(older).encode()).decode()
    vault.checkpoints.remember(vault.events, "standing", f"{lead}{peaks}\n{spelled_older}\n")
    assert _followed(vault) == true


def _followed(vault: Vault) -> Standing:
    """Return the standing as a process that has just begun comes to know it."""
    return Register(vault.engine, vault.checkpoints, vault.events, lambda _tickets: None).standing()


PHONE, PERSON = "+8613800138000", "Li Wei 13800138000"


def _search(vault: Vault, who: Actor, **terms: Any) -> Page:
    return search.search(vault.acting(who), ledgers.get(vault, "cn"), Wanted(**terms))


def test_a_search_shows_no_more_than_reading_under_the_same_grant(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor
) -> None:
    planted = decision(901, id=PHONE, model={"served": PERSON}, occurred_at="2026-03-01T00:00:00Z")
    assert [one.code for one in installation.ingest("cn", [(1, spelled(planted))])] == [""]
    granted(vault, anna, olaf, ["cn"], fields="masked")
    page = _search(vault, anna, limit=500)
    (hidden,) = [row for row in page.rows if row.facets.record_id == MASKED]
    assert (hidden.facets.model, hidden.facets.record_class, hidden.api) == (MASKED, "payment", "payment_intelligence")
    words = repr(page)
    for secret in (PHONE, PERSON, "Li Wei"):
        assert secret not in words
    assert {row.facets.record_id for row in page.rows} > {"dec-1", "dec-2"}
    granted(vault, anna, olaf, ["cn"])
    assert PHONE in {row.facets.record_id for row in _search(vault, anna, limit=500).rows}


@pytest.mark.parametrize(
    "guess",
    [
        {"customer": "cus-1"},
        {"customer": "nobody"},
        {"transaction": "txn-3"},
        {"conversation": "+8613800138000"},
        {"conversation": "Li Wei"},
        {"model": PERSON},
    ],
)
def test_a_masked_grant_confirms_no_guess(vault: Vault, anna: Actor, olaf: Actor, guess: dict[str, str]) -> None:
    grant = granted(vault, anna, olaf, ["cn"], fields="masked")
    with pytest.raises(Denied, match="shows everything"):
        _search(vault, anna, **guess)
    assert happened(vault, "records.searched") == []
    told = last(vault, "access.denied")
    assert (told.facts["code"], told.facts["grant"], told.actor) == ("fields", grant.id, anna.name)
    for shown in ({"conversation": "conv-1"}, {"model": "qwen-max-1"}, {"record": "dec-1"}):
        assert _search(vault, anna, **shown).rows


def test_terms_that_cannot_be_say_nothing_of_the_ledger(vault: Vault) -> None:
    operator = hire(vault, "otto", "operator")
    for ledger in (None, ledgers.get(vault, "cn")):
        with pytest.raises(UsageError, match="api is one of"):
            search.search(vault.acting(operator), ledger, Wanted(api="no such"))
        with pytest.raises(Denied, match="the role auditor is missing"):
            search.search(vault.acting(operator), ledger, Wanted())


def test_nobody_without_a_grant_is_told_that_a_record_is_damaged(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor
) -> None:
    """Else the answer would tell which ids there are; and nothing of the record is looked at."""
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.sealed SET model = 'x' WHERE seq = 3 AND ledger_id = %s", [installation.ledger("cn")]
        )
    for who in (anna, hire(vault, "otto", "operator")):
        said = []
        for record_id in ("dec-3", "dec-99999"):
            with pytest.raises(Denied) as refused:
                reading.read(vault.acting(who), ledgers.get(vault, "cn"), record_id, "")
            said.append(str(refused.value))
            assert last(vault, "access.denied").facts.keys() == {"act", "code", "ledger", "id_tag", "break_glass"}
        assert said[0] == said[1]
    assert happened(vault, "record.unsound") == []
    assert len(happened(vault, "access.denied")) == 4
    granted(vault, anna, olaf, ["cn"])
    with pytest.raises(EvidenceError):
        reading.read(vault.acting(anna), ledgers.get(vault, "cn"), "dec-3", "")
    with pytest.raises(Unknown):
        reading.read(vault.acting(anna), ledgers.get(vault, "cn"), "dec-99999", "")
