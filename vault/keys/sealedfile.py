"""A sealed file: one secret or one document under the store root of its generation.

Everything before the nonce is the associated data, so a file cannot be renamed to another key, turned from a
signing key into a wrapping key, or carried into another store or generation. Pure: bytes in, bytes out.

    offset  size  field
         0     8  magic "RVsealed"
         8     1  version, 1; another version is refused. A new field means a new version.
         9     1  kind: 1 manifest, 2 wrapping key, 3 signing key (Ed25519 seed)
        10    16  store id, random, the same in every file of a store
        26    16  generation id, random, names the root
        42     1  n, length of the reference; 0 for the manifest
        43     n  key reference, ASCII
      43+n    12  nonce, random
      55+n     m  AES-256-GCM ciphertext; 32 bytes for a key
    55+n+m    16  tag

A root seals a few thousand files in its life, far below the 2^32 that random 96-bit nonces allow (NIST SP
800-38D 8.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.core.errors import Modified
from vault.keys.provider import KeyRef

MAGIC = b"RVsealed"
VERSION = 1
ID_BYTES = 16
ROOT_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_GENERATION_END = 10 + 2 * ID_BYTES


class FileKind(IntEnum):
    """What a sealed file holds."""

    MANIFEST = 1
    WRAPPING_KEY = 2
    SIGNING_KEY = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed file belongs; every part is bound into the seal."""

    store: bytes
    generation: bytes
    kind: FileKind
    ref: KeyRef = ""

    def header(self) -> bytes:
        ref = self.ref.encode("ascii")
        return b"".join((MAGIC, bytes((VERSION, self.kind)), self.store, self.generation, bytes((len(ref),)), ref))


def seal(root: bytes | bytearray, place: Place, secret: bytes | bytearray, random: Callable[[int], bytes]) -> bytes:
    """The file's bytes. ``root`` is 32 bytes; ``random`` draws the nonce."""
    header, nonce = place.header(), random(NONCE_BYTES)
    return header + nonce + AESGCM(root).encrypt(nonce, secret, header)


def unseal(root: bytes | bytearray, place: Place, raw: bytes) -> bytearray:
    """What ``seal`` was given, if ``raw`` is that file and belongs to ``place``.

    Raises:
        Modified: another version, another place, another root, edited or cut.
    """
    header = place.header()
    body = len(header) + NONCE_BYTES
    if raw[: len(header)] != header or len(raw) < body + TAG_BYTES:
        raise Modified(f"key store: {_named(place)} is not the file that belongs there")
    try:
        return bytearray(AESGCM(root).decrypt(raw[len(header) : body], raw[body:], header))
    except InvalidTag:
        raise Modified(f"key store: {_named(place)} was edited or belongs to another root") from None


def claimed_place(raw: bytes) -> Place:
    """The place a manifest claims in clear, needed to find its root. Nothing is proved before ``unseal``.

    Raises:
        Modified: no manifest, or of a version this code does not read.
    """
    if len(raw) < _GENERATION_END or raw[:8] != MAGIC:
        raise Modified("key store: the manifest is no sealed file")
    if raw[8] != VERSION:
        raise Modified(f"key store: the manifest has format version {raw[8]}, this program reads {VERSION}")
    if raw[9] != FileKind.MANIFEST:
        raise Modified("key store: another sealed file stands in the manifest's place")
    return Place(raw[10:26], raw[26:_GENERATION_END], FileKind.MANIFEST)


def _named(place: Place) -> str:
    return f"the file of key {place.ref}" if place.ref else "the manifest"
