"""Lines: JSON lines from a file or a stream, plain, gzip or zstd, one at a time however large the file.

A line longer than a record may be is cut after the first byte too many, so that parsing refuses it by its size.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from vault.core.errors import RefusedInput, UsageError
from vault.core.parse import MAX_RECORD

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BUFFER = 1 << 20
_MAX_WINDOW = 1 << 27
# What one chunk can grow to must fit in memory: a block of 4 bytes stands for up to 128 KiB.
_ZSTD_CHUNK = 1 << 10


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file of JSON lines.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        file = open(path, "rb", buffering=_BUFFER)  # noqa: SIM115 - closed below, on every way out
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    with file:
        yield file


def numbered(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its line feed); blank lines are counted and left out.

    Raises:
        RefusedInput: the compressed stream is damaged or ends too early. Lines before the damage have been yielded.
    """
    try:
        yield from _numbered(_decompressed(stream))
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError):
        raise RefusedInput("the compressed stream is damaged or cut off; what came before it was read") from None


def _numbered(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(MAX_RECORD + 2):
        number += 1
        if not line.endswith(b"\n") and len(line) > MAX_RECORD:
            _skip_rest(stream)
        line = line.rstrip(b"\r\n")
        if line.strip():
            yield number, line


def _skip_rest(stream: BinaryIO) -> None:
    while (rest := stream.readline(_BUFFER)) and not rest.endswith(b"\n"):
        pass


def _decompressed(stream: BinaryIO) -> BinaryIO:
    buffered = (
        stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream), _BUFFER)
    )
    start = buffered.peek(4)[:4]
    if start.startswith(_GZIP):
        # Not behind another buffer: filling that would lose what was read before a damage.
        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    if start == _ZSTD:
        return cast(BinaryIO, io.BufferedReader(_Zstd(buffered), _BUFFER))
    return buffered


class _Zstd(io.RawIOBase):
    """Decompresses frame after frame. A stream that ends inside one is told, which zstandard's own reader does not."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises EOFError at an end inside a frame, ZstdError at damage."""
        while not self._ready:
            chunk = (self._frame.unused_data if self._frame else b"") or self._source.read(_ZSTD_CHUNK)
            if not chunk:
                if self._frame is not None and not self._frame.eof:
                    raise EOFError
                return 0
            if self._frame is None or self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            self._ready = memoryview(self._frame.decompress(chunk))
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count
