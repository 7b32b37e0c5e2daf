"""Leaves: the small commitments that name nobody and are kept for ever.

A leaf is canonical JSON (vault.core.canonical). Three kinds share ``v``, ``kind``, ``ledger`` and ``seq``; every leaf
but the genesis carries ``prev``, the RFC 6962 hash of the leaf before it, inside the bytes that the Merkle tree hashes.

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

A new key or meaning needs ``v`` 2; readers refuse versions they do not know. See FORMAT.md for genesis and event
leaves, and vault.core.leaf_forms for the form of each member.
"""

from __future__ import annotations

from collections.abc import Set
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from vault.core import canonical, leaf_forms
from vault.core.errors import Modified

VERSION = 1
ID_TAG_BYTES = 16
_MAX_DRAFT = canonical.MAX_LEAF - 43 - 16 - len(',"v":1}')  # room for the hash before, and for the longest position


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
    head, _, rest = blank.rpartition(b'"prev":"')
    middle, _, _ = rest.rpartition(b'0,"v":1}')
    return _bounded(Draft(head + b'"prev":"', middle))


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
    made = Draft(
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
    return _bounded(made)


def _bounded(made: Draft) -> Draft:
    """Refuse now what would be too long wherever it is put: a leaf that nobody reads must never be written."""
    if len(made.head) + len(made.middle) > _MAX_DRAFT:
        raise ValueError("leaf too long")
    return made


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


_record_decoder = msgspec.json.Decoder(RecordLeaf)
_SEALED = frozenset({"group", "key", "parts", "plaintext", "rulebook", "rules"})


def parse(data: bytes) -> Leaf:
    """Return the leaf of stored bytes, having checked that they are canonical and that every member has its form.

    Raises:
        Modified: not canonical JSON, an unknown kind, version or member, or a member of the wrong form. What the
            digests commit to is not checked here.
    """
    if len(data) <= canonical.MAX_LEAF and leaf_forms.RECORD.fullmatch(data):
        return _record(_record_decoder.decode(data))
    document = canonical.decode(data)
    if document.get("v") != VERSION:
        raise Modified("leaf has an unknown version")
    leaf_forms.check(document)
    try:
        if document.get("kind") == "genesis":
            return _genesis(msgspec.convert(document, GenesisLeaf))
        if document.get("kind") == "event":
            return _event(msgspec.convert(document, EventLeaf), document.keys())
    except msgspec.ValidationError:
        raise Modified("leaf does not have the fields of its kind") from None
    raise Modified("leaf is of no known kind, or does not have the form of its kind")


def again(data: bytes) -> RecordLeaf:
    """Return the record leaf of bytes that ``parse`` has taken before; their form is not looked at again."""
    return _record_decoder.decode(data)


def _record(leaf: RecordLeaf) -> RecordLeaf:
    counter = 0 if leaf.producer_seq is msgspec.UNSET else leaf.producer_seq
    if not 0 < leaf.seq <= canonical.MAX_INTEGER or counter > canonical.MAX_INTEGER or not leaf.parts:
        raise Modified("record leaf has a number or a list out of range")
    leaf_forms.check_order(leaf.rules)
    leaf_forms.check_day(leaf.received_at[:10])
    if leaf.keep_until is not msgspec.UNSET:
        leaf_forms.check_day(leaf.keep_until[:10])
    return leaf


def _genesis(leaf: GenesisLeaf) -> GenesisLeaf:
    if leaf.seq != 0:
        raise Modified("genesis leaf is not the first of its ledger")
    if leaf.predecessor is not msgspec.UNSET:
        _, good, _, signed = leaf.predecessor.split(":")
        if not int(good) <= int(signed) <= canonical.MAX_INTEGER:
            raise Modified("genesis leaf names a predecessor with sizes out of range")
    leaf_forms.check_day(leaf.created_at[:10])
    return leaf


def _event(leaf: EventLeaf, members: Set[str]) -> EventLeaf:
    if leaf.seq == 0:
        raise Modified("event leaf stands where the genesis leaf belongs")
    promised = members & _SEALED
    if promised not in (set(), _SEALED) or ("keep_until" in members and not promised) or leaf.parts == ():
        raise Modified("event leaf has some of the fields of sealed details, and not all")
    leaf_forms.check_day(leaf.at[:10])
    if leaf.rules is not msgspec.UNSET:
        leaf_forms.check_order(leaf.rules)
    if leaf.keep_until is not msgspec.UNSET:
        leaf_forms.check_day(leaf.keep_until[:10])
    return leaf


def instant(seconds: int) -> str:
    """Return Unix seconds as RFC 3339 UTC: ``2029-01-05T16:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant_ms(microseconds: int) -> str:
    """Return microseconds since the epoch as RFC 3339 UTC with milliseconds."""
    moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{microseconds // 1000 % 1000:03d}Z"


def microseconds(moment: str) -> int:
    """Return an RFC 3339 instant of a leaf in microseconds since the epoch."""
    return round(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1000) * 1000
