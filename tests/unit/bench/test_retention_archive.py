from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bench import records
from bench.retention import archive


@pytest.mark.parametrize("count", [100, 1000])
def test_a_tenth_is_of_each_year_and_every_id_comes_once(tmp_path: Path, count: int) -> None:
    pool = records.pool(None, distinct=100)
    file = archive.write(tmp_path / "archive.jsonl", pool.records, count)
    made = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    years = [document["occurred_at"][:4] for document in made]
    tenth = count // 10
    assert [years.count(year) for year in ("2012", "2014", "2016", "2026")] == [tenth, tenth, tenth, 7 * tenth]
    assert years[: 2 * tenth] == ["2012"] * tenth + ["2014"] * tenth
    assert years[2 * tenth :: 8] == ["2016"] * tenth
    assert len({document["id"] for document in made}) == count


def test_a_tenth_is_due_before_the_next_occurred_three_years_ago() -> None:
    for year, moment in zip(archive.YEARS, archive.MOMENTS, strict=True):
        assert datetime.fromtimestamp(moment, UTC).year == int(year) + 4
