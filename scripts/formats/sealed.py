"""FORMAT.md sections 3 to 5: what stands beside a leaf, from the facets to the keys."""

from __future__ import annotations

import datetime
import hmac
import struct
import uuid
from typing import Any

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from formats.base import Refused, dictionary, sha, unpack

PART_LIMIT = 16 << 20

APIS = ["payment_intelligence", "risk_compliance", "customer_interaction", "non_ai_bypass", "human_review"]
OUTCOMES = ["accepted", "human_review", "deterministic_rule", "rejected", "failed", "outcome_unknown"]
FIDELITIES = ["wire", "reconstructed", "truncated", "redacted"]


def texts(*values: str) -> bytes:
    return b"".join(struct.pack(">H", len(text.encode())) + text.encode() for text in values)


def facets_bytes(f: dict[str, Any]) -> bytes:
    score, ai_ms = f["score"], f["ai_ms"]
    return struct.pack(
        ">BqBBBBBBdqI",
        1,
        f["occurred_at"],
        1 + APIS.index(f["api"]),
        1 + OUTCOMES.index(f["outcome"]),
        1 + FIDELITIES.index(f["fidelity"]),
        f["money_moved"],
        {False: 0, True: 1, None: 2}[f["below_threshold"]],
        score is not None,
        0.0 if score is None else score,
        -1 if ai_ms is None else ai_ms,
        f["flags"],
    ) + texts(f["record_id"], f["record_class"], f["model"], f["jurisdictions"])


def facets_digest(salt: bytes, f: dict[str, Any]) -> bytes:
    if len(salt) != 16:
        raise Refused("facets: salt")
    return sha(salt + facets_bytes(f))


def facets_of(record: dict[str, Any]) -> dict[str, Any]:
    """What a record alone says of its facets: all but below_threshold and flags."""
    occurred = datetime.datetime.fromisoformat(record["occurred_at"])
    since = occurred - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    model, ai_ms = record.get("model") or {}, (record.get("timing") or {}).get("ai_ms")
    return {
        "record_id": record["id"],
        "occurred_at": since // datetime.timedelta(microseconds=1),
        "jurisdictions": ",".join(record["jurisdictions"]),
        "record_class": record.get("record_class") or "payment",
        "api": record["api"],
        "outcome": record["decision"]["outcome"],
        "fidelity": record["source"]["fidelity"],
        "money_moved": record["decision"]["money_moved"],
        "score": (record.get("confidence") or {}).get("score"),
        "ai_ms": None if ai_ms is None else min(int(ai_ms), 2**31 - 1),
        "model": model.get("served") or model.get("requested") or "",
    }


def blind_values(record: dict[str, Any]) -> dict[str, str]:
    found = {
        "conversation": record["conversation_id"],
        "transaction": record["decision"].get("transaction_id"),
        "customer": record.get("customer_ref"),
    }
    return {field: value for field, value in found.items() if value is not None}


def blind_tag(index_key: bytes, field: str, value: str) -> int:
    made = hmac.digest(index_key, field.encode() + b"\0" + value.encode(), "sha256")
    return int.from_bytes(made[:8], "big", signed=True)


def header_bytes(h: dict[str, Any]) -> bytes:
    known = sha(dictionary("record", h["codec"])) if h["codec"] else bytes(32)
    counter = -1 if h["producer_seq"] is None else h["producer_seq"]
    return struct.pack(
        ">4sBB32s16sHHq",
        b"RVH1",
        h["suite"],
        h["codec"],
        known,
        uuid.UUID(h["ledger"]).bytes,
        h["part"],
        h["parts"],
        counter,
    ) + texts(h["schema"], h["record_id"], h["producer"], h["record_class"], h["jurisdictions"])


def expand(key: bytes, label: bytes) -> bytes:
    return hmac.digest(key, label + b"\x01", "sha256")


def key_commitment(record_key: bytes) -> bytes:
    return expand(record_key, b"reasonvault/1 key commitment")


def opening(record_key: bytes) -> bytes:
    return expand(record_key, b"reasonvault/1 plaintext commitment")


def encryption_key(record_key: bytes, part: int) -> bytes:
    return expand(record_key, b"reasonvault/1 encryption" + struct.pack(">H", part))


def commit(opened: bytes, plaintext: bytes) -> bytes:
    return hmac.digest(opened, plaintext, "sha256")


def decrypt(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], associated)
    except (InvalidTag, ValueError):
        raise Refused("seal") from None


def open_envelope(envelope: bytes, h: dict[str, Any], record_key: bytes, committed: bytes, part: bytes) -> bytes:
    """The padded plaintext. H is given without suite and codec, which stand in the envelope."""
    if len(envelope) < 30 + 64 or (len(envelope) - 30) % 64 or envelope[0] != 1:
        raise Refused("envelope: length or suite")
    header = header_bytes({**h, "suite": envelope[0], "codec": envelope[1]})
    if sha(header + envelope[2:]) != part:
        raise Refused("envelope: part digest")
    if len(record_key) != 32 or key_commitment(record_key) != committed:
        raise Refused("envelope: key commitment")
    return decrypt(encryption_key(record_key, h["part"]), envelope[2:], header)


def frame_of(padded: bytes) -> bytes:
    (length,) = struct.unpack_from(">I", padded)
    rest = padded[4 + length :]
    if 4 + length > len(padded) or len(rest) > 63 or any(rest):
        raise Refused("padding")
    return padded[4 : 4 + length]


def read_frame(frame: bytes, codec: int) -> bytes:
    try:
        size = zstandard.frame_content_size(frame)
    except zstandard.ZstdError:
        raise Refused("frame: no size") from None
    if not 0 <= size <= PART_LIMIT:
        raise Refused("frame: size")
    return unpack(frame, dictionary("record", codec) if codec else b"", PART_LIMIT)


def record_context(ledger: str, epoch_id: int, committed: bytes) -> bytes:
    return b"reasonvault/ring/record/1\0" + uuid.UUID(ledger).bytes + struct.pack(">Q", epoch_id) + committed


def provider_context(purpose: str, ledger: str, group: str, epoch_id: int) -> bytes:
    named, within = purpose.encode(), group.encode()
    head = b"reasonvault/ring/1\0" + bytes([len(named)]) + named + uuid.UUID(ledger).bytes
    return head + bytes([len(within)]) + within + struct.pack(">Q", epoch_id)


def unwrap(wrapped: bytes, epoch_key: bytes, ledger: str, epoch_id: int, committed: bytes) -> bytes:
    if len(wrapped) != 60:
        raise Refused("wrapped key: length")
    record_key = decrypt(epoch_key, wrapped, record_context(ledger, epoch_id, committed))
    if key_commitment(record_key) != committed:
        raise Refused("wrapped key: commitment")
    return record_key
