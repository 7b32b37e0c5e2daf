"""What the files of a home say about its cluster, and what a failed program says about its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from vault.core.errors import Unavailable, UsageError
from vault.db import pgcluster
from vault.db.location import Location
from vault.db.pgbinaries import Binaries


@pytest.mark.parametrize(
    ("files", "complete"),
    [([], False), (["pgpass.new"], False), (["data", "pgpass.new"], True), (["data", "pgpass"], True)],
)
def test_a_cluster_is_complete_when_data_and_passwords_have_their_names(
    tmp_path: Path, files: list[str], complete: bool
) -> None:
    place = _place(tmp_path, files)
    assert pgcluster.is_complete(place) is complete
    assert place.passwords.exists() is complete


def test_lost_data_is_not_an_empty_home(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="is gone: restore it from a backup"):
        pgcluster.is_complete(_place(tmp_path, ["pgpass"]))


def test_lost_passwords_are_said_to_be_lost(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="are gone: restore that file"):
        pgcluster.is_complete(_place(tmp_path, ["data"]))


@pytest.mark.parametrize(
    ("files", "orphan"),
    [(["data"], True), (["data", "area"], False), (["data", "pgpass.new"], False), ([], False)],
)
def test_only_a_cluster_no_home_knows_is_an_orphan(tmp_path: Path, files: list[str], orphan: bool) -> None:
    assert pgcluster.is_orphan(_place(tmp_path, files)) is orphan


def test_an_orphan_is_set_aside_under_a_free_name(tmp_path: Path) -> None:
    place = _place(tmp_path, ["data"])
    place.area.with_name("area.1").mkdir()
    pgcluster.set_aside(place)
    assert (tmp_path / "area.2" / "data").exists()
    assert not place.area.exists()


@pytest.mark.parametrize(("written", "message"), [("17", "written by PostgreSQL 17"), (None, "not a PostgreSQL")])
def test_only_our_own_major_version_is_read(tmp_path: Path, written: str | None, message: str) -> None:
    place = _place(tmp_path, ["data"])
    if written:
        (place.data / "PG_VERSION").write_text(written)
    with pytest.raises(UsageError, match=message):
        pgcluster.require_same_major(place)
    (place.data / "PG_VERSION").write_text("18\n")
    pgcluster.require_same_major(place)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("LOG:  starting\n2026 UTC [7] FATAL:  out of space\nLOG:  shut down\n", "out of space"),
        ("initdb: error: could not create directory\ninitdb: removing\n", "could not create directory"),
        ("x\ny: could not open file\nz\n", "y: could not open file"),
        ("something else\n\n", "something else"),
        ("fixing ... Bus error\nchild process exited with 1\ninitdb: removing data\n", "fixing ... Bus error"),
        ("child process was terminated by signal 9\ninitdb: removing\n", "child process was terminated by signal 9"),
        ("postgres: error while loading libx\nno data was returned\n", "postgres: error while loading libx"),
        ("initdb: removing data directory\n", "initdb: removing data directory"),
        ("", "no reason given"),
    ],
)
def test_the_reason_is_the_gravest_line(output: str, reason: str) -> None:
    assert pgcluster.reason(output) == reason


def _place(top: Path, files: list[str]) -> Location:
    place = Location(top / "db", top / "area", top / "area" / "run", Binaries(top, "18.6.3"), None)
    place.folder.mkdir()
    place.area.mkdir()
    for name in files:
        if name == "data":
            place.data.mkdir()
        else:
            (place.folder / name).touch()
    return place
