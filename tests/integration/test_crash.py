"""Bad days: processes killed with SIGKILL, disks that fill up, keys that are gone, commits nobody knows the end of.

After each: what was reported as accepted is there, the same file completes without duplicates, verification is clean.
"""

from __future__ import annotations

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
from click.testing import Result

from tests.support import crash
from tests.support.decisions import as_file, decision, decisions, spelled
from tests.support.postgres import ROOT, Database
from tests.support.vault import PASSPHRASE, Installation
from vault.core import leaf
from vault.core.leaf import RecordLeaf
from vault.db import migrate
from vault.db.embedded import EmbeddedServer
from vault.db.engine import connect
from vault.intake import BATCH
from vault.verdict import Depth, worst

SIZE = 182  # of "cn", before
UNSEALED = {"after COMMIT", "half way in the checkpoint"}
COMMITTED = {*UNSEALED, "after the checkpoint", "before the receipt"}


class Ingest:
    """A file of ``count`` new records and one bad line, on its way into the ledger "cn"."""

    def __init__(self, site: Installation, folder: Path, count: int) -> None:
        self.site, self.count = site, count
        self.file, self.receipts = folder / "in.jsonl", folder / "receipts.jsonl"
        self.lines = [*decisions(count, first=500), (9999, b"{}")]
        self.file.write_bytes(as_file(self.lines))

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("ingest", str(self.file), "--ledger", "cn", "--receipts", str(self.receipts), "--json")

    def reported(self) -> dict[int, RecordLeaf]:
        """Return the leaf of each line that a receipt was written for. A kill may cut the last one."""
        if not self.receipts.exists():
            return {}
        whole = [json.loads(line) for line in self.receipts.read_text().splitlines(keepends=True) if line[-1] == "\n"]
        places = {one["line"]: leaf.parse(one["receipt"]["leaf"].encode()) for one in whole}
        assert all(isinstance(place, RecordLeaf) for place in places.values())
        return {line: place for line, place in places.items() if isinstance(place, RecordLeaf)}

    def interrupted(self, unsealed: int = 0) -> dict[int, RecordLeaf]:
        """Check the vault as the accident left it; return what had been reported."""
        reports = self.site.audit(Depth.ENVELOPES)
        assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]
        assert {report.name: report.unsealed for report in reports} == {"cn": unsealed, "events": 0, "sg": 0}
        reported = self.reported()
        assert all(place.seq < self.site.size("cn") for place in reported.values())
        return reported

    def completed(self, before: dict[int, RecordLeaf]) -> dict[str, int]:
        """Run the same file again, check that it is whole, and return the counts it printed."""
        again = self.site.run(*self.arguments)
        assert again.exit_code == 3, again.output
        counts: dict[str, int] = json.loads(again.stdout)
        assert (counts["accepted"] + counts["duplicate"], counts["conflicting"], counts["refused"]) == (
            self.count,
            0,
            1,
        )
        after = self.reported()
        assert sorted(place.seq for place in after.values()) == list(range(SIZE, SIZE + self.count))
        assert all(after[line] == place for line, place in before.items())
        reports = self.site.audit(Depth.OPEN)
        assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]
        assert {report.name: (report.entries, report.unsealed) for report in reports}["cn"] == (SIZE + self.count, 0)
        return counts


@pytest.mark.parametrize("point", [point for point in crash.POINTS if point != "while sealing"])
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
@pytest.mark.parametrize("point", ["after COPY of the envelopes", "after the announcement", "after COMMIT"])
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
    assert ended.returncode in {0, 5}, ended.stderr  # after COMMIT nothing of the server is needed any more
    acknowledged = json.loads((ended.stderr or ended.stdout).splitlines()[0])["accepted"]
    assert acknowledged in {200, count}
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
            announce = crash.Checkpoints.announce

            def then_fill(*arguments: object) -> None:
                announce(*arguments)  # type: ignore[arg-type]
                _fill(filler)

            monkeypatch.setattr(crash.Checkpoints, "announce", then_fill)
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
                connection.execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'".encode())
                try:
                    connection.execute(f"ALTER DATABASE {name} SET TABLESPACE {name}".encode())
                    _ingest_until_full(installation, tmp_path, folder)
                finally:
                    connection.execute(f"ALTER DATABASE {name} SET TABLESPACE pg_default".encode())
                    connection.execute(f"DROP TABLESPACE {name}".encode())
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
    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
    again = site.run("ingest", str(file), "--ledger", "cn", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["duplicate"] == kept
    assert site.size("cn") == SIZE + len(given)
    assert worst(site.audit(Depth.OPEN)) is None


@contextmanager
def _small_disk(folder: Path, size: str, options: str = "mode=0700") -> Iterator[None]:
    """Mount a small file system over a folder, with the files that are in it."""
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},{options}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"NOT TESTED, a full disk: this machine does not let us mount one ({mounted.stderr.strip()})")
    try:
        for name, content in kept.items():
            (folder / name).write_bytes(content)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill(file: Path) -> None:
    """Write until the disk is full."""
    with file.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
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
    announce = crash.Checkpoints.announce

    def then_lose(*arguments: object) -> None:
        announce(*arguments)  # type: ignore[arg-type]
        with psycopg.connect(installation.database.superuser_dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'reasonvault'"
            )

    job = Ingest(installation, tmp_path, 40)
    monkeypatch.setattr(crash.Checkpoints, "announce", then_lose)
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
    _one_line(installation.run("init"), "but no manifest: restore the manifest")
    (tmp_path / "manifest").rename(manifest)
    assert job.completed(job.interrupted())["accepted"] == 5


@pytest.mark.parametrize("statement", [1, 5, 14, 30])
def test_a_migration_that_ends_half_way_is_made_again(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch, statement: int
) -> None:
    from alembic import op

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
