"""What the formats share: refusal, base64, SHA-256, zstd with the packaged dictionaries, JSON objects."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from pathlib import Path
from typing import Any

import zstandard

PAGE = Path(__file__).resolve().parents[2] / "vault" / "core"
DICTIONARIES = {
    ("record", 1): "50d6e920ae8837cf348272d116daab6d35e7e48498fdc5509a8e956a3a00f101",
    ("leaf", 1): "2e82bb151039a182507ed55a772e93bb8ce4c828f9a25c3cbb7437de49416f6e",
}


class Refused(Exception):
    """The bytes are not of the format, or what they say does not hold."""


def unb64(text: Any, size: int = 32) -> bytes:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (TypeError, binascii.Error):
        raise Refused("base64url") from None
    if len(data) != size or b64(data) != text:
        raise Refused("base64url: length or spelling")
    return data


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def unpack(frame: bytes, known: bytes, limit: int, form: int = zstandard.FORMAT_ZSTD1) -> bytes:
    """What one whole frame with nothing behind it holds, at most `limit` bytes."""
    trained = zstandard.ZstdCompressionDict(known) if known else None
    reader = zstandard.ZstdDecompressor(dict_data=trained, format=form).decompressobj()
    try:
        data = reader.decompress(frame)
    except zstandard.ZstdError:
        raise Refused("zstd") from None
    if not reader.eof or reader.unused_data or len(data) > limit:
        raise Refused("zstd: not one frame, or too long")
    return data


def dictionary(kind: str, which: int) -> bytes:
    if (kind, which) not in DICTIONARIES:
        raise Refused("dictionary: no such number")
    data = base64.b64decode((PAGE / f"{kind}-{which}.dict.txt").read_text("ascii"))
    if sha(data).hex() != DICTIONARIES[kind, which]:
        raise Refused("dictionary: not the bytes of the page")
    return data


def standard_b64(text: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Refused("base64") from None
    if base64.b64encode(data).decode() != text:
        raise Refused("base64 in a second spelling")
    return data


def read_object(text: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise Refused("JSON: a key twice")
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=once)
    except ValueError:
        raise Refused("JSON") from None
    if not isinstance(found, dict):
        raise Refused("JSON: no object")
    return found
