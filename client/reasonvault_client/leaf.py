"""The leaf of a record: what the ledger holds about it for ever.

Canonical JSON, so that two readers never read two leaves: one object, keys ascending, no white space, strings over
``A-Z a-z 0-9 . _ : / + -``, integers from 0 to 2^53 - 1, at most 4,096 bytes. Only a record's leaf is read here, since
a receipt is never for anything else. Version 1 is the only one known; a new member would be version 2.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

import msgspec

from reasonvault_client.errors import BadReceipt

MAX_LEAF = 4096
MAX_INTEGER = 2**53 - 1

_BYTES = re.compile(rb'[A-Za-z0-9._:/+\-{}\[\]",]+')
_WORD = re.compile(r"[A-Za-z0-9._:/+-]+")
_GROUP = re.compile(r"(?:\d{4}-(?:0[1-9]|1[0-2])|open|held)\.(?:0|[1-9]\d{0,8})", re.ASCII)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{3})?Z", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_encoder = msgspec.json.Encoder(order="sorted")


class Leaf(NamedTuple):
    """The members of a record's leaf that a producer can hold against its own record."""

    ledger: str
    seq: int
    producer: str
    producer_seq: int | None
    received_at: str
    plaintext: bytes


def parse(data: bytes) -> Leaf:
    """Read the leaf of a record.

    Raises:
        BadReceipt: not canonical, not a record's, or a member that is missing, unknown or of another form.
    """
    members = _canonical(data)
    if members.get("kind") != "record" or members.get("v") != 1:
        raise BadReceipt("the leaf is not a record's of version 1")
    optional = {"keep_until", "producer_seq"}
    if not _FORMS.keys() - optional <= members.keys() <= _FORMS.keys():
        raise BadReceipt("the leaf does not have the members of a record's")
    for name, value in members.items():
        if not _FORMS[name](value):
            raise BadReceipt(f"the leaf's {name} does not have its form")
    return Leaf(
        members["ledger"],
        members["seq"],
        members["producer"],
        members.get("producer_seq"),
        members["received_at"],
        unb64(members["plaintext"], 32) or b"",
    )


def unb64(text: object, length: int) -> bytes | None:
    """Return exactly ``length`` bytes of base64url without padding in its one spelling, else None."""
    if not isinstance(text, str) or not text.isascii():
        return None
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    spelled = base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    return data if len(data) == length and spelled == text else None


def _canonical(data: bytes) -> dict[str, Any]:
    """Return the object, having checked that its canonical spelling is the one at hand."""
    if len(data) > MAX_LEAF or not _BYTES.fullmatch(data):
        raise BadReceipt("the leaf is not canonical JSON")
    try:
        members = msgspec.json.decode(data)
        spelled = _encoder.encode(members)
    except (msgspec.MsgspecError, RecursionError):
        raise BadReceipt("the leaf is not canonical JSON") from None
    # Duplicate keys, white space, floats and other orders all come out differently.
    if not isinstance(members, dict) or spelled != data:
        raise BadReceipt("the leaf is not canonical JSON")
    return members


def _digest(value: object) -> bool:
    return unb64(value, 32) is not None


def _word(value: object) -> bool:
    return isinstance(value, str) and bool(_WORD.fullmatch(value))


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER


def _instant(value: object, fraction: bool) -> bool:
    found = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if not found or bool(found[2]) is not fraction:
        return False
    try:
        date.fromisoformat(found[1])
    except ValueError:
        return False
    return True


_FORMS: dict[str, Callable[[Any], bool]] = {
    "facets": _digest,
    "group": lambda value: isinstance(value, str) and bool(_GROUP.fullmatch(value)),
    "id_tag": lambda value: unb64(value, 16) is not None,
    "keep_until": lambda value: _instant(value, fraction=False),
    "key": _digest,
    "kind": _word,
    "ledger": lambda value: isinstance(value, str) and bool(_UUID.fullmatch(value)),
    "parts": lambda value: isinstance(value, list) and bool(value) and all(map(_digest, value)),
    "plaintext": _digest,
    "prev": _digest,
    "producer": _word,
    "producer_seq": _integer,
    "received_at": lambda value: _instant(value, fraction=True),
    "rulebook": _digest,
    "rules": lambda value: isinstance(value, list) and all(map(_word, value)) and value == sorted(set(value)),
    "seq": lambda value: _integer(value) and value > 0,
    "v": _integer,
}
"""Member -> whether a value has its form; FORMAT.md section 2 of the vault."""
