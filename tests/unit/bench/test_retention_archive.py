from __future__ import annotations

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
    assert (years.count("2012"), years.count("2014"), years.count("2026")) == (
        count // 10,
        count // 10,
        count * 8 // 10,
    )
    assert len({document["id"] for document in made}) == count


def test_other_records_are_due_each_time_round(tmp_path: Path) -> None:
    pool = records.pool(None, distinct=100)
    lines = archive.write(tmp_path / "archive.jsonl", pool.records, 200).read_bytes().splitlines()
    old = [number for number, line in enumerate(lines) if b'"occurred_at":"2012' in line]
    assert {number % 100 for number in old if number < 100}.isdisjoint(number % 100 for number in old if number >= 100)
