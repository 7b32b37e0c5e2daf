"""The embedded server in its life: made once, started by whoever needs it, moved, refused, discarded."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support.notes import ask, read_note, write_note
from tests.support.postgres import ROOT, Run
from vault.core.errors import UsageError
from vault.db import pgbinaries
from vault.db.embedded import EmbeddedServer
from vault.db.pgcluster import USERS, Role

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers live outside their homes")


@pytest.fixture(scope="module")
def server(postgres_run: Run) -> EmbeddedServer:
    """One server for the tests that only look."""
    return postgres_run.embedded("embedded", durable=True)


def test_every_role_logs_in_with_its_password_only(server: EmbeddedServer) -> None:
    roles: tuple[Role, ...] = ("owner", "app", "superuser")
    for role in roles:
        assert ask(server.dsn(role), "SELECT current_user") == USERS[role]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.dsn(role), password="wrong").close()
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(server.dsn("owner"), passfile="/dev/null").close()


def test_the_owner_owns_the_database_and_the_application_nothing(server: EmbeddedServer) -> None:
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert ask(server.dsn("app"), owner) == "reasonvault_owner"
    powers = "rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
    query = f"SELECT bool_or({powers}) FROM pg_roles WHERE rolname LIKE 'reasonvault%'"
    assert ask(server.dsn("app"), query) is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("listen_addresses", ""),
        ("data_checksums", "on"),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("password_encryption", "scram-sha-256"),
        ("server_encoding", "UTF8"),
        ("log_statement", "none"),
        ("log_parameter_max_length_on_error", "0"),
    ],
)
def test_settings_the_vault_relies_on(server: EmbeddedServer, name: str, value: str) -> None:
    assert ask(server.dsn("superuser"), "SELECT current_setting(%s)", [name]) == value


def test_durability_cannot_be_switched_off_in_the_configuration(server: EmbeddedServer) -> None:
    with psycopg.connect(server.dsn("superuser"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
    server.stop()
    server.ensure_running()
    assert ask(server.dsn("app"), "SELECT current_setting('fsync')") == "on"


def test_nothing_secret_is_readable_by_others(server: EmbeddedServer) -> None:
    place = server.location
    assert stat.S_IMODE(place.passwords.stat().st_mode) == 0o600
    for folder in (place.folder, place.area, place.data, place.socket):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secrets = [line.rpartition(":")[2] for line in place.passwords.read_text().splitlines()]
    assert len(set(secrets)) == 3
    pid = server.status().pid
    shown = server.dsn("owner") + repr(server) + Path(f"/proc/{pid}/cmdline").read_text()
    assert not any(secret in shown for secret in secrets)


def test_the_server_never_runs_as_root(server: EmbeddedServer) -> None:
    assert Path(f"/proc/{server.status().pid}").stat().st_uid != 0


def test_the_python_layer_of_the_package_is_never_imported(server: EmbeddedServer) -> None:
    assert pgbinaries.PACKAGE not in sys.modules


def test_the_environment_of_the_caller_does_not_lead_astray(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGPASSWORD": "wrong",
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": "1",
        "PGUSER": "x",
    }.items():
        monkeypatch.setenv(name, value)
    server.ensure_running()
    assert ask(server.dsn("app"), "SELECT 1") == 1


def test_the_log_holds_no_content(server: EmbeddedServer) -> None:
    content = "the customer said 4111"
    bad = [
        ("SELECT %s::text::integer", [content]),
        (f"SELECT '{content}'::integer", None),
        (f"THIS IS NO SQL '{content}'", None),
    ]
    for statement, parameters in bad:
        with psycopg.connect(server.dsn("app")) as connection, pytest.raises(psycopg.Error):
            connection.execute(statement, parameters)
    with psycopg.connect(server.dsn("owner")) as connection:
        connection.execute("CREATE TEMPORARY TABLE unique_text (t text UNIQUE, n integer)")
        connection.execute("INSERT INTO unique_text VALUES (%s)", [content])
        with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
            connection.execute("INSERT INTO unique_text VALUES (%s)", [content])
        with pytest.raises(psycopg.Error), connection.transaction():
            _copy(connection, f"x\t{content}\n")
    logs = list(server.location.data.glob("log/*"))
    assert logs
    assert not any(content in log.read_text() for log in logs)


def test_starting_again_changes_nothing(server: EmbeddedServer) -> None:
    before = server.status()
    server.ensure_running()
    assert server.status() == before
    assert before.running
    assert before.version is not None
    assert before.version.startswith("18.")


def test_stop_and_start(own_server: EmbeddedServer) -> None:
    assert own_server.status().version is None
    own_server.stop()  # nothing there: nothing to do
    own_server.ensure_running()
    write_note(own_server, "kept")
    own_server.stop()
    assert not own_server.status().running
    assert own_server.status().version == "18"
    own_server.stop()
    own_server.ensure_running()
    assert read_note(own_server) == "kept"


def test_two_commands_start_it_at_once_and_it_outlives_both(own_server: EmbeddedServer, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from vault.db.embedded import EmbeddedServer\n"
        "s = EmbeddedServer(Path(sys.argv[1])); s.ensure_running(); print(s.status().pid)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "home")]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    pids = {process.communicate()[0] for process in started}
    assert [process.returncode for process in started] == [0, 0]
    assert pids == {f"{own_server.status().pid}\n"}
    assert ask(own_server.dsn("app"), "SELECT 1") == 1


def test_production_refuses_it(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, production=True)
    with pytest.raises(UsageError, match="production mode needs DATABASE_URL"):
        server.ensure_running()
    with pytest.raises(UsageError, match="production mode needs DATABASE_URL"):
        server.dsn("app")
    assert not list(tmp_path.iterdir())


def test_discard_leaves_nothing(own_server: EmbeddedServer) -> None:
    own_server.ensure_running()
    place = own_server.location
    own_server.discard()
    assert not place.data.exists()
    assert not place.socket.exists()
    assert [path.name for path in place.folder.iterdir()] == ["lock"]
    own_server.discard()


@as_root
def test_roots_home_that_was_removed_and_made_anew_gets_a_new_database(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    own_server.ensure_running()
    write_note(own_server, "of the first home")
    area, first = own_server.location.area, own_server.status().pid
    shutil.rmtree(tmp_path / "home")
    own_server.ensure_running()
    try:
        assert own_server.status().pid != first
        assert ask(own_server.dsn("owner"), "SELECT to_regclass('note')") is None
        assert (area.with_name(f"{area.name}.1") / "data").exists()
    finally:
        shutil.rmtree(area.with_name(f"{area.name}.1"))


@as_root
def test_roots_home_may_move(own_server: EmbeddedServer, tmp_path: Path) -> None:
    own_server.ensure_running()
    write_note(own_server, "kept")
    moved = (tmp_path / "home").rename(tmp_path / "moved")
    assert read_note(EmbeddedServer(moved)) == "kept"
    EmbeddedServer(moved).discard()


def test_an_ordinary_users_server_lives_in_a_home_with_a_long_name(server: EmbeddedServer) -> None:
    """As root, the child loads what it needs, becomes ``nobody`` and goes on, since a clone may be 0700.

    It takes the programs from where ``server`` has had them copied.
    """
    program = """
import os, sys, tempfile
from pathlib import Path
import psycopg
from vault.db import location, pgbinaries
from vault.db.embedded import EmbeddedServer

found = pgbinaries.find()
if os.geteuid() == 0:
    found = found.below(location.SHARED / "postgresql")
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
pgbinaries.find = lambda: found
with tempfile.TemporaryDirectory(dir="/tmp") as folder:
    home = Path(folder, "home with a long, odd name $(false)" + "x" * 90)
    server = EmbeddedServer(home)
    try:
        server.ensure_running()
        with psycopg.connect(server.dsn("app")) as connection:
            print(connection.execute("SELECT current_user").fetchone()[0])
        print(home in server.location.data.parents, home in server.location.socket.parents)
        server.stop()
        server.ensure_running()
    finally:
        server.discard()
    print(server.location.socket.exists())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "reasonvault_app\nTrue False\nFalse\n")


def _copy(connection: psycopg.Connection[tuple[object, ...]], text: str) -> None:
    with connection.cursor().copy("COPY unique_text FROM STDIN") as copy:
        copy.write(text)
