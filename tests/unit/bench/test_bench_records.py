from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from bench import records
from vault.core.errors import UsageError

THREE = [b'{"id":"a","producer_seq":7,"x":1.50}', b'{"id":"b","producer_seq":8}', b'{"id":"c"}']


def test_the_first_time_round_records_are_as_they_were() -> None:
    assert list(records.repeated(THREE, 2)) == THREE[:2]
    assert list(records.repeated(THREE, 3)) == THREE


def test_later_rounds_have_fresh_ids_and_count_on() -> None:
    found = [json.loads(raw) for raw in records.repeated(THREE, 8)]
    assert [one["id"] for one in found] == ["a", "b", "c", "a-1", "b-1", "c-1", "a-2", "b-2"]
    assert [one.get("producer_seq") for one in found] == [7, 8, None, 15, 16, None, 23, 24]
    assert found[3]["x"] == 1.5


def test_a_spool_gives_back_what_went_in(tmp_path: Path) -> None:
    path = records.spool(tmp_path / "spool.jsonl", THREE, 5)
    found = list(records.batches(path, 2))
    assert [len(batch) for batch in found] == [2, 2, 1]
    assert b"".join(line for batch in found for line in batch) == path.read_bytes()
    assert path.read_bytes().count(b"\n") == 5


def test_records_come_from_a_compressed_file(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl.gz"
    file.write_bytes(gzip.compress(b"\n".join(THREE)))
    pool = records.pool(file)
    assert pool.records == THREE
    assert str(tmp_path) not in pool.words


def test_a_file_without_records_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty.jsonl"
    file.touch()
    with pytest.raises(UsageError, match="holds no record"):
        records.pool(file)


def test_without_a_file_they_are_synthetic_and_the_same_every_time() -> None:
    one, other = records.pool(None, distinct=20), records.pool(None, distinct=20)
    assert one.records == other.records
    assert len({json.loads(raw)["id"] for raw in one.records}) == 20
