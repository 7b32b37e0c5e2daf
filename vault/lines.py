"""Lines: JSON lines from a file or a stream, plain, gzip or zstd, one at a time however large the file.

A line longer than a record may be is cut after the first byte too many, so that parsing refuses it by its size. What a
stream unpacks to is counted byte by byte, whether it is lines, the rest of a line that was cut, or nothing but blanks:
a few kilobytes from a stranger can stand for hours of any of them.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import zstandard

from vault.core.errors import RefusedInput, UsageError
from vault.core.parse import MAX_RECORD

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BUFFER = 1 << 20
MAX_WINDOW = 1 << 27
"""Bytes that a zstd frame may look back, where whoever wrote the file is trusted with so much memory."""
UPLOAD_WINDOW = 1 << 23
"""And where nobody is; what RFC 9659 allows for content encodings."""
MOST_BLANK = 1 << 20
"""Bytes of blank lines in one stream."""
_LOOK = 1 << 16  # bytes between two looks at the clock
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


def numbered(
    stream: BinaryIO,
    *,
    most: int | None = None,
    window: int = MAX_WINDOW,
    look: Callable[[], None] = lambda: None,
    taste: Callable[[bytes], object] | None = None,
) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its line feed); blank lines are counted and left out.

    Args:
        most: bytes of the whole stream once it is unpacked; None: as many as come.
        window: bytes that a zstd frame may look back.
        look: called time and again while the stream is read, lines or none; what it raises ends the reading.
        taste: given every byte of the unpacked stream, in order: those of a line before that is yielded.

    Raises:
        RefusedInput: the compressed stream is damaged or ends too early, has too many bytes, or too many blanks. Lines
            before that have been yielded.
    """
    try:
        read = _decompressed(stream, window)
        yield from _numbered(read if taste is None else _Tasted(read, taste), _Meter(most, look))
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        if isinstance(error, zstandard.ZstdError) and "too much memory" in str(error):
            raise RefusedInput(f"a zstd stream looks back {window >> 20} MiB at the most") from None
        raise RefusedInput("the compressed stream is damaged or cut off; what came before it was read") from None


class _Meter:
    """Counts what is read."""

    def __init__(self, most: int | None, look: Callable[[], None]) -> None:
        self._most = most
        self._look = look
        self._read = self._next = self._blank = 0

    def count(self, size: int) -> None:
        """Raises RefusedInput where that is too much in all."""
        self._read += size
        if self._read >= self._next:
            self._next = self._read + _LOOK
            self._look()
            if self._most is not None and self._read > self._most:
                limit = self._most >> 20
                raise RefusedInput(f"this is more than {limit} MiB: send the rest in another batch", code="too_large")

    def blank(self, size: int) -> None:
        """Raises RefusedInput where that is too much of nothing."""
        self._blank += size
        if self._blank > MOST_BLANK:
            raise RefusedInput(f"more than {MOST_BLANK >> 20} MiB of blank lines")


class _Lined(Protocol):
    def readline(self, size: int, /) -> bytes: ...


class _Tasted:
    """Hands on what is read."""

    def __init__(self, stream: _Lined, taste: Callable[[bytes], object]) -> None:
        self._stream = stream
        self._taste = taste

    def readline(self, size: int, /) -> bytes:
        data = self._stream.readline(size)
        self._taste(data)
        return data


def _numbered(stream: _Lined, meter: _Meter) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(MAX_RECORD + 2):
        number += 1
        size = len(line)
        meter.count(size)
        if not line.endswith(b"\n") and size > MAX_RECORD:
            _skip_rest(stream, meter)
        line = line.rstrip(b"\r\n")
        if line.strip():
            yield number, line
        else:
            meter.blank(size)


def _skip_rest(stream: _Lined, meter: _Meter) -> None:
    while rest := stream.readline(_LOOK):
        meter.count(len(rest))
        if rest.endswith(b"\n"):
            return


def _decompressed(stream: BinaryIO, window: int) -> BinaryIO:
    buffered = (
        stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream), _BUFFER)
    )
    start = buffered.peek(4)[:4]
    if start.startswith(_GZIP):
        # Not behind another buffer: filling that would lose what was read before a damage.
        return cast(BinaryIO, gzip.GzipFile(fileobj=buffered))
    if start == _ZSTD:
        return cast(BinaryIO, io.BufferedReader(_Zstd(buffered, window), _BUFFER))
    return buffered


class _Zstd(io.RawIOBase):
    """Decompresses frame after frame. A stream that ends inside one is told, which zstandard's own reader does not."""

    def __init__(self, source: BinaryIO, window: int) -> None:
        self._source = source
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=window)
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
