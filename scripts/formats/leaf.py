"""FORMAT.md section 2: canonical JSON, leaves, and how a leaf is stored."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any

import zstandard

from formats.base import Refused, dictionary, unb64, unpack

LIMIT, NESTING_LIMIT = 4096, 4

TOKEN = re.compile(r'(?P<string>"[A-Za-z0-9._:/+-]*")|(?P<number>0|[1-9][0-9]*)|(?P<mark>[{}\[\],:])')


def read_canonical(text: str) -> Any:
    """The value of a text that is spelled in the one way; no other text has a value."""
    tokens, at = [], 0
    while at < len(text):
        if not (match := TOKEN.match(text, at)):
            raise Refused(f"spelling at {at}")
        tokens.append(match)
        at = match.end()
    tokens.reverse()

    def take(*marks: str) -> str:
        if not tokens or tokens[-1]["mark"] not in marks:
            raise Refused("structure")
        return str(tokens.pop()["mark"])

    def string() -> str:
        if not tokens or not tokens[-1]["string"]:
            raise Refused("not a string")
        return str(tokens.pop()["string"][1:-1])

    def value(depth: int) -> Any:
        if depth > NESTING_LIMIT:
            raise Refused("nesting")
        if tokens and tokens[-1]["number"]:
            if (number := int(tokens.pop()["number"])) >= 2**53:
                raise Refused("integer")
            return number
        if tokens and tokens[-1]["string"]:
            return string()
        return array(depth + 1) if take("[", "{") == "[" else members(depth + 1)

    def array(depth: int) -> list[Any]:
        found: list[Any] = []
        if tokens and tokens[-1]["mark"] == "]":
            take("]")
            return found
        while True:
            found.append(value(depth))
            if take(",", "]") == "]":
                return found

    def members(depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if tokens and tokens[-1]["mark"] == "}":
            take("}")
            return found
        while True:
            key = string()
            if found and key <= max(found):
                raise Refused("order of keys")
            take(":")
            found[key] = value(depth)
            if take(",", "}") == "}":
                return found

    result = value(0)
    if tokens:
        raise Refused("something follows")
    return result


def matches(pattern: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise Refused(f"not {pattern}")

    return check


def moment(pattern: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        matches("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}" + pattern)(value)
        try:
            datetime.datetime.fromisoformat(value)
        except ValueError:
            raise Refused("no such day or time") from None

    return check


def number(value: Any) -> None:
    if type(value) is not int:
        raise Refused("not an integer")


def words(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        raise Refused("not a list of words")


def digests(value: Any) -> None:
    words(value)
    for part in value:
        unb64(part)
    if not value:
        raise Refused("no part")


def predecessor(value: Any) -> None:
    matches("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:(0|[1-9][0-9]*):[A-Za-z0-9_-]+:(0|[1-9][0-9]*)")(value)
    _, good, root, signed = value.split(":")
    unb64(root)
    if not int(good) <= int(signed) < 2**53:
        raise Refused("predecessor: sizes")


def mapping(value: Any) -> None:
    if not isinstance(value, dict):
        raise Refused("not an object")


MEMBERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(["facets", "key", "plaintext", "prev", "rulebook"], unb64),
    **dict.fromkeys(["actor", "event", "name", "producer", "region", "tenant"], matches(".+")),
    **dict.fromkeys(["at", "created_at", "received_at"], moment(r"\.[0-9]{3}Z")),
    **dict.fromkeys(["jurisdictions", "rules", "verifiers"], words),
    **dict.fromkeys(["producer_seq", "seq", "v"], number),
    "facts": mapping,
    "group": matches(r"([0-9]{4}-(0[1-9]|1[0-2])|open|held)\.(0|[1-9][0-9]{0,8})"),
    "id_tag": lambda value: unb64(value, 16),
    "keep_until": moment("Z"),
    "kind": matches("record|genesis|event"),
    "ledger": matches("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "ledger_kind": matches("decisions|events"),
    "parts": digests,
    "predecessor": predecessor,
}
COMMON = {"kind", "ledger", "seq", "v"}
SEALED = {"group", "key", "parts", "plaintext", "rulebook", "rules"}
RECORD = COMMON | SEALED | {"facets", "id_tag", "prev", "producer", "received_at"}
GENESIS = COMMON | {"created_at", "jurisdictions", "ledger_kind", "name", "region", "rulebook", "rules", "tenant"}
EVENT = COMMON | {"actor", "at", "event", "facts", "prev"}
SHAPES: dict[Any, list[tuple[set[str], set[str]]]] = {  # kind -> members of each shape: needed, optional
    "record": [(RECORD, {"keep_until", "producer_seq"})],
    "genesis": [(GENESIS | {"verifiers"}, {"predecessor"})],
    "event": [(EVENT, set()), (EVENT | SEALED, {"keep_until"})],
}


def read_leaf(data: bytes) -> dict[str, Any]:
    if len(data) > LIMIT or not data.isascii():
        raise Refused("leaf: length or alphabet")
    leaf = read_canonical(data.decode())
    if not isinstance(leaf, dict) or leaf.get("v") != 1 or not isinstance(leaf.get("kind"), str):
        raise Refused("leaf: version or kind")
    if not any(need <= leaf.keys() <= need | more for need, more in SHAPES.get(leaf["kind"], [])):
        raise Refused("leaf: kind or members")
    for key, value in leaf.items():
        MEMBERS[key](value)
    if (leaf["seq"] == 0) != (leaf["kind"] == "genesis"):
        raise Refused("leaf: the first, and only that one, is the genesis")
    if leaf["kind"] != "genesis" and leaf.get("rules", []) != sorted(set(leaf.get("rules", []))):
        raise Refused("leaf: order of rules")
    return leaf


def stored_leaf(data: bytes) -> bytes:
    """The leaf's own bytes from the form in which the database holds it."""
    if data[:1] == b"\x7b":
        return data
    if data[:2] != b"\x01\x00" or len(data) < 6 or not data[3] & 1:  # descriptor; the first block is the last
        raise Refused("stored leaf: form")
    return unpack(data[1:], dictionary("leaf", 1), LIMIT, zstandard.FORMAT_ZSTD1_MAGICLESS)
