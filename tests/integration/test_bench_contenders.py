"""Each contender does its work on a few records, in its own process, as ``scripts/bench`` runs it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from bench import contender, records
from bench.contender import Answer, Failed, Task
from bench.measure import bytes_kept
from tests.support.postgres import Database

COUNT = 1200  # more than a batch


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    return records.spool(folder / "records.jsonl", records.pool(None, distinct=300).records, COUNT)


def run(task: Task, database: Database, spool: Path) -> Answer:
    return contender.run(task.at(database.superuser_dsn, database.superuser_dsn, None, spool))


def count(database: Database, table: str) -> int:
    with psycopg.connect(database.superuser_dsn) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("one_transaction", [False, True])
def test_plain_copy_takes_every_record(database: Database, spool: Path, one_transaction: bool) -> None:
    answer = run(Task(contender="plain_copy", one_transaction=one_transaction), database, spool)
    assert answer.reading is not None
    assert answer.reading.records == count(database, "plain") == COUNT
    assert answer.reading.wal_bytes > 0
    assert answer.reading.server_cpu is None
    assert bytes_kept(database.superuser_dsn) > COUNT * 100


def test_the_trigger_chains_every_record_to_the_one_before(database: Database, spool: Path) -> None:
    answer = run(Task(contender="trigger_chain", digest="builtin"), database, spool)
    assert answer.reading is not None
    with psycopg.connect(database.superuser_dsn) as connection:
        rows = connection.execute("SELECT seq, prev_hash, hash FROM chained ORDER BY seq").fetchall()
    assert [row[0] for row in rows] == list(range(1, COUNT + 1))
    assert [row[1] for row in rows] == [b"", *[row[2] for row in rows[:-1]]]


def test_what_cannot_run_says_why(database: Database, spool: Path) -> None:
    with psycopg.connect(database.superuser_dsn) as connection:
        statement = "SELECT count(*) FROM pg_available_extensions WHERE name = 'pgcrypto'"
        row = connection.execute(statement).fetchone()
    answer = run(Task(contender="trigger_chain"), database, spool)
    assert (answer.reading is None) == (row == (0,))
    assert answer.not_run == ("the server has no pgcrypto" if row == (0,) else "")


@pytest.mark.parametrize("processes", [1, 2])
def test_the_vault_takes_every_record_and_verifies(
    database: Database, spool: Path, tmp_path: Path, processes: int
) -> None:
    home = tmp_path / "vault"
    taken = run(Task(contender="ingest", home=home, processes=processes), database, spool)
    assert taken.reading is not None
    assert taken.reading.records == COUNT
    for depth in ("envelopes", "open"):
        verified = run(Task(contender="verify", home=home, depth=depth), database, spool)
        assert verified.reading is not None
        assert verified.reading.records > COUNT  # genesis leaves and events are entries too


def test_a_contender_that_fails_gives_no_figure(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b'{"schema":"reasoning-log/1"}\n')
    with pytest.raises(Failed, match="ingest"):
        run(Task(contender="ingest", home=tmp_path / "vault"), database, file)
    assert "1 of 1 records were not accepted" in capfd.readouterr().err
