"""The wheel alone: built offline, installed beside nothing of ours, used in an empty directory."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.decisions import as_file, decision, decisions, spelled
from tests.support.evidence import attachments, lines
from tests.support.postgres import Run
from tests.support.stranger import Stranger
from vault.db.embedded import EmbeddedServer

ROOT = Path(__file__).parents[2]
SHIPPED = ("vault", "retention", "reports", "service")
COUNT = 30


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that nothing is left in the clone."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in SHIPPED:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (path for path in ROOT.iterdir() if path.suffix in {".py", ".toml", ".md"}):
        shutil.copy(file, source)
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(source))
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of a virtual environment that has the wheel, and sees the libraries of this one."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    _run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        str(wheel),
    )
    # A directory named in a .pth file lends its modules, but the .pth files in it, such as that of an editable
    # installation, are not read: our source tree stays out.
    libraries = "\n".join(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(libraries + "\n")
    return python.parent


@pytest.fixture
def run(programs: Path, tmp_path: Path, postgres_run: Run) -> Iterator[Stranger]:
    """A stranger in an empty directory, with a home to be made and a database to be started."""
    folder, home = tmp_path / "empty", tmp_path / "home"
    folder.mkdir()
    postgres_run.watch(home)
    variables = {"REASONVAULT_HOME": str(home), "REASONVAULT_PASSPHRASE": "a stranger's words"}
    yield Stranger(folder, variables, (str(programs / "reasonvault"),))
    EmbeddedServer(home).discard()


def test_what_the_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    for folder in SHIPPED:
        wanted = {
            str(path.relative_to(ROOT))
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted <= names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {*SHIPPED, "cli.py"}


def test_the_main_job_without_the_source_tree(run: Stranger, programs: Path) -> None:
    where = _run(str(programs / "python"), "-c", "import cli, vault.core; print(cli.__file__, vault.core.__file__)")
    assert str(ROOT) not in where
    assert str(programs.parent) in where
    assert b"reasonvault" in run("--version").out

    assert run("init", "--json").document["new"]
    assert run("ledger", "create", "payments", "--jurisdiction", "CN").code == 0
    (run.folder / "in.jsonl").write_bytes(as_file(decisions(COUNT)))
    taken = run("ingest", "in.jsonl", "--ledger", "payments", "--json")
    assert (taken.code, taken.document["accepted"]) == (0, COUNT)
    assert run("show", "dec-7", "--ledger", "payments", "--purpose", "complaint").out == spelled(decision(7))
    verified = run("verify", "--depth", "open", "--json")
    assert (verified.code, verified.document["verdict"]) == (0, "OK")
    made = run("report", "evidence", "--ledger", "payments", "--purpose", "audit 审计", "-o", "evidence.pdf", "--json")
    assert made.code == 0, made.err
    assert len(lines(attachments(run.folder / "evidence.pdf")["population.jsonl"])) == COUNT
    assert sorted(path.name for path in run.folder.iterdir()) == ["evidence.pdf", "in.jsonl"]
    assert run("db", "status", "--json").document["running"]
    assert run("db", "stop").code == 0
    assert not run("db", "status", "--json").document["running"]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
