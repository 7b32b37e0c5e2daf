"""Leaves that are none, and stored forms that hold none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import zstandard

from vault.core import dictionary, packing

_OLD = "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"
_ROOT = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"

Case = dict[str, Any]
Facts = dict[str, Any]


def leaves(decisions: list[Facts], events: list[Facts]) -> Iterator[Case]:
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
        "successor": changed(genesis, predecessor=f"{_OLD}:11:{_ROOT}:21"),
        "successor of a ledger that lost nothing": changed(genesis, predecessor=f"{_OLD}:21:{_ROOT}:21"),
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
        "a predecessor without its good head": changed(genesis, predecessor=_OLD),
        "a predecessor with another spelling of its root": changed(genesis, predecessor=f"{_OLD}:11:{_ROOT[:-1]}V:21"),
        "a predecessor that lost less than nothing": changed(genesis, predecessor=f"{_OLD}:22:{_ROOT}:21"),
        "a predecessor with a leading zero": changed(genesis, predecessor=f"{_OLD}:011:{_ROOT}:21"),
        "a predecessor of 2^53 entries": changed(genesis, predecessor=f"{_OLD}:11:{_ROOT}:{2**53}"),
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


def stored(leaf: bytes) -> Iterator[Case]:
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
        "a frame with its unused bit set": packed[:1] + b"\x10" + packed[2:],
        "a frame with a checksum": framed(leaf, write_checksum=True),
        "a frame with a dictionary id": framed(leaf, write_dict_id=True),
        "more than a leaf may hold": framed(b"{" * 5000),
        "a leaf that is not canonical": packing.pack(leaf.replace(b'"seq":', b'"seq": ')),
    }.items():
        yield case(name, data)
