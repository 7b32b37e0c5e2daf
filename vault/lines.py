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
from typing import BinaryIO, cast

import zstandard

from vault.core.errors import RefusedInput, UsageError
from vault.core.parse import MAX_RECORD

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BUFFER = 1 << 20


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
        return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=buffered)), _BUFFER))
    if start == _ZSTD:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(buffered, read_across_frames=True)
        return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, reader), _BUFFER))
    return buffered
