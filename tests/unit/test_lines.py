"""Lines from strangers: whatever a stream unpacks to is counted, and somebody may call a halt at any time."""

from __future__ import annotations

import gzip
import io

import pytest
import zstandard

from vault import lines
from vault.core.errors import RefusedInput
from vault.core.parse import MAX_RECORD

MIB = 1 << 20


class _Enough(Exception):
    pass


def test_lines_have_their_numbers() -> None:
    found = list(lines.numbered(io.BytesIO(b"a\n\n \r\nb\r\nc")))
    assert found == [(1, b"a"), (4, b"b"), (5, b"c")]


@pytest.mark.parametrize("filler", [b"\n", b" \n", b" " * 1000 + b"\n"])
def test_blank_lines_come_to_an_end(filler: bytes) -> None:
    body = b"a\n" + filler * (2 * lines.MOST_BLANK // len(filler)) + b"b\n"
    reading = lines.numbered(io.BytesIO(gzip.compress(body)))
    assert next(reading) == (1, b"a")
    with pytest.raises(RefusedInput, match="blank lines"):
        next(reading)


def test_the_rest_of_a_line_that_was_cut_counts() -> None:
    body = gzip.compress(b"x" * (40 * MIB) + b"\nb\n", 1)
    reading = lines.numbered(io.BytesIO(body), most=20 * MIB)
    with pytest.raises(RefusedInput, match="20 MiB") as raised:
        next(reading)
    assert raised.value.code == "too_large"
    assert len(next(lines.numbered(io.BytesIO(body), most=50 * MIB))[1]) == MAX_RECORD + 2


@pytest.mark.parametrize("body", [b"\n" * MIB, b"x" * (4 * MIB), b"x\n" * MIB], ids=["blank", "long", "short"])
def test_a_halt_is_heard_whatever_comes(body: bytes) -> None:
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks > 5:
            raise _Enough

    with pytest.raises(_Enough):
        list(lines.numbered(io.BytesIO(gzip.compress(body)), look=look))


def test_how_far_an_upload_looks_back() -> None:
    """The memory that a frame asks for is refused; the same frame from a file is read."""
    for log, fits in ((23, True), (24, False)):
        parameters = zstandard.ZstdCompressionParameters(window_log=log)
        compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        frame = compressor.compress(b"a\n" * 100) + compressor.flush()
        assert len(list(lines.numbered(io.BytesIO(frame)))) == 100
        if fits:
            assert len(list(lines.numbered(io.BytesIO(frame), window=lines.UPLOAD_WINDOW))) == 100
        else:
            with pytest.raises(RefusedInput, match="8 MiB"):
                list(lines.numbered(io.BytesIO(frame), window=lines.UPLOAD_WINDOW))
