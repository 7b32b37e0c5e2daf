from __future__ import annotations

from datetime import date

import pytest

from bench.http import table
from bench.http.family import Sample
from bench.http.load import Load
from bench.http.results import CONNECTIONS, Batches, Results, Singles, Soak, Turn
from bench.http.stream import Streamed


def load(rate: float, p50: float = 0.01, p99: float = 0.03) -> Load:
    return Load(1000, 0, "", 1000 / rate, 0.02, p50, p99, 0.04, 0.05)


def singles(name: str, rates: list[float]) -> Singles:
    found = Singles(name)
    for connections in CONNECTIONS:
        for rate in rates:
            found.add(connections, Turn(load(rate), 0.3, 0.1, 2_500_000, 20))
    return found


@pytest.fixture
def found() -> Results:
    return Results(
        day=date(2026, 3, 1),
        machine={"cores": "2"},
        settings={"fsync": "on"},
        records="a few",
        mean_bytes=2441,
        rounds=2,
        workers=2,
        ours=singles("ours", [4000, 5000]),
        rival=singles("plain", [2000, 4000]),
        library=[10_000, 10_000],
        batches=[Batches("1 stream", [Streamed(100, 0, "", 0.02, 0.001), Streamed(100, 0, "", 0.02, 0.001)])],
        not_read="nobody may",
        soak=Soak(16, load(3000), [Sample(at * 6, 100_000_000) for at in range(100)]),
    )


def test_goals_are_judged_by_the_median_of_rounds(found: Results) -> None:
    rate, p99, ratio, batch, memory = found.goals()
    assert rate.found.median == 4500
    assert rate.reached
    assert p99.found.median == pytest.approx(30)
    assert p99.reached
    assert ratio.found.median == pytest.approx((2 + 1.25) / 2)
    assert ratio.reached
    assert batch.found.median == pytest.approx(0.5)
    assert not batch.reached
    assert memory.found.median == 1
    assert memory.reached


def test_memory_that_grows_is_told(found: Results) -> None:
    assert found.soak is not None
    found.soak.samples = [Sample(at * 6, 100_000_000 + at * 1_000_000) for at in range(100)]
    goal = found.goals()[-1]
    assert not goal.reached
    assert found.soak.slope * 6 == pytest.approx(1_000_000)


def test_what_was_not_measured_is_no_goal(found: Results) -> None:
    found.batches, found.soak = [], None
    assert len(found.goals()) == 3
    words = table.spell(found)
    assert "## Batches" not in words
    assert "Not run: nobody may." in words


def test_reading_is_a_goal_where_records_were_opened(found: Results) -> None:
    found.reads = [load(100, p50=0.008), load(100, p50=0.012)]
    goal = next(goal for goal in found.goals() if "opened" in goal.what)
    assert goal.found.median == pytest.approx(10)
    assert goal.reached
    assert "| 1 | 100 | 10.0 (8.0..12.0) |" in table.spell(found)


def test_the_document_says_how_fast_at_what_cost(found: Results) -> None:
    words = table.spell(found)
    assert "- Day: 2026-03-01" in words
    assert "| ours | 64 | 4,500 (4,000..5,000) | 1.62 (1.25..2.00) | 10.0 | 30.0 | 40.0 | 50.0 |" in words
    assert "| plain | 256 | 3,000 (2,000..4,000) | 1.00 | 10.0 | 30.0 | 40.0 | 50.0 |" in words
    assert "| ours | 300 | 100 | 20 | 2,500 | 0.020 |" in words
    assert "| 1 stream | 5,000 | 0.50 | 10 |" in words
    assert "short by 38%" in words


def test_every_row_has_all_its_cells(found: Results) -> None:
    widths: dict[int, int] = {}
    block = 0
    for text in table.spell(found).splitlines():
        if not text.startswith("|"):
            block += 1
            continue
        assert widths.setdefault(block, text.count("|")) == text.count("|")


def test_costs_that_nobody_saw_are_a_dash(found: Results) -> None:
    for name in (found.ours, found.rival):
        name.turns = {at: [Turn(load(1000), 0.3, None, 1, None)] * 2 for at in CONNECTIONS}
    assert "| ours | 300 | - | 20 | 0 | - |" in table.spell(found)
