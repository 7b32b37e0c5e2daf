"""Unlock slots: two ways to open the store root of a generation. Pure: bytes in, bytes out.

The passphrase slot seals the root under a key that Argon2id (RFC 9106) makes from the passphrase:

    offset  size  field
         0     8  magic "RVpasswd"
         8     1  version, 1; another version is refused. A new field means a new version.
         9    16  store id
        25    16  generation id
        41    16  salt, random, new with each passphrase and kept over generations
        57     4  memory in KiB, big-endian
        61     4  passes, big-endian
        65     1  lanes
        66    12  nonce, random
        78    32  sealed root, AES-256-GCM; everything before the nonce is associated data
       110    16  tag

The recovery slot seals the root to the public half of a key that only a recovery file holds. So a new
generation is sealed to it again without the file, and somebody who learnt one root learns nothing about the
next:

    offset  size  field
         0     8  magic "RVrecovr"
         8     1  version, 1
         9    16  store id
        25    16  generation id
        41    32  recovery public key, X25519
        73    80  HPKE base mode (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM;
                  32 bytes encapsulation, 32 bytes sealed root, 16 bytes tag; everything before it is ``info``

The recovery file is text, so that it survives a printer:

    reasonvault-recovery/1
    store <32 hex digits>
    custodian <name>
    secret <64 hex digits, X25519 private key>
    check <first 8 hex digits of SHA-256 over the lines above, each with its LF>
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.core.errors import Denied, KeyUnavailable, Modified, UsageError
from vault.keys.memory import refuse_pickle, wipe
from vault.keys.sealedfile import ID_BYTES, NONCE_BYTES, ROOT_BYTES, TAG_BYTES

VERSION = 1
SALT_BYTES = 16
PUBLIC_KEY_BYTES = 32
PASSPHRASE_MAGIC = b"RVpasswd"
RECOVERY_MAGIC = b"RVrecovr"
RECOVERY_TITLE = "reasonvault-recovery/1"

_PASSPHRASE_HEADER = struct.Struct(f">8sB{ID_BYTES}s{ID_BYTES}s{SALT_BYTES}sIIB")
_RECOVERY_HEADER = struct.Struct(f">8sB{ID_BYTES}s{ID_BYTES}s{PUBLIC_KEY_BYTES}s")
_PASSPHRASE_BYTES = _PASSPHRASE_HEADER.size + NONCE_BYTES + ROOT_BYTES + TAG_BYTES
_RECOVERY_BYTES = _RECOVERY_HEADER.size + PUBLIC_KEY_BYTES + ROOT_BYTES + TAG_BYTES
_HPKE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)

# The slot is read before anything about it is proved, so these bound what a hostile one can make us spend.
MAX_MEMORY_KIB = 256 * 1024
MAX_PASSES = 16
MAX_LANES = 16


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """Argon2id's price."""

    memory_kib: int
    passes: int
    lanes: int

    def within_bounds(self) -> bool:
        return (
            1 <= self.lanes <= MAX_LANES
            and 1 <= self.passes <= MAX_PASSES
            and 8 * self.lanes <= self.memory_kib <= MAX_MEMORY_KIB
        )


STANDARD_COST = Argon2Cost(memory_kib=64 * 1024, passes=3, lanes=4)  # RFC 9106, second recommended option


@dataclass(frozen=True, slots=True)
class PassphraseKey:
    """What a passphrase became. Kept while a store is open, to seal a new root without asking again."""

    salt: bytes
    cost: Argon2Cost
    key: bytearray = field(repr=False)

    def wipe(self) -> None:
        wipe(self.key)

    def __reduce__(self) -> tuple[object, ...]:
        refuse_pickle(self)


@dataclass(frozen=True, slots=True)
class RecoveryFile:
    """A recovery file's content: whoever holds it and the key directory opens the store."""

    store: bytes
    custodian: str
    secret: bytearray = field(repr=False)

    @property
    def public(self) -> bytes:
        return X25519PrivateKey.from_private_bytes(bytes(self.secret)).public_key().public_bytes_raw()

    def __reduce__(self) -> tuple[object, ...]:
        refuse_pickle(self)


def derive_passphrase_key(passphrase: bytes, salt: bytes, cost: Argon2Cost) -> PassphraseKey:
    """Run Argon2id: about 0.1 s and ``cost.memory_kib`` of memory.

    Raises:
        UsageError: empty passphrase, or a cost outside the bounds.
        KeyUnavailable: the memory is not there.
    """
    if not passphrase:
        raise UsageError("the passphrase is empty")
    if not cost.within_bounds():
        raise UsageError("the Argon2id cost is outside what this program would read again")
    try:
        key = hash_secret_raw(passphrase, salt, cost.passes, cost.memory_kib, cost.lanes, 32, Type.ID)
    except HashingError as error:
        raise KeyUnavailable(f"Argon2id could not run: {error}") from None
    return PassphraseKey(salt, cost, bytearray(key))


def seal_passphrase_slot(
    key: PassphraseKey, root: bytearray, store: bytes, generation: bytes, random: Callable[[int], bytes]
) -> bytes:
    cost = key.cost
    header = _PASSPHRASE_HEADER.pack(
        PASSPHRASE_MAGIC, VERSION, store, generation, key.salt, cost.memory_kib, cost.passes, cost.lanes
    )
    nonce = random(NONCE_BYTES)
    return header + nonce + AESGCM(key.key).encrypt(nonce, root, header)


def passphrase_slot_terms(raw: bytes) -> tuple[bytes, Argon2Cost]:
    """Salt and cost a passphrase slot asks for, bounded. Nothing is proved before ``open_passphrase_slot``.

    Raises:
        Modified: no passphrase slot, another version, or a cost outside the bounds.
    """
    if len(raw) != _PASSPHRASE_BYTES:
        raise Modified("key store: the passphrase slot has the wrong length")
    magic, version, _, _, salt, memory_kib, passes, lanes = _PASSPHRASE_HEADER.unpack_from(raw)
    cost = Argon2Cost(memory_kib, passes, lanes)
    if magic != PASSPHRASE_MAGIC or version != VERSION:
        raise Modified("key store: the passphrase slot is of a kind or version this program does not read")
    if not cost.within_bounds():
        raise Modified("key store: the passphrase slot asks for more than any slot of ours would")
    return salt, cost


def open_passphrase_slot(key: PassphraseKey, raw: bytes, store: bytes, generation: bytes) -> bytearray:
    """The root of this store and generation.

    Raises:
        Modified: the slot belongs elsewhere.
        Denied: wrong passphrase. An edited slot looks the same, since nothing but the passphrase proves it.
    """
    salt, cost = passphrase_slot_terms(raw)
    if raw[9:41] != store + generation or (salt, cost) != (key.salt, key.cost):
        raise Modified("key store: the passphrase slot belongs to another store, generation or passphrase")
    end = _PASSPHRASE_HEADER.size
    try:
        root = AESGCM(key.key).decrypt(raw[end : end + NONCE_BYTES], raw[end + NONCE_BYTES :], raw[:end])
    except InvalidTag:
        raise Denied("wrong passphrase for the key store (or its passphrase slot was edited)") from None
    return bytearray(root)


def seal_recovery_slot(public: bytes, root: bytearray, store: bytes, generation: bytes) -> bytes:
    header = _RECOVERY_HEADER.pack(RECOVERY_MAGIC, VERSION, store, generation, public)
    return header + _HPKE.encrypt(bytes(root), X25519PublicKey.from_public_bytes(public), header)


def open_recovery_slot(recovery: RecoveryFile, raw: bytes, store: bytes, generation: bytes) -> bytearray:
    """The root of this store and generation. Raises ``Modified`` for any slot not made for this file."""
    header = _RECOVERY_HEADER.pack(RECOVERY_MAGIC, VERSION, store, generation, recovery.public)
    if len(raw) != _RECOVERY_BYTES or raw[: len(header)] != header:
        raise Modified("key store: the recovery slot belongs to another store, generation or recovery file")
    secret = X25519PrivateKey.from_private_bytes(bytes(recovery.secret))
    try:
        return bytearray(_HPKE.decrypt(raw[len(header) :], secret, header))
    except InvalidTag:
        raise Modified("key store: the recovery slot was edited") from None


def format_recovery_file(recovery: RecoveryFile) -> bytes:
    """Raises ``UsageError`` for a custodian's name that would not survive as one line of text."""
    name = recovery.custodian
    if not 1 <= len(name) <= 200 or not name.isprintable() or name != name.strip():
        raise UsageError("the custodian's name is one line of 1 to 200 printable characters")
    lines = f"{RECOVERY_TITLE}\nstore {recovery.store.hex()}\ncustodian {name}\nsecret {recovery.secret.hex()}\n"
    return f"{lines}check {_check(lines)}\n".encode()


def parse_recovery_file(raw: bytes) -> RecoveryFile:
    """Read it back, forgiving only white space at line ends.

    Raises:
        UsageError: no recovery file, another version, or a slip that the check line shows.
    """
    try:
        lines = [line.rstrip() for line in raw.decode().splitlines() if line.strip()]
        title, store, custodian, secret, check = lines
        values = [
            line.removeprefix(f"{word} ")
            for word, line in (
                ("store", store),
                ("custodian", custodian),
                ("secret", secret),
                ("check", check),
            )
        ]
        signed = "".join(f"{line}\n" for line in lines[:-1])
        recovery = RecoveryFile(bytes.fromhex(values[0]), values[1], bytearray.fromhex(values[2]))
    except ValueError:
        raise UsageError("this is no recovery file, or it is incomplete") from None
    if title != RECOVERY_TITLE or len(recovery.store) != ID_BYTES or len(recovery.secret) != PUBLIC_KEY_BYTES:
        raise UsageError("this is no recovery file of a version this program reads")
    if values[3] != _check(signed):
        raise UsageError("the recovery file's check line does not match: it was copied or edited wrongly")
    return recovery


def _check(lines: str) -> str:
    return hashlib.sha256(lines.encode()).hexdigest()[:8]
