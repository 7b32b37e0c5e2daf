from __future__ import annotations

from datetime import date

import pytest

from bench import document
from bench.log import checkpointing, proofs
from bench.log.checkpointing import Turn
from bench.log.proofs import Found, Stored, Timed
from bench.measure import Peak, Reading
from bench.reports import annex, bundle, evidence
from bench.results import Goal


def report(records: int, seconds: float, cpu: float, megabytes: int = 300) -> evidence.Measured:
    reading = Reading(records, seconds, cpu, 0.0, 0)
    return evidence.Measured(records, reading, megabytes * 10**6, 14, 35_000_000, {"verify": 1.5, "sign": 0.25})


def short(goals: list[Goal]) -> list[str]:
    return [goal.what for goal in goals if not goal.reached]


def test_a_report_is_judged_by_its_largest_size_and_scaled_up_to_the_goals() -> None:
    fine = [report(10_000, 5, 1.0), report(1_000_000, 59, 99.0)]
    assert short(evidence.goals(fine)) == []
    assert short(evidence.goals([report(100_000, 6.1, 10.0)])) == ["1,000,000 records, s (of 100,000, scaled)"]
    assert short(evidence.goals([*fine[:1], report(1_000_000, 59, 130.0, 601)])) == [
        "memory at 1,000,000 records, MB",
        "cost a record, x from 10,000 to 1,000,000",
    ]


def test_a_report_without_parts_that_were_timed_has_no_row_for_them() -> None:
    assert evidence.parts([report(10_000, 5, 1.0)]).splitlines()[2:] == ["| verify | 1.50 |", "| sign | 0.25 |"]


@pytest.mark.parametrize(("seconds", "reached"), [(49.0, True), (51.0, False)])
def test_an_annex_is_judged_by_its_row(seconds: float, reached: bool) -> None:
    assert annex.goals([annex.Measured(10_000, seconds, 80.0, 10**6, 4, 10**8)])[0].reached is reached


def test_verify_is_judged_by_the_last_bundle() -> None:
    last = bundle.Measured("full", 50_000, 9.0, 16.0, 15.0, 10**8, Peak(1, 1, 2), None)
    (goal,) = bundle.goals([last])
    assert (goal.found.median, goal.reached) == (32.0, False)
    assert "| full | 50,000 | 9.0 | 0 | 16.0 | 15.0 | 300 | - | 2,000 |" in bundle.rates([last])


def test_checkpoints_are_judged_between_neighbours_in_time() -> None:
    turns = [Turn(which, 1000, seconds, 1, {}) for seconds, which in ((1.0, False), (1.04, True))]
    (goal,) = checkpointing.goals(turns)
    assert goal.reached
    assert goal.found.median == pytest.approx(1 / 1.04)


def test_proofs_are_judged_in_the_longest_ledger() -> None:
    timed = [Timed(size, "inclusion proof", [seconds], 0.001) for size, seconds in ((10, 0.002), (1000, 0.006))]
    found = Found(timed, {10: Stored(0, 10**6, 1.0), 1000: Stored(3, 10**7, 2.0)})
    (goal,) = proofs.goals(found)
    assert (goal.found.median, goal.reached) == (6.0, False)
    assert "| inclusion proof | 1,000 | 6.00 | 6.00 | 1.00 | 3.00 |" in proofs.rates(found)
    assert "| 1,000 | 3 | 10 | 2 |" in proofs.stored(found)


def test_a_document_names_its_command_day_and_machine() -> None:
    told = document.facts(date(2026, 3, 1), {"cores": "2"}, {"fsync": "on"}, Two_words="yes")
    words = document.spell("Benchmarks", "scripts/bench x", told, [("Goals", "none"), ("", "more")], "So.")
    assert words == (
        "# Benchmarks\n\nWritten by `scripts/bench x`; run it again on your own machine.\n\n"
        "- Day: 2026-03-01\n- Machine: cores 2\n- PostgreSQL: fsync on\n- Two words: yes\n\n"
        "## Goals\n\nnone\n\nmore\n\n## How it is measured\n\nSo."
    )
