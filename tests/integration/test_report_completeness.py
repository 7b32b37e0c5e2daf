"""The completeness report against a vault: exact figures, files, and that a list that is wrong opens nothing."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pypdfium2
import pytest

from reports.completeness import movements
from reports.completeness.model import CompletenessReport
from reports.figures import Money
from reports.issue import Issued, issue
from reports.kind import Collected, Wanted
from reports.kinds import kind_of
from reports.period import period_of
from service import wiring
from tests.support.acting import granted, happened, hire, last
from tests.support.decisions import decision, spelled
from tests.support.evidence import PURPOSE, attachments, told
from tests.support.vault import RECORDS, Installation
from vault import ledgers
from vault.context import Vault
from vault.core.canonical import b64
from vault.core.errors import Denied, UsageError

CN = RECORDS["cn"]
PAID = {"action": "refund", "outcome": "accepted", "money_moved": True}
FORMULA = "=1+1"
HEAD = "transaction_id,amount,currency,moved_at\n"
AT = "2026-01-10T09:00:00+08:00"


def _decided(number: int, sent: int, **decided: Any) -> dict[str, Any]:
    return decision(
        number,
        producer_seq=sent,
        conversation_id=f"talk-{number}",
        decision=PAID | {"transaction_id": f"txn-{number}"} | decided,
    )


MORE = (
    _decided(901, 1, executed={"amount": "4201.5", "currency": "CNY"}),
    _decided(902, 2, outcome="rejected", money_moved=False),
    _decided(903, 5, executed={"amount": "7", "currency": "CNY"}, transaction_id=FORMULA),  # 3 and 4 are missing
    decision(904, producer_seq=6, conversation_id="talk-904", decision=PAID),  # neither amount nor transaction
)
CONFLICT = decision(5, prompt="another story under the same id")
UNLISTED = (7, 8)
"""Transactions of ledger cn that the list lacks, beside those of 903 and 904."""


def _list() -> str:
    rows = [f"txn-{at},{at}.50,CNY,{AT}" for at in range(1, CN + 1) if at not in (*UNLISTED, 9, 10, 11)]
    rows += [f"txn-9,9.5,CNY,{AT}", f"txn-10,1234567.891,CNY,{AT}", f"txn-11,11.50,USD,{AT}"]
    rows += [f"txn-12,12.50,CNY,{AT}", f"txn-901,4200,CNY,{AT}", f"txn-902,1,CNY,{AT}"]
    rows += [f"gone-1,5,CNY,{AT}", f"gone-2,2000.5,CNY,{AT}", f"gone-3,3,USD,{AT}"]
    return HEAD + "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def grown(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with built.copied(tmp_path_factory.mktemp("completeness") / "home") as site:
        results = site.ingest("cn", list(enumerate(map(spelled, MORE), 1)), "psp-2")
        assert [result.status.value for result in results] == ["accepted"] * len(MORE)
        (conflict,) = site.ingest("cn", [(1, spelled(CONFLICT))])
        assert conflict.status.value == "conflicting"
        yield site


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("list") / "movements.csv"
    path.write_text(_list())
    return path


def _wanted(vault: Vault, listed: Path, first: date | None = None, end: date | None = None, **options: Any) -> Wanted:
    book, ledger = wiring.rule_book(vault), ledgers.get(vault, "cn")
    period = period_of(book, ledger.genesis.jurisdictions, first, end)
    return Wanted(ledger, book, period, PURPOSE, options={"movements": listed, **options})


def _collected(site: Installation, listed: Path, folder: Path, *period: date, **options: Any) -> Collected:
    folder.mkdir(exist_ok=True)
    with site.opened() as vault:
        wanted = _wanted(vault, listed, *period, **options)
        return kind_of("completeness").collect(vault, wanted, folder, "co-1", lambda *_: None)


@pytest.fixture(scope="module")
def issued(grown: Installation, listed: Path, tmp_path_factory: pytest.TempPathFactory) -> Issued:
    with grown.opened() as vault:
        return issue(
            vault, kind_of("completeness"), _wanted(vault, listed), tmp_path_factory.mktemp("made") / "made.pdf"
        )


def test_every_movement_and_every_record_comes_to_its_place(issued: Issued) -> None:
    model: CompletenessReport = issued.collected.model
    listed = CN - len(UNLISTED) + 6
    assert (model.movements, model.outside) == (listed, 0)
    assert model.states == {"unlogged": 3, "denied": 1, "mismatched": 3, "matched": listed - 7}
    assert [(one.transaction_id, one.logged) for one in model.mismatched] == [
        ("txn-10", "CNY 10.50"),
        ("txn-11", "CNY 11.50"),
        ("txn-901", "CNY 4,201.50"),
    ]
    assert [one.record_id for one in model.denied] == ["dec-902"]
    assert model.unlogged_sums == ((Money(Decimal("2005.5"), "CNY"), 2), (Money(Decimal(3), "USD"), 1))
    assert [(one.record_id, one.transaction_id) for one in model.unlisted] == [
        ("dec-7", "txn-7"),
        ("dec-8", "txn-8"),
        ("dec-903", FORMULA),
        ("dec-904", None),
    ]
    assert model.unlisted_sums == ((Money(Decimal("23"), "CNY"), 3),)
    assert (model.counts["repeated"], model.repeated[0].transaction_id, model.repeated[0].count) == (1, "txn-12", 2)
    assert model.counts["doubled"] == CN // 2, "of the vault's conversations each has two movements in one step"
    assert model.doubled[0].movements == 2
    assert issued.collected.verdict == "OK"


def test_what_the_vault_knows_to_be_missing(issued: Issued) -> None:
    model: CompletenessReport = issued.collected.model
    assert (model.refusals.open, model.conflicts, model.sequences.missing) == (1, 1, 2)
    assert [(one.producer, one.missing, one.gaps) for one in model.sequences.producers if one.missing] == [
        ("psp-2", 2, ((3, 4),))
    ]
    assert (model.kept, model.known_missing) == (CN + len(MORE), 4)
    document = issued.collected.document
    assert document["completeness"] == float(model.states["matched"] + 3) / model.movements
    assert (document["open_refusals"], document["conflicts"], document["missing_numbers"]) == (1, 1, 2)


def test_the_event_names_the_list_and_the_access_came_first(grown: Installation, issued: Issued, listed: Path) -> None:
    digest = hashlib.sha256(listed.read_bytes()).digest()
    (event,) = [one for one in told(grown, "report.issued") if one.facts["report"] == issued.report]
    (access,) = [one for one in told(grown, "records.opened") if one.seq < event.seq]
    assert {name: event.facts[name] for name in ("kind", "list", "movements", "count")} == {
        "kind": "completeness",
        "list": b64(digest),
        "movements": issued.collected.model.movements,
        "count": CN + len(MORE),
    }
    assert access.facts["count"] == CN + len(MORE)
    assert issued.collected.document["list_sha256"] == digest.hex()


def test_attachments_have_plain_amounts_and_run_nothing(issued: Issued) -> None:
    files = attachments(issued.path)
    rows = [json.loads(line) for line in files["mismatched.jsonl"].splitlines()]
    assert [(row["amount"], row["logged_amount"]) for row in rows] == [
        ("1234567.891", "10.5"),
        ("11.5", "11.5"),
        ("4200", "4201.5"),
    ]
    table = list(csv.DictReader(io.StringIO(files["unlisted.csv"].decode(), newline="")))
    assert [row["transaction_id"] for row in table] == ["txn-7", "txn-8", "'" + FORMULA, ""]
    exact = [json.loads(line)["transaction_id"] for line in files["unlisted.jsonl"].splitlines()]
    assert exact == ["txn-7", "txn-8", FORMULA, None]
    population = [json.loads(line) for line in files["records.jsonl"].splitlines()]
    assert [line["seq"] for line in population][:CN] == list(range(1, CN + 1))
    everything = b"".join(files.values())
    assert b"was cancelled" not in everything, "no prompt leaves the vault here"
    assert b"gone-1" in files["unlogged.jsonl"]
    assert not any(name.startswith("movements") for name in files), "the list is the payment system's"


def test_amounts_stand_on_the_pages_as_people_write_them(issued: Issued) -> None:
    document = pypdfium2.PdfDocument(issued.path)
    text = "\n".join(page.get_textpage().get_text_bounded() for page in document)
    document.close()
    for amount in ("CNY 1,234,567.891", "CNY 4,200.00", "CNY 4,201.50", "CNY 2,000.50", "CNY 2,005.50 (2)", "USD 3.00"):
        assert amount in text
    assert "CNY 4200" not in text


def test_a_period_counts_its_own_and_matches_beyond_it(grown: Installation, tmp_path: Path) -> None:
    """Record dec-3 occurred on the 4th, dec-10 on the 11th, in Shanghai."""
    path = tmp_path / "list.csv"
    days = ("2026-01-05T10:00:00+08:00", "2026-01-09T23:59:59+08:00", "2026-01-10T00:00:00+08:00")
    path.write_text(HEAD + "".join(f"txn-{at},{at}.50,CNY,{day}\n" for at, day in zip((3, 10, 4), days, strict=True)))
    period = date(2026, 1, 5), date(2026, 1, 10)
    model: CompletenessReport = _collected(grown, path, tmp_path / "with", *period).model
    assert (model.states["matched"], model.outside, model.grace_days) == (2, 1, 7)
    assert (model.refusals.open, model.conflicts) == (1, 1), "over the whole ledger"
    strict: CompletenessReport = _collected(grown, path, tmp_path / "without", *period, grace=0).model
    assert (strict.states["matched"], strict.states["unlogged"]) == (1, 1)
    assert strict.counts["unlisted"] == model.counts["unlisted"], "what lies before the period is no finding"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD + f"txn-1,1.50,CNY,{AT}\nLi Wei 6222,x,CNY,{AT}\n", "line 3: amount"),
        (HEAD.replace("amount", "amuont") + f"txn-1,1.50,CNY,{AT}\n", "line 1: a column that nothing knows"),
        ("", "line 1: transaction_id is missing"),
    ],
    ids=["an amount", "a column", "empty"],
)
def test_a_list_that_cannot_be_read_opens_nothing(grown: Installation, tmp_path: Path, text: str, says: str) -> None:
    path, out = tmp_path / "list.csv", tmp_path / "made.pdf"
    path.write_text(text)
    before = grown.size("events")
    asked = ("--ledger", "cn", "--movements", str(path), "--purpose", PURPOSE, "-o", str(out))
    refused = grown.run("report", "completeness", *asked)
    assert refused.exit_code == 2
    assert says in refused.output
    assert "Li Wei" not in refused.output
    assert "Traceback" not in refused.output
    assert grown.size("events") == before
    assert [one.name for one in tmp_path.iterdir()] == ["list.csv"]


def test_a_list_that_changes_while_it_is_read_opens_nothing(
    grown: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(_list())
    read = movements.read

    def changing(listed: Path) -> Iterator[movements.Movement]:
        yield from read(listed)
        listed.write_text(_list() + f"late-1,1,CNY,{AT}\n")

    monkeypatch.setattr(movements, "read", changing)
    before = grown.size("events")
    with pytest.raises(UsageError, match="changed while it was read"):
        _collected(grown, path, tmp_path / "work")
    assert grown.size("events") == before


def test_it_needs_a_list(grown: Installation, tmp_path: Path) -> None:
    before = grown.size("events")
    with grown.opened() as vault:
        wanted = replace(_wanted(vault, tmp_path), options={})
        with pytest.raises(UsageError, match="--movements FILE"):
            kind_of("completeness").collect(vault, wanted, tmp_path, "co-1", lambda *_: None)
    assert grown.size("events") == before


def test_an_auditor_needs_a_grant_of_the_whole_ledger(grown: Installation, listed: Path, tmp_path: Path) -> None:
    kind = kind_of("completeness")
    with grown.opened() as vault:
        anna, olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
        before = len(happened(vault, "records.opened"))
        for match in ("no grant", "whole ledger"):
            with pytest.raises(Denied, match=match):
                issue(vault.acting(anna), kind, _wanted(vault, listed), tmp_path / "made.pdf")
            assert last(vault, "access.denied").actor == anna.name
            granted(vault, anna, olaf, ["cn"], fields="masked")
        with pytest.raises(Denied):
            kind.require(vault.acting(olaf), ledgers.get(vault, "cn"))
        with pytest.raises(Denied):
            issue(vault.acting(olaf), kind, _wanted(vault, listed), tmp_path / "made.pdf")
        assert len(happened(vault, "records.opened")) == before
    assert list(tmp_path.iterdir()) == []


def test_records_that_do_not_open_are_no_movements_and_are_said(
    installation: Installation, listed: Path, tmp_path: Path
) -> None:
    with installation.tampering() as connection:
        cn = installation.ledger("cn")
        damage = "UPDATE vault.sealed SET envelope = sha256('x') WHERE ledger_id = %s AND seq IN (20, 21)"
        assert connection.execute(damage, [cn]).rowcount == 2
    found = _collected(installation, listed, tmp_path / "work")
    model: CompletenessReport = found.model
    assert found.verdict == "MODIFIED"
    assert model.basis.unopened == 2
    assert {"txn-20", "txn-21"} <= {one.transaction_id for one in model.unlogged}
    assert not {"dec-20", "dec-21"} & {one.record_id for one in model.unlisted}
    assert "" not in {one.conversation for one in model.doubled}
