"""The plain handler keeps what it answers for, and the load process is content with it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from bench import records
from bench.contender import Failed
from bench.http import bodies, family, rival, servers
from bench.http.__main__ import ask, require
from bench.http.load import Job, Load
from tests.support.postgres import Database


def test_the_plain_handler_keeps_every_record(database: Database, tmp_path: Path) -> None:
    with psycopg.connect(database.superuser_dsn) as connection:
        connection.execute(rival.TABLE)
    file = bodies.write(tmp_path / "bodies.jsonl", records.pool(None, distinct=20).records)
    environment = {"DATABASE_URL": database.superuser_dsn}
    with servers.started(("-m", "bench.http.rival"), environment, tmp_path / "log", 1) as running:
        assert len(family.members(running.pid)) >= 2

        def send(key: str, first: int, marks: list[str]) -> Load:
            job = Job(
                port=running.port,
                path="/records",
                headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
                bodies=file,
                first=first,
                most=60,
                connections=4,
                marks=marks,
            )
            return ask("bench.http.load", job, Load)

        assert (send(rival.KEY, 0, ['"id":']).requests, send(rival.KEY, 60, ['"id":']).requests) == (60, 60)
        assert "409" in send(rival.KEY, 0, ['"id":']).first_wrong
        assert "401" in send("another", 120, []).first_wrong
    with psycopg.connect(database.superuser_dsn) as connection:
        row = connection.execute("SELECT count(*), count(DISTINCT body->>'id') FROM plain").fetchone()
    assert row == (120, 120)


def test_a_server_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(Failed, match="KeyError"),
        servers.started(("-c", "raise KeyError('DATABASE_URL')"), {}, tmp_path / "log", 1),
    ):
        pass


@pytest.mark.parametrize(("fine", "wrong"), [(0, 0), (10, 1)])
def test_a_rate_of_errors_is_no_figure(fine: int, wrong: int) -> None:
    with pytest.raises(Failed, match="wrong"):
        require("ours", fine, wrong, "HTTP/1.1 503")
