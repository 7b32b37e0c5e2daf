"""Receipts: what a producer takes home, checked with nothing of the vault's own code.

    {"receipt":"reasonvault-receipt/1","leaf":"<canonical leaf>","opening":"<base64url>","proof":"c2sp.org/..."}

A receipt is for a record when four things hold, and each of them is checked:

1. a trusted key signed the checkpoint, and it is the expected ledger's;
2. the path leads from the leaf to the signed root, at the place that the leaf itself names;
3. ``HMAC-SHA-256(opening, bytes)`` is the leaf's ``plaintext``: exactly these bytes were sealed;
4. ledger, producer and producer_seq of the leaf are those of the record.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from reasonvault_client import leaf as leaves
from reasonvault_client import note, proof
from reasonvault_client.errors import BadReceipt

FORMAT = "reasonvault-receipt/1"
MAX_RECEIPT = 3_000_000


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that was checked.

    Attributes:
        ledger: uuid of the ledger.
        seq: the record's place in it.
        producer: the vault's id of the producer.
        received_at: the vault's clock when it sealed the record, RFC 3339.
        size: leaves under the checkpoint that covers it.
        data: the receipt's JSON as received: what to keep, and to show in a dispute. It holds the opening, with which
            guesses of the record can be tested, so it is kept as close as the record.
    """

    ledger: str
    seq: int
    producer: str
    received_at: str
    size: int
    data: bytes = field(repr=False)


class _Numbered(msgspec.Struct, frozen=True):
    """As much of a record as its leaf repeats."""

    producer_seq: int | None = None


def check(
    data: bytes, record: bytes, verifiers: Sequence[note.Verifier], origin: str, producer: str | None = None
) -> Receipt:
    """Check that this is the receipt of this record, and that its opening is there.

    Args:
        data: the receipt's JSON.
        record: the bytes that were sent.
        verifiers: the trusted keys.
        origin: the ledger that one writes to, ``host/uuid``.
        producer: the vault's id of this producer, where known.

    Raises:
        BadReceipt: it is not.
    """
    receipt, opening, leaf = _verify(data, verifiers, origin)
    if opening is None:
        raise BadReceipt("the opening is missing, so nothing ties it to these bytes")
    _check_record(opening, leaf, record)
    if producer is not None and leaf.producer != producer:
        raise BadReceipt("the leaf names another producer")
    return receipt


def verify(data: bytes, record: bytes | None, verifiers: Sequence[note.Verifier], origin: str) -> Receipt:
    """Check a kept receipt, also one without opening (the record was destroyed), and a record against it where given.

    Raises:
        BadReceipt: something does not hold.
    """
    receipt, opening, leaf = _verify(data, verifiers, origin)
    if record is not None and opening is not None:
        _check_record(opening, leaf, record)
    return receipt


def _verify(data: bytes, verifiers: Sequence[note.Verifier], origin: str) -> tuple[Receipt, bytes | None, leaves.Leaf]:
    members = _members(data)
    opening = None
    if "opening" in members and (opening := leaves.unb64(members["opening"], 32)) is None:
        raise BadReceipt("the opening is not 32 bytes of base64url")
    leaf_bytes = members["leaf"].encode()
    leaf = leaves.parse(leaf_bytes)
    if origin.rpartition("/")[2] != leaf.ledger:
        raise BadReceipt("the leaf is another ledger's")
    found = proof.parse(members["proof"])
    if leaf.seq != found.index:
        raise BadReceipt("leaf and proof name different places")
    checkpoint = proof.verify(found, leaf_bytes, verifiers, origin)
    receipt = Receipt(leaf.ledger, leaf.seq, leaf.producer, leaf.received_at, checkpoint.size, data)
    return receipt, opening, leaf


def _check_record(opening: bytes, leaf: leaves.Leaf, record: bytes) -> None:
    if not hmac.compare_digest(hmac.digest(opening, record, "sha256"), leaf.plaintext):
        raise BadReceipt("other bytes were sealed")
    try:
        numbered = msgspec.json.decode(record, type=_Numbered).producer_seq
    except msgspec.MsgspecError:
        return  # the vault sealed these very bytes; what they say is not this function's to judge
    if numbered != leaf.producer_seq:
        raise BadReceipt("leaf and record name different producer_seq")


def _members(data: bytes) -> dict[str, str]:
    """Return the receipt's members: strings, each key once, none unknown."""
    if len(data) > MAX_RECEIPT:
        raise BadReceipt("it is too long")
    try:
        members: dict[str, str] = json.loads(data.decode(), object_pairs_hook=_each_key_once)
        for value in members.values():
            value.encode()
    except (ValueError, AttributeError, RecursionError):
        raise BadReceipt("it is not a JSON object of strings, each key once") from None
    if not {"receipt", "leaf", "proof"} <= members.keys() <= {"receipt", "leaf", "proof", "opening"}:
        raise BadReceipt("members are missing or unknown")
    if members["receipt"] != FORMAT:
        raise BadReceipt("it is of an unknown version")
    return members


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key twice")
    return members
