"""The threshold and the cost report against a vault: figures, files, who may have them, what a damaged ledger says."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from reports import gathering
from reports.cost.collect import collect_cost
from reports.cost.model import CostReport
from reports.figures import Money
from reports.issue import Issued
from reports.issue import issue as issue_report
from reports.kind import Wanted
from reports.kinds import kind_of
from reports.period import period_of
from reports.threshold.collect import collect_threshold
from reports.threshold.model import ThresholdReport
from service import wiring
from tests.support.acting import granted, happened, hire
from tests.support.decisions import decision, spelled
from tests.support.evidence import PURPOSE, attachments, told
from tests.support.vault import RECORDS, Installation
from vault import ledgers
from vault.context import Vault
from vault.core.errors import Denied
from vault.core.tree import leaf_hash
from vault.proving import prove

CN = RECORDS["cn"]
BELOW = [number for number in range(1, CN + 1) if 0.5 + number % 50 / 100 < 0.75]
LATER = [907, 908, 909]  # of `MORE`: also below, and nobody reviewed them
LOW = {"score": 0.2, "threshold": 0.75}
UNMOVED = {"action": "refund", "outcome": "human_review", "money_moved": False}
NO_AI = dict.fromkeys(("prompt", "response", "model", "confidence"))
FORMULA = '=HYPERLINK("http://127.0.0.1:9")'


def _review(number: int, of: str, agreed: bool, **changes: Any) -> dict[str, Any]:
    said = {"reviewer": "staff-7", "agreed": agreed, "decided_at": "2026-01-01T08:01:12+08:00"}
    relations = [{"kind": "review_of", "id": of}]
    return decision(number, api="human_review", review=said, relates_to=relations, decision=UNMOVED, **NO_AI | changes)


def _fee(amount: str, **usage: Any) -> dict[str, Any]:
    return {"input_tokens": 10, "output_tokens": 5, "cost": {"amount": amount, "currency": "USD"}, **usage}


MORE = (
    decision(901, confidence=LOW, occurred_at="2026-01-01T08:00:12+08:00"),
    _review(902, "dec-901", True),
    decision(903, confidence=LOW),
    _review(904, "dec-903", False),
    decision(905, confidence={"threshold": 0.75}, id=FORMULA, decision={**decision(905)["decision"], "executed": None}),
    decision(
        906, confidence={"score": 0.3}, decision={"action": "refund", "outcome": "rejected", "money_moved": False}
    ),
    decision(907, usage=_fee("0.02")),
    decision(908, usage=_fee("0.01", batch={"id": "b-1", "discount": 0.5})),
    decision(909, usage=_fee("0", cached_tokens=10, cache={"hit": True, "key": "k"}), timing=None),
    decision(
        910,
        api="non_ai_bypass",
        decision={**decision(910)["decision"], "reason": "small", "outcome": "deterministic_rule"},
        timing={"total_ms": 3},
        **NO_AI,
    ),
)


@pytest.fixture(scope="module")
def grown(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with built.copied(tmp_path_factory.mktemp("figures") / "home") as site:
        results = site.ingest("cn", list(enumerate(map(spelled, MORE), 1)))
        assert [result.status.value for result in results] == ["accepted"] * len(MORE)
        yield site


def _wanted(vault: Vault, **options: Any) -> Wanted:
    book, ledger = wiring.rule_book(vault), ledgers.get(vault, "cn")
    return Wanted(ledger, book, period_of(book, ledger.genesis.jurisdictions, None, None), PURPOSE, options=options)


def _issue(site: Installation, kind: str, out: Path, **options: Any) -> Issued:
    with site.opened() as vault:
        return issue_report(vault, kind_of(kind), _wanted(vault, **options), out)


@pytest.fixture(scope="module")
def threshold(grown: Installation, tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return _issue(grown, "threshold", tmp_path_factory.mktemp("threshold") / "made.pdf")


@pytest.fixture(scope="module")
def cost(grown: Installation, tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return _issue(grown, "cost", tmp_path_factory.mktemp("cost") / "made.pdf")


def test_decisions_below_their_threshold_by_what_became_of_them(threshold: Issued) -> None:
    model: ThresholdReport = threshold.collected.model
    assert (model.decisions, model.others, model.unusable) == (CN + 7, 3, 1)
    assert (model.alone.executed, model.alone.held) == (len(BELOW) + 4, 1)
    assert (model.overruled.executed, model.agreed.executed) == (1, 1)
    assert (model.exceptions, model.without_amount, model.defaulted) == (len(BELOW) + 5, 1, 1)
    expected = sum(Decimal(number) + Decimal("0.5") for number in [*BELOW, 903, *LATER])
    assert model.sums == ((Money(expected, "CNY"), len(BELOW) + 4),)
    assert model.below == sum(row.below for row in model.models) == sum(row.below for row in model.months)
    assert threshold.collected.verdict == "OK"
    by_score = threshold.collected.document["what_if"][0]
    assert by_score["more"] == sum(1 for number in [*range(1, CN + 1), 907, 908, 909] if 25 <= number % 50 < 30)


def test_every_execution_is_in_the_attachments(threshold: Issued) -> None:
    files = attachments(threshold.path)
    rows = [json.loads(line) for line in files["executed-below.jsonl"].splitlines()]
    ids = [f"dec-{number}" for number in [*BELOW, 903, 905, *LATER]]
    assert [row["record_id"].replace(FORMULA, "dec-905") for row in rows] == ids
    assert {row["record_id"]: row["review"] for row in rows}["dec-903"] == "overruled"
    table = list(csv.DictReader(io.StringIO(files["executed-below.csv"].decode(), newline="")))
    assert [row["seq"] for row in table] == [str(row["seq"]) for row in rows]
    assert (table[-4]["record_id"], table[-4]["score"], table[-4]["executed_amount"]) == ("'" + FORMULA, "", "")
    below = [json.loads(line) for line in files["below.jsonl"].splitlines()]
    assert {row["review"] for row in below if row["record_id"] == "dec-901"} == {"agreed"}
    population = [json.loads(line) for line in files["decisions.jsonl"].splitlines()]
    assert [row["seq"] for row in population] == list(range(1, CN + len(MORE) + 1))
    text = b"".join(files.values())
    assert b"was cancelled" not in text, "no prompt leaves the vault here"


def test_the_leaf_hashes_are_those_of_the_leaves(grown: Installation, cost: Issued) -> None:
    (line, *_) = attachments(cost.path)["usage.jsonl"].splitlines()
    with grown.opened() as vault:
        ledger = ledgers.get(vault, "cn").id
        note = vault.checkpoints.note(ledger)
        assert note is not None
        ((data, _),) = prove(vault, ledger, [1], note).values()
    assert json.loads(line)["leaf_hash"] == leaf_hash(data).hex()


def test_costs_are_what_records_say(cost: Issued) -> None:
    model: CostReport = cost.collected.model
    assert (model.ai, model.bypass, model.reviews) == (CN + 7, 1, 2)
    assert model.fees == ((Money(Decimal("0.03"), "USD"), 3),)
    assert (model.total.without_fee, model.total.tokens.missing) == (CN + 4, CN + 4)
    assert (model.total.tokens.input, model.total.tokens.cached) == (30, 10)
    assert [one.line.count for one in model.origins] == [CN + 5, 1, 1]
    (per,) = model.per_decision
    assert (per.accepted, str(per.per_accepted)) == (3, "0.010000")
    answer, _, whole, bypass, desk, waits = model.times
    assert (answer.measured, answer.missing, whole.missing, desk.missing) == (CN + 6, 1, CN + 7, 2)
    assert (bypass.p50, waits.p50, waits.measured) == (3, 60_000, 1)
    assert model.waiting.before == 1
    table = list(csv.DictReader(io.StringIO(attachments(cost.path)["costs.csv"].decode(), newline="")))
    assert [row["fees"] for row in table if row["by"] == "api" and row["label"] == "payment_intelligence"] == ["0.03"]


def test_each_report_is_opened_under_one_access_entry_and_issued(
    grown: Installation, threshold: Issued, cost: Issued
) -> None:
    opened = told(grown, "records.opened")
    assert [one.facts["count"] for one in opened] == [CN + len(MORE)] * 2
    assert [one.facts["kind"] for one in told(grown, "report.issued")] == ["threshold", "cost"]


def test_processes_find_what_one_process_finds(
    grown: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "_SMALL", 10_000)
    alone = _collected(grown, tmp_path / "alone")
    monkeypatch.setattr(gathering, "_SMALL", 1)
    monkeypatch.setattr("reports.opened.CHUNK", 10)
    assert _collected(grown, tmp_path / "together") == alone


def _collected(site: Installation, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    with site.opened() as vault:
        for collect in (collect_threshold, collect_cost):
            collect(vault, _wanted(vault), folder, "x-1", lambda *_: None)  # type: ignore[operator]
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("kind", ["threshold", "cost"])
def test_an_auditor_needs_a_grant_of_the_whole_ledger(grown: Installation, tmp_path: Path, kind: str) -> None:
    with grown.opened() as vault:
        anna, olaf = hire(vault, f"anna-{kind}", "auditor"), hire(vault, f"olaf-{kind}", "officer")
        before = len(happened(vault, "records.opened"))
        with pytest.raises(Denied, match="no grant"):
            issue_report(vault.acting(anna), kind_of(kind), _wanted(vault), tmp_path / "made.pdf")
        granted(vault, anna, olaf, ["cn"], fields="masked")
        with pytest.raises(Denied, match="whole ledger"):
            issue_report(vault.acting(anna), kind_of(kind), _wanted(vault), tmp_path / "made.pdf")
        assert len(happened(vault, "records.opened")) == before
    assert list(tmp_path.iterdir()) == []


def test_an_edited_facet_is_said_and_ends_the_command(installation: Installation, tmp_path: Path) -> None:
    with installation.tampering() as connection:
        connection.execute("UPDATE vault.sealed SET below_threshold = NOT below_threshold WHERE seq = 5")
    out = tmp_path / "made.pdf"
    made = installation.run("report", "threshold", "--ledger", "cn", "--purpose", PURPOSE, "-o", str(out), "--json")
    assert made.exit_code == 10
    assert json.loads(made.stdout)["verdict"] == "MODIFIED"


def test_the_command_line_makes_them(grown: Installation, tmp_path: Path) -> None:
    out = tmp_path / "made.pdf"
    common = ("--ledger", "cn", "--purpose", PURPOSE, "-o", str(out))
    refused = grown.run("report", "threshold", *common, "--what-if", "1.5")
    assert (refused.exit_code, out.exists()) == (2, False)
    empty = grown.run("report", "cost", *common, "--from", "2024-01-01", "--to", "2024-02-01", "--json")
    document = json.loads(empty.stdout)
    assert (document["records"], document["fees"], document["access_event"]) == (0, {}, None)
