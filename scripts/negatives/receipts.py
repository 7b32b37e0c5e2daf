"""Receipts that do not hold."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault.core import canonical, receipt, tree
from vault.core.checkpoint import Checkpoint, sign_checkpoint
from vault.core.proof import Proof

Case = dict[str, Any]
Facts = dict[str, Any]


def receipts(decisions: Facts, events: Facts) -> Iterator[Case]:
    record, other, event = decisions["entries"][1], decisions["entries"][2], events["entries"][2]
    origin, keys = decisions["origin"], [decisions["verifier_key"]]
    kept, text = record["receipts"]["kept"], record["sealed"]["text"]
    document = json.loads(kept)

    def case(name: str, held: str, verdict: str = "refused", **changes: Any) -> Case:
        given = {"receipt": held, "record": text, "origin": origin, "verifier_keys": keys}
        return {"reader": "receipt", "name": name, "verdict": verdict} | given | changes

    def changed(**members: Any) -> str:
        found = {key: value for key, value in (document | members).items() if value is not None}
        return json.dumps(found, ensure_ascii=False)

    def proof(change: Callable[[list[str]], object]) -> str:
        lines = document["proof"].split("\n")
        change(lines)
        return changed(proof="\n".join(lines))

    def ours(leaf: bytes, seed_hex: str, name: str) -> str:
        """A receipt for any leaf at position 1 of a tree that the key of a ledger did sign."""
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed_hex))
        hashes = [bytes(32), tree.leaf_hash(leaf)]
        note = sign_checkpoint(Checkpoint(name, 2, tree.root(hashes)), key.sign, key.public_key().public_bytes_raw())
        return receipt.issue(leaf, None, Proof(1, (hashes[0],), note)).decode()

    data, seed = record["leaf"].encode(), decisions["seed_hex"]
    stranger = canonical.encode(json.loads(record["leaf"]) | {"ledger": events["ledger"]})
    signature = document["proof"].split("\n")[-2]
    forged = base64.b64decode(signature.rpartition(" ")[2])
    forged = forged[:-1] + bytes([forged[-1] ^ 1])
    yield case("as it is", kept, "sound")
    yield case("of a destroyed record", record["receipts"]["destroyed"], "sound")
    yield case("spelled with white space", json.dumps(document, indent=1), "sound")
    yield case("a proof with an extra line", proof(lambda lines: lines.insert(1, "extra AAAA")), "sound")
    yield case("under another checkpoint of the same key", ours(data, seed, origin), "sound")
    for name, held in {
        "another path": proof(lambda lines: lines.__setitem__(2, base64.b64encode(bytes(32)).decode())),
        "hashes in another order": proof(lambda lines: lines.__setitem__(slice(2, 4), lines[3:1:-1])),
        "a hash missing": proof(lambda lines: lines.pop(3)),
        "a hash too many": proof(lambda lines: lines.insert(4, lines[3])),
        "another index": proof(lambda lines: lines.__setitem__(1, "index 2")),
        "no index": proof(lambda lines: lines.pop(1)),
        "another first line": proof(lambda lines: lines.__setitem__(0, "c2sp.org/tlog-proof@v2")),
        "a forged signature": changed(
            proof=document["proof"].replace(signature.rpartition(" ")[2], base64.b64encode(forged).decode())
        ),
        "another size": proof(lambda lines: lines.__setitem__(-5, "4")),
        "another root": proof(lambda lines: lines.__setitem__(-4, base64.b64encode(bytes(32)).decode())),
        "an edited leaf": changed(leaf=record["leaf"].replace("2033-01.0", "2023-01.0")),
        "another record's leaf": changed(leaf=other["leaf"]),
        "a leaf that is not canonical": changed(leaf=record["leaf"] + " "),
        "a leaf as an object": changed(leaf=json.loads(record["leaf"])),
        "another record's opening": changed(opening=json.loads(other["receipts"]["kept"])["opening"]),
        "an opening of 33 bytes": changed(opening=document["opening"] + "A"),
        "a padded opening": changed(opening=document["opening"] + "="),
        "version 2": changed(receipt="reasonvault-receipt/2"),
        "no version": changed(receipt=None),
        "no proof": changed(proof=None),
        "an unknown member": changed(verdict="sound"),
        "a leaf twice": kept.replace('{"receipt"', '{"leaf":' + json.dumps(other["leaf"]) + ',"receipt"', 1),
        "something behind": kept + "{}",
        "an array": f"[{kept}]",
        "an event's leaf, well proved": ours(event["leaf"].encode(), seed, origin),
        "a leaf of another ledger, well proved": ours(stranger, seed, origin),
        "another ledger's key": ours(data, events["seed_hex"], origin),
        "another ledger's checkpoint": ours(data, events["seed_hex"], events["origin"]),
    }.items():
        assert held != kept, name
        yield case(name, held)
    yield case("another record", kept, record=text.replace("128.50", "928.50"))
    yield case("no trusted key", kept, verifier_keys=[events["verifier_key"]])
    yield case("another ledger expected", kept, origin=events["origin"], verifier_keys=keys)
