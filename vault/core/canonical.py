"""Canonical JSON: the one spelling of a leaf, so that two parsers can never read two leaves.

A subset of RFC 8785: objects with sorted keys, arrays, strings of ``[A-Za-z0-9._:/+-]``, integers from 0 to 2^53 - 1.
Inside that subset RFC 8785 asks for nothing but sorted keys and no white space, so any JSON library can check it.

    >>> encode({"seq": 7, "kind": "record"})
    b'{"kind":"record","seq":7}'
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import Any

import msgspec

from vault.core.errors import Modified

MAX_LEAF = 4096
"""Bytes in a leaf at most."""
MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader reads alike (RFC 8259 section 6)."""

_ALLOWED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/+-"
_STRUCTURE = b'{}[]",:'
_URLSAFE = bytes.maketrans(b"+/", b"-_")
_STANDARD = bytes.maketrans(b"-_", b"+/")

_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder()


def encode(document: dict[str, Any]) -> bytes:
    """Return the canonical bytes of a document.

    Raises:
        ValueError: the document is outside the subset; a bug of the caller, never a producer's fault.
    """
    _require_subset(document)
    return _encoder.encode(document)


def decode(data: bytes) -> dict[str, Any]:
    """Return the document of canonical bytes.

    Raises:
        Modified: the bytes are no JSON object, outside the subset, or not their own canonical form.
    """
    if not spelled_with_allowed_bytes(data):
        raise Modified("leaf has bytes outside the canonical subset")
    try:
        document = _decoder.decode(data)
        _require_subset(document)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Modified("leaf is not canonical JSON") from None
    if not isinstance(document, dict) or _encoder.encode(document) != data:
        raise Modified("leaf is not canonical JSON")
    return document


def spelled_with_allowed_bytes(data: bytes) -> bool:
    """Say whether every byte may stand in a leaf, and the leaf is no longer than ``MAX_LEAF``."""
    return len(data) <= MAX_LEAF and not data.translate(None, _ALLOWED + _STRUCTURE)


def is_word(text: str) -> bool:
    """Say whether a string may stand in a leaf."""
    return text.isascii() and not text.encode().translate(None, _ALLOWED)


def b64(data: bytes) -> str:
    """Return base64url without padding (RFC 4648 section 5), the spelling of bytes in a leaf."""
    return b64_bytes(data).decode("ascii")


def b64_bytes(data: bytes) -> bytes:
    """Return base64url without padding as ASCII bytes."""
    return b2a_base64(data, newline=False).translate(_URLSAFE, b"=")


def unb64(text: str, length: int) -> bytes:
    """Return exactly ``length`` bytes.

    Raises:
        Modified: the text is not the one base64url spelling of that many bytes.
    """
    try:
        data = a2b_base64(text.encode("ascii").translate(_STANDARD) + b"=" * (-len(text) % 4))
    except ValueError:
        raise Modified("leaf has a digest that is not base64url") from None
    if len(data) != length or b64(data) != text:
        raise Modified("leaf has a digest of the wrong length or spelling")
    return data


def _require_subset(value: object, depth: int = 0) -> None:
    if depth > 4:
        raise ValueError("nested too deeply")
    match value:
        case bool() | float() | None:
            raise ValueError("only strings, integers, arrays and objects")
        case int():
            if not 0 <= value <= MAX_INTEGER:
                raise ValueError("integer out of range")
        case str():
            if not is_word(value):
                raise ValueError("string outside the subset")
        case list() | tuple():
            for item in value:
                _require_subset(item, depth + 1)
        case dict():
            for key, item in value.items():
                _require_subset(key, depth + 1)
                _require_subset(item, depth + 1)
        case _:
            raise ValueError("only strings, integers, arrays and objects")
