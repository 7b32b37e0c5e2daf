"""Proof files: one leaf, its way to the root, and the checkpoint above it, in one text that needs no vault.

From: C2SP tlog-proof. This is what a producer takes home as its receipt, and what is attached to a report:

    c2sp.org/tlog-proof@v1 LF
    extra <base64> LF                 optional; opaque, and not authenticated by anything in this file
    index <i> LF                      zero-based, decimal, no leading zero, below 2^63
    <base64(hash)> LF                 none or more, 32 bytes each: from the leaf's sibling upwards
    LF                                the first blank line of the file
    <checkpoint>                      the signed note, byte for byte (see `vault.core.checkpoint`)

The first line is the version; it can only change as a whole. The leaf itself is not in the file: whoever
verifies brings it. Usual file extension: `.tlog-proof`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from vault.core.checkpoint import MAX_SIZE, Checkpoint, open_checkpoint, parse_number
from vault.core.errors import RefusedInput
from vault.core.note import VerifierKey, decode_base64, encode_base64, split_unverified
from vault.core.tree import HASH_BYTES, leaf_hash, verify_inclusion

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = 2_000_000
MAX_PATH = 63  # a tree below 2^63 leaves is no higher


@dataclass(frozen=True, slots=True)
class Proof:
    """An inclusion proof that stands on its own.

    Attributes:
        index: the leaf's place in the ledger, from 0.
        path: 32-byte hashes, from the leaf's sibling upwards.
        checkpoint: the signed note as text.
        extra: bytes for the application, or None; never empty. A receipt keeps an opening here, so it is not
            in `repr`.

    Raises:
        RefusedInput: a part that a proof file cannot hold, the checkpoint's grammar included.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.index <= MAX_SIZE:
            raise _bad("the index is not between 0 and 2^63 - 1")
        if len(self.path) > MAX_PATH:
            raise _bad(f"more than {MAX_PATH} hashes")
        if any(len(digest) != HASH_BYTES for digest in self.path):
            raise _bad(f"a hash is not {HASH_BYTES} bytes")
        if self.extra == b"":
            raise _bad("extra data is there but empty")
        _check_checkpoint(self.checkpoint)

    def to_text(self) -> str:
        """The proof file."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines.extend(map(encode_base64, self.path))
        return "\n".join(lines) + "\n\n" + self.checkpoint

    @classmethod
    def parse(cls, text: str | bytes) -> Proof:
        """Read exactly what `to_text` writes. Nothing is verified: see `verify`.

        Raises:
            RefusedInput: anything else.
        """
        if len(text) > MAX_PROOF_BYTES:
            raise _bad(f"longer than {MAX_PROOF_BYTES} bytes")
        try:
            whole = text.decode() if isinstance(text, bytes) else text
        except UnicodeError:
            raise _bad("not valid UTF-8") from None
        head, blank, checkpoint = whole.partition("\n\n")
        if not blank:
            raise _bad("there is no blank line before the checkpoint")
        lines = head.split("\n")
        if lines.pop(0) != HEADER:
            raise _bad(f"the first line is not {HEADER}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = decode_base64(lines.pop(0).removeprefix("extra "))
            if extra is None:
                raise _bad("the extra data is not canonical base64")
        if not (lines and lines[0].startswith("index ")):
            raise _bad("there is no index line")
        index = parse_number(lines.pop(0).removeprefix("index "))
        if index is None:
            raise _bad("the index is not a decimal number without leading zero")
        path = []
        for line in lines:
            digest = decode_base64(line)
            if digest is None:
                raise _bad("a hash is not canonical base64")
            path.append(digest)
        return cls(index, tuple(path), checkpoint, extra)


def verify(proof: Proof, leaf: bytes, keys: Sequence[VerifierKey], origin: str) -> Checkpoint:
    """Check that the ledger `origin` signed a tree that holds these leaf bytes at `proof.index`.

    Args:
        proof: the proof.
        leaf: the leaf's bytes as stored, not their hash.
        keys: trusted keys; those named `origin` count.
        origin: the ledger that the caller expects.

    Returns:
        The verified checkpoint.

    Raises:
        Modified: the checkpoint is not this ledger's, its signature does not verify, or the leaf is not in
            its tree.

    NOT checked: `extra`, which nothing signs, and whether the checkpoint belongs to the history others have
    seen.
    """
    # 1. The checkpoint, before anything in it is believed.
    checkpoint = open_checkpoint(proof.checkpoint, keys, origin)
    # 2. The way from the leaf to its root.
    verify_inclusion(proof.index, checkpoint.size, leaf_hash(leaf), proof.path, checkpoint.root)
    return checkpoint


@lru_cache(maxsize=4)  # a batch makes a thousand proofs under one checkpoint
def _check_checkpoint(note: str) -> None:
    text, _ = split_unverified(note)
    Checkpoint.parse(text)


def _bad(reason: str) -> RefusedInput:
    return RefusedInput(reason, path="proof", code="malformed_proof")
