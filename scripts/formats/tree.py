"""FORMAT.md sections 6 and 7: tree, notes, proofs, receipts."""

from __future__ import annotations

import base64
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from formats.base import Refused, read_object, sha, standard_b64, unb64
from formats.leaf import read_leaf
from formats.sealed import commit


def leaf_hash(leaf: bytes) -> bytes:
    return sha(b"\x00" + leaf)


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha(b"\x01" + left + right)


def split_of(size: int) -> int:
    """The largest power of two below a size of two or more."""
    return int(1 << (size - 1).bit_length() - 1)


def tree_hash(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962 2.1, over leaf hashes."""
    if len(hashes) < 2:
        return hashes[0] if hashes else sha(b"")
    k = split_of(len(hashes))
    return node_hash(tree_hash(hashes[:k]), tree_hash(hashes[k:]))


def path_of(index: int, hashes: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 2.1.1."""
    if len(hashes) == 1:
        return []
    k = split_of(len(hashes))
    if index < k:
        return [*path_of(index, hashes[:k]), tree_hash(hashes[k:])]
    return [*path_of(index - k, hashes[k:]), tree_hash(hashes[:k])]


def root_from(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that a path leads to: PATH read backwards, since its last hash is the outermost."""
    if not 0 <= index < size or (size == 1) != (not path):
        raise Refused("proof: index or number of hashes")
    if size == 1:
        return leaf
    k = split_of(size)
    if index < k:
        return node_hash(root_from(leaf, index, k, path[:-1]), path[-1])
    return node_hash(path[-1], root_from(leaf, index - k, size - k, path[:-1]))


def frontier_of(hashes: list[bytes]) -> list[bytes]:
    """Roots of the perfect subtrees, left to right."""
    if not hashes:
        return []
    k = 1 << len(hashes).bit_length() - 1
    return [tree_hash(hashes[:k]), *frontier_of(hashes[k:])]


def key_id(name: str, public: bytes) -> bytes:
    return sha(name.encode() + b"\x0a\x01" + public)[:4]


def verifier_key(name: str, public: bytes) -> str:
    return f"{name}+{key_id(name, public).hex()}+{base64.b64encode(bytes([1]) + public).decode()}"


def sign(text: str, name: str, seed: bytes) -> str:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    signature = key_id(name, key.public_key().public_bytes_raw()) + key.sign(text.encode())
    return f"{text}\n\u2014 {name} {base64.b64encode(signature).decode()}\n"


def checkpoint_text(origin: str, hashes: list[bytes]) -> str:
    return f"{origin}\n{len(hashes)}\n{base64.b64encode(tree_hash(hashes)).decode()}\n"


def pending_text(origin: str, hashes: list[bytes], sizes: list[int]) -> str:
    heads = [(size, hashes[size - 1].hex(), b"".join(frontier_of(hashes[:size])).hex()) for size in sizes]
    return f"pending {origin}\n" + "".join(f"{size} {last} {frontier}\n" for size, last, frontier in heads)


def proof_text(index: int, hashes: list[bytes], note: str) -> str:
    lines = [base64.b64encode(node).decode() + "\n" for node in path_of(index, hashes)]
    return f"c2sp.org/tlog-proof@v1\nindex {index}\n{''.join(lines)}\n{note}"


def open_checkpoint(note: str, origin: str, vkeys: list[str]) -> tuple[int, bytes]:
    """Size and root of a checkpoint that a trusted key signed. scripts/check_vectors.py has the notes in full."""
    text, blank, lines = note.rpartition("\n\n")
    text += "\n"
    trusted = {verifier_key(origin, standard_b64(key.split("+", 2)[2])[1:]) for key in vkeys}
    signed = False
    for line in lines.removesuffix("\n").split("\n"):
        match = re.fullmatch("\u2014 ([^ +]+) ([A-Za-z0-9+/=]+)", line)
        if not match or not blank:
            raise Refused("note")
        data = standard_b64(match[2])
        for public in (standard_b64(key.split("+", 2)[2])[1:] for key in trusted & set(vkeys)):
            if match[1] == origin and data[:4] == key_id(origin, public):
                verify(public, data[4:], text.encode())
                signed = True
    rows = text.split("\n")
    if not signed or len(rows) != 4 or rows[0] != origin or not re.fullmatch("0|[1-9][0-9]{0,18}", rows[1]):
        raise Refused("no trusted key has signed, or not a checkpoint of this ledger")
    return int(rows[1]), standard_b64(rows[2])


def verify(public: bytes, signature: bytes, message: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise Refused("signature") from None


def open_receipt(text: str, origin: str, vkeys: list[str], record: bytes | None) -> None:
    """A receipt shows that its leaf is in the ledger, and with an opening that the leaf is this record's."""
    receipt = read_object(text)
    names = receipt.keys()
    if receipt.get("receipt") != "reasonvault-receipt/1" or not all(isinstance(v, str) for v in receipt.values()):
        raise Refused("receipt: version or types")
    if not {"receipt", "leaf", "proof"} <= names <= {"receipt", "leaf", "proof", "opening"}:
        raise Refused("receipt: members")
    data = receipt["leaf"].encode()
    leaf = read_leaf(data)
    if leaf["kind"] != "record" or leaf["ledger"] != origin.rpartition("/")[2]:
        raise Refused("receipt: kind or ledger of the leaf")
    head, blank, note = receipt["proof"].partition("\n\n")
    first, *lines = head.split("\n")
    lines = lines[1:] if lines[:1] and lines[0].startswith("extra ") else lines
    if not blank or first != "c2sp.org/tlog-proof@v1" or lines[:1] != [f"index {leaf['seq']}"]:
        raise Refused("receipt: proof")
    size, root = open_checkpoint(note, origin, vkeys)
    if root_from(leaf_hash(data), leaf["seq"], size, [standard_b64(line) for line in lines[1:]]) != root:
        raise Refused("receipt: another root")
    opened = unb64(receipt["opening"]) if "opening" in names else None
    if record is not None and opened is not None and commit(opened, record) != unb64(leaf["plaintext"]):
        raise Refused("receipt: opening")
