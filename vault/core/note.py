"""Signed notes: a text that people can read and machines can verify.

From: C2SP signed-note. A note is UTF-8 without control characters (those below U+0020) except LF:

    <text>                                        any lines; ends in LF
    LF                                            the last blank line of the note
    E2 80 94 20 <name> 20 <base64> LF             one or more signature lines; E2 80 94 is the em dash

    base64 decodes to   0   4   key id
                        4  64   Ed25519 signature of <text>, its last LF included, the blank line excluded
    key id              SHA-256(<name> || 0A || 01 || public key)[:4]
    verifier key        <name>+<key id, 8 lower-case hex digits>+<base64(01 || public key)>

A name has no space, no `+` and no control character. The byte 01 is the key's type and leaves room for
others: 04 is a witness's cosignature, not read by this version. Signature lines of unknown keys are ignored,
whatever they hold; that is how a rotation and witnesses add lines without disturbing older verifiers.

Example:
    >>> from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    >>> key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    >>> public = key.public_key().public_bytes_raw()
    >>> note = sign("size 7\\n", "log.example/1", key.sign, public)
    >>> open_note(note, [VerifierKey.from_public("log.example/1", public)]).text
    'size 7\\n'
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vault.core.errors import Modified, RefusedInput, UsageError

Signer: TypeAlias = Callable[[bytes], bytes]
"""Gets the bytes to sign, returns the 64-byte Ed25519 signature. The private key stays in the key store."""

# Room for a hundred witnesses with post-quantum signatures of 5 kB; beyond it somebody is wasting our time.
MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100

_ED25519 = 0x01
_COSIGNATURE_V1 = 0x04
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
_DASH = "\N{EM DASH} "

# Edwards25519: -x^2 + y^2 = 1 + d x^2 y^2 modulo p. From: RFC 8032 5.1.
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Somebody's Ed25519 public key (32 bytes) under the name that stands in their signature lines.

    Raises:
        RefusedInput: the name cannot stand in a note; or the key is not 32 bytes, no point of the curve, or
            of low order (a signature by such a key verifies for many texts).
    """

    name: str
    public_key: bytes
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise _bad_key("the name is empty or has a space, a plus or a control character")
        if len(self.public_key) != 32:
            raise _bad_key(f"an Ed25519 public key has 32 bytes, not {len(self.public_key)}")
        _check_point(self.public_key)
        object.__setattr__(self, "key_id", _key_id(self.name, self.public_key))

    @classmethod
    def from_public(cls, name: str, public_key: bytes) -> VerifierKey:
        """The verifier key of a name and a 32-byte public key; raises as the class does."""
        return cls(name, public_key)

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read `name+hex+base64`, in exactly the form that `str()` writes.

        Raises:
            RefusedInput: another form, a key id that does not belong to name and key, a type other than
                Ed25519, or as the class does.
        """
        name, plus1, rest = text.partition("+")
        key_id, plus2, encoded = rest.partition("+")  # the base64 may hold further pluses
        if not (plus1 and plus2 and _KEY_ID.fullmatch(key_id)):
            raise _bad_key("the form is name+8 lower-case hex digits+base64")
        data = decode_base64(encoded)
        if not data:
            raise _bad_key("the part after the second plus is not canonical base64")
        if data[0] == _COSIGNATURE_V1:
            raise _bad_key("this is a witness's key (type 4, cosignature/v1), not read by this version")
        if data[0] != _ED25519:
            raise _bad_key(f"the key's type is {data[0]}, and only type 1 (Ed25519) is known")
        key = cls(name, data[1:])
        if key.key_id.hex() != key_id:
            raise _bad_key("the key id does not belong to this name and this public key")
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([_ED25519]) + self.public_key)}"

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's over `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class Signature(NamedTuple):
    """A signature line as it stands in a note; nothing about it has been verified."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A verified note: its text with the final LF, and the known keys that signed it, each once, in order."""

    text: str
    verified: tuple[VerifierKey, ...]


def sign(text: str, name: str, signer: Signer, public_key: bytes) -> str:
    """The note of `text` with one signature line.

    Args:
        text: ends in LF, no other control characters.
        name: the key's name.
        signer: signs with the private half of `public_key`.
        public_key: 32 bytes.

    Raises:
        RefusedInput: text, name or public key cannot stand in a note.
        UsageError: what the signer returned does not verify under `public_key`. A note that nobody can verify
            must not leave the house, and a faulty signature can give the private key away.
    """
    _check_text(text)
    return f"{text}\n{_signature_line(text, name, signer, public_key)}"


def add_signature(note: str | bytes, name: str, signer: Signer, public_key: bytes) -> str:
    """The note with one more signature line at its end: the other key of a rotation.

    NOT checked: the signatures that are there. Open a note that you did not just sign before you add yours.

    Raises:
        RefusedInput: the note is malformed, or this key has signed it already; else as `sign`.
        UsageError: as `sign`.
    """
    text, signatures = split_unverified(note)
    key = VerifierKey.from_public(name, public_key)
    if any((line.name, line.key_id) == (key.name, key.key_id) for line in signatures):
        raise _bad_note("this key has signed already")
    if len(signatures) == MAX_SIGNATURES:
        raise _bad_note(f"there are {MAX_SIGNATURES} signatures already")
    whole = note if isinstance(note, str) else note.decode()
    return whole + _signature_line(text, name, signer, public_key)


def open_note(note: str | bytes, keys: Sequence[VerifierKey]) -> Opened:
    """Verify a note against the keys one trusts.

    Every line whose name and key id are those of a known key must verify; other lines are ignored.

    Raises:
        Modified: the note is malformed, a known key's signature does not verify, or no known key has signed.
        UsageError: two different keys share name and key id, so no line says which of them it means.
    """
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise UsageError(f"two verifier keys share the name {key.name} and the key id {key.key_id.hex()}")
    try:
        text, signatures = split_unverified(note)
    except RefusedInput as error:
        raise Modified(str(error)) from error
    message = text.encode()
    verified: dict[VerifierKey, None] = {}
    for line in signatures:
        signing_key = known.get((line.name, line.key_id))
        if signing_key is None:
            continue
        if not signing_key.verifies(line.signature, message):
            raise Modified(f"the note's signature by {signing_key.name} does not verify")
        verified[signing_key] = None
    if not verified:
        raise Modified("no trusted key has signed the note")
    return Opened(text, tuple(verified))


def split_unverified(note: str | bytes) -> tuple[str, tuple[Signature, ...]]:
    """The text and the signature lines of a note. Nothing is verified: the text must not be believed.

    Raises:
        RefusedInput: the note is malformed or larger than `MAX_NOTE_BYTES` or `MAX_SIGNATURES`.
    """
    try:
        whole = note.decode() if isinstance(note, bytes) else note
        size = len(whole.encode())
    except UnicodeError:
        raise _bad_note("not valid UTF-8") from None
    if size > MAX_NOTE_BYTES:
        raise _bad_note(f"longer than {MAX_NOTE_BYTES} bytes")
    if _CONTROL.search(whole):
        raise _bad_note("a control character other than LF")
    text, blank, lines = whole.rpartition("\n\n")
    if not (blank and lines.endswith("\n")):
        raise _bad_note("a text, a blank line and signature lines, each ending in LF, are needed")
    # rpartition took the text's own LF with the blank line's.
    return text + "\n", _parse_signatures(lines.removesuffix("\n").split("\n"))


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes | None:
    """The bytes of canonical standard base64, else None: with one spelling a value, no bit changes unseen."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if encode_base64(data) == text else None


def _parse_signatures(lines: list[str]) -> tuple[Signature, ...]:
    if len(lines) > MAX_SIGNATURES:
        raise _bad_note(f"more than {MAX_SIGNATURES} signatures")
    signatures = []
    for line in lines:
        name, space, encoded = line.removeprefix(_DASH).partition(" ")
        data = decode_base64(encoded)
        if not (line.startswith(_DASH) and space and is_name(name) and data and len(data) > 4):
            raise _bad_note("a signature line is not: em dash, space, name, space, base64(key id, signature)")
        signatures.append(Signature(name, data[:4], data[4:]))
    return tuple(signatures)


def _signature_line(text: str, name: str, signer: Signer, public_key: bytes) -> str:
    key = VerifierKey.from_public(name, public_key)
    message = text.encode()
    signature = signer(message)
    if len(signature) != 64 or not key.verifies(signature, message):
        raise UsageError(f"the signer of {name} does not hold the private half of its public key")
    return f"{_DASH}{name} {encode_base64(key.key_id + signature)}\n"


def _key_id(name: str, public_key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([_ED25519]) + public_key).digest()[:4]


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeError:
        raise _bad_note("not valid Unicode") from None
    if not text.endswith("\n"):
        raise _bad_note("the text does not end in LF")
    if _CONTROL.search(text):
        raise _bad_note("a control character other than LF")


def is_name(name: str) -> bool:
    """Whether a signature line can carry this name."""
    try:
        name.encode()
    except UnicodeError:
        return False
    return bool(name) and not any(char == "+" or char < " " or char.isspace() for char in name)


@lru_cache(maxsize=256)  # a log signs with few keys, and the square test costs more than a signature
def _check_point(public_key: bytes) -> None:
    """Refuse what is no point of the curve, not spelt canonically, or one of the eight of low order."""
    y = int.from_bytes(public_key, "little") & (1 << 255) - 1  # the top bit is the sign of x
    if y >= _P:
        raise _bad_key("the public key is not canonical")
    y2 = y * y % _P
    # Orders 1 and 2 have y = 1 and -1, order 4 has y = 0. Doubling a point of order 8 gives y = 0, which the
    # curve's equation turns into d y^4 + 2 y^2 = 1.
    if y * (y2 - 1) * (_D * y2 * y2 + 2 * y2 - 1) % _P == 0:
        raise _bad_key("the public key is of low order")
    # x^2 = (y^2 - 1) / (d y^2 + 1) has a root exactly if numerator times denominator is a square (Euler).
    if pow((y2 - 1) * (_D * y2 + 1), (_P - 1) // 2, _P) != 1:
        raise _bad_key("the public key is no point of the curve")


def _bad_key(reason: str) -> RefusedInput:
    return RefusedInput(reason, path="verifier key", code="malformed_key")


def _bad_note(reason: str) -> RefusedInput:
    return RefusedInput(reason, path="note", code="malformed_note")
