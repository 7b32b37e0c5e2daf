"""Parcel: the file of one commit to the spool, with one record or more, each encrypted.

A parcel is written under another name, put on disk, and only then renamed to its own; it is never changed afterwards.
So a write that a crash tore has no parcel's name, and a parcel that does not read is damage.

Layout, big-endian. Byte 0 is the version; a new field or cipher is the next version, and old ones stay readable.

    offset  size  type   field
    0       1     u8     version, 1
    1       1     u8     cipher, 1 = AES-256-GCM
    2       2     u16    records, n, 1 or more
    4       8     u64    ticket of the first record; the others have the tickets behind it
    12      8     u64    producer_seq of the last record numbered so far, this parcel's included; 0 before the first
    20      8     bytes  id of the spool key
    28      16    bytes  salt, random
    44      4     u32    CRC-32 of bytes 0 to 43
    48            n times:
            4     u32    length m of the box
            m     bytes  ciphertext || 16-byte tag

The key of a parcel is derived from the spool key and its salt, so a key encrypts one parcel only; the nonce is the
record's index in it, 12 bytes. Associated data: bytes 0 to 47 || index u16. A box cannot be moved to another place or
parcel.

The header is not secret and its CRC is no protection: it tells damage (park it) from another key (ask for the right
one).

Name: ``<ticket, 16 hex digits>-<records>-<producer_seq>.parcel``, the last two in decimal; names in order are records
in order, and they tell what a spool holds without opening it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reasonvault_client.errors import Misconfigured
from reasonvault_client.spoolkey import SpoolKey

VERSION = 1
AES_256_GCM = 1
MAX_RECORDS = 1024
SALT_BYTES = 16
OVERHEAD = 4 + 16
"""Bytes that a record needs in a parcel beside its own."""

_HEADER = struct.Struct(">BBHQQ8s16s")
_CRC = struct.Struct(">I")
_LENGTH = struct.Struct(">I")
HEADER_BYTES = _HEADER.size + _CRC.size

_NAME = re.compile(r"([0-9a-f]{16})-([1-9][0-9]{0,3})-(0|[1-9][0-9]{0,15})\.parcel", re.ASCII)


class Damaged(Exception):
    """The bytes are not those that were written."""


class Name(NamedTuple):
    """What a parcel's name tells."""

    ticket: int
    records: int
    producer_seq: int

    def __str__(self) -> str:
        return f"{self.ticket:016x}-{self.records}-{self.producer_seq}.parcel"


class Opened(NamedTuple):
    """A parcel's records by index, and the indexes of those that are damaged."""

    name: Name
    records: dict[int, bytes]
    damaged: tuple[int, ...]


def parse_name(text: str) -> Name | None:
    """Return what a parcel's name tells, None for other files."""
    found = _NAME.fullmatch(text)
    return Name(int(found[1], 16), int(found[2]), int(found[3])) if found else None


def pack(name: Name, records: Sequence[bytes], key: SpoolKey, salt: bytes) -> bytes:
    """Return the parcel's bytes. The salt is 16 random bytes that no other parcel has."""
    header = _header(name, key, salt)
    cipher = AESGCM(key.parcel_key(salt))
    out = [header]
    for index, record in enumerate(records):
        box = cipher.encrypt(index.to_bytes(12, "big"), record, header + index.to_bytes(2, "big"))
        out += (_LENGTH.pack(len(box)), box)
    return b"".join(out)


def unpack(data: bytes, name: Name, key: SpoolKey) -> Opened:
    """Read a parcel that has this name.

    Returns:
        Every record that is as it was written; one damaged record does not take the others with it.

    Raises:
        Damaged: the header is not what was written under this name, so nothing in it can be read.
        Misconfigured: it was encrypted under another spool key.
    """
    if len(data) < HEADER_BYTES or _CRC.unpack_from(data, _HEADER.size)[0] != zlib.crc32(data[: _HEADER.size]):
        raise Damaged("the header is damaged")
    version, cipher_id, records, ticket, producer_seq, key_id, salt = _HEADER.unpack_from(data)
    if (version, cipher_id) != (VERSION, AES_256_GCM):
        raise Misconfigured("a parcel of a newer version lies in the spool: update reasonvault-client")
    if Name(ticket, records, producer_seq) != name:
        raise Damaged("name and header disagree")
    if key_id != key.key_id:
        raise Misconfigured(f"a parcel is encrypted under the spool key {key_id.hex()}, not under this one")
    cipher = AESGCM(key.parcel_key(salt))
    header = data[:HEADER_BYTES]
    found: dict[int, bytes] = {}
    for index, box in _boxes(data, records):
        try:
            found[index] = cipher.decrypt(index.to_bytes(12, "big"), box, header + index.to_bytes(2, "big"))
        except InvalidTag:
            continue
    return Opened(name, found, tuple(index for index in range(records) if index not in found))


def _header(name: Name, key: SpoolKey, salt: bytes) -> bytes:
    fixed = _HEADER.pack(VERSION, AES_256_GCM, name.records, name.ticket, name.producer_seq, key.key_id, salt)
    return fixed + _CRC.pack(zlib.crc32(fixed))


def _boxes(data: bytes, records: int) -> Iterator[tuple[int, bytes]]:
    """Yield the boxes whose lengths fit; behind a damaged length nothing is found any more."""
    at = HEADER_BYTES
    for index in range(records):
        if at + _LENGTH.size > len(data):
            return
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if length < 16 or at + length > len(data):
            return
        yield index, data[at : at + length]
        at += length
