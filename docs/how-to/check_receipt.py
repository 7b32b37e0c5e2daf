"""Check a receipt without Reasonvault. Needs Python 3 and the package `cryptography`.

    python check_receipt.py RECEIPT.json ORIGIN PUBLIC_KEY [RECORD.json]

RECEIPT.json  the receipt, one JSON object
ORIGIN        the ledger's name in signatures, host/uuid
PUBLIC_KEY    the vault's checkpoint key, 64 hex digits, got from the vault's owner beforehand and not with the receipt
RECORD.json   the bytes that were sent, without the line feed behind them; left out, they are not checked

Prints what the receipt proves and ends with 0; ends with 1 and one line where it proves nothing.
"""

import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def main(receipt_file, origin, public_key, record_file=None):
    receipt = json.loads(Path(receipt_file).read_bytes())
    leaf = json.loads(receipt["leaf"])
    proof, note = receipt["proof"].split("\n\n", 1)
    header, index_line, *path = proof.split("\n")
    index = int(index_line.removeprefix("index "))
    require(receipt["receipt"] == "reasonvault-receipt/1" and header == "c2sp.org/tlog-proof@v1", "an unknown version")
    require(origin.endswith("/" + leaf["ledger"]) and index == leaf["seq"], "leaf and proof are of different entries")

    size, root = signed_tree(note, origin, bytes.fromhex(public_key))
    computed = root_of(leaf_hash(receipt["leaf"]), index, size, [base64.b64decode(line) for line in path])
    require(computed == root, "the leaf is not in the tree that was signed")
    print(f"entry {index} of ledger {leaf['ledger']}, received at {leaf['received_at']}, in a signed tree of {size}")

    if record_file is not None:
        made = hmac.digest(unb64url(receipt["opening"]), Path(record_file).read_bytes(), "sha256")
        require(hmac.compare_digest(made, unb64url(leaf["plaintext"])), "these are not the bytes that were sealed")
        print("the record is, byte for byte, the one that was sealed")


def signed_tree(note, origin, public_key):
    """Size and root of a C2SP checkpoint, once its signature holds."""
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    named, size, root = text.split("\n")[:3]
    require(named == origin, "the checkpoint is another ledger's")
    lines = [line.split(" ") for line in signatures.splitlines()]
    signed = [base64.b64decode(blob) for dash, name, blob in lines if name == origin]
    key_id = hashlib.sha256(origin.encode() + b"\n\x01" + public_key).digest()[:4]
    ours = [blob[4:] for blob in signed if blob[:4] == key_id]
    require(len(ours) == 1, "this key has not signed the checkpoint")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(ours[0], text.encode())
    except InvalidSignature:
        sys.exit("the checkpoint's signature does not hold")
    return int(size), base64.b64decode(root)


def leaf_hash(leaf):
    return hashlib.sha256(b"\x00" + leaf.encode()).digest()


def root_of(node, index, size, path):
    """The root that an inclusion path leads to (RFC 9162 section 2.1.3.2)."""
    require(0 <= index < size, "the entry lies outside the tree")
    last = size - 1
    for sibling in path:
        require(last > 0 and len(sibling) == 32, "the path is too long")
        if index % 2 or index == last:
            node = hashlib.sha256(b"\x01" + sibling + node).digest()
            while index % 2 == 0 and index:
                index, last = index >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\x01" + node + sibling).digest()
        index, last = index >> 1, last >> 1
    require(last == 0, "the path is too short")
    return node


def unb64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def require(holds, otherwise):
    if not holds:
        sys.exit(otherwise)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (KeyError, ValueError, OSError) as error:
        sys.exit(f"not a receipt, or not readable: {error}")
