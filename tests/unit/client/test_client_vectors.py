"""The client's own reader of receipts over everybody's vectors: a second implementation must agree with the first."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reasonvault_client import leaf, note, proof, receipts, tree
from reasonvault_client.errors import BadReceipt, Misconfigured

from tests.support.client_server import FakeLedger
from vault.core import tree as vault_tree

VECTORS = Path(__file__).parents[2] / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text("utf-8"))


NOTES, PROOFS, EXAMPLE = load("signed-notes.json"), load("proof.json"), load("example-v1.json")
NEGATIVE = load("negative-v1.json")["cases"]
RECEIPTS = [case for case in NEGATIVE if case["reader"] == "receipt"]
LEAVES = [case for case in NEGATIVE if case["reader"] == "leaf"]


def name_of(case: dict[str, Any]) -> str:
    return str(case["name"])


@pytest.mark.parametrize("case", load("rfc6962-inclusion.json")["cases"], ids=name_of)
def test_published_inclusion(case: dict[str, Any]) -> None:
    leaf_hash, root = b64decode(case["leafHash"] or ""), b64decode(case["root"] or "")
    path = [b64decode(text) for text in case["proof"] or []]
    if case["wantErr"]:
        with pytest.raises(BadReceipt):
            tree.verify_inclusion(case["leafIdx"], case["treeSize"], leaf_hash, path, root)
    else:
        tree.verify_inclusion(case["leafIdx"], case["treeSize"], leaf_hash, path, root)


def test_published_hashes() -> None:
    for example in load("rfc6962-known-roots.json")["hash_examples"]:
        made = (
            tree.leaf_hash(example["in_ascii"].encode())
            if example["op"] == "leaf"
            else tree.node_hash(example["left_ascii"].encode(), example["right_ascii"].encode())
        )
        assert made.hex() == example["out"]


@given(st.integers(1, 200), st.data())
def test_paths_that_the_vault_makes_lead_to_its_roots(size: int, data: st.DataObject) -> None:
    hashes = [tree.leaf_hash(b"%d" % number) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    path, root = vault_tree.inclusion_path(index, hashes), vault_tree.root(hashes)
    tree.verify_inclusion(index, size, hashes[index], path, root)
    other = data.draw(st.integers(0, size - 1).filter(lambda drawn: size == 1 or drawn != index))
    if size > 1:
        with pytest.raises(BadReceipt):
            tree.verify_inclusion(other, size, hashes[index], path, root)


@pytest.mark.parametrize("example", NOTES["valid"], ids=lambda example: example["source"])
def test_published_notes_open(example: dict[str, str]) -> None:
    verifier = note.parse_verifier(example["vkey"])
    assert str(verifier) == example["vkey"]
    assert example["note"].startswith(note.open_note(example["note"], [verifier]))


@pytest.mark.parametrize("text", NOTES["bad_vkeys"] + [case["vkey"] for case in PROOFS["refused_vkeys"]])
def test_keys_to_refuse(text: str) -> None:
    with pytest.raises(Misconfigured):
        note.parse_verifier(text)


@pytest.mark.parametrize("case", PROOFS["cases"], ids=name_of)
def test_proof_files(case: dict[str, Any]) -> None:
    verifiers = [note.parse_verifier(text) for text in case["keys"]]
    if case["verdict"] == "malformed":
        with pytest.raises(BadReceipt):
            proof.parse(case["text"])
        return
    found = proof.parse(case["text"])
    if case["verdict"] == "false":
        with pytest.raises(BadReceipt):
            proof.verify(found, b64decode(case["leaf_b64"]), verifiers, case["origin"])
        return
    checkpoint = proof.verify(found, b64decode(case["leaf_b64"]), verifiers, case["origin"])
    assert checkpoint == (case["origin"], case["size"], b64decode(case["root_b64"]))


@pytest.mark.parametrize("case", LEAVES, ids=name_of)
def test_leaves(case: dict[str, Any]) -> None:
    """Sound leaves of other kinds are no record's, so they are refused too."""
    data = bytes.fromhex(case["leaf_hex"])
    if case["verdict"] == "sound" and json.loads(data)["kind"] == "record":
        assert leaf.parse(data).seq == json.loads(data)["seq"]
        return
    with pytest.raises(BadReceipt):
        leaf.parse(data)


@pytest.mark.parametrize("case", RECEIPTS, ids=name_of)
def test_receipts(case: dict[str, Any]) -> None:
    verifiers = [note.parse_verifier(text) for text in case["verifier_keys"]]
    arguments = (case["receipt"].encode(), case["record"].encode(), verifiers, case["origin"])
    if case["verdict"] == "sound":
        assert receipts.verify(*arguments).data == case["receipt"].encode()
        return
    with pytest.raises(BadReceipt):
        receipts.verify(*arguments)


def kept() -> tuple[bytes, bytes, list[note.Verifier], str]:
    """The worked example's record with everything that its receipt is checked against."""
    ledger = EXAMPLE["ledgers"][0]
    entry = next(entry for entry in ledger["entries"] if "receipts" in entry)
    verifiers = [note.parse_verifier(ledger["verifier_key"])]
    return entry["receipts"]["kept"].encode(), entry["sealed"]["text"].encode(), verifiers, ledger["origin"]


def test_the_worked_example() -> None:
    receipt = receipts.check(*kept(), producer="local")
    assert (receipt.seq, receipt.size, receipt.producer) == (1, 3, "local")
    with pytest.raises(BadReceipt, match="producer"):
        receipts.check(*kept(), producer="another")


def test_without_its_opening_a_receipt_is_no_proof_of_delivery() -> None:
    ledger = EXAMPLE["ledgers"][0]
    entry = next(entry for entry in ledger["entries"] if "receipts" in entry)
    _, record, verifiers, origin = kept()
    with pytest.raises(BadReceipt, match="opening"):
        receipts.check(entry["receipts"]["destroyed"].encode(), record, verifiers, origin)


@given(st.data())
def test_a_changed_byte_is_found(data: st.DataObject) -> None:
    """Anywhere in the receipt; the record's bytes likewise."""
    receipt, record, verifiers, origin = kept()
    place = data.draw(st.integers(0, len(receipt) - 1))
    change = data.draw(st.integers(1, 255))
    damaged = receipt[:place] + bytes([receipt[place] ^ change]) + receipt[place + 1 :]
    with pytest.raises(BadReceipt):
        receipts.check(damaged, record, verifiers, origin)
    with pytest.raises(BadReceipt, match="other bytes"):
        receipts.check(receipt, record + b" ", verifiers, origin)


@pytest.mark.parametrize(("sent", "sealed"), [(None, 5), (5, None), (5, 6)])
def test_leaf_and_record_must_name_the_same_number(sent: int | None, sealed: int | None) -> None:
    ledger = FakeLedger()
    record = json.dumps({"id": "a"} if sent is None else {"id": "a", "producer_seq": sent}).encode()
    held = ledger._append(record, sealed)
    verifiers = [note.parse_verifier(ledger.verifier)]
    with pytest.raises(BadReceipt, match="producer_seq"):
        receipts.check(json.dumps(ledger.receipt(held)).encode(), record, verifiers, ledger.origin)


def test_a_receipt_shows_no_secret() -> None:
    receipt = receipts.check(*kept())
    assert "opening" not in repr(receipt)
