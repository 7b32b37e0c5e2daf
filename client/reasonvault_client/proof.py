"""Proof files: one leaf's way to a signed root, in one text.

From: C2SP tlog-proof.

    c2sp.org/tlog-proof@v1 LF
    extra <base64> LF             optional; signed by nobody, so ignored
    index <i> LF
    <base64(hash)> LF             none or more, from the leaf's sibling upwards
    LF
    <checkpoint>                  a signed note
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reasonvault_client import note, tree
from reasonvault_client.errors import BadReceipt

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PATH = 63
MAX_PROOF = 2_000_000


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof file says; nothing of it is verified."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str


def parse(text: str) -> Proof:
    """Read a proof file.

    Raises:
        BadReceipt: not a proof file, or its checkpoint is none.
    """
    head, blank, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if len(text) > MAX_PROOF or not blank or lines.pop(0) != HEADER:
        raise BadReceipt("the proof is not a tlog-proof of version 1")
    if lines and lines[0].startswith("extra ") and not note.unb64(lines.pop(0).removeprefix("extra ")):
        raise BadReceipt("the proof's extra line is malformed")
    word, _, number = (lines.pop(0) if lines else "").partition(" ")
    index = note.parse_number(number)
    if word != "index" or index is None or len(lines) > MAX_PATH:
        raise BadReceipt("the proof's index is missing or malformed, or its path is too long")
    note.parse_checkpoint(note.split(checkpoint)[0])
    return Proof(index, tuple(_hash(line) for line in lines), checkpoint)


def verify(proof: Proof, leaf: bytes, verifiers: Sequence[note.Verifier], origin: str) -> note.Checkpoint:
    """Check that the ledger ``origin`` signed a tree that holds these leaf bytes at the proof's index.

    Raises:
        BadReceipt: it did not.
    """
    checkpoint = note.open_checkpoint(proof.checkpoint, verifiers, origin)
    tree.verify_inclusion(proof.index, checkpoint.size, tree.leaf_hash(leaf), proof.path, checkpoint.root)
    return checkpoint


def _hash(line: str) -> bytes:
    digest = note.unb64(line)
    if digest is None or len(digest) != tree.HASH_BYTES:
        raise BadReceipt("a hash of the proof's path is malformed")
    return digest
