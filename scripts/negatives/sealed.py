"""Facets, envelopes and wrapped keys that do not belong to their leaf, or that sealing never makes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.core import dictionary, envelope

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


def facets(told: Facts) -> Iterator[Case]:
    salt, digest, fields = bytes.fromhex(told["salt_hex"]), told["digest_hex"], told["fields"]

    def case(name: str, salt: bytes, digest: str, verdict: str = "refused", **changes: Any) -> Case:
        kept = {"salt_hex": salt.hex(), "digest_hex": digest, "fields": fields | changes}
        return {"reader": "facets", "name": name, "verdict": verdict, **kept}

    yield case("as they are", salt, digest, "sound")
    edited: dict[str, Facts] = {
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
    }
    for name, change in edited.items():
        yield case(name, salt, digest, **change)
    yield case("another salt", bytes(16), digest)
    data = bytes.fromhex(told["bytes_hex"])
    for name, other in {"a salt of 17 bytes": salt + b"\x01", "a salt of 15 bytes": salt[:15], "no salt": b""}.items():
        yield case(f"{name}, the digest fitted", other, hashlib.sha256(other + data).hexdigest())


def envelopes(entry: Facts, ledger: str) -> Iterator[Case]:
    told, part, fields = entry["sealed"], entry["sealed"]["parts"][0], entry["facets"]["fields"]
    key, plaintext = bytes.fromhex(told["record_key_hex"]), told["text"].encode()
    stored, padded, frame = (bytes.fromhex(part[name]) for name in ("envelope_hex", "padded_hex", "frame_hex"))
    document = json.loads(entry["leaf"])
    place: Facts = {
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
    moved: dict[str, Facts] = {
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
    }
    for name, change in moved.items():
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
    fits = envelope.plaintext_commitment(envelope.opening(other), plaintext).hex()
    name = "sealed under a key that is not the committed one, the plaintext commitment fitted"
    yield case(name, **made, record_key_hex=other.hex(), plaintext_commitment_hex=fits)
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


def wrapped(entries: list[Facts], ledger: str) -> Iterator[Case]:
    told, other = entries[1]["sealed"], entries[2]["sealed"]
    data, epoch_key = bytes.fromhex(told["wrapped_hex"]), bytes.fromhex(told["epoch_key_hex"])
    bound = bytes.fromhex(told["associated_hex"])

    def case(name: str, verdict: str = "refused", **changes: Any) -> Case:
        kept = {name: told[name] for name in ("wrapped_hex", "epoch_key_hex", "key_commitment_hex", "epoch_id")}
        return {"reader": "wrapped key", "name": name, "verdict": verdict, "ledger": ledger} | kept | changes

    def sealed(secret: bytes) -> str:
        return (data[:12] + AESGCM(epoch_key).encrypt(data[:12], secret, bound)).hex()

    assert sealed(bytes.fromhex(told["record_key_hex"])) == told["wrapped_hex"]
    yield case("as it is", "sound")
    yield case("another ledger", ledger="c81e57d0-2a6b-4f39-a4c8-16b90d7e35f2")
    yield case("another epoch", epoch_id=other["epoch_id"])
    yield case("another epoch's key", epoch_key_hex=other["epoch_key_hex"])
    yield case("another commitment", key_commitment_hex=other["key_commitment_hex"])
    yield case("another record's key", wrapped_hex=other["wrapped_hex"])
    yield case("a bit of it", wrapped_hex=(data[:20] + bytes([data[20] ^ 1]) + data[21:]).hex())
    yield case("cut", wrapped_hex=data[:-1].hex())
    yield case("a byte behind", wrapped_hex=told["wrapped_hex"] + "00")
    yield case("a key that is not the committed one, well wrapped", wrapped_hex=sealed(bytes(32)))
    yield case("a key of 31 bytes, well wrapped", wrapped_hex=sealed(bytes(31)))
    yield case("a key of 33 bytes, well wrapped", wrapped_hex=sealed(bytes(33)))
