from __future__ import annotations

import hashlib
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pikepdf
import pytest

from reports.attach import Attachment, attach, describe, write_with_streams
from reports.deflated import Deflated, Pieces, deflate
from vault.core.errors import UsageError

TEXTS = [b'{"seq":%d}\n' % number * 400 for number in range(5)]


def made(path: Path, texts: list[bytes]) -> Deflated:
    pieces = Pieces(path, path.open("xb"))
    for text in texts:
        pieces.add(text, deflate(text))
    return pieces.finish()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_pieces_are_one_stream_that_any_reader_inflates(tmp_path: Path, count: int) -> None:
    whole = b"".join(TEXTS[:count])
    found = made(tmp_path / "lines", TEXTS[:count])
    assert zlib.decompress(found.path.read_bytes()) == whole
    assert (found.size, found.sha256) == (len(whole), hashlib.sha256(whole).digest())
    assert found.packed_sha256 == hashlib.sha256(found.path.read_bytes()).digest()


def test_a_piece_that_is_of_another_text_does_not_inflate(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    pieces = Pieces(path, path.open("xb"))
    pieces.add(TEXTS[0], deflate(TEXTS[1]))
    with pytest.raises(zlib.error):
        zlib.decompress(pieces.finish().path.read_bytes())


def attached(found: Deflated, out: Path) -> None:
    pdf = pikepdf.new()
    file = describe(Attachment("lines.jsonl", "one a line", "application/jsonl", found))
    attach(pdf, [file], datetime(2026, 1, 1, tzinfo=UTC))
    pdf.save(out.with_suffix(".bare"), object_stream_mode=pikepdf.ObjectStreamMode.disable)
    with out.open("w+b") as target:
        write_with_streams(out.with_suffix(".bare").read_bytes(), [file], target)


def test_it_is_attached_as_it_lies_there(tmp_path: Path) -> None:
    attached(made(tmp_path / "lines", TEXTS), tmp_path / "out.pdf")
    with pikepdf.open(tmp_path / "out.pdf") as pdf:
        assert pdf.attachments["lines.jsonl"].get_file().read_bytes() == b"".join(TEXTS)


def test_one_that_changed_since_is_not_attached(tmp_path: Path) -> None:
    found = made(tmp_path / "lines", TEXTS)
    data = bytearray(found.path.read_bytes())
    data[20] ^= 1
    found.path.write_bytes(data)
    with pytest.raises(UsageError, match=r"lines.jsonl changed while"):
        attached(found, tmp_path / "out.pdf")
