#!/usr/bin/env python3
"""Recompute tests/vectors/example-v1.json from vault/core/FORMAT.md alone.

Written from that page, the RFCs and the C2SP texts that it names, with the standard library, `cryptography` and
`zstandard`. It must never import anything of ours: two programs that share a mistake agree. It also goes other
ways where it can: a leaf is read by a grammar that knows only the canonical spelling, keys come from a bare HMAC,
paths from the recursive definition.

    python scripts/check_formats.py [FILE.json ...]      default: example-v1.json and negative-v1.json

Exit 0: every value is the one that the page demands, and every negative case is refused. Exit 1: a line on
standard error for each value that is not, naming its place. tests/vectors/README.md describes the two files.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import json
import re
import struct
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Outcome: TypeAlias = tuple[str, str]  # place, fault; an empty fault is a value that is right

HOME = Path(__file__).resolve().parent.parent
VECTORS = HOME / "tests" / "vectors"
DICTIONARIES = {
    ("record", 1): "50d6e920ae8837cf348272d116daab6d35e7e48498fdc5509a8e956a3a00f101",
    ("leaf", 1): "2e82bb151039a182507ed55a772e93bb8ce4c828f9a25c3cbb7437de49416f6e",
}
LEAF_LIMIT, RECORD_LIMIT = 4096, 1 << 20


class Refused(Exception):
    """The bytes are not of the format, or what they say does not hold."""


# Section 2: canonical JSON and leaves

TOKEN = re.compile(r'(?P<string>"[A-Za-z0-9._:/+-]*")|(?P<number>0|[1-9][0-9]*)|(?P<mark>[{}\[\],:])')


def read_canonical(text: str) -> Any:
    """The value of a text that is spelled in the one way; no other text has a value."""
    tokens, at = [], 0
    while at < len(text):
        if not (match := TOKEN.match(text, at)):
            raise Refused(f"spelling at {at}")
        tokens.append(match)
        at = match.end()
    tokens.reverse()

    def take(*marks: str) -> str:
        if not tokens or tokens[-1]["mark"] not in marks:
            raise Refused("structure")
        return str(tokens.pop()["mark"])

    def value() -> Any:
        if not tokens:
            raise Refused("ends early")
        if tokens[-1]["string"]:
            return tokens.pop()["string"][1:-1]
        if tokens[-1]["number"]:
            if (number := int(tokens.pop()["number"])) >= 2**53:
                raise Refused("integer")
            return number
        return items("[", "]", value) if take("[", "{") == "[" else dict(items("{", "}", member))

    def member() -> tuple[str, Any]:
        if not tokens or not tokens[-1]["string"]:
            raise Refused("key")
        key = tokens.pop()["string"][1:-1]
        take(":")
        return key, value()

    def items(opening: str, closing: str, item: Callable[[], Any]) -> list[Any]:
        found: list[Any] = []
        if tokens and tokens[-1]["mark"] == closing:
            take(closing)
            return found
        while True:
            found.append(item())
            if take(",", closing) == closing:
                break
        if opening == "{" and any(a[0] >= b[0] for a, b in zip(found, found[1:], strict=False)):
            raise Refused("order of keys")
        return found

    result = value()
    if tokens:
        raise Refused("something follows")
    return result


def digest(text: Any, size: int = 32) -> bytes:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (TypeError, binascii.Error):
        raise Refused("base64url") from None
    if len(data) != size or b64(data) != text:
        raise Refused("base64url: length or spelling")
    return data


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def matches(pattern: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise Refused(f"not {pattern}")

    return check


def moment(pattern: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        matches(pattern)(value)
        try:
            datetime.datetime.fromisoformat(value)
        except ValueError:
            raise Refused("no such day or time") from None

    return check


def count(value: Any) -> None:
    if type(value) is not int:
        raise Refused("not an integer")


def words(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(word, str) and word for word in value):
        raise Refused("not a list of words")


def ascending(value: Any) -> None:
    words(value)
    if value != sorted(set(value)):
        raise Refused("not in order")


def digests(value: Any) -> None:
    words(value)
    if not value:
        raise Refused("no part")
    for part in value:
        digest(part)


def facts(value: Any) -> None:
    if not isinstance(value, dict):
        raise Refused("not an object")


SECOND = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
WORD, ID = matches(".+"), matches("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MEMBERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(["facets", "key", "plaintext", "prev", "rulebook"], digest),
    **dict.fromkeys(["producer", "name", "region", "tenant", "actor", "event"], WORD),
    **dict.fromkeys(["received_at", "created_at", "at"], moment(SECOND + r"\.\d{3}Z")),
    **dict.fromkeys(["producer_seq", "seq"], count),
    "facts": facts,
    "group": matches(r"(\d{4}-(0[1-9]|1[0-2])|open)\.(0|[1-9]\d*)"),
    "id_tag": lambda value: digest(value, 16),
    "jurisdictions": words,
    "keep_until": moment(SECOND + "Z"),
    "kind": WORD,
    "ledger": ID,
    "ledger_kind": matches("decisions|events"),
    "parts": digests,
    "predecessor": WORD,
    "rules": ascending,
    "v": count,
    "verifiers": words,
}
SEALED = {"group", "key", "parts", "plaintext", "rulebook", "rules"}
COMMON = {"kind", "ledger", "seq", "v"}
RECORD = COMMON | SEALED | {"facets", "id_tag", "prev", "producer", "received_at"}
GENESIS = COMMON | {"created_at", "jurisdictions", "ledger_kind", "name", "region", "rulebook", "rules"}
EVENT = COMMON | {"actor", "at", "event", "facts", "prev"}
SHAPES: dict[str, list[tuple[set[str], set[str]]]] = {  # kind: (required, optional) of each shape
    "record": [(RECORD, {"keep_until", "producer_seq"})],
    "genesis": [(GENESIS | {"tenant", "verifiers"}, {"predecessor"})],
    "event": [(EVENT, set()), (EVENT | SEALED, {"keep_until"})],
}


def read_leaf(data: bytes) -> dict[str, Any]:
    if len(data) > LEAF_LIMIT or not data.isascii():
        raise Refused("leaf: length or alphabet")
    leaf = read_canonical(data.decode())
    if not isinstance(leaf, dict) or leaf.get("v") != 1:
        raise Refused("leaf: version")
    shapes = SHAPES.get(str(leaf.get("kind")), [])
    if not any(needed <= leaf.keys() <= needed | spare for needed, spare in shapes):
        raise Refused("leaf: kind or members")
    for key, value in leaf.items():
        MEMBERS[key](value)
    if (leaf["seq"] == 0) != (leaf["kind"] == "genesis"):
        raise Refused("leaf: the first entry, and only that one, is the genesis")
    return leaf


def stored_leaf(data: bytes) -> bytes:
    """The leaf's own bytes from the form in which the database holds it."""
    if data[:1] == b"\x7b":
        return data
    if data[:1] != b"\x01":
        raise Refused("stored leaf: form")
    return unpack(data[1:], ("leaf", 1), LEAF_LIMIT, zstandard.FORMAT_ZSTD1_MAGICLESS)


def unpack(frame: bytes, name: tuple[str, int] | None, limit: int, form: int = zstandard.FORMAT_ZSTD1) -> bytes:
    """One whole frame and nothing behind it, of at most `limit` bytes."""
    given = {"dict_data": zstandard.ZstdCompressionDict(dictionary(*name))} if name else {}
    reader = zstandard.ZstdDecompressor(format=form, **given).decompressobj(read_across_frames=False)
    try:
        data = reader.decompress(frame)
    except zstandard.ZstdError:
        raise Refused("zstd") from None
    if not reader.eof or reader.unused_data or len(data) > limit:
        raise Refused("zstd: not one frame, or too long")
    return data


def dictionary(kind: str, number: int) -> bytes:
    if (kind, number) not in DICTIONARIES:
        raise Refused("dictionary")
    data = base64.b64decode((HOME / "vault" / "core" / f"{kind}-{number}.dict.txt").read_text())
    if hashlib.sha256(data).hexdigest() != DICTIONARIES[kind, number]:
        raise Refused("dictionary: not the bytes of the page")
    return data


# Sections 3 to 5: facets, header, keys, envelope

APIS = ["payment_intelligence", "risk_compliance", "customer_interaction", "non_ai_bypass", "human_review"]
OUTCOMES = ["accepted", "human_review", "deterministic_rule", "rejected", "failed", "outcome_unknown"]
FIDELITIES = ["wire", "reconstructed", "truncated", "redacted"]


def short(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def facets_bytes(f: dict[str, Any]) -> bytes:
    numbers = [1 + row.index(f[name]) for row, name in ((APIS, "api"), (OUTCOMES, "outcome"), (FIDELITIES, "fidelity"))]
    below = {False: 0, True: 1, None: 2}[f["below_threshold"]]
    score, ai_ms = f["score"], f["ai_ms"]
    return struct.pack(
        ">BqBBBBBBdqI",
        1,
        f["occurred_at"],
        *numbers,
        f["money_moved"],
        below,
        score is not None,
        score or 0.0,
        -1 if ai_ms is None else ai_ms,
        f["flags"],
    ) + b"".join(map(short, (f["record_id"], f["record_class"], f["model"], ",".join(f["jurisdictions"]))))


def header_bytes(h: dict[str, Any]) -> bytes:
    which = dictionary("record", h["codec"]) if h["codec"] else None
    number = -1 if h["producer_seq"] is None else h["producer_seq"]
    known = hashlib.sha256(which).digest() if which else bytes(32)
    ledger = uuid.UUID(h["ledger"]).bytes
    fixed = struct.pack(">4sBB32s16sHHq", b"RVH1", h["suite"], h["codec"], known, ledger, h["part"], h["parts"], number)
    texts = (h["schema"], h["record_id"], h["producer"], h["record_class"], ",".join(h["jurisdictions"]))
    return fixed + b"".join(map(short, texts))


def expand(key: bytes, label: bytes) -> bytes:
    return hmac.digest(key, label + b"\x01", "sha256")


def commitment(record_key: bytes) -> bytes:
    return expand(record_key, b"reasonvault/1 key commitment")


def opening(record_key: bytes) -> bytes:
    return expand(record_key, b"reasonvault/1 plaintext commitment")


def encryption_key(record_key: bytes, part: int) -> bytes:
    return expand(record_key, b"reasonvault/1 encryption" + struct.pack(">H", part))


def decrypt(key: bytes, nonce: bytes, data: bytes, associated: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, data, associated)
    except (InvalidTag, ValueError):
        raise Refused("seal") from None


def open_envelope(envelope: bytes, h: dict[str, Any], record_key: bytes, committed: bytes, part: bytes) -> bytes:
    """The padded plaintext; the two commitments are compared before anything is decrypted."""
    if len(envelope) < 2 + 12 + 64 + 16 or (len(envelope) - 30) % 64 or envelope[0] != 1 or envelope[1] != h["codec"]:
        raise Refused("envelope: length, suite or codec")
    header = header_bytes(h)
    if hashlib.sha256(header + envelope[2:]).digest() != part:
        raise Refused("envelope: part digest")
    if commitment(record_key) != committed:
        raise Refused("envelope: key commitment")
    return decrypt(encryption_key(record_key, h["part"]), envelope[2:14], envelope[14:], header)


def frame_of(padded: bytes) -> bytes:
    (length,) = struct.unpack_from(">I", padded)
    rest = padded[4 + length :]
    if 4 + length > len(padded) or len(rest) > 63 or any(rest):
        raise Refused("padding")
    return padded[4 : 4 + length]


def unwrap(wrapped: bytes, epoch_key: bytes, associated: bytes, committed: bytes) -> bytes:
    if len(wrapped) != 60:
        raise Refused("wrapped key: length")
    record_key = decrypt(epoch_key, wrapped[:12], wrapped[12:], associated)
    if commitment(record_key) != committed:
        raise Refused("wrapped key: commitment")
    return record_key


def blind_tag(index_key: bytes, field: str, value: str) -> int:
    tag: int = struct.unpack(">q", hmac.digest(index_key, f"{field}\0{value}".encode(), "sha256")[:8])[0]
    return tag


# Section 6: tree, checkpoint, proof, receipt


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def tree_hash(leaves: list[bytes]) -> bytes:
    """RFC 6962 2.1; the caller hashed the leaves."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def path_of(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if index < k:
        return [*path_of(index, leaves[:k]), tree_hash(leaves[k:])]
    return [*path_of(index - k, leaves[k:]), tree_hash(leaves[:k])]


def root_from(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that a path leads to: PATH read backwards, since its last hash is the outermost."""
    if size == 1:
        if path:
            raise Refused("proof: hashes to spare")
        return leaf
    if not 0 <= index < size or not path:
        raise Refused("proof: index or number of hashes")
    k = 1 << (size - 1).bit_length() - 1
    if index < k:
        pair = root_from(leaf, index, k, path[:-1]) + path[-1]
    else:
        pair = path[-1] + root_from(leaf, index - k, size - k, path[:-1])
    return hashlib.sha256(b"\x01" + pair).digest()


def frontier_of(leaves: list[bytes]) -> list[bytes]:
    """Roots of the perfect subtrees, left to right."""
    if not leaves:
        return []
    k = 1 << len(leaves).bit_length() - 1
    return [tree_hash(leaves[:k]), *frontier_of(leaves[k:])]


def key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\x0a\x01" + public).digest()[:4]


def verifier_key(name: str, public: bytes) -> str:
    return f"{name}+{key_id(name, public).hex()}+{base64.b64encode(bytes([1]) + public).decode()}"


def sign(text: str, name: str, seed: bytes) -> str:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    signature = key_id(name, key.public_key().public_bytes_raw()) + key.sign(text.encode())
    return f"{text}\n\u2014 {name} {base64.b64encode(signature).decode()}\n"


def checkpoint_text(origin: str, leaves: list[bytes]) -> str:
    return f"{origin}\n{len(leaves)}\n{base64.b64encode(tree_hash(leaves)).decode()}\n"


def proof_text(index: int, leaves: list[bytes], note: str) -> str:
    lines = [base64.b64encode(node).decode() + "\n" for node in path_of(index, leaves)]
    return f"c2sp.org/tlog-proof@v1\nindex {index}\n{''.join(lines)}\n{note}"


def open_note(note: str, name: str, vkeys: list[str]) -> str:
    """The text of a note that one of the keys signed."""
    text, blank, lines = note.rpartition("\n\n")
    text += "\n"
    for key, line in ((key, line) for key in vkeys for line in lines.split("\n")):
        public = base64.b64decode(key.split("+", 2)[2])[1:]
        if not blank or key != verifier_key(name, public) or not line.startswith(f"\u2014 {name} "):
            continue
        data = base64.b64decode(line.rpartition(" ")[2])
        if data[:4] == key_id(name, public):
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(data[4:], text.encode())
            except InvalidSignature:
                raise Refused("signature") from None
            return text
    raise Refused("no known key has signed")


def check_receipt(text: str, origin: str, vkeys: list[str], record: bytes | None) -> None:
    """A receipt proves that its leaf is in the ledger, and with an opening that the leaf is this record's."""
    receipt = read_object(text)
    if receipt.get("receipt") != "reasonvault-receipt/1":
        raise Refused("receipt: version")
    if not {"receipt", "leaf", "proof"} <= receipt.keys() <= {"receipt", "leaf", "proof", "opening"}:
        raise Refused("receipt: members")
    if not all(isinstance(value, str) for value in receipt.values()):
        raise Refused("receipt: types")
    leaf = read_leaf(receipt["leaf"].encode())
    if leaf["kind"] != "record" or origin.rpartition("/")[2] != leaf["ledger"]:
        raise Refused("receipt: kind or ledger of the leaf")
    head, blank, note = receipt["proof"].partition("\n\n")
    first, index, *nodes = head.split("\n")
    if not blank or first != "c2sp.org/tlog-proof@v1" or index != f"index {leaf['seq']}":
        raise Refused("receipt: proof")
    name, size, root, end = open_note(note, origin, vkeys).split("\n")
    path = [base64.b64decode(node, validate=True) for node in nodes]
    found = root_from(leaf_hash(receipt["leaf"].encode()), leaf["seq"], int(size), path)
    if name != origin or end or base64.b64encode(found).decode() != root:
        raise Refused("receipt: another ledger or root")
    if record is not None and "opening" in receipt:
        opened = hmac.digest(digest(receipt["opening"]), record, "sha256")
        if b64(opened) != leaf["plaintext"]:
            raise Refused("receipt: opening")


def read_object(text: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise Refused("JSON: a key twice")
        return dict(pairs)

    try:
        found = json.loads(text, object_pairs_hook=once)
    except ValueError:
        raise Refused("JSON") from None
    if not isinstance(found, dict):
        raise Refused("JSON: no object")
    return found


# The example: every value is an input, or is computed and compared


def compared(place: str, stated: dict[str, Any], inputs: set[str], computed: dict[str, Any]) -> Iterator[Outcome]:
    for name, value in computed.items():
        same = stated.get(name) == value
        yield f"{place}.{name}", "" if same else f"is {stated.get(name)!r}, the page makes it {value!r}"
    if stray := stated.keys() ^ (inputs | computed.keys()):
        yield place, f"missing or without a meaning: {sorted(stray)}"


def check_example(data: Any) -> Iterator[Outcome]:
    names = {f"{kind} {number}": hashlib.sha256(dictionary(kind, number)).hexdigest() for kind, number in DICTIONARIES}
    yield from compared("dictionaries", data["dictionaries"], set(), names)
    for ledger in data["ledgers"]:
        yield from check_ledger(ledger)
    first = {ledger["ledger"]: b64(leaf_hash(ledger["entries"][0]["leaf"].encode())) for ledger in data["ledgers"]}
    leaves = [read_leaf(entry["leaf"].encode()) for ledger in data["ledgers"] for entry in ledger["entries"]]
    events = [leaf for leaf in leaves if leaf.get("event") == "ledger.created"]
    announced = {leaf["facts"]["ledger"]: leaf["facts"]["genesis"] for leaf in events}
    decisions = {leaf["ledger"]: first[leaf["ledger"]] for leaf in leaves if leaf.get("ledger_kind") == "decisions"}
    yield "ledger.created", "" if announced == decisions else "announces other ledgers"
    yield from compared("example", data, {"source", "dictionaries", "ledgers"}, {})


def check_ledger(ledger: dict[str, Any]) -> Iterator[Outcome]:
    place, name = ledger["name"], f"vault.example/{ledger['ledger']}"
    hashes: list[bytes] = []
    for entry in ledger["entries"]:
        yield from check_entry(f"{place}[{len(hashes)}]", entry, ledger, hashes)
        hashes.append(leaf_hash(entry["leaf"].encode()))
    seed = bytes.fromhex(ledger["seed_hex"])
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    note = sign(checkpoint_text(name, hashes), name, seed)
    genesis = read_leaf(ledger["entries"][0]["leaf"].encode())
    computed = {
        "name": genesis["name"],
        "origin": name,
        "public_hex": public.hex(),
        "verifier_key": verifier_key(name, public),
        "frontier_hex": [node.hex() for node in frontier_of(hashes)],
        "root_hex": tree_hash(hashes).hex(),
        "checkpoint": note,
        "proofs": [proof_text(index, hashes, note) for index in range(len(hashes))],
    }
    yield from compared(place, ledger, {"ledger", "ledger_key_hex", "seed_hex", "entries", "pending"}, computed)
    yield f"{place}.verifiers", "" if genesis["verifiers"] == [computed["verifier_key"]] else "another key"
    heads = [hashes[:size] for size in range(ledger["pending"]["from"], len(hashes) + 1)]
    lines = [
        " ".join([str(len(head)), head[-1].hex(), *(node.hex() for node in frontier_of(head))]) + "\n" for head in heads
    ]
    pending = sign(f"pending {name}\n{''.join(lines)}", name, seed)
    yield from compared(f"{place}.pending", ledger["pending"], {"from"}, {"note": pending})


def check_entry(place: str, entry: dict[str, Any], ledger: dict[str, Any], before: list[bytes]) -> Iterator[Outcome]:
    leaf = read_leaf(entry["leaf"].encode())
    known = {"seq": len(before), "ledger": ledger["ledger"]} | ({"prev": b64(before[-1])} if before else {})
    yield f"{place}.leaf", "" if known == {key: leaf.get(key) for key in known} else f"does not say {known}"
    computed: dict[str, Any] = {"leaf_hash_hex": leaf_hash(entry["leaf"].encode()).hex(), "kind": leaf["kind"]}
    for form in entry["stored_hex"]:
        same = stored_leaf(bytes.fromhex(form)) == entry["leaf"].encode()
        yield f"{place}.stored_hex", "" if same else "holds another leaf"
    inputs = {"what", "leaf", "stored_hex"}
    if "key" in leaf:
        inputs |= {"sealed"} | ({"facets", "blind", "receipts"} if leaf["kind"] == "record" else set())
        fields = entry["facets"]["fields"] if leaf["kind"] == "record" else None
        yield from check_sealed(f"{place}.sealed", entry["sealed"], leaf, fields)
    if leaf["kind"] == "record":
        yield from check_facets(f"{place}.facets", entry["facets"], leaf, bytes.fromhex(ledger["ledger_key_hex"]))
        for blind in entry["blind"]:
            tag = blind_tag(bytes.fromhex(blind["index_key_hex"]), blind["field"], blind["value"])
            yield from compared(f"{place}.blind", blind, {"index_key_hex", "field", "value"}, {"tag": tag})
        proof = ledger["proofs"][leaf["seq"]]
        shown = {"receipt": "reasonvault-receipt/1", "leaf": entry["leaf"], "proof": proof}
        opened = shown | {"opening": b64(opening(bytes.fromhex(entry["sealed"]["record_key_hex"])))}
        receipts = entry["receipts"]
        found = {key: read_object(text) for key, text in receipts.items()}
        yield from compared(f"{place}.receipts", found, set(), {"kept": opened, "destroyed": shown})
        for text in receipts.values():
            record = entry["sealed"]["text"].encode()
            check_receipt(text, ledger["origin"], [ledger["verifier_key"]], record)
    yield from compared(place, entry, inputs, computed)


def check_facets(place: str, stated: dict[str, Any], leaf: dict[str, Any], ledger_key: bytes) -> Iterator[Outcome]:
    data, salt = facets_bytes(stated["fields"]), bytes.fromhex(stated["salt_hex"])
    salted = hashlib.sha256(salt + data).digest()
    yield f"{place}.salt_hex", "" if len(salt) == 16 else "is not 16 bytes"
    yield f"{place}.digest", "" if leaf["facets"] == b64(salted) else "is not the leaf's"
    tag = hmac.digest(ledger_key, stated["fields"]["record_id"].encode(), "sha256")[:16]
    yield f"{place}.id_tag", "" if leaf["id_tag"] == b64(tag) else "is not the leaf's"
    computed = {"bytes_hex": data.hex(), "digest_hex": salted.hex(), "id_tag_hex": tag.hex()}
    yield from compared(place, stated, {"fields", "salt_hex"}, computed)


def check_sealed(place: str, stated: dict[str, Any], leaf: dict[str, Any], fields: Any) -> Iterator[Outcome]:
    record_key, epoch_key = bytes.fromhex(stated["record_key_hex"]), bytes.fromhex(stated["epoch_key_hex"])
    committed, data = digest(leaf["key"]), stated["text"].encode()
    epoch = struct.pack(">Q", stated["epoch_id"])
    computed = {
        "commitment_hex": commitment(record_key).hex(),
        "opening_hex": opening(record_key).hex(),
        "plaintext_hex": hmac.digest(opening(record_key), data, "sha256").hex(),
        "associated_hex": (b"reasonvault/ring/record/1\0" + uuid.UUID(leaf["ledger"]).bytes + epoch + committed).hex(),
    }
    yield f"{place}.plaintext", "" if digest(leaf["plaintext"]).hex() == computed["plaintext_hex"] else "not the leaf's"
    inputs = {"text", "record_key_hex", "epoch_id", "epoch_key_hex", "wrapped_hex", "parts"}
    yield from compared(place, stated, inputs, computed)
    wrapped, associated = bytes.fromhex(stated["wrapped_hex"]), bytes.fromhex(computed["associated_hex"])
    same = unwrap(wrapped, epoch_key, associated, committed) == record_key
    yield f"{place}.wrapped_hex", "" if same else "holds another key"
    if len(stated["parts"]) != len(leaf["parts"]):
        yield f"{place}.parts", "are not as many as the leaf's"
    for number, part in enumerate(stated["parts"]):
        envelope = bytes.fromhex(part["envelope_hex"])
        header = header_of(leaf, fields, number, envelope[1])
        padded = open_envelope(envelope, header, record_key, committed, digest(leaf["parts"][number]))
        frame = frame_of(padded)
        which = ("record", header["codec"]) if header["codec"] else None
        same = unpack(frame, which, RECORD_LIMIT) == data
        yield f"{place}.parts[{number}].frame_hex", "" if same else "holds another text"
        found = {
            "codec": envelope[1],
            "encryption_key_hex": encryption_key(record_key, number).hex(),
            "header_hex": header_bytes(header).hex(),
            "nonce_hex": envelope[2:14].hex(),
            "padded_hex": padded.hex(),
            "frame_hex": frame.hex(),
            "digest_hex": hashlib.sha256(header_bytes(header) + envelope[2:]).hexdigest(),
        }
        yield from compared(f"{place}.parts[{number}]", part, {"envelope_hex"}, found)


def header_of(leaf: dict[str, Any], fields: Any, part: int, codec: int) -> dict[str, Any]:
    """H as it is rebuilt: from the leaf, and a record's facets."""
    shown = fields or {"record_id": "", "record_class": "event", "jurisdictions": []}
    return {
        "suite": 1,
        "codec": codec,
        "ledger": leaf["ledger"],
        "part": part,
        "parts": len(leaf["parts"]),
        "producer_seq": leaf.get("producer_seq"),
        "schema": "reasoning-log/1" if fields else "event-detail/1",
        "record_id": shown["record_id"],
        "producer": leaf.get("producer", ""),
        "record_class": shown["record_class"],
        "jurisdictions": shown["jurisdictions"],
    }


# The negative cases: each reader must refuse what is marked so, and take the sound case beside it


def read_envelope(case: dict[str, Any]) -> None:
    raw = {name: bytes.fromhex(case[f"{name}_hex"]) for name in ("envelope", "record_key", "commitment", "digest")}
    padded = open_envelope(raw["envelope"], case["header"], raw["record_key"], raw["commitment"], raw["digest"])
    which = ("record", case["header"]["codec"]) if case["header"]["codec"] else None
    data = unpack(frame_of(padded), which, RECORD_LIMIT)
    if hmac.digest(opening(raw["record_key"]), data, "sha256").hex() != case["plaintext_hex"]:
        raise Refused("plaintext commitment")


def read_wrapped(case: dict[str, Any]) -> None:
    committed = bytes.fromhex(case["commitment_hex"])
    epoch = struct.pack(">Q", case["epoch_id"])
    associated = b"reasonvault/ring/record/1\0" + uuid.UUID(case["ledger"]).bytes + epoch + committed
    unwrap(bytes.fromhex(case["wrapped_hex"]), bytes.fromhex(case["epoch_key_hex"]), associated, committed)


def read_facets(case: dict[str, Any]) -> None:
    data = facets_bytes(case["fields"])
    if hashlib.sha256(bytes.fromhex(case["salt_hex"]) + data).hexdigest() != case["digest_hex"]:
        raise Refused("facets: digest")


def read_receipt(case: dict[str, Any]) -> None:
    check_receipt(case["receipt"], case["origin"], case["verifier_keys"], bytes.fromhex(case["record_hex"]))


READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "leaf": lambda case: read_leaf(bytes.fromhex(case["leaf_hex"])),
    "stored leaf": lambda case: read_leaf(stored_leaf(bytes.fromhex(case["stored_hex"]))),
    "facets": read_facets,
    "envelope": read_envelope,
    "wrapped key": read_wrapped,
    "receipt": read_receipt,
}


def check_negative(data: Any) -> Iterator[Outcome]:
    for case in data["cases"]:
        try:
            READERS[case["reader"]](case)
            found = "sound"
        except Refused:
            found = "refused"
        yield f"{case['reader']}: {case['name']}", "" if found == case["verdict"] else found


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
