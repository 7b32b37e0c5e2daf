"""The measured vault is a real one: made, served and read by its command line, a few records a contender."""

from __future__ import annotations

import argparse
from pathlib import Path

import psycopg
import pytest

from bench import records, server
from bench.http import __main__ as main
from bench.http import installation, rival, table
from bench.http.results import CONNECTIONS
from tests.support.postgres import Database


@pytest.fixture
def run(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> main.Run:
    monkeypatch.setattr(main, "_MOST", dict.fromkeys(CONNECTIONS, 40))
    monkeypatch.setattr(main, "_WARM", 20)
    wanted = argparse.Namespace(rounds=1, workers=1, seconds=20.0, count=60, reads=5, soak=1)
    pool = records.pool(None, distinct=30)
    return main.Run(server.Server(database.superuser_dsn, None), tmp_path, pool, wanted)


def test_every_part_of_a_run_gives_figures(run: main.Run, database: Database, tmp_path: Path) -> None:
    with psycopg.connect(database.superuser_dsn) as connection:
        connection.execute(rival.TABLE)
    vault = installation.make(tmp_path / "home", database.superuser_dsn)
    found = run.empty()
    with run.serving(vault) as ours, run.plain(database.superuser_dsn) as plain:
        run.singles(found, vault, ours, plain)
        run.streams(found, vault, ours, [("1 stream, minimal", 1, True), ("1 stream, receipts", 1, False)])
        run.opened(found, vault, ours)
        found.soak = run.soak(vault, ours)
    for line in (found.ours, found.rival):
        assert [turn.load.requests for turns in line.turns.values() for turn in turns] == [40] * len(CONNECTIONS)
    assert [batch.readings[0].records for batch in found.batches] == [60, 60]
    assert [load.requests for load in found.reads] == [5]
    assert found.soak.load.requests > 0
    assert "## Memory" in table.spell(found)
    listed = vault.command("ledger", "list")
    assert "bench" in str(listed)
