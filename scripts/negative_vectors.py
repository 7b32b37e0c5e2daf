"""The negative cases of tests/vectors/negative-v1.json, made from the worked example.

Each case names a reader, gives it what it needs, and says whether it must find the bytes sound or refuse them. A
reader's first cases are sound ones, so that no case is refused for want of a reader that works. Where a digest or a tag
stands guard, it is made to fit, so that the fault itself is met and not the guard before it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.core import canonical, dictionary, envelope, packing, receipt, tree
from vault.core.checkpoint import Checkpoint, sign_checkpoint
from vault.core.proof import Proof

Case = dict[str, Any]
Facts = dict[str, Any]

CONTEXT = (
    "ledger",
    "record_id",
    "producer",
    "producer_seq",
    "schema",
    "record_class",
    "jurisdictions",
    "part",
    "parts",
)


def negatives(example: Facts) -> Facts:
    """The document of negative-v1.json."""
    decisions, events = example["ledgers"]
    cases = [
        *_leaves(decisions["entries"], events["entries"]),
        *_stored(decisions["entries"][1]["leaf"].encode()),
        *_facets(decisions["entries"][1]["facets"]),
        *_envelopes(decisions["entries"][1], str(decisions["ledger"])),
        *_wrapped(decisions["entries"], str(decisions["ledger"])),
        *_receipts(decisions, events),
    ]
    source = "our own, written by scripts/make_vectors.py out of example-v1.json; checked by scripts/check_formats.py"
    return {"source": source, "cases": cases}


def _leaves(decisions: list[Facts], events: list[Facts]) -> Iterator[Case]:
    def case(name: str, data: bytes, verdict: str = "refused") -> Case:
        return {"reader": "leaf", "name": name, "verdict": verdict, "leaf_hex": data.hex()}

    def changed(data: bytes, **members: Any) -> bytes:
        """The leaf with members replaced, or left out where None, spelled canonically but for what that forbids."""
        document = {key: value for key, value in (json.loads(data) | members).items() if value is not None}
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    genesis, dated, undated = (entry["leaf"].encode() for entry in decisions)
    created, opened = (entry["leaf"].encode() for entry in events[1:])
    for name, data in {
        "genesis": genesis,
        "record": dated,
        "record, not dated": undated,
        "event": created,
        "event with details": opened,
        "event with a fact named kind": changed(created, facts={"kind": "record"}),
        "event without facts": changed(created, facts={}),
        "facts as deep as may be": changed(created, facts={"a": [["b", {}]]}),
        "the largest integer": changed(dated, producer_seq=2**53 - 1),
        "record in a held group": changed(dated, group="held.0"),
        "no rules": changed(dated, rules=[]),
        "two parts": changed(dated, parts=json.loads(dated)["parts"] * 2),
        "successor": changed(genesis, predecessor="3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"),
    }.items():
        yield case(name, data, "sound")
    seq = b'"seq":1,'
    for name, data in {
        "empty": b"",
        "an array": b"[" + dated + b"]",
        "a byte order mark": b"\xef\xbb\xbf" + dated,
        "a line feed behind": dated + b"\n",
        "white space": dated.replace(seq, b'"seq": 1,'),
        "keys out of order": b'{"v":1,' + dated[1:].removesuffix(b',"v":1}') + b"}",
        "a key twice": dated.replace(seq, seq + seq),
        "a key twice, the first one another": dated.replace(seq, b'"seq":2,' + seq),
        "a fact twice": created.replace(b'"facts":{', b'"facts":{"genesis":"x",'),
        "an escaped letter": dated.replace(b'"record"', b'"\\u0072ecord"'),
        "an escaped slash": changed(dated, producer="a/b").replace(b"a/b", b"a\\/b"),
        "a letter beyond ASCII": changed(dated, producer="locál"),
        "a comma in a word": changed(dated, producer="a,b"),
        "a brace in a fact": changed(created, facts={"a": "{"}),
        "a space in a word": changed(dated, producer="a b"),
        "an empty word": changed(dated, producer=""),
        "an integer with a fraction": dated.replace(seq, b'"seq":1.0,'),
        "an integer with an exponent": dated.replace(seq, b'"seq":1e0,'),
        "an integer with a leading zero": dated.replace(seq, b'"seq":01,'),
        "an integer as a word": dated.replace(seq, b'"seq":"1",'),
        "a negative integer": changed(dated, producer_seq=-1),
        "minus zero": changed(dated, producer_seq=0).replace(b'"producer_seq":0', b'"producer_seq":-0'),
        "an integer of 2^53": changed(dated, producer_seq=2**53),
        "an integer of 2^64": changed(dated, producer_seq=2**64),
        "a position of 2^53": changed(dated, seq=2**53),
        "null": dated.replace(b'"producer_seq":417', b'"producer_seq":null'),
        "a fact that is a float": changed(created, facts={"a": 1.5}),
        "a fact that is true": changed(created, facts={"a": True}),
        "a fact that is null": created.replace(b'"facts":{', b'"facts":{"a":null,'),
        "a fact that is negative": changed(created, facts={"a": -1}),
        "a fact of 2^53": changed(created, facts={"a": 2**53}),
        "facts too deep": changed(created, facts={"a": [["b", [1]]]}),
        "facts that are a list": changed(created, facts=["a"]),
        "4,097 bytes": changed(created, facts={"a": "x" * (4097 - len(changed(created, facts={"a": ""})))}),
        "version 2": changed(dated, v=2),
        "version 2 of a genesis": changed(genesis, v=2),
        "no version": changed(dated, v=None),
        "an unknown kind": changed(dated, kind="note"),
        "no kind": changed(dated, kind=None),
        "an unknown kind, with a fact named kind": changed(created, kind="note", facts={"kind": "event"}),
        "an unknown member": changed(dated, schema="reasoning-log/1"),
        "an unknown member of a genesis": changed(genesis, prev="A" * 43),
        "a member missing": changed(dated, facets=None),
        "the hash before missing": changed(created, prev=None),
        "a ledger in capitals": changed(dated, ledger=json.loads(dated)["ledger"].upper()),
        "a padded digest": changed(dated, key=json.loads(dated)["key"] + "="),
        "a digest with unused bits": changed(dated, key="A" * 42 + "B"),
        "a digest of 31 bytes": changed(dated, key="A" * 42),
        "a digest in the other alphabet": changed(dated, key="+" * 42 + "8"),
        "an id tag of 15 bytes": changed(dated, id_tag="A" * 20),
        "an id tag with unused bits": changed(dated, id_tag="A" * 21 + "B"),
        "no part": changed(dated, parts=[]),
        "a part of 31 bytes": changed(dated, parts=["A" * 42]),
        "a day that no calendar has": changed(dated, received_at="2026-02-30T08:01:12.111Z"),
        "hour 24": changed(dated, received_at="2026-01-05T24:00:00.000Z"),
        "second 60": changed(dated, keep_until="2033-01-04T16:00:60Z"),
        "an offset for Z": changed(dated, keep_until="2033-01-04T16:00:00+00:00"),
        "received_at without milliseconds": changed(dated, received_at="2026-01-05T08:01:12Z"),
        "keep_until with milliseconds": changed(dated, keep_until="2033-01-04T16:00:00.000Z"),
        "a group of month 13": changed(dated, group="2033-13.0"),
        "a group without generation": changed(dated, group="2033-01"),
        "a generation with a leading zero": changed(dated, group="2033-01.00"),
        "rules out of order": changed(dated, rules=["SG-PDPA-25", "PROD-3Y"]),
        "a rule twice": changed(dated, rules=["PROD-3Y", "PROD-3Y"]),
        "a ledger kind that is none": changed(genesis, ledger_kind="records"),
        "a record at position 0": changed(dated, seq=0),
        "an event at position 0": changed(created, seq=0),
        "a genesis at position 1": changed(genesis, seq=1),
        "an event with some members of details": changed(opened, parts=None),
        "an event that is kept and has no details": changed(created, keep_until="2033-01-04T16:00:00Z"),
        "an event with details without a part": changed(opened, parts=[]),
    }.items():
        assert data not in (dated, created, opened, genesis), name
        yield case(name, data)


def _stored(leaf: bytes) -> Iterator[Case]:
    def case(name: str, data: bytes, verdict: str = "refused") -> Case:
        return {"reader": "stored leaf", "name": name, "verdict": verdict, "stored_hex": data.hex()}

    def framed(data: bytes, **parameters: Any) -> bytes:
        trained = zstandard.ZstdCompressionDict(dictionary.leaf_content(1))
        fixed = {"format": zstandard.FORMAT_ZSTD1_MAGICLESS, "write_content_size": False, "write_dict_id": False}
        chosen = zstandard.ZstdCompressionParameters.from_level(1, **(fixed | parameters))
        return b"\x01" + zstandard.ZstdCompressor(compression_params=chosen, dict_data=trained).compress(data)

    packed = packing.pack(leaf)
    raw = b"\x01\0\x40" + (len(leaf) << 3 | 1).to_bytes(3, "little") + leaf
    two = b"\x01\0\x40" + (100 << 3).to_bytes(3, "little") + leaf[:100]
    yield case("as it is", leaf, "sound")
    yield case("in a frame", packed, "sound")
    yield case("in a frame of a block that is not compressed", raw, "sound")
    for name, data in {
        "nothing": b"",
        "an unknown form": b"\x02" + packed[1:],
        "the form alone": b"\x01",
        "a frame cut off": packed[:-3],
        "bytes behind the frame": packed + b"\0",
        "a frame behind the frame": packed + packed[1:],
        "two blocks": two + (len(leaf) - 100 << 3 | 1).to_bytes(3, "little") + leaf[100:],
        "a frame with its magic number": framed(leaf, format=zstandard.FORMAT_ZSTD1),
        "a frame with its content size": framed(leaf, write_content_size=True),
        "a frame with a checksum": framed(leaf, write_checksum=True),
        "a frame with a dictionary id": framed(leaf, write_dict_id=True),
        "more than a leaf may hold": framed(b"{" * 5000),
        "a leaf that is not canonical": packing.pack(leaf.replace(b'"seq":', b'"seq": ')),
    }.items():
        yield case(name, data)


def _facets(facets: Facts) -> Iterator[Case]:
    salt, digest, fields = bytes.fromhex(facets["salt_hex"]), facets["digest_hex"], facets["fields"]

    def case(name: str, salt: bytes, digest: str, verdict: str = "refused", **changes: Any) -> Case:
        kept = {"salt_hex": salt.hex(), "digest_hex": digest, "fields": fields | changes}
        return {"reader": "facets", "name": name, "verdict": verdict, **kept}

    yield case("as they are", salt, digest, "sound")
    for name, change in {
        "another decision": {"outcome": "rejected"},
        "another api": {"api": "risk_compliance"},
        "another fidelity": {"fidelity": "redacted"},
        "the money not moved": {"money_moved": False},
        "not below the threshold": {"below_threshold": False},
        "the threshold does not apply": {"below_threshold": None},
        "another score": {"score": 0.6200000000000001},
        "no score": {"score": None},
        "another time": {"occurred_at": fields["occurred_at"] + 1},
        "no ai_ms": {"ai_ms": None},
        "a flag less": {"flags": fields["flags"] & ~(1 << 6)},
        "another model": {"model": "qwen2.5"},
        "another id": {"record_id": "dec-2026-000418"},
        "jurisdictions in another order": {"jurisdictions": "CN,SG"},
        "a letter moved to the next field": {
            "record_id": fields["record_id"][:-1],
            "record_class": fields["record_id"][-1] + fields["record_class"],
        },
    }.items():
        yield case(name, salt, digest, **change)
    yield case("another salt", bytes(16), digest)
    data = bytes.fromhex(facets["bytes_hex"])
    for name, other in {"a salt of 17 bytes": salt + b"\x01", "a salt of 15 bytes": salt[:15], "no salt": b""}.items():
        yield case(f"{name}, the digest fitted", other, hashlib.sha256(other + data).hexdigest())


def _envelopes(entry: Facts, ledger: str) -> Iterator[Case]:
    told, part, fields = entry["sealed"], entry["sealed"]["parts"][0], entry["facets"]["fields"]
    key, plaintext = bytes.fromhex(told["record_key_hex"]), told["text"].encode()
    stored, padded, frame = (bytes.fromhex(part[name]) for name in ("envelope_hex", "padded_hex", "frame_hex"))
    document = json.loads(entry["leaf"])
    place = {
        "ledger": ledger,
        "part": 0,
        "parts": 1,
        "producer_seq": document["producer_seq"],
        "schema": "reasoning-log/1",
        "producer": document["producer"],
        **{name: fields[name] for name in ("record_id", "record_class", "jurisdictions")},
    }

    def case(name: str, verdict: str = "refused", header: Facts | None = None, **changes: str) -> Case:
        kept = {
            "envelope_hex": part["envelope_hex"],
            "record_key_hex": told["record_key_hex"],
            "key_commitment_hex": told["key_commitment_hex"],
            "digest_hex": part["digest_hex"],
            "plaintext_commitment_hex": told["plaintext_commitment_hex"],
        }
        return {"reader": "envelope", "name": name, "verdict": verdict, "header": header or place} | kept | changes

    def fitted(data: bytes, header: Facts = place) -> dict[str, Any]:
        """An envelope, with the part digest that it would have to have."""
        known = envelope.header(context_of(header), data[1] if dictionary.known(data[1]) else 0)
        bound = known[:4] + data[:2] + known[6:]
        return {"envelope_hex": data.hex(), "digest_hex": hashlib.sha256(bound + data[2:]).hexdigest()}

    def sealed(plain: bytes, codec: int = 1, record_key: bytes = key) -> dict[str, Any]:
        """An envelope of any padded plaintext, well sealed."""
        cipher = AESGCM(envelope._encryption_key(record_key, 0))
        nonce = stored[2:14]
        data = bytes((1, codec)) + nonce + cipher.encrypt(nonce, plain, envelope.header(context_of(place), codec))
        return fitted(data)

    def framed(data: bytes) -> dict[str, Any]:
        whole = len(data).to_bytes(4) + data
        return sealed(whole + bytes(-len(whole) % 64))

    def compressed(data: bytes, **parameters: Any) -> bytes:
        trained = zstandard.ZstdCompressionDict(dictionary.content(1))
        chosen = zstandard.ZstdCompressionParameters.from_level(3, **({"write_dict_id": False} | parameters))
        return zstandard.ZstdCompressor(compression_params=chosen, dict_data=trained).compress(data)

    assert fitted(stored)["digest_hex"] == part["digest_hex"]
    assert sealed(padded)["envelope_hex"] == part["envelope_hex"]
    yield case("as it is", "sound")
    yield case("another frame of the same text", "sound", **framed(compressed(plaintext, write_checksum=True)))
    for name, change in {
        "another ledger": {"ledger": "c81e57d0-2a6b-4f39-a4c8-16b90d7e35f2"},
        "another part": {"part": 1, "parts": 2},
        "more parts": {"parts": 2},
        "another counter": {"producer_seq": 418},
        "no counter": {"producer_seq": None},
        "another schema": {"schema": "event-detail/1"},
        "another id": {"record_id": "dec-2026-000418"},
        "another producer": {"producer": "other"},
        "another class": {"record_class": "payment"},
        "other jurisdictions": {"jurisdictions": "CN,SG"},
        "two fields swapped": {"producer": place["record_id"], "record_id": place["producer"]},
        "a letter moved to the next field": {
            "record_id": place["record_id"] + place["producer"][0],
            "producer": place["producer"][1:],
        },
    }.items():
        yield case(f"header: {name}", header=place | change)
        yield case(f"header: {name}, the digest fitted", header=place | change, **fitted(stored, place | change))
    flipped = bytes([stored[20] ^ 1])
    for name, data in {
        "the tag cut": stored[:-1],
        "the tag left out": stored[:-16],
        "a block cut": stored[:-64],
        "nothing but nonce and tag": stored[:14] + stored[-16:],
        "a bit of the ciphertext": stored[:20] + flipped + stored[21:],
        "a bit of the nonce": stored[:2] + bytes([stored[2] ^ 1]) + stored[3:],
        "a bit of the tag": stored[:-1] + bytes([stored[-1] ^ 1]),
        "suite 0": b"\0" + stored[1:],
        "suite 2": b"\x02" + stored[1:],
        "codec 0 for 1": stored[:1] + b"\0" + stored[2:],
        "an unknown codec": stored[:1] + b"\x09" + stored[2:],
    }.items():
        yield case(f"{name}, the digest fitted", **fitted(data))
    yield case("another digest", digest_hex="00" * 32)
    other = hashlib.sha256(b"another record key").digest()
    yield case("a key that is not the committed one", record_key_hex=other.hex())
    made = sealed(padded, record_key=other)
    yield case("sealed under a key that is not the committed one", **made, record_key_hex=other.hex())
    yield case("a key of 31 bytes", record_key_hex=key[:31].hex())
    yield case("another plaintext commitment", plaintext_commitment_hex="00" * 32)
    yield case("another text, well sealed", **framed(compressed(plaintext.replace(b"128.50", b"928.50"))))
    for name, plain in {
        "padding that is not zero": padded[:-1] + b"\x01",
        "a block of padding too many": padded + bytes(64),
        "a length beyond the end": (len(padded)).to_bytes(4) + padded[4:],
        "a length of 0": bytes(4) + padded[4:],
        "not padded": padded[: 4 + len(frame)],
    }.items():
        assert plain != padded, name
        yield case(name, **sealed(plain))
    too_much = zstandard.ZstdCompressor(write_dict_id=False).compress(bytes(envelope.MAX_PLAINTEXT + 1))
    for name, data in {
        "a frame without its content size": compressed(plaintext, write_content_size=False),
        "a frame without its magic number": compressed(plaintext, format=zstandard.FORMAT_ZSTD1_MAGICLESS),
        "a frame cut off": frame[:-2],
        "bytes behind the frame": frame + b"\0",
        "a frame behind the frame": frame + frame,
        "a frame of more than 16 MiB": too_much,
        "no frame": plaintext,
    }.items():
        yield case(name, **framed(data))


def context_of(header: Facts) -> envelope.Context:
    """The context that a case's header says."""
    values = {name: header[name] for name in CONTEXT}
    return envelope.Context(**(values | {"ledger": UUID(header["ledger"])}))


def _wrapped(entries: list[Facts], ledger: str) -> Iterator[Case]:
    told, other = entries[1]["sealed"], entries[2]["sealed"]
    wrapped, epoch_key = bytes.fromhex(told["wrapped_hex"]), bytes.fromhex(told["epoch_key_hex"])
    bound = bytes.fromhex(told["associated_hex"])

    def case(name: str, verdict: str = "refused", **changes: Any) -> Case:
        kept = {name: told[name] for name in ("wrapped_hex", "epoch_key_hex", "key_commitment_hex", "epoch_id")}
        return {"reader": "wrapped key", "name": name, "verdict": verdict, "ledger": ledger} | kept | changes

    def sealed(secret: bytes) -> str:
        return (wrapped[:12] + AESGCM(epoch_key).encrypt(wrapped[:12], secret, bound)).hex()

    assert sealed(bytes.fromhex(told["record_key_hex"])) == told["wrapped_hex"]
    yield case("as it is", "sound")
    yield case("another ledger", ledger="c81e57d0-2a6b-4f39-a4c8-16b90d7e35f2")
    yield case("another epoch", epoch_id=other["epoch_id"])
    yield case("another epoch's key", epoch_key_hex=other["epoch_key_hex"])
    yield case("another commitment", key_commitment_hex=other["key_commitment_hex"])
    yield case("another record's key", wrapped_hex=other["wrapped_hex"])
    yield case("a bit of it", wrapped_hex=(wrapped[:20] + bytes([wrapped[20] ^ 1]) + wrapped[21:]).hex())
    yield case("cut", wrapped_hex=wrapped[:-1].hex())
    yield case("a byte behind", wrapped_hex=told["wrapped_hex"] + "00")
    yield case("a key that is not the committed one, well wrapped", wrapped_hex=sealed(bytes(32)))
    yield case("a key of 31 bytes, well wrapped", wrapped_hex=sealed(bytes(31)))
    yield case("a key of 33 bytes, well wrapped", wrapped_hex=sealed(bytes(33)))


def _receipts(decisions: Facts, events: Facts) -> Iterator[Case]:
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
