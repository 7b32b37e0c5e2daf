from __future__ import annotations

from dataclasses import replace
from datetime import date

import msgspec
import pytest

from bench.measure import Peak, Reading
from bench.retention import table
from bench.retention.pace import Latency
from bench.retention.results import Appends, Disposal, Results, Space
from bench.retention.space import Part, Stored
from bench.retention.step import Answer
from bench.retention.timing import APPROVE, PLAN, REST, RUN, Point


def answer(records: int, seconds: float, points: tuple[Point, ...] = (), megabytes: int = 100) -> Answer:
    parts = {point.label: 0.5 for point in points} | ({REST: 0.25} if points else {})
    peak = Peak(megabytes * 10**6, 0, megabytes * 10**6)
    return Answer(Reading(records, seconds, 2.0, 1.0, 3_000_000), parts, groups=2, memory=peak)


def disposal(destroyed: int, seconds: float, megabytes: int = 100, words: str = "") -> Disposal:
    made = [answer(destroyed, seconds, points, megabytes) for points in (PLAN, APPROVE, RUN)]
    return Disposal(words, destroyed * 10, *made)


def stored(sealed: int, free: int) -> Stored:
    leaves = Part("entry", "rows", 400_000_000, 0)
    return Stored((leaves, Part("sealed", "rows", sealed, free), Part("head", "rows", 8192, 0)))


@pytest.fixture
def found() -> Results:
    return Results(
        day=date(2026, 3, 1),
        machine={"cores": "2"},
        settings={"fsync": "on"},
        records="a few",
        mean_bytes=2441,
        ingest=answer(1_000_000, 100),
        small=disposal(10_000, 2.0),
        large=disposal(100_000, 19.0, megabytes=120),
        beside=disposal(100_000, 22.0, words="beside appends"),
        spread=disposal(100_000, 20.0, words="spread evenly"),
        space=Space(
            records=1_000_000,
            destroyed=100_000,
            before=stored(600_000_000, 0),
            after=stored(600_000_000, 50_000_000),
            full_before=stored(590_000_000, 0),
            full_after=stored(531_000_000, 0),
        ),
        appends=Appends(30, Latency(1800, 0.01, 0.02, 0.03), Latency(600, 0.012, 0.03, 0.09)),
        verify=(answer(1_000_000, 25), answer(1_000_000, 30)),
        moves=[(2, answer(90_000, 10)), (1, answer(90_000, 18))],
    )


def test_goals_are_judged_by_what_was_found(found: Results) -> None:
    space, full, alone, beside, spread, appends, plan, run = found.goals()
    assert space.found.median == pytest.approx(5, abs=0.01)
    assert full.found.median == pytest.approx(100 * 59 / 990, abs=0.01)
    assert not space.reached
    assert not full.reached
    assert (alone.found.median, alone.reached) == (57, True)
    assert (beside.found.median, beside.reached) == (66, False)
    assert (spread.what, spread.reached) == ("the same spread evenly, s", True)
    assert appends.found.median == pytest.approx(1.5)
    assert appends.reached
    assert plan.found.median == run.found.median == pytest.approx(1.2)
    assert plan.reached


def test_memory_that_nobody_measured_is_no_goal(found: Results) -> None:
    found.small = replace(found.small, run=msgspec.structs.replace(found.small.run, memory=None))
    assert [goal.what for goal in found.goals() if "memory" in goal.what] == [
        "memory of plan, x from 10,000 to 100,000 records"
    ]
    assert "| 10,000 | 100,000 | run | 2.0 | 5,000 | 2.0 | 1.0 | 3.0 | - |" in table.spell(found)


@pytest.mark.parametrize("saved", [60_000_000, 90_000_000], ids=["short", "enough"])
def test_space_counts_bytes_in_use(found: Results, saved: int) -> None:
    found.space = replace(found.space, after=stored(600_000_000, saved))
    assert found.space.saved == pytest.approx(100 * saved / 1_000_008_192)
    assert found.goals()[0].reached == (found.space.saved >= 9)


def test_the_document_gives_the_arithmetic(found: Results) -> None:
    words = table.spell(found)
    assert "- Day: 2026-03-01" in words
    assert "| in use after VACUUM | 1,000.0 | 950.0 | 5.00 | 1,000 |" in words
    assert "| in files after VACUUM | 1,000.0 | 1,000.0 | 0.00 | 1,000 |" in words
    assert "a record takes 990 bytes. 400 of them are its leaf" in words
    assert "gave 590 back, 59.6% of what it took" in words
    assert "For 9 % a record would have to give back 3,600 bytes" in words
    assert "| sealed | rows | 600.0 | 550.0 | 500 | 590.0 | 531.0 |" in words
    assert "| head |" not in words  # a page says nothing


def test_the_document_says_how_long_everything_took(found: Results) -> None:
    words = table.spell(found)
    assert "| 100,000 | 1,000,000 | together | 57.0 |" in words
    assert "| 100,000 beside appends | 1,000,000 | together | 66.0 |" in words
    assert "| run | 9 delete the rows | 0.50 | 0.50 | 0.50 | 0.50 |" in words
    assert "| meanwhile | 30 | 600 | 12.0 | 30.0 | 90.0 |" in words
    assert "| ratio |  |  | 1.20 | 1.50 | 3.00 |" in words
    assert "| 2 | 2 | 90,000 | 10.0 | 9,000 | 2.0 | 1.0 | 3.0 | 100.0 |" in words
    assert "| ratio of seconds |  | 1.20 |  |  |  |" in words


def test_every_row_has_all_its_cells(found: Results) -> None:
    widths: dict[int, int] = {}
    block = 0
    for text in table.spell(found).splitlines():
        if not text.startswith("|"):
            block += 1
            continue
        assert widths.setdefault(block, text.count("|")) == text.count("|")


def test_a_part_that_is_not_there_is_empty() -> None:
    assert Stored(()).part("entry", "rows") == Part("entry", "rows", 0, 0)
