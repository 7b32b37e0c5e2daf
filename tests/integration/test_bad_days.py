"""Disks that fill up, commits nobody knows the end of, keys that are gone, migrations half way.

After each: what was reported as accepted is there, the same file completes without duplicates, verification is clean.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from alembic import op
from click.testing import Result

from tests.support.decisions import as_file, decision, spelled
from tests.support.ingest import SIZE, Ingest
from tests.support.postgres import ROOT
from tests.support.vault import Installation
from vault.checkpoints import Checkpoints
from vault.db import migrate
from vault.db.engine import connect
from vault.verdict import Depth, worst

MOUNT, UMOUNT = "/bin/mount", "/bin/umount"


@pytest.mark.parametrize("full_at", ["announce", "publish"])
def test_the_disk_of_the_checkpoints_fills_up(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_at: str
) -> None:
    """Before COMMIT nothing happened; after it the entries are there, not acknowledged, and signed by the next run."""
    job = Ingest(installation, tmp_path, 40)
    place = installation.checkpoints("cn")
    with _small_disk(place, "64k"):
        filler = place / "filler"
        if full_at == "announce":
            _fill(filler)
        else:
            announce = Checkpoints.announce

            def then_fill(*arguments: object) -> None:
                announce(*arguments)  # type: ignore[arg-type]
                _fill(filler)

            monkeypatch.setattr(Checkpoints, "announce", then_fill)
        ended = installation.run(*job.arguments)
        assert ended.exit_code == 5
        assert ended.stderr.endswith("of a ledger: No space left on device; appends stop\n")
        monkeypatch.undo()
        reported = job.interrupted(unsealed=40 if full_at == "publish" else 0)
        assert not reported
        filler.unlink()
        job.completed(reported)


def test_the_disk_of_the_database_fills_up(installation: Installation, tmp_path: Path) -> None:
    """A tablespace on a disk that has room for the copied database and little more."""
    name = installation.database.name
    server = psycopg.conninfo.make_conninfo(installation.database.superuser_dsn, dbname="postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        row = connection.execute("SELECT current_setting('data_directory')").fetchone()
        assert row is not None
        data = Path(row[0])  # beside it, since the server's user may not enter the folders of this test
        folder, owner = data.with_name(name), data.stat()
        folder.mkdir()
        try:
            with _small_disk(folder, "24m", f"uid={owner.st_uid},gid={owner.st_gid}"):
                connection.execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
                try:
                    connection.execute(f"ALTER DATABASE {name} SET TABLESPACE {name}")
                    _ingest_until_full(installation, tmp_path, folder)
                finally:
                    connection.execute(f"ALTER DATABASE {name} SET TABLESPACE pg_default")
                    connection.execute(f"DROP TABLESPACE {name}")
        finally:
            folder.rmdir()


def _ingest_until_full(site: Installation, tmp_path: Path, disk: Path) -> None:
    file = tmp_path / "in.jsonl"
    noise = os.urandom(40_000).translate(bytes(97 + byte % 26 for byte in range(256))).decode()
    given = [(number, spelled(decision(number, prompt=noise[number:][:20_000]))) for number in range(500, 2_000)]
    file.write_bytes(as_file(given))
    ended = site.run("ingest", str(file), "--ledger", "cn", "--json")
    assert ended.exit_code == 5, ended.output
    counts, said = ended.stderr.splitlines()
    assert said == "reasonvault: database: disk full; free space and run the same command again"
    kept = json.loads(counts)["accepted"]
    assert site.size("cn") == SIZE + kept
    assert worst(site.audit(Depth.ENVELOPES)) is None
    subprocess.run([MOUNT, "-o", "remount,size=200m", str(disk)], check=True)
    again = site.run("ingest", str(file), "--ledger", "cn", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["duplicate"] == kept
    assert site.size("cn") == SIZE + len(given)
    assert worst(site.audit(Depth.OPEN)) is None


@contextmanager
def _small_disk(folder: Path, size: str, options: str = "mode=0700") -> Iterator[None]:
    """Mount a small file system over a folder, with the files that are in it."""
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    command = [MOUNT, "-t", "tmpfs", "-o", f"size={size},{options}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"NOT TESTED, a full disk: this machine does not let us mount one ({mounted.stderr.strip()})")
    try:
        for name, content in kept.items():
            (folder / name).write_bytes(content)
        yield
    finally:
        subprocess.run([UMOUNT, str(folder)], check=True)


def _fill(file: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(512))


def test_no_file_can_grow(installation: Installation, tmp_path: Path) -> None:
    """A quota of nothing stands for the full disk where none can be mounted."""
    job = Ingest(installation, tmp_path, 40)
    ended = subprocess.run(
        [sys.executable, "cli.py", *job.arguments],
        cwd=ROOT,
        env={**os.environ, **installation.environment()},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 5
    said = "reasonvault: cannot write pending of a ledger: File too large; appends stop"
    assert ended.stderr.splitlines()[1:] == [said]
    assert job.completed(job.interrupted())["accepted"] == 40


def test_the_connection_lost_at_commit_is_never_acknowledged(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announce = Checkpoints.announce

    def then_lose(*arguments: object) -> None:
        announce(*arguments)  # type: ignore[arg-type]
        with psycopg.connect(installation.database.superuser_dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'reasonvault'"
            )

    job = Ingest(installation, tmp_path, 40)
    monkeypatch.setattr(Checkpoints, "announce", then_lose)
    ended = installation.run(*job.arguments)
    monkeypatch.undo()
    assert (ended.exit_code, json.loads(ended.stderr.splitlines()[0])["accepted"]) == (5, 0)
    assert "ended during commit; retry the same records" in ended.stderr
    assert job.completed(job.interrupted())["accepted"] == 40


def test_a_warning_at_commit_is_never_acknowledged(installation: Installation, tmp_path: Path) -> None:
    """As a server warns (01000) that it committed without the standby that was asked for."""
    job = Ingest(installation, tmp_path, 40)
    with psycopg.connect(installation.database.superuser_dsn, autocommit=True) as connection:
        connection.execute(
            """CREATE FUNCTION public.warn() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN RAISE WARNING 'canceling wait for synchronous replication'; RETURN NULL; END $$"""
        )
        connection.execute(
            """CREATE CONSTRAINT TRIGGER warn AFTER INSERT ON vault.entry DEFERRABLE INITIALLY DEFERRED
               FOR EACH ROW EXECUTE FUNCTION public.warn()"""
        )
    ended = installation.run(*job.arguments)
    assert (ended.exit_code, json.loads(ended.stderr.splitlines()[0])["accepted"]) == (5, 0)
    assert "committed with a warning about durability" in ended.stderr
    with psycopg.connect(installation.database.superuser_dsn, autocommit=True) as connection:
        connection.execute("DROP FUNCTION public.warn() CASCADE")
    assert job.completed(job.interrupted(unsealed=40))["duplicate"] == 40


def test_a_wrong_passphrase(installation: Installation, tmp_path: Path) -> None:
    job = Ingest(installation, tmp_path, 1)
    wrong = {**installation.environment(), "REASONVAULT_PASSPHRASE": "wrong"}
    for arguments in (job.arguments, ("init",), ("ledger", "list"), ("verify", "--depth", "open")):
        ended = installation.run(*arguments, environment=wrong)
        assert ended.exit_code == 4
        assert ended.stderr.startswith("reasonvault: wrong passphrase for the key store")
    assert installation.run("verify", environment=wrong).exit_code == 0  # needs none
    assert job.completed(job.interrupted())["accepted"] == 1


@pytest.mark.parametrize(("key", "committed"), [("group.*", 0), ("tenant.*", 0), ("checkpoint.*", 0)])
def test_a_missing_key_file(installation: Installation, tmp_path: Path, key: str, committed: int) -> None:
    job = Ingest(installation, tmp_path, 5)
    lost = list((installation.home / "keys").glob(f"generation-*/{key}"))
    assert lost
    for path in lost:
        path.rename(path.with_suffix(".away"))
    ended = installation.run(*job.arguments)
    assert ended.exit_code == 5, ended.output
    _one_line(ended, "is missing from the key store: restore it, nobody destroyed it")
    for path in lost:
        path.with_suffix(".away").rename(path)
    assert job.completed(job.interrupted(unsealed=committed))["accepted"] == 5


def test_a_missing_manifest_of_the_key_store(installation: Installation, tmp_path: Path) -> None:
    job = Ingest(installation, tmp_path, 5)
    manifest = installation.home / "keys" / "manifest"
    manifest.rename(tmp_path / "manifest")
    _one_line(installation.run(*job.arguments), "manifest is missing")
    _one_line(installation.run("init"), "restore it from its own backup")
    (tmp_path / "manifest").rename(manifest)
    assert job.completed(job.interrupted())["accepted"] == 5


@pytest.mark.parametrize("statement", [1, 5, 14, 30])
def test_a_migration_that_ends_half_way_is_made_again(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch, statement: int
) -> None:
    with psycopg.connect(fresh.database.owner_dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA vault CASCADE")
    execute, done = op.execute, []

    def interrupted(sql: object) -> None:
        done.append(sql)
        if len(done) == statement:
            raise KeyboardInterrupt
        execute(sql)  # type: ignore[arg-type]

    monkeypatch.setattr(op, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        migrate.upgrade(fresh.database.owner_dsn)
    monkeypatch.undo()
    engine = connect(fresh.database.owner_dsn, role=None)
    with engine.connect() as inspected:
        assert migrate.current(inspected) is None
        assert inspected.exec_driver_sql("SELECT to_regclass('vault.ledger')").scalar_one() is None
    engine.dispose()
    _one_line(fresh.run("ledger", "list"), "run 'reasonvault init' first")
    assert fresh.run("init").exit_code == 0
    assert fresh.run("verify").exit_code == 0


def _one_line(ended: Result, said: str) -> None:
    """Check that one line of standard error tells the error; the other may be the counts of a run cut short."""
    assert said in ended.stderr
    assert [line.startswith(("reasonvault: ", '{"accepted"')) for line in ended.stderr.splitlines()].count(False) == 0
    assert ended.stderr.count("reasonvault: ") == 1
