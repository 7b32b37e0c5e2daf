"""Cosignatures: what a witness adds to a checkpoint once it has seen that the log only grew.

From: C2SP tlog-cosignature, the Ed25519 form (v1). A cosignature is one more signature line of the note (see
`vault.core.note`), under the witness's name:

    E2 80 94 20 <name> 20 <base64> LF
    base64 decodes to   0   4   key id: SHA-256(<name> || 0A || 04 || public key)[:4]
                        4   8   time, seconds since the epoch, big-endian, below 2^63
                       12  64   Ed25519 signature of the message
    message             cosignature/v1 LF
                        time <seconds, decimal, no leading zero> LF
                        <the checkpoint's text, its last LF included>
    verifier key        <name>+<key id, 8 lower-case hex digits>+<base64(04 || public key)>

It says: at that time, of all trees of this log that the witness has seen, this was the largest, and all of them are one
history. The message does not name the witness, so a public key belongs to one witness only. The type byte leaves room:
06 is ML-DSA-44, not read by this version.

Example:
    >>> from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    >>> witness = Ed25519PrivateKey.from_private_bytes(bytes(32))
    >>> key = CosignerKey("witness.example/w1", witness.public_key().public_bytes_raw())
    >>> note = "log.example/1\\n0\\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\\n\\n\N{EM DASH} x AAAAAAAA\\n"
    >>> read(note + cosign(note, key, witness.sign, 1_700_000_000), [key])[0].at
    1700000000
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple

from vault.core.canonical import is_word
from vault.core.errors import Modified, RefusedInput, UsageError
from vault.core.note import Signature, VerifierKey, decode_base64, encode_base64, split_unverified

LATEST: Final = 2**63 - 1

_TYPE: Final = 0x04
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
_SIGNATURE_BYTES: Final = 8 + 64


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """A witness's public key (32 bytes, Ed25519) under the witness's name.

    Raises:
        RefusedInput: the name cannot stand in a note; or the key is not 32 bytes, no point of the curve, or of low
            order.
    """

    name: str
    public_key: bytes
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        self._as_verifier()
        digest = sha256(self.name.encode() + b"\n" + bytes([_TYPE]) + self.public_key).digest()
        object.__setattr__(self, "key_id", digest[:4])

    @classmethod
    def parse(cls, text: str) -> CosignerKey:
        """Read `name+hex+base64`, in exactly the form that `str()` writes.

        Raises:
            RefusedInput: another form, a key id that does not belong to name and key, a type other than 4, or as the
                class does.
        """
        name, plus1, rest = text.partition("+")
        key_id, plus2, encoded = rest.partition("+")  # the base64 may hold further pluses
        if not (plus1 and plus2 and _KEY_ID.fullmatch(key_id)):
            raise _bad("the form is name+8 lower-case hex digits+base64")
        data = decode_base64(encoded)
        if not data:
            raise _bad("the part after the second plus is not canonical base64")
        if data[0] != _TYPE:
            raise _bad(f"the key's type is {data[0]}, and a witness's is 4 (cosignature/v1)")
        key = cls(name, data[1:])
        if key.key_id.hex() != key_id:
            raise _bad("the key id does not belong to this name and this public key")
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([_TYPE]) + self.public_key)}"

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` (64 bytes) is this key's over `message`."""
        return self._as_verifier().verifies(signature, message)

    def _as_verifier(self) -> VerifierKey:
        """The same key as a log's would be: its rules for names and points are these."""
        return VerifierKey(self.name, self.public_key)


class Cosignature(NamedTuple):
    """A verified cosignature: whose it is, when it was made (Unix seconds), and its line of the note."""

    key: CosignerKey
    at: int
    line: str


def message(text: str, at: int) -> bytes:
    """What a witness signs: `text` is the checkpoint's, `at` Unix seconds."""
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def cosign(note: str, key: CosignerKey, signer: Callable[[bytes], bytes], at: int) -> str:
    """The signature line that a witness adds to a note. We are no witness: for vectors, and for one of one's own.

    NOT checked: that the tree is consistent with what the witness saw before.

    Raises:
        RefusedInput: the note is malformed, or the time out of range.
        UsageError: what the signer returned does not verify under the key.
    """
    text, _ = split_unverified(note)
    if not 0 <= at <= LATEST:
        raise _bad("the time is not between 0 and 2^63 - 1")
    said = message(text, at)
    signature = signer(said)
    if len(signature) != 64 or not key.verifies(signature, said):
        raise UsageError(f"the signer of {key.name} does not hold the private half of its public key")
    return _line(Signature(key.name, key.key_id, at.to_bytes(8, "big") + signature))


def read(note: str | bytes, keys: Sequence[CosignerKey]) -> tuple[Cosignature, ...]:
    """The cosignatures of a note by witnesses one knows, one for each in the note's order: the first where there are
    several. Lines of everybody else, the log's own included, are passed over.

    NOT checked: the log's own signature; see `vault.core.checkpoint.open_checkpoint`. Nor whether a time makes sense.

    Raises:
        Modified: the note is malformed, or a known witness's line does not verify.
        UsageError: two different keys share name and key id.
    """
    known: dict[tuple[str, bytes], CosignerKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise UsageError(f"two witness keys share the name {key.name} and the key id {key.key_id.hex()}")
    try:
        text, signatures = split_unverified(note)
    except RefusedInput as error:
        raise Modified(str(error)) from error
    found: dict[CosignerKey, Cosignature] = {}
    for one in signatures:
        cosigner = known.get((one.name, one.key_id))
        if cosigner is None:
            continue
        cosignature = _verified(one, cosigner, text)
        found.setdefault(cosigner, cosignature)
    return tuple(found.values())


def word(name: str) -> str:
    """Return a witness's name as events may spell it: one with other letters is told by its digest."""
    return name if is_word(name) else sha256(name.encode()).hexdigest()[:16]


def _verified(one: Signature, key: CosignerKey, text: str) -> Cosignature:
    at = int.from_bytes(one.signature[:8], "big")
    if len(one.signature) != _SIGNATURE_BYTES or at > LATEST:
        raise Modified(f"the line of the witness {key.name} is no cosignature/v1")
    if not key.verifies(one.signature[8:], message(text, at)):
        raise Modified(f"the cosignature of {key.name} does not verify")
    return Cosignature(key, at, _line(one))


def _line(one: Signature) -> str:
    return f"\N{EM DASH} {one.name} {encode_base64(one.key_id + one.signature)}\n"


def _bad(reason: str) -> RefusedInput:
    return RefusedInput(reason, path="witness key", code="malformed_key")
