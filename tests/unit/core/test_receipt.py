from __future__ import annotations

import os
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault.core import canonical, envelope, leaf, receipt, tree
from vault.core.checkpoint import Checkpoint, sign_checkpoint
from vault.core.errors import Modified, RefusedInput
from vault.core.note import VerifierKey
from vault.core.proof import Proof

LEDGER = UUID(int=9)
ORIGIN = f"vault.example/{LEDGER}"
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = SIGNER.public_key().public_bytes_raw()
KEYS = [VerifierKey.from_public(ORIGIN, PUBLIC)]
RECORD = b'{"schema":"reasoning-log/1"}'


def issued(record: bytes = RECORD, origin: str = ORIGIN) -> bytes:
    key = os.urandom(32)
    opening = envelope.opening(key)
    made = leaf.record_draft(
        facets=bytes(32),
        group="2029-01.0",
        id_tag=bytes(16),
        keep_until=0,
        key=envelope.key_commitment(key),
        ledger=LEDGER,
        parts=(bytes(32),),
        plaintext=envelope.plaintext_commitment(opening, record),
        producer="local",
        producer_seq=None,
        received_at="2026-01-05T08:01:12.111Z",
        rulebook=bytes(32),
        rules=("PROD-3Y",),
    ).at(2, bytes(32))
    hashes = [bytes(32), bytes(32), tree.leaf_hash(made), bytes(32)]
    note = sign_checkpoint(Checkpoint(origin, 4, tree.root(hashes)), SIGNER.sign, PUBLIC)
    return receipt.issue(made, opening, Proof(2, tuple(tree.inclusion_path(2, hashes)), note))


def test_a_receipt_proves_exactly_these_bytes() -> None:
    assert receipt.verify(issued(), RECORD, KEYS, ORIGIN).size == 4
    with pytest.raises(Modified, match="bytes"):
        receipt.verify(issued(), RECORD + b" ", KEYS, ORIGIN)


def test_a_receipt_without_its_opening_still_proves_the_leaf() -> None:
    held = issued()
    start = held.index(b'"opening"')
    destroyed = held[:start] + held[held.index(b'"proof"') :]
    assert receipt.verify(destroyed, RECORD, KEYS, ORIGIN).size == 4


def test_an_edited_receipt_is_refused() -> None:
    held = issued()
    for old, new in [
        (b'\\"seq\\":2', b'\\"seq\\":1'),
        (b"2029-01.0", b"2019-01.0"),
        (b"index 2", b"index 1"),
    ]:
        assert old in held
        with pytest.raises(Modified):
            receipt.verify(held.replace(old, new), RECORD, KEYS, ORIGIN)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"receipt":"reasonvault-receipt/2","leaf":"","proof":""}'])
def test_what_is_no_receipt_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedInput):
        receipt.verify(data, None, KEYS, ORIGIN)


def test_a_receipt_with_a_key_twice_is_refused() -> None:
    """Another reader might believe the first of two leaves."""
    with pytest.raises(RefusedInput):
        receipt.verify(b'{"leaf":"{}",' + issued()[1:], RECORD, KEYS, ORIGIN)


def test_a_leaf_that_names_another_ledger_than_its_checkpoint_is_refused() -> None:
    elsewhere = f"vault.example/{UUID(int=8)}"
    key = VerifierKey.from_public(elsewhere, PUBLIC)
    with pytest.raises(Modified, match="ledgers"):
        receipt.verify(issued(origin=elsewhere), RECORD, [key], elsewhere)


def test_the_opening_is_not_in_its_repr() -> None:
    assert canonical.b64(bytes(32)) not in repr(
        receipt.Receipt(receipt="r", leaf="l", opening=canonical.b64(bytes(32)), proof="p")
    )
