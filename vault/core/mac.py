"""HMAC-SHA-256 and HKDF-Expand, one call each.

From: RFC 2104; RFC 5869 section 2.3 for one block of output. Spelled with ``hashlib`` because a record takes eight
of them and the one-shot of OpenSSL 3 spends most of its time looking itself up (2.1 us against 1.0 us for a short
message). A property test holds both equal to the standard library and to ``cryptography``.
"""

from __future__ import annotations

from hashlib import sha256

_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_BLOCK = 64


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return HMAC-SHA-256, 32 bytes. The key has at most 64 bytes, as all of ours do.

    Raises:
        ValueError: a longer key, which RFC 2104 would hash first.
    """
    if len(key) > _BLOCK:
        raise ValueError("a key of at most 64 bytes is needed")
    block = key.ljust(_BLOCK, b"\0")
    return sha256(block.translate(_OUTER) + sha256(block.translate(_INNER) + message).digest()).digest()


def hkdf_expand(key: bytes, label: bytes) -> bytes:
    """Return HKDF-Expand with SHA-256 for 32 bytes: T(1) = HMAC(PRK, info || 0x01)."""
    return hmac_sha256(key, label + b"\x01")
