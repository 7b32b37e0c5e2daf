"""One AES-256-GCM ciphertext that two keys accept: the attack that key commitments are for.

From: "Fast Message Franking: From Invisible Salamanders to Encryptment" (CRYPTO 2018), section 3. A tag is
E_K(J0) + the sum of block_i * H_K^(n-i+1) over GF(2^128), so the tags under two keys are equal for exactly one value of
any one free block, and one division finds it.
"""

from __future__ import annotations

import hashlib
import os

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.core import envelope

_BLOCK = 16
_FREE = 1  # index of the ciphertext block that the equation decides
_FRAME_HEADER = bytes.fromhex("28b52ffd 20")  # zstd: magic, then "single segment, one byte of content size"


def seal_under_two_keys(record_key: bytes, other: bytes, context: envelope.Context) -> envelope.Sealed:
    """Seal 51 bytes, 16 of them beyond the sealer's choice, so that ``other`` authenticates the ciphertext as well.

    Everything that a leaf holds is that of ``record_key``.
    """
    header = envelope.header(context, 0)
    keys = [envelope._encryption_key(key, context.part) for key in (record_key, other)]
    nonce = os.urandom(12)
    stream = _encrypt_block(keys[0], *(nonce + counter.to_bytes(4, "big") for counter in range(2, 6)))
    ciphertext = bytearray(_xor(_framed(b"A" * 51), stream))
    ciphertext[_FREE * _BLOCK : (_FREE + 1) * _BLOCK] = bytes(_BLOCK)
    free = _block_that_equals_tags(keys, nonce, header, bytes(ciphertext))
    ciphertext[_FREE * _BLOCK : (_FREE + 1) * _BLOCK] = free
    tag = _tag(keys[0], nonce, header, bytes(ciphertext))
    sealed = nonce + bytes(ciphertext) + tag
    for key in keys:  # the forgery is real
        AESGCM(key).decrypt(nonce, bytes(ciphertext) + tag, header)
    plaintext = _framed_content(AESGCM(keys[0]).decrypt(nonce, bytes(ciphertext) + tag, header))
    opened = envelope.opening(record_key)
    return envelope.Sealed(
        envelope=bytes((envelope.SUITE, 0)) + sealed,
        part_digest=hashlib.sha256(header + sealed).digest(),
        key_commitment=envelope.key_commitment(record_key),
        opening=opened,
        plaintext_commitment=envelope.plaintext_commitment(opened, plaintext),
    )


def _framed(content: bytes) -> bytes:
    """Return content in one uncompressed zstd block behind the envelope's length: 64 bytes for 51."""
    block = (1 | len(content) << 3).to_bytes(3, "little")
    frame = _FRAME_HEADER + bytes((len(content),)) + block + content
    return len(frame).to_bytes(4, "big") + frame


def _framed_content(framed: bytes) -> bytes:
    return framed[13:]


def _block_that_equals_tags(keys: list[bytes], nonce: bytes, header: bytes, ciphertext: bytes) -> bytes:
    blocks = len(_blocks(header)) + len(_blocks(ciphertext)) + 1
    exponent = blocks - len(_blocks(header)) - _FREE
    difference, coefficient = 0, 0
    for key in keys:
        difference ^= int.from_bytes(_tag(key, nonce, header, ciphertext), "big")
        coefficient ^= _power(_hash_key(key), exponent)
    return _multiply(difference, _power(coefficient, 2**128 - 2)).to_bytes(_BLOCK, "big")


def _tag(key: bytes, nonce: bytes, header: bytes, ciphertext: bytes) -> bytes:
    """NIST SP 800-38D 7.1, for a 96-bit nonce."""
    lengths = (len(header) * 8).to_bytes(8, "big") + (len(ciphertext) * 8).to_bytes(8, "big")
    total, hash_key = 0, _hash_key(key)
    for block in [*_blocks(header), *_blocks(ciphertext), lengths]:
        total = _multiply(total ^ int.from_bytes(block, "big"), hash_key)
    return _xor(total.to_bytes(_BLOCK, "big"), _encrypt_block(key, nonce + b"\0\0\0\x01"))


def _hash_key(key: bytes) -> int:
    return int.from_bytes(_encrypt_block(key, bytes(_BLOCK)), "big")


def _encrypt_block(key: bytes, *blocks: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - the raw block cipher, to build GCM by hand
    return cipher.encryptor().update(b"".join(blocks))


def _blocks(data: bytes) -> list[bytes]:
    return [data[at : at + _BLOCK].ljust(_BLOCK, b"\0") for at in range(0, len(data), _BLOCK)]


def _multiply(one: int, other: int) -> int:
    """GF(2^128) as GCM spells it: the leftmost bit is the coefficient of x^0 (SP 800-38D 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if other >> bit & 1:
            product ^= one
        one = one >> 1 ^ (0xE1 << 120 if one & 1 else 0)
    return product


def _power(base: int, exponent: int) -> int:
    result = 1 << 127
    while exponent:
        if exponent & 1:
            result = _multiply(result, base)
        base = _multiply(base, base)
        exponent >>= 1
    return result


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
