"""Processes killed with SIGKILL in the middle of an ingest: ours at each step, a sealing one, the database's.

After each: what was reported as accepted is there, the same file completes without duplicates, verification is clean.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection

from tests.support import crash
from tests.support.decisions import as_file, decisions
from tests.support.ingest import SIZE, Ingest
from tests.support.postgres import ROOT, Database
from tests.support.vault import PASSPHRASE, Installation
from vault.db import store
from vault.db.embedded import EmbeddedServer
from vault.intake import BATCH
from vault.verdict import Depth, worst

UNSEALED = {"after COMMIT", "half way in the checkpoint"}
COMMITTED = {*UNSEALED, "after the checkpoint", "before the receipt"}


@pytest.mark.parametrize("point", [point for point in crash.WRITING if point != "while sealing"])
def test_killed_while_ingesting(installation: Installation, tmp_path: Path, point: str) -> None:
    job = Ingest(installation, tmp_path, 40)
    ended = crash.run(installation, point, *job.arguments, ledger="" if point == "before the receipt" else "cn")
    assert ended.returncode == -9, ended.stderr
    reported = job.interrupted(unsealed=40 if point in UNSEALED else 0)
    assert not reported
    assert job.completed(reported)["duplicate"] == (40 if point in COMMITTED else 0)


@pytest.mark.parametrize("point", ["after COPY of the envelopes", "after COMMIT"])
def test_killed_in_the_second_batch_with_other_processes_sealing(
    installation: Installation, tmp_path: Path, point: str
) -> None:
    job = Ingest(installation, tmp_path, 300)
    ended = crash.run(installation, point, *job.arguments, "--processes=2", ledger="cn", turn=2, batch=200)
    assert ended.returncode == -9, ended.stderr
    reported = job.interrupted(unsealed=100 if point in UNSEALED else 0)
    assert job.completed(reported)["duplicate"] == 200 + (100 if point in COMMITTED else 0)


def test_a_sealing_process_killed(installation: Installation, tmp_path: Path) -> None:
    job = Ingest(installation, tmp_path, 300)
    ended = crash.run(installation, "while sealing", *job.arguments, "--processes", "2")
    assert ended.returncode == 5
    said = "reasonvault: a sealing process died; nothing of its batch was kept: run the same command again"
    assert ended.stderr.splitlines()[1:] == [said]
    assert job.completed(job.interrupted())["accepted"] == 300


@pytest.mark.durable
@pytest.mark.parametrize("point", ["after COPY of the envelopes", "after the announcement"])
def test_the_database_killed_while_ingesting(own_server: EmbeddedServer, tmp_path: Path, point: str) -> None:
    """The server of the vault's own home, with all its processes, in the second batch."""
    site = Embedded(own_server, tmp_path / "home")
    for command in (("init",), ("ledger", "create", "cn", "--jurisdiction", "CN")):
        assert site.run(*command).exit_code == 0
    file = tmp_path / "in.jsonl"
    count = 300
    file.write_bytes(as_file(decisions(count)))
    arguments = ("ingest", str(file), "--ledger", "cn", "--json")
    pid = own_server.status().pid
    assert pid is not None
    ended = crash.run(site, point, *arguments, ledger="cn", turn=2, victim=pid, batch=200)
    assert ended.returncode == 5, ended.stderr
    acknowledged = json.loads(ended.stderr.splitlines()[0])["accepted"]
    assert acknowledged == 200
    between = json.loads(site.run("verify", "--json").stdout)  # starts the server again
    assert between["verdict"] == "OK"
    again = site.run(*arguments)
    assert again.exit_code == 0, again.output
    counts = json.loads(again.stdout)
    assert counts["accepted"] + counts["duplicate"] == count
    assert counts["duplicate"] >= acknowledged
    after = json.loads(site.run("verify", "--depth", "open", "--json").stdout)
    assert after["verdict"] == "OK"
    assert {one["name"]: (one["entries"], one["unsealed"]) for one in after["ledgers"]}["cn"] == (count + 1, 0)


class Embedded(Installation):
    """A vault whose database is the embedded server of its home."""

    def __init__(self, server: EmbeddedServer, home: Path) -> None:
        dsns = (server.dsn(role) for role in ("owner", "app", "superuser"))
        super().__init__(home, Database("reasonvault", *dsns))

    def environment(self) -> dict[str, str]:
        return {"REASONVAULT_HOME": str(self.home), "REASONVAULT_PASSPHRASE": PASSPHRASE.decode(), "DATABASE_URL": ""}


def test_writers_wait_for_each_other_under_the_heads_lock(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one writer chooses what is new, another starts: it must neither overtake nor collide."""
    find_tags = store.find_tags
    others: list[Future[Any]] = []

    def then_another(connection: Connection, *arguments: Any) -> dict[bytes, int]:
        if not others:
            others.append(pool.submit(installation.ingest, "cn", decisions(2, first=501)))
            _wait_until_it_waits(installation, others[0])
        return find_tags(connection, *arguments)

    monkeypatch.setattr(store, "find_tags", then_another)
    with ThreadPoolExecutor(1) as pool:
        first = installation.ingest("cn", decisions(2, first=500))
        second = others[0].result()
    told = [(one.status.value, one.seq) for one in (*first, *second)]
    assert told == [("accepted", 182), ("accepted", 183), ("duplicate", 183), ("accepted", 184)]
    assert worst(installation.audit(Depth.OPEN)) is None


def _wait_until_it_waits(site: Installation, other: Future[Any]) -> None:
    """Return once a connection to the vault's database waits for a lock, or the other writer has ended."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(site.database.superuser_dsn, autocommit=True) as connection:
        while not other.done() and connection.execute(query).fetchone() == (0,):
            time.sleep(0.01)


def test_two_processes_take_the_same_file_at_once(installation: Installation, tmp_path: Path) -> None:
    count = 2 * BATCH + 100
    file = tmp_path / "in.jsonl"
    file.write_bytes(as_file(decisions(count, first=500)))
    command = [sys.executable, "cli.py", "ingest", str(file), "--ledger", "cn", "--json", "--processes", "2"]
    environment = {**os.environ, **installation.environment()}
    running = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    counts = [json.loads(stdout) for stdout, _ in outputs]
    for what, expected in (("accepted", count), ("duplicate", count), ("conflicting", 0), ("refused", 0)):
        assert sum(one[what] for one in counts) == expected
    reports = installation.audit(Depth.OPEN)
    assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]
    assert {report.name: report.entries for report in reports}["cn"] == SIZE + count
