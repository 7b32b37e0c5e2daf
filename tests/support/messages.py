"""Messages of ours, found where they are written: ``phrase("…")`` in Python, ``t("…")`` and ``tn(n, "…", "…")`` in
templates. What is put together at run time is found nowhere, so it stands here: ``DYNAMIC``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

import jinja2
from jinja2 import nodes

from retention import rules
from vault.core import governance, grant

REPORTS: Final = Path(__file__).parents[2] / "reports"

DYNAMIC: Final = frozenset(
    {
        *(word.replace("_", " ") for word in get_args(rules.Trigger)),  # _retention, keeping: rule.trigger
        *get_args(rules.Status),  # the same: rule.status
        *get_args(governance.DisposalState),  # keeping: one.state
        *grant.ROLES,  # access: role
        *get_args(grant.State),  # access: one.state
        *get_args(grant.Fields),  # access: one.fields
        "day",  # access: report.unit
        "week",
        "month",
        "year",
        "Page {page} of {pages}",  # layout.dress: the foot of each page
        "{n} d",  # integrity.kind.span
        "{n} h",
        "{n} min",
    }
)


def of_python(folder: Path = REPORTS) -> Iterator[tuple[str, str]]:
    """Yield (where, message) of every phrase whose message is written in place."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "phrase"
                and node.args
            ):
                first = node.args[0]  # pieces side by side are one constant by now
                if isinstance(first, ast.Constant):
                    yield f"{path.name}:{node.lineno}", str(first.value)


def of_templates(folder: Path = REPORTS / "templates") -> Iterator[tuple[str, str]]:
    """Yield (where, message) of every message of the templates."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, autoescape=True)
    for path in sorted(folder.glob("*.html.j2")):
        for call in environment.parse(path.read_text("utf-8")).find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name in ("t", "tn"):
                for argument in call.args:
                    for said in _constants(argument):
                        yield f"{path.name}:{call.lineno}", said


def _constants(node: nodes.Node) -> Iterator[str]:
    """What an argument says: a constant, or one of two."""
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, nodes.CondExpr):
        for one in (node.expr1, node.expr2):
            if one is not None:
                yield from _constants(one)


def written() -> dict[str, str]:
    """Return every message, and one place where it is used."""
    found: dict[str, Any] = dict.fromkeys(DYNAMIC, "said at run time")
    for where, message in (*of_python(), *of_templates()):
        found.setdefault(message, where)
    return found
