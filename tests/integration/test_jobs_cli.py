"""``jobs`` and ``worker`` on the command line, with every job that is shipped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from service.jobs import catalogue, state
from tests.support.serving import serving
from tests.support.vault import Installation

ROOT = Path(__file__).parents[2]


def test_a_job_is_run_and_listed(installation: Installation) -> None:
    listed = json.loads(installation.run("jobs", "list", "--json").stdout)
    assert {one["job"] for one in listed} == set(catalogue.load(installation.home).jobs)
    assert {one["outcome"] for one in listed} == {None}
    ran = installation.run("jobs", "run", "verify.incremental", "--json")
    assert ran.exit_code == 0, ran.stderr
    counted = json.loads(ran.stdout)
    assert (counted["outcome"], counted["ledgers"]) == ("ok", 3)
    assert counted["entries"] > 200
    (row,) = [
        one
        for one in json.loads(installation.run("jobs", "list", "--json").stdout)
        if one["job"] == "verify.incremental"
    ]
    assert row["outcome"] == "ok"
    assert abs(datetime.fromisoformat(row["last"]) - datetime.now(UTC)) < timedelta(minutes=5)
    words = installation.run("jobs", "list").stdout.splitlines()
    assert words[0].split() == ["job", "schedule", "(UTC)", "last", "run", "outcome", "next", "run"]
    assert next(line for line in words if line.startswith("verify.incremental")).split()[6:8] == [row["last"], "ok"]


def test_what_a_job_finds_is_the_exit_code(installation: Installation) -> None:
    with installation.tampering() as connection:
        connection.execute("DELETE FROM vault.ledger WHERE name = 'sg'")
    ran = installation.run("jobs", "run", "verify.incremental")
    assert (ran.exit_code, ran.stdout) == (11, "")
    assert "the ledger is gone from the database" in ran.stderr
    assert installation.run("jobs", "run", "verify").exit_code == 2


def test_a_job_that_a_worker_runs_is_not_run_beside_it(installation: Installation) -> None:
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        connection.execute(
            "INSERT INTO vault.job SELECT ledger_id, 'checkpoints', now() - interval '1 minute', 'w1',"
            " now() + interval '1 hour', 1 FROM vault.ledger WHERE name = 'events'"
        )
    ran = installation.run("jobs", "run", "checkpoints")
    assert (ran.exit_code, "being run by worker w1" in ran.stderr) == (5, True)
    listed = {one["job"]: one["outcome"] for one in json.loads(installation.run("jobs", "list", "--json").stdout)}
    assert listed["checkpoints"] == "running"


def test_a_worker_does_every_job_that_is_shipped(installation: Installation) -> None:
    """A new vault's worker begins with each of them; nothing is due in this one, and nothing fails."""
    (installation.home / "jobs.toml").write_text("[worker]\npoll_seconds = 0.2\n")
    wanted = catalogue.load(installation.home).jobs
    worker = subprocess.Popen(
        [sys.executable, "-m", "cli", "worker", "--json"],
        cwd=ROOT,
        env=os.environ | installation.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 60
        with installation.opened() as vault:
            while {one.name for one in state.read(vault, installation.home) if one.succeeded} != set(wanted):
                assert worker.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
            assert not [one for one in state.read(vault, installation.home) if one.failed]
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=60)
    finally:
        worker.kill()
    assert worker.returncode == 0
    assert json.loads(out) == {"jobs": list(wanted)}
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["event"] for line in lines if line["event"] != "job"] == ["worker started", "worker stops"]
    assert {line["job"] for line in lines if line["event"] == "job"} == set(wanted)


def test_a_worker_says_what_is_wrong_in_one_line(installation: Installation) -> None:
    (installation.home / "jobs.toml").write_text("[disposal.paln]\n")
    ran = installation.run("worker")
    assert (ran.exit_code, len(ran.stderr.splitlines())) == (2, 1)
    wrong = installation.environment() | {"REASONVAULT_PASSPHRASE": "no"}
    (installation.home / "jobs.toml").unlink()
    assert installation.run("worker", environment=wrong).exit_code == 4


def test_figures_tell_what_is_overdue(installation: Installation) -> None:
    with installation.opened() as vault:
        with psycopg.connect(installation.database.superuser_dsn) as connection:
            for ago, outcome in (("3 days", "ok"), ("1 day", "failed")):
                connection.execute(
                    "INSERT INTO vault.job SELECT ledger_id, 'disposal.plan', date_trunc('day', now() - %s::interval)"
                    " + interval '2 hours 15 minutes', 'w1', now(), 1, now() - %s::interval, %s"
                    " FROM vault.ledger WHERE name = 'events'",
                    (ago, ago, outcome),
                )
        found = {one.name: one for one in state.read(vault, installation.home)}
    assert found["disposal.plan"].failed
    assert 86_400 < found["disposal.plan"].overdue < 3 * 86_400
    assert abs(found["disposal.plan"].succeeded - (time.time() - 3 * 86_400)) < 600
    assert (found["checkpoints"].failed, found["checkpoints"].succeeded) == (False, 0)


def test_the_service_tells_how_jobs_stand(installation: Installation) -> None:
    assert installation.run("jobs", "run", "checkpoints").exit_code == 0
    (installation.home / "jobs.toml").write_text("[disposal.run]\nenabled = false\n")
    with serving(installation) as service:
        told = dict(
            line.rsplit(" ", 1)
            for line in service.client.get("/metrics").text.splitlines()
            if "reasonvault_job" in line
        )
        assert float(told['reasonvault_job_last_success_timestamp_seconds{job="checkpoints"}']) > time.time() - 600
        assert told['reasonvault_job_last_success_timestamp_seconds{job="holds.inherit"}'] == "0.0"
        assert told['reasonvault_job_failed{job="checkpoints"}'] == "0.0"
        assert not [name for name in told if "disposal.run" in name]
        (installation.home / "jobs.toml").write_text("nonsense")
        assert 'job="' not in service.client.get("/metrics").text  # the other figures are told all the same


def test_retention_has_a_login_and_a_role_of_its_own(installation: Installation) -> None:
    login = f"worker_{installation.database.name}"
    with psycopg.connect(installation.database.superuser_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'made up' IN ROLE reasonvault_retention")
        try:
            own = make_conninfo(installation.database.owner_dsn, user=login, password="made up")
            environment = installation.environment() | {"DATABASE_RETENTION_URL": own, "DATABASE_OWNER_URL": ""}
            assert installation.run("jobs", "run", "checkpoints", environment=environment).exit_code == 0
            less = environment | {"DATABASE_RETENTION_URL": installation.database.app_dsn}
            refused = installation.run("jobs", "run", "checkpoints", environment=less)
            assert (refused.exit_code, "permission denied" in refused.stderr) == (2, True)
        finally:
            connection.execute(f"DROP ROLE {login}")
