"""The client's wheel: small, and of use where nothing of the vault is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "client"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that nothing is left in the clone."""
    source, dist = tmp_path_factory.mktemp("source") / "client", tmp_path_factory.mktemp("dist")
    shutil.copytree(CLIENT, source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(source)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (built,) = dist.glob("*.whl")
    return built


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == "reasonvault_client-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        assert "reasonvault_client/py.typed" in archive.namelist()
        metadata = archive.read("reasonvault_client-0.1.0.dist-info/METADATA").decode()
        scripts = archive.read("reasonvault_client-0.1.0.dist-info/entry_points.txt").decode()
    assert tops == {"reasonvault_client", "reasonvault_client-0.1.0.dist-info"}
    assert "Requires-Python: >=3.11" in metadata
    assert "reasonvault-client = reasonvault_client.cli:main" in scripts


def test_it_works_without_the_vault(wheel: Path, tmp_path: Path) -> None:
    """From the wheel itself, in a directory where nothing of ours can be found."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from reasonvault_client import Client\n"
        "from reasonvault_client.cli import main\n"
        "client = Client('http://127.0.0.1:1', 'payments', 'rvk_a', spool='spool', flush_timeout=0.1)\n"
        "client.log({'id': 'a'}, mode='spool')\n"
        "client.close()\n"
        "assert not {'vault', 'service', 'retention'} & set(sys.modules)\n"
        "sys.exit(main(['spool', 'show', 'spool']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(wheel)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "pending: 1" in done.stdout
