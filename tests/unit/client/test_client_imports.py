"""A payment service has httpx, msgspec and cryptography, and nothing of the vault's."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[3] / "client"
FILES = sorted((CLIENT / "reasonvault_client").glob("*.py"))
ALLOWED = {"httpx", "msgspec", "cryptography", "reasonvault_client"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports_only_what_it_declares(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            assert top in ALLOWED or top in sys.stdlib_module_names, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_stay_near_one_noun(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 400


def test_the_distribution_names_what_is_imported() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {text.partition(">")[0] for text in project["dependencies"]}
    assert named == ALLOWED - {"reasonvault_client"}
    assert (CLIENT / "reasonvault_client" / "py.typed").exists()
