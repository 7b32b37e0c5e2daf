"""The records of tests/vectors/records, the bytes they describe, and what may come of any bytes."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from vault.core.errors import RefusedInput
from vault.core.parse import Parsed, epoch_us, parse

VECTORS = Path(__file__).parents[1] / "vectors" / "records"
VALID = json.loads((VECTORS / "valid.json").read_bytes())
REFUSED = json.loads((VECTORS / "refused.json").read_bytes())["cases"]
BASES: dict[str, dict[str, Any]] = {name: case["document"] for name, case in VALID["documents"].items()}
NOW = epoch_us(datetime.fromisoformat(VALID["now"]))


def dump(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def outcome(raw: bytes) -> Parsed | RefusedInput:
    """Either of the two things that may come of any bytes; every other exception fails the test."""
    try:
        return parse(raw, now_us=NOW)
    except RefusedInput as error:
        return error


def refusal(raw: bytes) -> RefusedInput:
    """The refusal of bytes that must be refused."""
    error = outcome(raw)
    assert isinstance(error, RefusedInput), "accepted, though it must be refused"
    return error


def build(case: dict[str, Any]) -> bytes:
    """Make the bytes of a case of refused.json, as its provenance line says."""
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    if "text" in case:
        return expand(case["text"])
    document = json.loads(json.dumps(BASES[case["base"]]))
    for pointer, value in case.get("set", {}).items():
        parent, key = resolve(document, pointer)
        if isinstance(parent, list) and int(key) == len(parent):
            parent.append(value)
        else:
            parent[int(key) if isinstance(parent, list) else key] = value
    for pointer in case.get("remove", []):
        parent, key = resolve(document, pointer)
        del parent[int(key) if isinstance(parent, list) else key]
    raw = dump(document)
    if "replace" in case:
        old, new = case["replace"]
        assert raw.count(old.encode()) == 1
        raw = raw.replace(old.encode(), expand(new))
    if "cut_at" in case:
        raw = raw[: raw.index(case["cut_at"].encode())]
    return raw + expand(case.get("append", ""))


def resolve(document: Any, pointer: str) -> tuple[Any, str]:
    *parents, key = pointer.split("/")[1:]
    for part in parents:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document, key


def expand(text: str) -> bytes:
    raw = re.sub(rb"\{hex:([0-9a-f]+)\}", lambda found: bytes.fromhex(found[1].decode()), text.encode())
    return re.sub(rb"\{([^{}*]+|\{[^{}*]+)\*([0-9]+)\}", lambda found: found[1] * int(found[2]), raw)


def assert_agree(tree: Any, view: Any) -> None:
    """Compare what the two parsers read, field by field: names, values and their types."""
    if isinstance(view, msgspec.Struct):
        assert isinstance(tree, dict)
        names = {field.encode_name: field.name for field in msgspec.structs.fields(view)}
        assert set(tree) - set(names) <= {type(view).__struct_config__.tag_field}
        for encoded, name in names.items():
            assert_agree(tree.get(encoded), getattr(view, name))
    elif isinstance(view, datetime):
        assert abs(epoch_us(datetime.fromisoformat(tree)) - epoch_us(view)) <= 1  # it cuts, msgspec rounds
    elif isinstance(view, dict):
        assert list(tree) == list(view)
        for key, value in view.items():
            assert_agree(tree[key], value)
    elif isinstance(view, list):
        assert len(tree) == len(view)
        for one, other in zip(tree, view, strict=True):
            assert_agree(one, other)
    elif isinstance(view, float):
        assert isinstance(tree, int | float)
        assert float(tree).hex() == view.hex()
    else:
        assert type(tree) is type(view)
        assert tree == view
