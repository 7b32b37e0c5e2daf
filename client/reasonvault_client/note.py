"""C2SP signed notes and checkpoints, reading side: what a log has signed about itself.

From: C2SP signed-note and tlog-checkpoint. A checkpoint is a note whose text has three lines:

    <origin> LF                                   the ledger: host/uuid, also the name of the key
    <size> LF                                     number of leaves, decimal
    <base64(root)> LF                             32 bytes
    LF
    E2 80 94 20 <name> 20 <base64> LF             one or more signature lines; E2 80 94 is the em dash

    base64 decodes to   0   4   key id = SHA-256(<name> || 0A || 01 || public key)[:4]
                        4  64   Ed25519 signature of the text
    verifier key        <name>+<key id in hex>+<base64(01 || public key)>

Lines of keys that one does not know are ignored; a line of a known key that does not verify spoils the note.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from reasonvault_client.errors import BadReceipt, Misconfigured

MAX_NOTE = 1_000_000
MAX_LINES = 100
MAX_SIZE = 2**63 - 1
EMPTY_ROOT = hashlib.sha256(b"").digest()

_KEY = re.compile(r"([^+\x00-\x20]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)", re.ASCII)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_ED25519 = b"\x01"

# Edwards25519, RFC 8032 5.1: -x^2 + y^2 = 1 + d x^2 y^2 modulo p.
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


class Verifier(NamedTuple):
    """A public key one trusts, and the name that stands in its signature lines."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that a signature line begins with."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public_key).digest()[:4]

    def __str__(self) -> str:
        spelled = base64.b64encode(_ED25519 + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{spelled}"


class Checkpoint(NamedTuple):
    """What was signed: the ledger ``origin`` has ``size`` leaves under ``root``."""

    origin: str
    size: int
    root: bytes


def parse_verifier(text: str) -> Verifier:
    """Read a verifier key.

    Raises:
        Misconfigured: not a verifier key, not of Ed25519, or one under which signatures prove nothing.
    """
    found = _KEY.fullmatch(text)
    data = unb64(found[3]) if found else None
    if not found or not data or not is_name(found[1]):
        raise Misconfigured("a verifier key has the form name+8 hex digits+base64")
    if data[:1] != _ED25519 or len(data) != 33 or not _is_strong(data[1:]):
        raise Misconfigured("the verifier key is not a sound Ed25519 key")
    verifier = Verifier(found[1], data[1:])
    if verifier.key_id.hex() != found[2]:
        raise Misconfigured("the verifier key's id does not belong to its name and key; was it cut or mistyped?")
    return verifier


def open_note(note: str, verifiers: Sequence[Verifier]) -> str:
    """Return the text that a trusted key has signed, with its last line feed.

    Raises:
        BadReceipt: malformed, signed by nobody trusted, or a trusted key's signature does not verify.
    """
    text, lines = split(note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    signed = False
    for name, data in lines:
        verifier = known.get((name, data[:4]))
        if verifier is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(verifier.public_key).verify(data[4:], text.encode())
        except (InvalidSignature, ValueError):
            raise BadReceipt("the signature of the checkpoint does not verify") from None
        signed = True
    if not signed:
        raise BadReceipt("no trusted key has signed the checkpoint")
    return text


def split(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Return a note's text and (name, key id and signature) of its lines. Nothing is verified.

    Raises:
        BadReceipt: not a note.
    """
    try:
        size = len(note.encode())
    except UnicodeEncodeError:
        raise BadReceipt("the checkpoint is no text") from None
    text, blank, block = note.rpartition("\n\n")
    if size > MAX_NOTE or not blank or any(char < " " and char != "\n" for char in note):
        raise BadReceipt("the checkpoint is not a signed note")
    raw = block.split("\n")
    if raw.pop() or not 0 < len(raw) <= MAX_LINES:
        raise BadReceipt("the checkpoint has no signature lines, or too many")
    return text + "\n", [_signature_line(line) for line in raw]


def open_checkpoint(note: str, verifiers: Sequence[Verifier], origin: str) -> Checkpoint:
    """Return the checkpoint of the ledger ``origin``; only keys of that name count.

    Raises:
        BadReceipt: as ``open_note``; or it is another ledger's, or not a checkpoint.
    """
    text = open_note(note, [verifier for verifier in verifiers if verifier.name == origin])
    checkpoint = parse_checkpoint(text)
    if checkpoint.origin != origin:
        raise BadReceipt("the checkpoint is another ledger's")
    return checkpoint


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the three lines; extension lines are refused, since nobody could say what they mean.

    Raises:
        BadReceipt: anything else.
    """
    lines = text.split("\n")
    root = unb64(lines[2]) if len(lines) == 4 and not lines[3] else None
    size = parse_number(lines[1]) if root is not None else None
    if root is None or size is None or len(root) != 32 or not is_name(lines[0]):
        raise BadReceipt("the checkpoint is not three lines of origin, size and root")
    if size == 0 and root != EMPTY_ROOT:
        raise BadReceipt("the checkpoint of an empty tree has another root")
    return Checkpoint(lines[0], size, root)


def parse_number(text: str) -> int | None:
    """Return a decimal number below 2^63 in its one spelling, else None."""
    return int(text) if _NUMBER.fullmatch(text) and int(text) <= MAX_SIZE else None


def unb64(text: str) -> bytes | None:
    """Return the bytes of standard base64 in its one spelling, else None."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return data if base64.b64encode(data).decode() == text else None


def is_name(name: str) -> bool:
    """Whether a signature line can carry this name."""
    return bool(name) and not any(char == "+" or char < " " or char.isspace() for char in name)


def _signature_line(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    data = unb64(encoded)
    if dash != "\N{EM DASH}" or not is_name(name) or data is None or len(data) <= 4:
        raise BadReceipt("a signature line of the checkpoint is malformed")
    return name, data


def _is_strong(public_key: bytes) -> bool:
    """Whether it is a point of the curve, spelled canonically, and of none of the low orders 1, 2, 4 and 8.

    A signature under a key of low order verifies for many texts. Three doublings take such a point, and only such a
    point, to the neutral element (0, 1).
    """
    y = int.from_bytes(public_key, "little") & (1 << 255) - 1
    if y >= _P:
        return False
    x2 = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P  # d y^2 + 1 is never 0: -1/d is no square
    if pow(x2, (_P - 1) // 2, _P) not in (0, 1):
        return False
    for _ in range(3):
        y2 = y * y % _P
        # 2P: y' = (y^2 + x^2) / (1 - d x^2 y^2), and x'^2 follows from y' by the curve's equation.
        y = (y2 + x2) * pow(1 - _D * x2 * y2, -1, _P) % _P
        x2 = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    return y != 1
