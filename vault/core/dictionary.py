"""Compression dictionaries: packaged, numbered, never changed, trained on synthetic text only.

A dictionary outlives the shredding of every record it helped to compress, so no producer's text may ever reach one.
Number 0 means none. A new dictionary gets the next number; old ones stay for ever, since old envelopes need them.
``scripts/train_dictionaries`` made them.
"""

from __future__ import annotations

import hashlib
import threading
from base64 import b64decode
from functools import cache
from importlib import resources

import zstandard

from vault.core.errors import Modified

RECORD_DICTIONARIES: dict[int, str] = {1: "record-1.dict.txt"}
LEAF_DICTIONARIES: dict[int, str] = {1: "leaf-1.dict.txt"}
CURRENT = max(RECORD_DICTIONARIES, default=0)
"""The dictionary that new envelopes use."""


def known(number: int) -> bool:
    """Say whether this version has the record dictionary."""
    return number == 0 or number in RECORD_DICTIONARIES


@cache
def content(number: int) -> bytes:
    """Return a record dictionary's bytes; empty for number 0.

    Raises:
        Modified: the number is unknown.
    """
    if number == 0:
        return b""
    if number not in RECORD_DICTIONARIES:
        raise Modified("unknown compression dictionary")
    return _read(RECORD_DICTIONARIES[number])


@cache
def leaf_content(number: int) -> bytes:
    """Return a leaf dictionary's bytes."""
    return _read(LEAF_DICTIONARIES[number])


@cache
def digest(number: int) -> bytes:
    """Return SHA-256 of a record dictionary, 32 zero bytes for number 0."""
    return hashlib.sha256(content(number)).digest() if number else bytes(32)


def _read(name: str) -> bytes:
    return b64decode(resources.files("vault.core").joinpath(name).read_text("ascii"))


def compressor(number: int, level: int) -> zstandard.ZstdCompressor:
    """Return this thread's compressor, made once: two threads at one compressor crash, or seal what never opens."""
    made = _own.compressors.get((number, level))
    if made is None:
        made = zstandard.ZstdCompressor(level=level, dict_data=_dictionary(number, level), write_dict_id=False)
        _own.compressors[number, level] = made
    return made


def decompressor(number: int) -> zstandard.ZstdDecompressor:
    """Return this thread's decompressor, made once."""
    made = _own.decompressors.get(number)
    if made is None:
        made = _own.decompressors[number] = zstandard.ZstdDecompressor(dict_data=_dictionary(number, None))
    return made


class _PerThread(threading.local):
    """What a thread has made for itself."""

    def __init__(self) -> None:
        self.compressors: dict[tuple[int, int], zstandard.ZstdCompressor] = {}
        self.decompressors: dict[int, zstandard.ZstdDecompressor] = {}


_own = _PerThread()


@cache  # digested for its level once, and only read from then on: threads may share it
def _dictionary(number: int, level: int | None) -> zstandard.ZstdCompressionDict | None:
    if number == 0:
        return None
    made = zstandard.ZstdCompressionDict(content(number))
    if level is not None:
        made.precompute_compress(level=level)
    return made
