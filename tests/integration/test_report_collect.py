"""Collecting evidence: what is counted, from which entries, and what a damaged ledger looks like in it."""

from __future__ import annotations

import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import reports.snapshot
from reports import gathering
from reports.model import EvidenceReport
from tests.support.decisions import decision, spelled
from tests.support.disposing import Staged, delete_rows
from tests.support.evidence import collect, lines, told
from tests.support.tampering import Crime
from tests.support.vault import RECORDS, Installation
from vault.audit import audit
from vault.core.errors import UsageError
from vault.keys.ring import group_ref
from vault.verdict import LedgerReport

CN = RECORDS["cn"]


def _found(report: EvidenceReport) -> dict[str, int]:
    return {check.code: check.count for check in report.exceptions if check.not_tested is None}


def _more(site: Installation, *documents: dict[str, Any]) -> None:
    results = site.ingest("cn", list(enumerate(map(spelled, documents), 1)))
    assert [result.status.value for result in results] == ["accepted"] * len(documents)


def test_every_entry_of_the_tree_is_accounted_for(installation: Installation, tmp_path: Path) -> None:
    made = collect(installation, tmp_path / "work")
    population = made.report.population
    assert population.adds_up
    assert (population.tree_size, population.governance, population.in_period) == (CN + 1, 1, CN)
    assert (population.opened, population.outside_period, population.destroyed) == (CN, 0, 0)
    assert made.report.integrity.verdicts["OK"] == population.tree_size
    assert made.report.integrity.verdict == "OK"
    assert made.report.decisions.count == CN
    # 1 read when the vault was built, and this report's own.
    assert population.accesses == 2
    for file in (made.population, made.findings):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_amounts_and_thresholds_come_from_opened_records(installation: Installation, tmp_path: Path) -> None:
    made = collect(installation, tmp_path / "work")
    (total,) = made.report.decisions.totals
    assert (total.currency, total.executed_count) == ("CNY", CN)
    assert total.executed == sum(range(1, CN + 1)) + CN / 2
    below = [number for number in range(1, CN + 1) if 0.5 + number % 50 / 100 < 0.75]
    assert made.report.low_confidence.count == len(below)
    assert {row.threshold for row in made.report.low_confidence.rows} == {0.75}


def test_processes_find_what_one_process_finds(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = collect(installation, tmp_path / "alone")
    monkeypatch.setattr(gathering, "_SMALL", 1)
    monkeypatch.setattr("reports.opened.CHUNK", 10)
    together = collect(installation, tmp_path / "together")
    assert together.report.decisions == alone.report.decisions
    assert together.report.exceptions == alone.report.exceptions
    assert together.population.read_bytes() == alone.population.read_bytes()
    assert together.findings.read_bytes() == alone.findings.read_bytes()


def test_a_period_is_half_open_in_the_zone_of_the_ledger(installation: Installation, tmp_path: Path) -> None:
    edges = ("2025-11-30T23:59:59.999999", "2025-12-01T00:00:00", "2025-12-01T23:59:59.999999", "2025-12-02T00:00:00")
    _more(installation, *(decision(900 + at, occurred_at=f"{edge}+08:00") for at, edge in enumerate(edges)))
    made = collect(installation, tmp_path / "work", first=date(2025, 12, 1), end=date(2025, 12, 2))
    assert [line["facets"]["record_id"] for line in lines(made.population)] == ["dec-901", "dec-902"]
    population = made.report.population
    assert (population.in_period, population.outside_period) == (2, CN + 2)
    assert population.adds_up
    assert made.report.identification.period.zone == "Asia/Shanghai"


def test_a_review_after_the_period_counts(installation: Installation, tmp_path: Path) -> None:
    low = {"score": 0.2, "threshold": 0.75}
    reviewed, settled = decision(900, confidence=low), decision(901, confidence=low)
    for record in (reviewed, settled):
        record["occurred_at"] = "2025-12-01T10:00:00+08:00"
    review = decision(
        902,
        api="human_review",
        occurred_at="2025-12-02T10:00:00+08:00",
        review={"reviewer": "staff-7", "agreed": True},
        relates_to=[{"kind": "review_of", "id": "dec-900"}],
        **dict.fromkeys(("prompt", "response", "model", "confidence")),
    )
    _more(installation, reviewed, settled, review)
    made = collect(installation, tmp_path / "work", first=date(2025, 12, 1), end=date(2025, 12, 2))
    low_confidence = made.report.low_confidence
    assert (low_confidence.count, low_confidence.reviewed) == (1, 1)
    assert [row.record_id for row in low_confidence.rows] == ["dec-901"]
    # Everything that occurred later had to be asked, and the access event says so.
    (access,) = told(installation, "records.opened")
    assert (access.facts["count"], access.facts["related"]) == (2, CN + 1)
    assert made.report.population.related == CN + 1


def test_an_empty_period_opens_nothing(installation: Installation, tmp_path: Path) -> None:
    made = collect(installation, tmp_path / "work", first=date(2024, 1, 1), end=date(2024, 2, 1))
    population = made.report.population
    assert (population.in_period, population.outside_period, population.opened) == (0, CN, 0)
    assert (made.report.identification.access_entry, population.accesses, population.related) == (None, 0, 0)
    assert told(installation, "records.opened") == []
    assert made.report.integrity.sample.items == ()
    assert made.population.read_bytes() == b""


def test_refusals_close_when_the_record_comes_redacted(installation: Installation, tmp_path: Path) -> None:
    card = decision(900, customer_ref="4111 1111 1111 1111")
    still = decision(901, customer_ref="4111 1111 1111 1111")
    refused = list(enumerate(map(spelled, (card, still)), 1))
    for _ in range(2):  # refused twice, and still two records
        installation.ingest("cn", refused)
    _more(installation, decision(900, customer_ref="redacted"))
    refusals = collect(installation, tmp_path / "work").report.population.refusals
    # The vault was built with one more: a line that is no record and has no id.
    assert (refusals.open, refusals.closed) == (2, 1)
    assert {reason.label: reason.count for reason in refusals.by_reason} == {"card number": 2, "missing field": 1}
    example = next(example for example in refusals.examples if "customer_ref" in example.place)
    assert (example.place, example.producer) == ("line 2, $.customer_ref", "psp-1")
    assert "4111" not in repr(refusals)


def test_conflicts_and_gaps_are_counted(installation: Installation, tmp_path: Path) -> None:
    installation.ingest("cn", [(1, spelled(decision(3, customer_ref="another")))])
    _more(installation, decision(CN + 4))
    report = collect(installation, tmp_path / "work").report
    assert report.population.conflicts == 1
    assert report.population.sequences.missing == 3
    assert (_found(report)["conflict"], _found(report)["sequence_gap"]) == (1, 3)


def test_what_arrives_meanwhile_is_not_in_it_and_does_no_harm(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any, **named: Any) -> list[LedgerReport]:
        _more(installation, decision(900))  # after the access was logged, before the snapshot is taken
        verified.extend(audit(*arguments, **named))
        return verified

    verified: list[LedgerReport] = []
    monkeypatch.setattr(reports.snapshot, "audit", interrupted)
    made = collect(installation, tmp_path / "work").report
    (access,) = told(installation, "records.opened")
    assert installation.size("cn") == CN + 2
    assert (made.population.tree_size, made.population.in_period, access.facts["count"]) == (CN + 1, CN, CN)
    assert (made.integrity.verdict, made.integrity.entries, made.population.adds_up) == ("OK", CN + 1, True)
    # It was verified against the checkpoint that it shows, not against the one that came meanwhile.
    assert made.integrity.checkpoint.size == access.facts["size"] == verified[-1].size
    assert made.integrity.checkpoint.root == verified[-1].root


def test_a_damaged_ledger_is_reported_as_such(installation: Installation, tmp_path: Path) -> None:
    crime = Crime.against(installation)
    crime.edit("sealed", "cn", 7, "money_moved = NOT money_moved")
    crime.delete("cn", 20, 23)
    crime.edit("sealed", "cn", 30, "record_id = NULL")
    made = collect(installation, tmp_path / "work")
    population, integrity = made.report.population, made.report.integrity
    assert integrity.verdict == "MODIFIED"
    assert (integrity.verdicts["MODIFIED"], integrity.verdicts["MISSING"]) == (2, 3)
    assert integrity.verdicts["OK"] == CN + 1 - 5
    # Nothing explains them away: three are gone, and nobody can say of one whether it lies in the period.
    assert population.difference == 4
    verdicts = {item.seq: item.verdict for item in integrity.sample.items}
    assert verdicts.get(7, "MODIFIED") == "MODIFIED"
    assert {verdict for seq, verdict in verdicts.items() if seq != 7} == {"OK"}
    # No proof to a checkpoint that the entries do not lead to.
    assert [one.name for one in made.attachments] == ["strata.jsonl"]


def test_a_swapped_key_shows_since_the_record_does_not_open(installation: Installation, tmp_path: Path) -> None:
    Crime.against(installation).swap("cn", "wrapped_key", 5, 6)
    report = collect(installation, tmp_path / "work").report
    assert report.integrity.verdict == "MODIFIED"
    assert [fault.seq for fault in report.integrity.faults] == [5, 6]
    assert (report.population.opened, report.population.in_period) == (CN - 2, CN)


def test_a_fault_of_the_events_ledger_is_one_of_the_report(installation: Installation, tmp_path: Path) -> None:
    crime = Crime.against(installation)
    seq = next(event.seq for event in told(installation, "record.refused"))
    crime.edit("sealed", "events", seq, "envelope = envelope || '\\x00'::bytea")
    integrity = collect(installation, tmp_path / "work").report.integrity
    assert integrity.verdict == "MODIFIED"
    assert [fault.what.partition(":")[0] for fault in integrity.faults] == ["events ledger"]


def test_no_purpose_no_report(installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.evidence.PURPOSE", "  ")
    with pytest.raises(UsageError, match="purpose"):
        collect(installation, tmp_path / "work")
    assert told(installation, "records.opened") == []


def test_destroyed_records_are_counted_and_in_no_other_figure(installation: Installation, tmp_path: Path) -> None:
    with installation.opened() as vault:
        staged = Staged.begin(vault, "cn", range(3, 9))
        staged.run()
        delete_rows(installation, staged.ledger, staged.final)
    made = collect(installation, tmp_path / "work")
    population = made.report.population
    assert population.adds_up
    assert (population.destroyed, population.destroyed_early, population.disposals) == (6, 0, 1)
    assert (population.in_period, population.opened, population.kept) == (CN - 6, CN - 6, CN)
    assert population.sequences.missing == 0
    assert made.report.decisions.count == CN - 6
    assert made.report.integrity.verdict == "OK"
    assert made.report.integrity.verdicts["ERASED-BY-POLICY"] == 6
    assert {line["seq"] for line in lines(made.population)} == set(range(1, CN + 1)) - set(range(3, 9))


def test_records_whose_keys_die_meanwhile_are_no_fault(installation: Installation, tmp_path: Path) -> None:
    with installation.opened() as vault:
        staged = Staged.begin(vault, "cn", range(3, 9))
        staged.plan()
        for officer in staged.officers:
            staged.approve(officer)
        staged.intend()
        staged.destroy()
        staged.kill()
    _lose_keys(installation, staged)
    made = collect(installation, tmp_path / "work")
    population = made.report.population
    neighbours = population.in_period - population.opened - population.dying
    assert (population.adds_up, population.destroyed, population.dying) == (True, 0, 6)
    # Whoever shares their group and was not of the disposal has lost a key that nobody may destroy.
    assert made.report.integrity.verdicts["MISSING"] == neighbours > 0


def _lose_keys(site: Installation, staged: Staged) -> None:
    """Delete the provider's keys of the groups that a disposal says are dead."""
    now = datetime.now(UTC)
    with site.opened() as vault:
        for group in staged.groups():
            vault.provider.schedule_destroy(group_ref(staged.ledger, group), now)
        assert vault.provider.destroy_due(now + timedelta(seconds=1))
