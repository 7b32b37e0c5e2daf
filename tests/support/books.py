"""Rule books for tests: the packaged one with rules changed, added and left out, spelled as TOML again."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping
from datetime import date
from importlib.resources import files
from typing import Any

from retention.rules import RuleBook, load


def book(
    version: str,
    changed: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    added: Collection[Mapping[str, Any]] = (),
    without: Collection[str] = (),
    without_codes: Collection[str] = (),
) -> bytes:
    """Return a book of schema 2.

    Args:
        changed: rule id -> fields to replace; None as a value leaves the field out.
        added: whole rules; what they leave out is that of PROD-3Y.
        without: rule ids to leave out.
        without_codes: jurisdictions to leave out.
    """
    packaged = tomllib.loads(files("retention").joinpath("rulebook/2026-11.toml").read_text("utf-8"))
    floor = packaged["rule"][0]
    rules = [rule | (changed or {}).get(rule["id"], {}) for rule in packaged["rule"] if rule["id"] not in without]
    rules += [floor | {"applies": "optional", "note": ""} | rule for rule in added]
    codes = [one for one in packaged["jurisdiction"] if one["code"] not in without_codes]
    lines = ["schema = 2", f"version = {json.dumps(version)}"]
    for name, tables in (("rule", rules), ("jurisdiction", codes)):
        for table in tables:
            lines += [
                f"[[{name}]]",
                *(f"{key} = {_spelled(value)}" for key, value in table.items() if value is not None),
            ]
    return ("\n".join(lines) + "\n").encode()


def loaded(version: str, changed: Mapping[str, Mapping[str, Any]] | None = None, **more: Any) -> RuleBook:
    """Return the same, read."""
    return load(book(version, changed, **more))


def _spelled(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else json.dumps(value, ensure_ascii=False)
