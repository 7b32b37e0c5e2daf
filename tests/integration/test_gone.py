"""Everybody who meets a destroyed record: readers, producers, searchers, holders of receipts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from reasonvault_client import answers, errors

from tests.support.acting import granted, hire, last
from tests.support.decisions import as_file, decision, spelled
from tests.support.disposing import DISPOSAL, Staged, delete_rows
from tests.support.serving import Service, bearer, serving
from tests.support.vault import Installation
from vault import events, ledgers, reading, search
from vault import receipts as receipts_again
from vault.context import Vault
from vault.core import receipt
from vault.core.destruction import Destruction
from vault.core.errors import Destroyed, EvidenceError, Missing, Unknown
from vault.core.note import VerifierKey
from vault.search import Wanted

SEQS = range(3, 9)
UNEXPLAINED = range(20, 22)
WORDS = f"this record was destroyed by policy on 20\\d\\d-\\d\\d-\\d\\d, disposal {DISPOSAL}"


@pytest.fixture
def gone(installation: Installation) -> Installation:
    """A vault in which some records of "cn" were destroyed, and two others deleted by hand."""
    with installation.opened() as vault:
        staged = Staged.begin(vault, "cn", SEQS)
        staged.run()
        delete_rows(installation, staged.ledger, [*SEQS, *UNEXPLAINED])
    return installation


@pytest.fixture(scope="module")
def service(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with built.copied(tmp_path_factory.mktemp("gone") / "home") as copy:
        with copy.opened() as vault:
            staged = Staged.begin(vault, "cn", SEQS)
            staged.run()
            delete_rows(copy, staged.ledger, [*SEQS, *UNEXPLAINED])
        with serving(copy, workers=1, logins_per_minute=100_000) as started:
            yield started


def test_show_says_when_and_by_which_disposal_and_ends_with_a_code_of_its_own(gone: Installation) -> None:
    shown = gone.run("show", "dec-4", "--ledger", "cn", "--purpose", "a look", "--json")
    assert shown.exit_code == 6
    assert json.loads(shown.stdout)["exit_code"] == 6
    assert DISPOSAL in json.loads(shown.stdout)["error"]
    with gone.opened() as vault:
        told = last(vault, "record.gone")
    assert (told.facts["seq"], told.facts["disposal"]) == (4, DISPOSAL)


def test_a_record_that_was_deleted_by_hand_is_missing_to_its_reader(gone: Installation) -> None:
    shown = gone.run("show", "dec-20", "--ledger", "cn", "--purpose", "a look")
    assert shown.exit_code == 11
    with gone.opened() as vault:
        assert last(vault, "record.unsound").facts["verdict"] == "missing"


def test_an_auditor_hears_of_it_only_under_a_grant_that_would_have_shown_it_for_certain(gone: Installation) -> None:
    with gone.opened() as vault:
        anna, olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
        cn = ledgers.get(vault, "cn")
        narrow = granted(vault, anna, olaf, ["cn"], classes=("payment",))
        with pytest.raises(Unknown):
            reading.read(vault.acting(anna), cn, "dec-4", "", narrow.id)
        assert last(vault, "access.denied").facts["code"] == "scope"
        masked = granted(vault, anna, olaf, ["cn"], fields="masked")
        with pytest.raises(Destroyed, match=WORDS):
            reading.read(vault.acting(anna), cn, "dec-4", "", masked.id)
        assert last(vault, "record.gone").facts["grant"] == masked.id
        with pytest.raises(Missing):
            reading.read(vault.acting(anna), cn, "dec-20", "", masked.id)


def test_a_search_never_finds_it(gone: Installation) -> None:
    with gone.opened() as vault:
        anna, olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
        granted(vault, anna, olaf, ["cn"])
        cn = ledgers.get(vault, "cn")
        found = search.search(vault.acting(anna), cn, Wanted(limit=500)).rows
        assert {row.seq for row in found} == set(range(1, 182)) - set(SEQS) - set(UNEXPLAINED)
        assert search.search(vault.acting(anna), cn, Wanted(record="dec-4")).rows == []
        assert search.search(vault.acting(anna), cn, Wanted(conversation="conv-2")).rows == []


def test_its_receipt_is_given_again_without_the_opening_and_verifies(gone: Installation) -> None:
    with gone.opened() as vault:
        cn = ledgers.get(vault, "cn")
        (_, dead), (_, living) = receipts_again.again(vault, cn, [4, 10])
        keys, origin = [vault.checkpoints.verifier(cn.id)], vault.checkpoints.origin(cn.id)
        for one in (dead, living):
            receipt.verify(one, None, keys, origin)
        assert "opening" not in json.loads(dead)
        assert "opening" in json.loads(living)


def test_an_ingest_that_repeats_it_says_gone_and_takes_the_receipt_home(gone: Installation, tmp_path: Path) -> None:
    file = tmp_path / "again.jsonl"
    file.write_bytes(as_file([(number, spelled(decision(number))) for number in (4, 10, 20)]))
    run = gone.run("ingest", str(file), "--ledger", "cn", "--receipts", str(tmp_path / "r.jsonl"), "--json")
    assert run.exit_code == 3
    assert json.loads(run.stdout) == {"accepted": 0, "duplicate": 1, "conflicting": 0, "refused": 2}
    refused = [json.loads(line) for line in (tmp_path / "again.jsonl.refused.jsonl").read_text().splitlines()]
    assert [(one["code"], one["reason"].rpartition(" that ")[2]) for one in refused] == [
        ("gone", "was destroyed by policy"),
        ("gone", "is not there any more: verify the ledger"),
    ]
    given = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [(one["line"], "opening" in one["receipt"]) for one in given] == [(1, False), (2, True), (3, False)]


def test_while_its_envelope_still_stands_there_it_is_gone_as_well(installation: Installation) -> None:
    with installation.opened() as vault:
        cn = ledgers.get(vault, "cn")
        staged = Staged.begin(vault, "cn", SEQS)
        staged.plan()
        for officer in staged.officers:
            staged.approve(officer)
        staged.intend()
        staged.destroy()
        assert reading.read(vault, cn, "dec-4", "until its key is dead").raw == spelled(decision(4))
        staged.kill()
        with pytest.raises(Destroyed, match=WORDS):
            reading.read(vault, cn, "dec-4", "its envelope stands there")
        assert reading.read(vault, cn, "dec-10", "not of this disposal").raw == spelled(decision(10))
        ((_, given),) = receipts_again.again(vault, cn, [4])
        assert "opening" not in json.loads(given)


def test_whoever_asks_again_and_again_has_signatures_verified_once(
    gone: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def gone_again(vault: Vault) -> None:
        with pytest.raises(Destroyed):
            reading.read(vault, ledgers.get(vault, "cn"), "dec-4", "a look")

    with gone.opened() as vault:
        gone_again(vault)
        monkeypatch.setattr(Destruction, "why_not", lambda told, tenant: looked.append(told.disposal.id))
        for _ in range(3):
            gone_again(vault)
        assert looked == []
        moved = {"from": "x", "to": "open.0", "selection": "", "count": 0, "for": "t"}
        events.record(vault, "keys.moved", {"ledger": str(ledgers.get(vault, "cn").id), **moved})
        with pytest.raises(EvidenceError):
            reading.read(vault, ledgers.get(vault, "cn"), "dec-4", "a look")
        assert looked != [], "what it rests on changed"


def test_over_http_it_is_410(service: Service) -> None:
    anna, olaf = service.people()
    service.granted(anna, olaf, "cn")
    answer = service.client.get("/v1/ledgers/cn/records/dec-4", headers=bearer(anna))
    found = answer.json()
    assert (answer.status_code, found["type"]) == (410, "urn:reasonvault:problem:record-gone")
    assert DISPOSAL in found["detail"]
    missing = service.client.get("/v1/ledgers/cn/records/dec-20", headers=bearer(anna))
    assert (missing.status_code, missing.json()["type"]) == (503, "urn:reasonvault:problem:evidence")
    (event,) = service.events(olaf, "record.gone")
    assert event["facts"]["disposal"] == DISPOSAL


def test_a_producer_that_sends_it_again_gets_410_and_the_receipt_less_the_opening(service: Service) -> None:
    key = service.producer("psp-1", "cn")
    view = service.client.get("/v1/ledgers/cn", headers=bearer(key)).json()
    raw = spelled(decision(4))
    answer = service.append("cn", key, raw)
    found = answer.json()
    assert (answer.status_code, found["code"]) == (410, "gone")
    assert "opening" not in found["receipt"]
    receipt.verify(json.dumps(found["receipt"]).encode(), None, [VerifierKey.parse(view["verifier"])], view["origin"])
    told = answers.error_of(410, answers.read_problem(answer.headers["content-type"], answer.content))
    assert isinstance(told, errors.Gone)
    headers = {**bearer(key), "Content-Type": "application/x-ndjson"}
    body = raw + b"\n" + spelled(decision(10)) + b"\n"
    lines = service.client.post("/v1/ledgers/cn/records/batch", content=body, headers=headers).text.splitlines()
    first, second = (json.loads(line) for line in lines)
    assert (first["status"], second["status"]) == (410, 200)
    assert first["problem"]["receipt"]["leaf"] == found["receipt"]["leaf"]
    line = answers.read_line(lines[0].encode())
    assert isinstance(answers.error_of(line.status, line.problem), errors.Gone)
