"""Receipt: what a producer takes home when its record is sealed.

Three things that a stranger can check without us: the leaf, a C2SP tlog-proof that the leaf is in a log whose
checkpoint is signed, and the opening that proves exactly these bytes were sealed. Whoever has the receipt and the
record's bytes runs

    HMAC-SHA-256(opening, bytes) == leaf.plaintext     and     the tlog-proof of the leaf verifies

The opening is a secret of the producer: with it, and a guess of the bytes, anyone can test the guess.

    {"receipt":"reasonvault-receipt/1","leaf":"<canonical leaf>","opening":"<base64url>","proof":"c2sp.org/..."}
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

import jiter
import msgspec

from vault.core import canonical, envelope, leaf, proof
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Modified, RefusedInput
from vault.core.note import VerifierKey

FORMAT = "reasonvault-receipt/1"


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One record's receipt. ``opening`` is absent when the record was destroyed."""

    receipt: str
    leaf: str
    opening: str | msgspec.UnsetType = msgspec.UNSET
    proof: str

    def __repr__(self) -> str:
        return "Receipt(...)"


def issue(leaf_bytes: bytes, opening: bytes | None, inclusion: proof.Proof) -> bytes:
    """Return the receipt's JSON, one line without its line feed."""
    spelled = msgspec.UNSET if opening is None else canonical.b64(opening)
    return msgspec.json.encode(
        Receipt(receipt=FORMAT, leaf=leaf_bytes.decode("ascii"), opening=spelled, proof=inclusion.to_text())
    )


def verify(data: bytes, record: bytes | None, keys: Sequence[VerifierKey], origin: str) -> Checkpoint:
    """Check a receipt, and the record's bytes against it where given.

    Returns:
        The checkpoint that covers the leaf.

    Raises:
        RefusedInput: not a receipt of this version.
        Modified: the leaf, the path, the signature or the record's bytes do not agree.
    """
    try:
        jiter.from_json(data, catch_duplicate_keys=True)  # of two leaves, another reader might believe the other one
        held = msgspec.json.decode(data, type=Receipt)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise RefusedInput("not a reasonvault-receipt/1") from None
    if held.receipt != FORMAT:
        raise RefusedInput("a receipt of an unknown version", "$.receipt")
    leaf_bytes = held.leaf.encode()
    place = leaf.parse(leaf_bytes)
    inclusion = proof.Proof.parse(held.proof)
    if not isinstance(place, leaf.RecordLeaf) or place.seq != inclusion.index:
        raise Modified("the receipt's leaf and proof name different positions")
    if origin.rpartition("/")[2] != place.ledger:
        raise Modified("the receipt's leaf and proof name different ledgers")
    checkpoint = proof.verify(inclusion, leaf_bytes, keys, origin)
    if record is not None and held.opening is not msgspec.UNSET:
        made = envelope.plaintext_commitment(canonical.unb64(held.opening, 32), record)
        if not hmac.compare_digest(made, canonical.unb64(place.plaintext, 32)):
            raise Modified("these are not the bytes that were sealed", place.ledger, place.seq)
    return checkpoint
