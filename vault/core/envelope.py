"""Envelope: one part of a record, sealed under a record key that is used once.

Order: compress, pad, seal with the header as associated data. The header is not stored: it is rebuilt from the leaf and
the facets that stand beside the envelope, so a ciphertext that is moved to another row, or whose row is edited, no
longer opens.

Header H v1 (associated data), big-endian:

    offset  size  type    field
    0       4     bytes   magic "RVH1"
    4       1     u8      suite, 1 = AES-256-GCM
    5       1     u8      codec, 0 = zstd, n = zstd with packaged dictionary n
    6       32    bytes   SHA-256 of the dictionary, zeros for codec 0
    38      16    bytes   ledger uuid
    54      2     u16     part, from 0
    56      2     u16     parts
    58      8     i64     producer_seq, -1 when absent
    66      ...           five strings, each u16 length || UTF-8: schema, record id, producer, record class,
                          jurisdictions (comma joined)

Stored envelope:

    0       1     u8      suite
    1       1     u8      codec
    2       12    bytes   nonce
    14      n     bytes   ciphertext
    14+n    16    bytes   tag

Plaintext of the ciphertext: u32 big-endian length of the zstd frame || frame || zeros up to a multiple of 64 bytes, so
that lengths tell little. ``part`` digest in the leaf: SHA-256(H || nonce || ciphertext || tag).

Keys, each HKDF-Expand (RFC 5869 2.3) of the 32-byte record key with its own label; the record key is uniformly
random, so the extract step is left out as section 3.3 allows. AES-GCM does not commit to its key: one ciphertext can be
made that opens differently under two keys, so the key commitment in the leaf is compared before anything is decrypted.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import NamedTuple
from uuid import UUID

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.core import dictionary, entropy
from vault.core.errors import KeyGone, Modified
from vault.core.mac import hkdf_expand, hmac_sha256
from vault.core.spelling import spelled, spelled_often

MAGIC = b"RVH1"
SUITE = 1
MAX_PLAINTEXT = 16 * 1024 * 1024
"""Bytes a part may decompress to; a record itself is bounded to 1 MiB at parsing."""

_PAD = 64
_FIXED = struct.Struct(">4sBB32s16sHHq")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_LEVEL = 3


class Context(NamedTuple):
    """What a ciphertext is and where it belongs; everything here stays the same for the record's whole life."""

    ledger: UUID
    record_id: str
    producer: str
    producer_seq: int | None
    schema: str
    record_class: str
    jurisdictions: str
    part: int = 0
    parts: int = 1


class Sealed(NamedTuple):
    """One sealed part, the commitments its leaf will carry, and the opening, which is the producer's secret."""

    envelope: bytes
    part_digest: bytes
    key_commitment: bytes
    opening: bytes
    plaintext_commitment: bytes

    def __repr__(self) -> str:
        return "Sealed(...)"


def header(context: Context, codec: int) -> bytes:
    """Return H. Raises Modified when a value does not fit its field or the dictionary is unknown."""
    try:
        fixed = _FIXED.pack(
            MAGIC,
            SUITE,
            codec,
            dictionary.digest(codec),
            context.ledger.bytes,
            context.part,
            context.parts,
            -1 if context.producer_seq is None else context.producer_seq,
        )
        return b"".join(
            (
                fixed,
                spelled_often(context.schema),
                spelled(context.record_id),
                spelled_often(context.producer),
                spelled_often(context.record_class),
                spelled_often(context.jurisdictions),
            )
        )
    except (struct.error, UnicodeEncodeError):
        raise Modified("the envelope's context holds a value that does not fit") from None


def seal(plaintext: bytes, record_key: bytes, context: Context, *, codec: int = dictionary.CURRENT) -> Sealed:
    """Seal one part under a fresh record key (32 random bytes that must never be used again for this part)."""
    return _seal(plaintext, record_key, context, codec, entropy.draw(12))


def _seal(plaintext: bytes, record_key: bytes, context: Context, codec: int, nonce: bytes) -> Sealed:
    """Seal with a given nonce: what test vectors drive."""
    frame = dictionary.compressor(codec, _LEVEL).compress(plaintext)
    padded = _U32.pack(len(frame)) + frame
    padded += bytes(-len(padded) % _PAD)
    bound = header(context, codec)
    opened = opening(record_key)
    sealed = nonce + AESGCM(_encryption_key(record_key, context.part)).encrypt(nonce, padded, bound)
    return Sealed(
        bytes((SUITE, codec)) + sealed,
        hashlib.sha256(bound + sealed).digest(),
        key_commitment(record_key),
        opened,
        plaintext_commitment(opened, plaintext),
    )


def part_digest(envelope: bytes, context: Context) -> bytes:
    """Return the digest that the leaf's ``parts`` must hold; needs no key.

    Raises:
        Modified: the envelope is shorter than its frame or of an unknown suite or codec.
    """
    return hashlib.sha256(header(context, _codec(envelope)) + envelope[2:]).digest()


def open_part(envelope: bytes, record_key: bytes, commitment: bytes, context: Context) -> bytes:
    """Return the plaintext.

    Raises:
        Modified: the key is not the one the leaf commits to, the bytes or their context were changed, or the padding,
            length or compression is not what sealing makes. The plaintext commitment is the caller's to compare.
    """
    if not hmac.compare_digest(key_commitment(record_key), commitment):
        raise Modified("record key is not the one the leaf commits to")
    codec = _codec(envelope)
    try:
        padded = AESGCM(_encryption_key(record_key, context.part)).decrypt(
            envelope[2:14], envelope[14:], header(context, codec)
        )
    except InvalidTag:
        raise Modified("envelope does not open in its place") from None
    (length,) = _U32.unpack_from(padded) if len(padded) >= _PAD else (len(padded),)
    frame, padding = padded[4 : 4 + length], padded[4 + length :]
    if len(frame) != length or len(padded) % _PAD or len(padding) >= _PAD or any(padding):
        raise Modified("envelope has a wrong length or padding")
    try:
        if zstandard.frame_content_size(frame) not in range(MAX_PLAINTEXT + 1):
            raise Modified("envelope decompresses to more than a part may hold")
        return dictionary.decompressor(codec).decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError:
        raise Modified("envelope does not decompress") from None


def key_commitment(record_key: bytes) -> bytes:
    """Return the 32-byte commitment to a record key that its leaf carries."""
    return _expand(record_key, b"reasonvault/1 key commitment")


def opening(record_key: bytes) -> bytes:
    """Return the 32-byte key of the plaintext commitment: what a receipt hands to the producer."""
    return _expand(record_key, b"reasonvault/1 plaintext commitment")


def plaintext_commitment(opening_key: bytes, plaintext: bytes) -> bytes:
    """Return HMAC-SHA-256(opening, plaintext): proves exact bytes to whoever holds the opening, and nobody else."""
    return hmac_sha256(opening_key, plaintext)


def _encryption_key(record_key: bytes, part: int) -> bytes:
    return _expand(record_key, b"reasonvault/1 encryption" + _U16.pack(part))


def _expand(record_key: bytes, label: bytes) -> bytes:
    if len(record_key) != 32:
        raise Modified("record key is not 32 bytes")
    return hkdf_expand(record_key, label)


def _codec(envelope: bytes) -> int:
    if len(envelope) < 2 + 12 + _PAD + 16 or envelope[0] != SUITE:
        raise Modified("envelope is too short or of an unknown suite")
    if not dictionary.known(envelope[1]):
        raise KeyGone("envelope needs a compression dictionary this version does not have: update reasonvault")
    return envelope[1]
