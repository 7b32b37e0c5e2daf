"""Who may import whom. An arrow that is not in this table is a design change, and changes here first."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# room -> rooms it may import, with the reason
MAY_IMPORT = {
    "vault.core": set(),  # pure: what a ledger is must not depend on where it lies or what time it is
    "vault.keys": {"vault.core"},  # keys know errors and formats, never SQL
    "vault.db": {"vault.core"},  # SQL knows rows, never keys: a database that opens nothing
    "vault": {"vault.core", "vault.keys", "vault.db"},  # verbs bring the three together, and know no law and no page
    "retention": {"vault.core", "vault"},  # law needs the types that it answers with
    "reports": {"vault.core", "vault.keys", "vault.db", "vault", "retention"},  # reports read what verbs return
    "service": {"vault.core", "vault.keys", "vault.db", "vault", "retention", "reports"},  # the composition root
    "cli": {"vault.core", "vault.keys", "vault.db", "vault", "retention", "reports", "service"},  # parse, call, print
}
FILES = sorted(
    path
    for top in ("vault", "retention", "reports", "service", "cli.py")
    for path in ([ROOT / top] if top.endswith(".py") else (ROOT / top).rglob("*.py"))
)


def room(module: str) -> str | None:
    """Return the room a module belongs to, None for what is not ours."""
    fitting = [name for name in MAY_IMPORT if module == name or module.startswith(f"{name}.")]
    return max(fitting, key=len, default=None)


def imported(path: Path) -> set[str]:
    """Return the modules a file imports, names taken from packages counted as modules."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downward(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    here = room(module)
    assert here is not None
    if module.startswith("vault.db.migrations"):
        return  # history: it holds its own copy of what it needs
    rooms = {there for name in imported(path) if (there := room(name)) is not None}
    assert rooms - {here} <= MAY_IMPORT[here]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_is_pure(path: Path) -> None:
    if "core" not in path.parts:
        return
    impure = {"os.open", "sqlalchemy", "psycopg", "pathlib", "socket", "subprocess", "time", "logging"}
    tops = {name.partition(".")[0] for name in imported(path)}
    assert not tops & impure, f"{path.name} reaches outside"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_near_one_noun(path: Path) -> None:
    if "standalone" in path.parts:
        return  # one file that strangers take along and run alone
    assert len(path.read_text("utf-8").splitlines()) <= 400, "look for its second noun"
