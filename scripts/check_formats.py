#!/usr/bin/env python3
"""Recompute tests/vectors/example-v1.json, and refuse negative-v1.json, from vault/core/FORMAT.md alone.

The formats are read by `scripts/formats`, which imports nothing of ours; this file walks through the two vector files,
which tests/vectors/README.md describes.

    python -I scripts/check_formats.py [FILE.json ...]      default: both, in tests/vectors

Exit 0: every value of the example is the one that the page demands, and every negative case is refused. Exit 1: a line
on standard error for each that is not, naming its place.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I leaves it out

from formats import leaf as leaves
from formats import sealed, tree
from formats.base import DICTIONARIES, Refused, b64, dictionary, read_object, sha, unb64

Outcome: TypeAlias = tuple[str, str]  # place, fault; an empty fault is a value that is right

VECTORS = Path(__file__).resolve().parent.parent / "tests" / "vectors"
HOST = "vault.example"


def compared(place: str, stated: dict[str, Any], inputs: set[str], computed: dict[str, Any]) -> Iterator[Outcome]:
    """Every member is an input, or is computed and must be equal; there are no others."""
    for name, value in computed.items():
        same = stated.get(name) == value and type(stated.get(name)) is type(value)
        yield f"{place}.{name}", "" if same else f"is {stated.get(name)!r}, and the page makes it {value!r}"
    if stray := stated.keys() ^ (inputs | computed.keys()):
        yield place, f"missing or without a meaning: {sorted(stray)}"


def agrees(place: str, same: bool, fault: str) -> Outcome:
    return place, "" if same else fault


def check_example(data: Any) -> Iterator[Outcome]:
    """example-v1.json: ledgers with every input and every intermediate value."""
    yield from compared("example", data, {"source", "zstd", "dictionaries", "ledgers"}, {})
    known = {f"{kind} {number}": sha(dictionary(kind, number)).hex() for kind, number in DICTIONARIES}
    yield from compared("dictionaries", data["dictionaries"], set(), known)
    yield agrees("ledgers", len(data["ledgers"]) == 2, "are not two")
    for ledger in data["ledgers"]:
        yield from check_ledger(ledger)
    announced, made = {}, {}
    for ledger in data["ledgers"]:
        texts = [entry["leaf"].encode() for entry in ledger["entries"]]
        genesis = leaves.read_leaf(texts[0])
        if genesis["ledger_kind"] == "decisions":
            made[ledger["ledger"]] = (genesis["name"], b64(tree.leaf_hash(texts[0])))
        for event in map(leaves.read_leaf, texts):
            if event.get("event") == "ledger.created":
                told = event["facts"]
                announced[told["ledger"]] = (told["name"], told["genesis"])
    yield agrees("ledger.created", announced == made, f"announces {announced}, and there are {made}")


def check_ledger(ledger: dict[str, Any]) -> Iterator[Outcome]:
    place, origin = ledger["name"], f"{HOST}/{ledger['ledger']}"
    seed = bytes.fromhex(ledger["seed_hex"])
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    hashes = [tree.leaf_hash(entry["leaf"].encode()) for entry in ledger["entries"]]
    note = tree.sign(tree.checkpoint_text(origin, hashes), origin, seed)
    genesis = leaves.read_leaf(ledger["entries"][0]["leaf"].encode())
    computed = {
        "name": genesis["name"],
        "origin": origin,
        "public_hex": public.hex(),
        "verifier_key": tree.verifier_key(origin, public),
        "frontier_hex": [node.hex() for node in tree.frontier_of(hashes)],
        "root_hex": tree.tree_hash(hashes).hex(),
        "checkpoint": note,
        "proofs": [tree.proof_text(index, hashes, note) for index in range(len(hashes))],
    }
    records = {"id_key_hex"} if any("facets" in entry for entry in ledger["entries"]) else set()
    inputs = {"ledger", "seed_hex", "provider", "entries", "pending"} | records
    yield from compared(place, ledger, inputs, computed)
    yield agrees(f"{place}.verifiers", genesis["verifiers"] == [computed["verifier_key"]], "names another key")
    pending = ledger["pending"]
    signed = tree.sign(tree.pending_text(origin, hashes, pending["sizes"]), origin, seed)
    yield from compared(f"{place}.pending", pending, {"sizes"}, {"note": signed})
    yield from compared(place, {"provider": ledger["provider"]}, set(), {"provider": list(wraps(ledger, genesis))})
    for seq, entry in enumerate(ledger["entries"]):
        yield from check_entry(f"{place}[{seq}]", entry, ledger, hashes[:seq])


def wraps(ledger: dict[str, Any], genesis: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a provider was asked to wrap: the ledger key, then for each sealed entry an index key and an epoch key."""

    def wrap(purpose: str, group: str, epoch_id: str) -> dict[str, Any]:
        key = f"group.{ledger['ledger']}.{group}" if group else f"tenant.{genesis['tenant']}"
        context = sealed.provider_context(purpose, ledger["ledger"], group, int(epoch_id)).hex()
        said = {"purpose": purpose, "group": group, "epoch_id": epoch_id}
        return said | {"provider_key": key, "context_hex": context}

    yield wrap("ledger", "", "0")
    for entry in ledger["entries"]:
        if "sealed" in entry:
            group = leaves.read_leaf(entry["leaf"].encode())["group"]
            yield wrap("index", group, "0")
            yield wrap("epoch", group, entry["sealed"]["epoch_id"])


def check_entry(place: str, entry: dict[str, Any], ledger: dict[str, Any], before: list[bytes]) -> Iterator[Outcome]:
    data = entry["leaf"].encode()
    leaf = leaves.read_leaf(data)
    chained = {"seq": len(before), "ledger": ledger["ledger"]} | ({"prev": b64(before[-1])} if before else {})
    yield agrees(f"{place}.leaf", chained.items() <= leaf.items(), f"does not say {chained}")
    parts = {"sealed"} if "key" in leaf else set()
    if leaf["kind"] == "record":
        parts |= {"facets", "blind", "receipts"}
    computed = {"leaf_hash_hex": tree.leaf_hash(data).hex(), "kind": leaf["kind"]}
    yield from compared(place, entry, {"what", "leaf", "stored"} | parts, computed)
    packed = leaves.stored_leaf(bytes.fromhex(entry["stored"]["packed_hex"]))
    yield agrees(f"{place}.stored.packed_hex", packed == data, "holds another leaf")
    yield from compared(f"{place}.stored", entry["stored"], {"packed_hex"}, {"as_it_is_hex": data.hex()})
    if "sealed" in parts:
        yield from check_sealed(f"{place}.sealed", entry, leaf)
    if leaf["kind"] == "record":
        yield from check_beside(place, entry, leaf, bytes.fromhex(ledger["id_key_hex"]))
        yield from check_receipts(f"{place}.receipts", entry, ledger, leaf["seq"])


def check_sealed(place: str, entry: dict[str, Any], leaf: dict[str, Any]) -> Iterator[Outcome]:
    stated = entry["sealed"]
    record_key, plaintext = bytes.fromhex(stated["record_key_hex"]), stated["text"].encode()
    committed, opened = sealed.key_commitment(record_key), sealed.opening(record_key)
    computed = {
        "key_commitment_hex": committed.hex(),
        "opening_hex": opened.hex(),
        "plaintext_commitment_hex": sealed.commit(opened, plaintext).hex(),
        "associated_hex": sealed.record_context(leaf["ledger"], int(stated["epoch_id"]), committed).hex(),
    }
    inputs = {"text", "record_key_hex", "epoch_id", "epoch_key_hex", "wrapped_hex", "parts"}
    yield from compared(place, stated, inputs, computed)
    promised = (leaf["key"], leaf["plaintext"], len(leaf["parts"]))
    kept = (b64(committed), b64(sealed.commit(opened, plaintext)), len(stated["parts"]))
    yield agrees(place, promised == kept, "is not what key, plaintext and parts of the leaf promise")
    wrapped, epoch_key = bytes.fromhex(stated["wrapped_hex"]), bytes.fromhex(stated["epoch_key_hex"])
    found = sealed.unwrap(wrapped, epoch_key, leaf["ledger"], int(stated["epoch_id"]), committed)
    yield agrees(f"{place}.wrapped_hex", found == record_key, "holds another key")
    for number, part in enumerate(stated["parts"]):
        envelope = bytes.fromhex(part["envelope_hex"])
        h = header_of(leaf, entry.get("facets", {}).get("fields"), number)
        header = sealed.header_bytes({**h, "suite": envelope[0], "codec": envelope[1]})
        padded = sealed.open_envelope(envelope, h, record_key, committed, unb64(leaf["parts"][number]))
        frame = sealed.frame_of(padded)
        made = {
            "codec": envelope[1],
            "encryption_key_hex": sealed.encryption_key(record_key, number).hex(),
            "header_hex": header.hex(),
            "nonce_hex": envelope[2:14].hex(),
            "frame_hex": frame.hex(),
            "padded_hex": padded.hex(),
            "digest_hex": sha(header + envelope[2:]).hex(),
        }
        yield from compared(f"{place}.parts[{number}]", part, {"envelope_hex"}, made)
        same = number > 0 or sealed.read_frame(frame, envelope[1]) == plaintext
        yield agrees(f"{place}.parts[{number}].frame_hex", same, "holds another text")


def header_of(leaf: dict[str, Any], fields: dict[str, Any] | None, part: int) -> dict[str, Any]:
    """H as it is rebuilt from the leaf and a record's facets; suite and codec stand in the envelope."""
    shown = fields or {"record_id": "", "record_class": "event", "jurisdictions": ""}
    return {
        "ledger": leaf["ledger"],
        "part": part,
        "parts": len(leaf["parts"]),
        "producer_seq": leaf.get("producer_seq"),
        "schema": "reasoning-log/1" if fields else "event-detail/1",
        "producer": leaf.get("producer", ""),
        **{name: shown[name] for name in ("record_id", "record_class", "jurisdictions")},
    }


def check_beside(place: str, entry: dict[str, Any], leaf: dict[str, Any], id_key: bytes) -> Iterator[Outcome]:
    stated, record = entry["facets"], read_object(entry["sealed"]["text"])
    fields, salt = stated["fields"], bytes.fromhex(stated["salt_hex"])
    from_record = sealed.facets_of(record)
    yield from compared(f"{place}.facets.fields", fields, {"below_threshold", "flags"}, from_record)
    digest, tag = sealed.facets_digest(salt, fields), sealed.commit(id_key, record["id"].encode())[:16]
    computed = {"bytes_hex": sealed.facets_bytes(fields).hex(), "digest_hex": digest.hex(), "id_tag_hex": tag.hex()}
    yield from compared(f"{place}.facets", stated, {"fields", "salt_hex"}, computed)
    same = (leaf["facets"], leaf["id_tag"]) == (b64(digest), b64(tag))
    yield agrees(f"{place}.facets", same, "are not what facets and id_tag of the leaf promise")
    blind = entry["blind"]
    tags = {
        field: str(sealed.blind_tag(bytes.fromhex(blind["index_key_hex"]), field, value))
        for field, value in sealed.blind_values(record).items()
    }
    yield from compared(f"{place}.blind", blind, {"index_key_hex"}, tags)


def check_receipts(place: str, entry: dict[str, Any], ledger: dict[str, Any], seq: int) -> Iterator[Outcome]:
    record_key, record = bytes.fromhex(entry["sealed"]["record_key_hex"]), entry["sealed"]["text"].encode()
    shown = {"receipt": "reasonvault-receipt/1", "leaf": entry["leaf"], "proof": ledger["proofs"][seq]}
    computed = {"kept": shown | {"opening": b64(sealed.opening(record_key))}, "destroyed": shown}
    found = {name: read_object(text) for name, text in entry["receipts"].items()}
    yield from compared(place, found, set(), computed)
    for text in entry["receipts"].values():
        tree.open_receipt(text, ledger["origin"], [ledger["verifier_key"]], record)


def read_envelope(case: dict[str, Any]) -> None:
    envelope, record_key, committed, part, plaintext = (
        bytes.fromhex(case[name])
        for name in ("envelope_hex", "record_key_hex", "key_commitment_hex", "digest_hex", "plaintext_commitment_hex")
    )
    padded = sealed.open_envelope(envelope, case["header"], record_key, committed, part)
    found = sealed.read_frame(sealed.frame_of(padded), envelope[1])
    if sealed.commit(sealed.opening(record_key), found) != plaintext:
        raise Refused("plaintext commitment")


def read_wrapped(case: dict[str, Any]) -> None:
    wrapped, epoch_key, committed = (
        bytes.fromhex(case[name]) for name in ("wrapped_hex", "epoch_key_hex", "key_commitment_hex")
    )
    sealed.unwrap(wrapped, epoch_key, case["ledger"], int(case["epoch_id"]), committed)


def read_facets(case: dict[str, Any]) -> None:
    if sealed.facets_digest(bytes.fromhex(case["salt_hex"]), case["fields"]).hex() != case["digest_hex"]:
        raise Refused("facets: digest")


def read_receipt(case: dict[str, Any]) -> None:
    tree.open_receipt(case["receipt"], case["origin"], case["verifier_keys"], case["record"].encode())


READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "leaf": lambda case: leaves.read_leaf(bytes.fromhex(case["leaf_hex"])),
    "stored leaf": lambda case: leaves.read_leaf(leaves.stored_leaf(bytes.fromhex(case["stored_hex"]))),
    "facets": read_facets,
    "envelope": read_envelope,
    "wrapped key": read_wrapped,
    "receipt": read_receipt,
}


def check_negative(data: Any) -> Iterator[Outcome]:
    """negative-v1.json: each reader must refuse what is marked so, and take the sound case beside it."""
    for case in data["cases"]:
        try:
            READERS[case["reader"]](case)
            found = "sound"
        except Refused:
            found = "refused"
        yield agrees(f"{case['reader']}: {case['name']}", found == case["verdict"], f"is {found}")


CHECKS = {"example-v1.json": check_example, "negative-v1.json": check_negative}


def main(arguments: list[str]) -> int:
    """Check the named files, or both; the exit code."""
    faults = 0
    for file in [Path(name) for name in arguments] or [VECTORS / name for name in CHECKS]:
        values, place = 0, "the file"
        try:
            for place, fault in CHECKS[file.name](json.loads(file.read_text(encoding="utf-8"))):
                values += 1
                if fault:
                    faults += 1
                    print(f"{file.name}: {place}: {fault}", file=sys.stderr)
        except Exception as error:  # a broken file must be named, whatever broke it
            faults += 1
            print(f"{file.name}: after {place}: {type(error).__name__}: {error}", file=sys.stderr)
        print(f"{file.name}: {values} values")
        faults += not values
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
