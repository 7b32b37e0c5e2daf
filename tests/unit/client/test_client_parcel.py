"""Parcels: what was written is read; what was changed is told from what was encrypted under another key."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reasonvault_client import parcel
from reasonvault_client.errors import Misconfigured
from reasonvault_client.parcel import Damaged, Name
from reasonvault_client.spoolkey import SpoolKey

KEY = SpoolKey(bytes(range(32)))
SALT = bytes(16)
RECORDS = [b"one", b"", b"three" * 100]
NAME = Name(7, 3, 42)
PACKED = parcel.pack(NAME, RECORDS, KEY, SALT)

names = st.builds(
    Name, st.integers(1, 2**64 - 1), st.integers(1, parcel.MAX_RECORDS), st.integers(0, 2**53 - 1)
)  # fmt: skip


@given(names)
def test_names_are_read_as_they_are_written(name: Name) -> None:
    assert parcel.parse_name(str(name)) == name


@given(st.lists(names, min_size=2, max_size=5))
def test_names_in_order_are_tickets_in_order(drawn: list[Name]) -> None:
    assert [name.ticket for name in sorted(drawn)] == sorted(name.ticket for name in drawn)
    assert [text[:16] for text in sorted(map(str, drawn))] == [str(name)[:16] for name in sorted(drawn)]


@pytest.mark.parametrize(
    "text", ["", "writing", "x.parcel", "7-3-42.parcel", f"{NAME}.reason", f".{NAME}", "00000000000000FF-1-0.parcel"]
)
def test_other_files_are_no_parcels(text: str) -> None:
    assert parcel.parse_name(text) is None


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=6), st.binary(min_size=16, max_size=16))
def test_a_parcel_opens_to_what_was_put_in(records: list[bytes], salt: bytes) -> None:
    name = Name(1, len(records), 0)
    opened = parcel.unpack(parcel.pack(name, records, KEY, salt), name, KEY)
    assert opened.records == dict(enumerate(records))
    assert opened.damaged == ()


def test_the_layout_is_the_documented_one() -> None:
    assert PACKED[:2] == b"\x01\x01"
    assert PACKED[2:20].hex() == "0003" + "0000000000000007" + "000000000000002a"
    assert PACKED[20:28] == KEY.key_id
    assert PACKED[28:44] == SALT
    assert len(PACKED) == parcel.HEADER_BYTES + sum(len(record) + parcel.OVERHEAD for record in RECORDS)


@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
def test_a_changed_byte_is_found_and_takes_no_other_record_with_it(place: int, change: int) -> None:
    damaged = PACKED[:place] + bytes([PACKED[place] ^ change]) + PACKED[place + 1 :]
    if place < parcel.HEADER_BYTES:
        with pytest.raises(Damaged):
            parcel.unpack(damaged, NAME, KEY)
        return
    opened = parcel.unpack(damaged, NAME, KEY)
    assert opened.damaged
    assert all(RECORDS[index] == record for index, record in opened.records.items())
    assert sorted([*opened.records, *opened.damaged]) == [0, 1, 2]


@given(st.integers(0, len(PACKED) - 1))
def test_a_cut_parcel_is_damaged(length: int) -> None:
    try:
        opened = parcel.unpack(PACKED[:length], NAME, KEY)
    except Damaged:
        return
    assert opened.damaged


def test_records_cannot_change_places() -> None:
    boxes = PACKED[parcel.HEADER_BYTES :]
    first, second = 4 + 16 + 3, 4 + 16
    swapped = boxes[first : first + second] + boxes[:first] + boxes[first + second :]
    assert parcel.unpack(PACKED[: parcel.HEADER_BYTES] + swapped, NAME, KEY).damaged == (0, 1)


def test_another_name_is_damage() -> None:
    with pytest.raises(Damaged):
        parcel.unpack(PACKED, Name(8, 3, 42), KEY)


def test_another_key_is_no_damage() -> None:
    with pytest.raises(Misconfigured, match="spool key"):
        parcel.unpack(PACKED, NAME, SpoolKey(bytes(32)))


def test_a_newer_version_is_no_damage() -> None:
    import struct
    import zlib

    header = b"\x02" + PACKED[1:44]
    newer = header + struct.pack(">I", zlib.crc32(header)) + PACKED[48:]
    with pytest.raises(Misconfigured, match="update"):
        parcel.unpack(newer, NAME, KEY)


def test_parcels_of_one_key_share_no_keystream() -> None:
    other = parcel.pack(NAME, RECORDS, KEY, b"\x01" * 16)
    assert other[parcel.HEADER_BYTES :] != PACKED[parcel.HEADER_BYTES :]


def test_a_spool_key_shows_and_pickles_nothing() -> None:
    assert bytes(range(32)).hex() not in repr(KEY)
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
