"""Packing: how a leaf lies on disk. The leaf itself, and every hash of it, is the canonical JSON inside.

Half of a leaf is base64 of digests and most of the rest is the same in every leaf, so a small dictionary takes it to
about half its size, and leaves are kept for ever. Stored forms, told apart by the first byte:

    0x7B ('{')  the leaf's bytes as they are
    0x01        zstd frame of one block, without magic number, with packaged leaf dictionary 1:
                0 (frame header descriptor), window descriptor, u24 little-endian block header, block

New forms take new first bytes; these two stay readable for ever.
"""

from __future__ import annotations

import threading
from functools import cache

import zstandard

from vault.core import canonical, dictionary
from vault.core.errors import Modified

_PACKED = b"\x01"
_PLAIN = b"\x00"  # RFC 8878 3.1.1.1.1: no content size, no single segment, no checksum, no dictionary id
_LAST, _RLE = 0b001, 0b010  # RFC 8878 3.1.1.2: bit 0 marks the last block; bits 1-2 its type, 1 = one byte, repeated


def pack(leaf: bytes) -> bytes:
    """Return the bytes to store for a leaf."""
    return _PACKED + _own.compressor.compress(leaf)


def unpack(stored: bytes) -> bytes:
    """Return the leaf's bytes.

    Raises:
        Modified: the stored bytes are of no known form, do not decompress, or to more than a leaf may hold.
    """
    if stored[:1] == b"{":
        return stored
    # A frame that states its size would be given that much memory, whatever bound we name; and bytes behind the block
    # would be a place to hide something in, since the library stops there and nothing hashes them.
    block = int.from_bytes(stored[3:6], "little")
    size = 1 if block & 0b110 == _RLE else block >> 3
    if stored[:2] != _PACKED + _PLAIN or not block & _LAST or len(stored) != 6 + size:
        raise Modified("stored leaf is of no known form")
    try:
        return _own.decompressor.decompress(stored[1:], max_output_size=canonical.MAX_LEAF)
    except zstandard.ZstdError:
        raise Modified("stored leaf does not decompress") from None


class _PerThread(threading.local):
    """What a thread has made for itself: two threads at one compressor crash, or store what never opens."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(compression_params=_parameters(), dict_data=_trained(1))
        self.decompressor = zstandard.ZstdDecompressor(
            dict_data=_trained(None), format=zstandard.FORMAT_ZSTD1_MAGICLESS
        )


def _parameters() -> zstandard.ZstdCompressionParameters:
    return zstandard.ZstdCompressionParameters.from_level(
        1, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_dict_id=False, write_content_size=False
    )


@cache  # digested for its level once, and only read from then on: threads may share it
def _trained(level: int | None) -> zstandard.ZstdCompressionDict:
    made = zstandard.ZstdCompressionDict(dictionary.leaf_content(1))
    if level is not None:
        made.precompute_compress(level=level)
    return made


_own = _PerThread()
