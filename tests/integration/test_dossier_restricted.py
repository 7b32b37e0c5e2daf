"""The dossier of restricted records, and of records that the index gives to the wrong conversation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.dossier import kind as dossier
from reports.dossier.collect import collect_dossier
from reports.dossier.model import Dossier
from reports.issue import issue as issue_report
from reports.kind import Wanted
from reports.period import period_of
from retention.requests import request_erasure
from service import wiring
from tests.support.acting import granted, happened, hire, last
from tests.support.evidence import PURPOSE
from tests.support.vault import Installation
from vault import ledgers
from vault.context import Actor, Vault
from vault.core.errors import Denied


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


def _wanted(vault: Vault, **options: Any) -> Wanted:
    book, ledger = wiring.rule_book(vault), ledgers.get(vault, "cn")
    return Wanted(ledger, book, period_of(book, ledger.genesis.jurisdictions, None, None), PURPOSE, options=options)


def _collect(vault: Vault, folder: Path) -> Dossier:
    folder.mkdir()
    return collect_dossier(vault, _wanted(vault, conversation="conv-2"), folder, "do-test", lambda *_: None).dossier


def _erase(vault: Vault, customer: str) -> None:
    named = [ledgers.get(vault, "cn")]
    request_erasure(vault, ledgers=named, customer=customer, reason="letter of 3 May", random=os.urandom)


def test_restricted_records_are_opened_for_a_duty_only(vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path) -> None:
    granted(vault, anna, olaf, ["cn"])
    _erase(vault, "cus-5")  # dec-5 is of conv-2; dec-4 is somebody else's
    found = _collect(vault.acting(anna), tmp_path / "one")
    assert ([step.seq for step in found.steps], found.closed) == ([4], 1)
    assert b"Flight 5 was" not in (tmp_path / "one" / "records.jsonl").read_bytes()
    _erase(vault, "cus-4")
    before = len(happened(vault, "records.opened"))
    with pytest.raises(Denied, match="restricted"):
        _collect(vault.acting(anna), tmp_path / "two")
    assert last(vault, "access.denied").facts["code"] == "restricted"
    assert len(happened(vault, "records.opened")) == before
    duty = granted(vault, anna, olaf, ["cn"], duty="court-order")
    found = _collect(vault.acting(anna), tmp_path / "three")
    assert ([step.seq for step in found.steps], found.closed, found.grants) == ([4, 5], 0, (duty.id,))
    assert last(vault, "records.opened").facts["duty"] == "court-order"


def test_an_erasure_that_is_asked_for_meanwhile_hands_out_nothing(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reports import issue

    granted(vault, anna, olaf, ["cn"])
    made, folder = issue.render, tmp_path / "out"
    folder.mkdir()

    def render(*arguments: Any) -> Any:
        _erase(vault, "cus-5")
        return made(*arguments)

    monkeypatch.setattr(issue, "render", render)
    with pytest.raises(Denied, match="restricted"):
        issue_report(vault.acting(anna), dossier.KIND, _wanted(vault, conversation="conv-2"), folder / "made.pdf")
    assert (list(folder.iterdir()), happened(vault, "report.issued")) == ([], [])


def test_a_record_says_itself_which_conversation_it_is_of(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    granted(vault, anna, olaf, ["cn"])
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.sealed SET conversation_tag = there.conversation_tag FROM vault.sealed AS there "
            "WHERE sealed.ledger_id = there.ledger_id AND there.seq = 4 AND sealed.seq = 9"
        )
    found = _collect(vault.acting(anna), tmp_path / "one")
    assert ([step.seq for step in found.steps], found.strangers) == ([4, 5], 1)
    assert b"Flight 9 was" not in (tmp_path / "one" / "records.jsonl").read_bytes()
