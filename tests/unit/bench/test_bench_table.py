from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from bench import machine, table
from bench.measure import Peak, Reading, Spread
from bench.results import Goal, Growth, Line, Results


def line(name: str, rates: list[float], size: float) -> Line:
    readings = [Reading(1000, 1000 / rate, 0.1, 0.02, 2_000_000) for rate in rates]
    return Line(name, readings, [size] * len(rates), [Peak(50_000_000, 30_000_000, 110_000_000)] * len(rates))


def growth(count: int, megabytes: int) -> Growth:
    reading = Reading(count, count / 10_000, 0.1, None, 1)
    peak = Peak(megabytes * 10**6, 80 * 10**6, 0)
    return Growth(count, reading, peak, reading, peak)


@pytest.fixture
def found() -> Results:
    return Results(
        day=date(2026, 3, 1),
        machine={"cores": "2"},
        settings={"fsync": "on"},
        records="a few",
        mean_bytes=2441,
        rounds=2,
        plain=line("plain", [10_000, 20_000], 2000),
        ours=line("ours", [13_000, 24_000], 1400),
        others=[line("third", [500, 500], 3000), Line("fourth", not_run="no such thing")],
        verify=line("verify", [39_000, 38_000], 0),
        open=line("open", [9_000, 9_000], 0),
        growth=[growth(10_000, 100), growth(100_000, 110)],
    )


def test_goals_are_judged_by_the_median(found: Results) -> None:
    rate, size, verified, *memory = found.goals()
    assert rate.found == Spread(1.25, 1.2, 1.3)
    assert rate.reached
    assert size.found.median == 0.7
    assert size.reached
    assert not verified.reached
    assert verified.short_by == pytest.approx(1 - 38_500 / 40_000)
    assert [goal.found.median for goal in memory] == [1.1, 1.0, 1.1]
    assert all(goal.reached for goal in memory)


def test_memory_that_grows_is_not_flat(found: Results) -> None:
    found.growth.append(growth(1_000_000, 130))
    parent = next(goal for goal in found.goals() if "parent" in goal.what)
    assert parent.found.median == 1.3
    assert not parent.reached


def test_memory_that_nobody_measured_is_no_goal(found: Results) -> None:
    found.growth[0] = replace(found.growth[0], ingest_peak=None, verify_peak=None)
    assert len(found.goals()) == 3
    assert "| 10,000 | 10,000 | - | - | 10,000 | - |" in table.spell(found)


def test_less_is_better_where_a_goal_says_so() -> None:
    goal = Goal("bytes", 0.75, 0.6, Spread(0.9, 0.9, 0.9), most=True)
    assert not goal.reached
    assert goal.short_by == pytest.approx(0.2)


def test_the_table_says_who_how_fast_and_whether_it_is_enough(found: Results) -> None:
    words = table.spell(found)
    assert "| ours | 18,500 (13,000..24,000) | 1.25 (1.20..1.30) | 1,400 | 100 | 20 | 2,000 | 110 |" in words
    assert "| fourth | not run: no such thing |" in words
    assert "| ingest rate, x plain COPY | 1.25 (1.20..1.30) | >= 1.20 | >= 1.50 | pass |" in words
    assert ">= 40,000 | >= 50,000 | short by 4% |" in words
    assert "- Day: 2026-03-01" in words


def test_every_row_of_a_table_has_all_its_cells(found: Results) -> None:
    widths: dict[int, int] = {}
    block = 0
    for text in table.spell(found).splitlines():
        if not text.startswith("|"):
            block += 1
            continue
        assert widths.setdefault(block, text.count("|")) == text.count("|")


def test_the_machine_is_described() -> None:
    facts = machine.facts()
    assert int(facts["cores"]) >= 1
    assert facts["Python"].startswith("3.")
