"""Leaves: the small commitments that name nobody and are kept for ever.

A leaf is canonical JSON (vault.core.canonical). Three kinds share ``v``, ``kind``, ``ledger`` and ``seq``; every leaf but
the genesis carries ``prev``, the RFC 6962 hash of the leaf before it, inside the bytes that the Merkle tree hashes.

Record leaf v1, keys in canonical order:

    facets        SHA-256(salt || canonical facets), base64url
    group         "2029-01.0": the month it becomes eligible and the generation at write; "open.0" when not dated
    id_tag        HMAC-SHA-256(ledger key, record id), first 16 bytes, base64url
    keep_until    first instant at which it may be destroyed, RFC 3339 UTC; absent while open-ended
    key           commitment to the record key, 32 bytes, base64url
    kind          "record"
    ledger        uuid
    parts         SHA-256(header || nonce || ciphertext || tag) of each part, base64url
    plaintext     HMAC-SHA-256 commitment to the record's bytes, base64url
    prev          hash of the leaf before it, base64url
    producer      our id of the producer
    producer_seq  the producer's own counter; absent when it sends none
    received_at   when the vault sealed it, RFC 3339 UTC, milliseconds
    rulebook      SHA-256 of the retention rule book, base64url
    rules         ids of the rules that gave keep_until
    seq           position in the ledger, from 0
    v             1

A new key or meaning needs ``v`` 2; readers refuse versions they do not know. See FORMAT.md for genesis and event leaves.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from vault.core import canonical
from vault.core.errors import Modified

VERSION = 1
ID_TAG_BYTES = 16


class RecordLeaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A record's leaf. Fields are declared in canonical order, so encoding this struct gives the canonical bytes."""

    facets: str
    group: str
    id_tag: str
    keep_until: str | msgspec.UnsetType = msgspec.UNSET
    key: str
    kind: str
    ledger: str
    parts: tuple[str, ...]
    plaintext: str
    prev: str
    producer: str
    producer_seq: int | msgspec.UnsetType = msgspec.UNSET
    received_at: str
    rulebook: str
    rules: tuple[str, ...]
    seq: int
    v: int


class GenesisLeaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The first leaf of a ledger: what it is and whose signatures count. Declared in canonical order."""

    created_at: str
    jurisdictions: tuple[str, ...]
    kind: str
    ledger: str
    ledger_kind: str
    name: str
    predecessor: str | msgspec.UnsetType = msgspec.UNSET
    region: str
    rulebook: str
    rules: tuple[str, ...]
    seq: int
    tenant: str
    v: int
    verifiers: tuple[str, ...]


class EventLeaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One act of a person or a job. ``facts`` are governance in clear; purposes and paths are sealed beside it."""

    actor: str
    at: str
    event: str
    facts: dict[str, Any]
    group: str | msgspec.UnsetType = msgspec.UNSET
    keep_until: str | msgspec.UnsetType = msgspec.UNSET
    key: str | msgspec.UnsetType = msgspec.UNSET
    kind: str
    ledger: str
    parts: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    plaintext: str | msgspec.UnsetType = msgspec.UNSET
    prev: str
    rulebook: str | msgspec.UnsetType = msgspec.UNSET
    rules: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    seq: int
    v: int


Leaf = RecordLeaf | GenesisLeaf | EventLeaf


class Draft(NamedTuple):
    """A leaf without its place: everything but ``prev`` and ``seq``, spelled out so that linking is one join.

    Sealing (slow, parallel) makes drafts; linking (fast, under the head's lock) calls ``at``.
    """

    head: bytes
    middle: bytes

    def at(self, seq: int, prev: bytes) -> bytes:
        """Return the leaf's bytes at position ``seq``, after the leaf whose hash is ``prev`` (32 bytes)."""
        return at(self.head, self.middle, seq, prev)


def at(head: bytes, middle: bytes, seq: int, prev: bytes) -> bytes:
    """Return a draft's bytes in their place; see ``Draft.at``."""
    return b"%b%b%b%d%b" % (head, canonical.b64_bytes(prev), middle, seq, b',"v":1}')


def draft(fields: dict[str, Any]) -> Draft:
    """Return the draft of a record or event leaf from its fields (without ``prev``, ``seq``, ``v``)."""
    blank = canonical.encode({**fields, "prev": "", "seq": 0, "v": VERSION})
    if len(blank) > canonical.MAX_LEAF - 64:
        raise ValueError("leaf too long")
    head, _, rest = blank.rpartition(b'"prev":"')
    middle, _, _ = rest.rpartition(b'0,"v":1}')
    return Draft(head + b'"prev":"', middle)


def record_draft(
    *,
    facets: bytes,
    group: str,
    id_tag: bytes,
    keep_until: int | None,
    key: bytes,
    ledger: UUID,
    parts: tuple[bytes, ...],
    plaintext: bytes,
    producer: str,
    producer_seq: int | None,
    received_at: str,
    rulebook: bytes,
    rules: tuple[str, ...],
) -> Draft:
    """Return a record leaf's draft; arguments as in the module's table, digests as bytes.

    Spelled by hand because it runs for every record; a test holds it equal to ``draft`` of the same fields.
    """
    b64 = canonical.b64_bytes
    dated = b"" if keep_until is None else b'"keep_until":"%b",' % _instant(keep_until)
    counted = b"" if producer_seq is None else b'"producer_seq":%d,' % producer_seq
    return Draft(
        b'{"facets":"%b","group":"%b","id_tag":"%b",%b"key":"%b","kind":"record","ledger":"%b","parts":["%b"],'
        b'"plaintext":"%b","prev":"'
        % (
            b64(facets),
            _word(group),
            b64(id_tag),
            dated,
            b64(key),
            _word(str(ledger)),
            b'","'.join([b64(part) for part in parts]),
            b64(plaintext),
        ),
        b'","producer":"%b",%b"received_at":"%b","rulebook":"%b","rules":[%b],"seq":'
        % (_word(producer), counted, _word(received_at), b64(rulebook), _words(rules)),
    )


@lru_cache(maxsize=4096)
def _word(text: str) -> bytes:
    if not canonical.is_word(text):
        raise ValueError("string outside the canonical subset")
    return text.encode("ascii")


@lru_cache(maxsize=1024)
def _words(texts: tuple[str, ...]) -> bytes:
    return b",".join([b'"%b"' % _word(text) for text in texts])


@lru_cache(maxsize=4096)
def _instant(seconds: int) -> bytes:
    return instant(seconds).encode("ascii")


_decoders: dict[bytes, msgspec.json.Decoder[Any]] = {
    b"record": msgspec.json.Decoder(RecordLeaf),
    b"genesis": msgspec.json.Decoder(GenesisLeaf),
    b"event": msgspec.json.Decoder(EventLeaf),
}
# Record and genesis leaves stand in order already; an event's facts do not. Sorting is cheap for all of them.
_encoder = msgspec.json.Encoder(order="sorted")


def parse(data: bytes) -> Leaf:
    """Return the leaf of stored bytes, having checked that they are canonical.

    Raises:
        Modified: not canonical JSON, an unknown kind, version or field. What the digests commit to is not checked here.
    """
    if not canonical.spelled_with_allowed_bytes(data):
        raise Modified("leaf has bytes outside the canonical subset")
    _, _, rest = data.partition(b'"kind":"')
    decoder = _decoders.get(rest[: rest.find(b'"')])
    if decoder is None:
        raise Modified("leaf is of no known kind")
    try:
        leaf: Leaf = decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        raise Modified("leaf does not have the fields of its kind") from None
    if leaf.v != VERSION:
        raise Modified("leaf has an unknown version")
    if _encoder.encode(leaf) != data:
        raise Modified("leaf is not canonical JSON")
    return leaf


def instant(seconds: int) -> str:
    """Return Unix seconds as RFC 3339 UTC: ``2029-01-05T16:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant_ms(microseconds: int) -> str:
    """Return microseconds since the epoch as RFC 3339 UTC with milliseconds."""
    moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{microseconds // 1000 % 1000:03d}Z"
