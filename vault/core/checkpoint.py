"""Checkpoints: what a ledger has signed about itself, three lines under a signature.

From: C2SP tlog-checkpoint. The text of a signed note (see `vault.core.note`), signed under the origin's name:

    <origin> LF              the ledger: host/uuid
    <size> LF                number of leaves, decimal, no leading zero, below 2^63
    <base64(root)> LF        the RFC 6962 root, 32 bytes

The public format allows extension lines after these. We never write them, and a checkpoint that has them is
refused: nobody could say what our signature under them means.

Example:
    >>> print(Checkpoint("log.example/1", 0, EMPTY_ROOT).text(), end="")
    log.example/1
    0
    47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vault.core.errors import Modified, RefusedInput
from vault.core.note import Opened, Signer, VerifierKey, decode_base64, encode_base64, is_name, open_note, sign
from vault.core.tree import EMPTY_ROOT, HASH_BYTES

MAX_SIZE = 2**63 - 1  # what the database's bigint holds

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The ledger `origin` had `size` leaves with this `root` (32 bytes).

    Raises:
        RefusedInput: the origin cannot name a key, the size is out of range, or the root is not 32 bytes or
            not the empty tree's where the size is 0.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not is_name(self.origin):
            raise _bad("the origin is empty or has a space, a plus or a control character")
        if not 0 <= self.size <= MAX_SIZE:
            raise _bad("the size is not between 0 and 2^63 - 1")
        if len(self.root) != HASH_BYTES:
            raise _bad(f"the root has {len(self.root)} bytes instead of {HASH_BYTES}")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise _bad("the size is 0 and the root is not the empty tree's")

    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read exactly what `text()` writes. Nothing is verified.

        Raises:
            RefusedInput: anything else, extension lines included; or as the class does.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise _bad("three lines are needed: origin, size, root")
        root = decode_base64(lines[2])
        if root is None:
            raise _bad("the root is not canonical base64")
        size = parse_number(lines[1])
        if size is None:
            raise _bad("the size is not a decimal number without leading zero")
        return cls(lines[0], size, root)


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer, public_key: bytes) -> str:
    """The signed note of a checkpoint, under the origin as key name; raises as `note.sign` does.

    During a rotation `note.add_signature(note, checkpoint.origin, ...)` adds the other key's line.

    NOT checked: that the checkpoint continues the last one. Signing two histories is the caller's to prevent.
    """
    return sign(checkpoint.text(), checkpoint.origin, signer, public_key)


def open_checkpoint(note: str | bytes, keys: Sequence[VerifierKey], origin: str) -> Checkpoint:
    """The checkpoint of the ledger `origin`, verified.

    Args:
        note: the signed note.
        keys: trusted keys. Only those named `origin` count: another ledger's key says nothing about this one.
        origin: the ledger that the caller expects.

    Raises:
        Modified: malformed, not signed by a key of this ledger, a wrong signature, or another ledger's
            checkpoint.
    """
    return checkpoint_of(open_note(note, [key for key in keys if key.name == origin]), origin)


def checkpoint_of(opened: Opened, origin: str) -> Checkpoint:
    """The checkpoint that a verified note holds.

    Raises:
        Modified: it holds none, or another ledger's.
    """
    try:
        checkpoint = Checkpoint.parse(opened.text)
    except RefusedInput as error:
        raise Modified(str(error)) from error
    if checkpoint.origin != origin:
        raise Modified("the checkpoint is another ledger's")
    return checkpoint


def parse_number(text: str) -> int | None:
    """A decimal number of at most 19 digits in its one spelling, else None. NOT checked: that it is below 2^63."""
    return int(text) if _NUMBER.fullmatch(text) else None


def _bad(reason: str) -> RefusedInput:
    return RefusedInput(reason, path="checkpoint", code="malformed_checkpoint")
