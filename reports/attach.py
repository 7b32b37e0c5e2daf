"""Attachments inside a PDF/A-3: small ones from memory, the population from a stream that never is in memory.

WeasyPrint and qpdf hold every stream whole, and a million leaves are several hundred megabytes. So the
population gets a placeholder object first; then the finished file is copied with that object replaced and
its cross-reference table written anew:

    %PDF-1.7 ... objects ...        copied up to the old table, the placeholder left behind unreferenced
    N 0 obj << /Length .. >>        the population, deflated on its way through
    stream ... endstream endobj
    xref                            the old table, with N's new offset
    trailer << ... >>               copied
    startxref <offset> %%EOF

One revision, classic table, so that every reader and validator sees an ordinary file.
"""

from __future__ import annotations

import hashlib
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pikepdf

from reports.deflated import LEVEL, Deflated
from vault.core.errors import UsageError

JSON_LINES = "application/jsonl"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to attach; ``source`` is its content, or the path it is streamed from, or a file deflated before."""

    name: str
    description: str
    media_type: str
    source: bytes | Path | Deflated


@dataclass(frozen=True, slots=True)
class Described:
    """An attachment with what the page prints about it."""

    attachment: Attachment
    size: int
    sha256: bytes


def describe(attachment: Attachment) -> Described:
    """Size and digest, read once from the source; of a deflated one as it was told.

    Raises:
        UsageError: the file cannot be read.
    """
    if isinstance(attachment.source, Deflated):
        return Described(attachment, attachment.source.size, attachment.source.sha256)
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(attachment.name, attachment.source):
        digest.update(chunk)
        size += len(chunk)
    return Described(attachment, size, digest.digest())


def attach(pdf: pikepdf.Pdf, files: Sequence[Described], at: datetime) -> None:
    """Add each file once to the name tree and once to the catalog's /AF, which PDF/A-3 demands of every one.
    Files that are streamed get an empty placeholder, which `write_with_streams` fills."""
    date = at.astimezone(UTC).strftime("D:%Y%m%d%H%M%SZ")
    names: list[pikepdf.Object] = []
    associated: list[pikepdf.Object] = []
    for file in sorted(files, key=lambda file: file.attachment.name):
        attachment = file.attachment
        stream = pdf.make_stream(
            attachment.source if isinstance(attachment.source, bytes) else b"",
            Type=pikepdf.Name.EmbeddedFile,
            Subtype=pikepdf.Name("/" + attachment.media_type),
            Params=pikepdf.Dictionary(Size=file.size, CreationDate=date, ModDate=date),
        )
        specification = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Filespec,
                F=attachment.name,
                UF=attachment.name,
                Desc=attachment.description,
                AFRelationship=pikepdf.Name.Data,
                EF=pikepdf.Dictionary(F=stream, UF=stream),
            )
        )
        names += [pikepdf.String(attachment.name), specification]
        associated.append(specification)
    if "/Names" not in pdf.Root:
        pdf.Root.Names = pikepdf.Dictionary()
    pdf.Root.Names.EmbeddedFiles = pikepdf.Dictionary(Names=pikepdf.Array(names))
    pdf.Root.AF = pikepdf.Array(associated)


def write_with_streams(pdf: bytes, files: Sequence[Described], out: BinaryIO) -> None:
    """Write the PDF with every streamed file in its place. ``pdf`` has a classic cross-reference table;
    ``out`` can seek and is at its start.

    Raises:
        UsageError: a file no longer has the size and digest that the page prints.
    """
    table = _Table(pdf)
    out.write(pdf[: table.start])
    for number, dictionary, file in _placeholders(pdf, files):
        table.offsets[number] = out.tell()
        _write_stream(out, number, dictionary, file)
    start = out.tell()
    out.write(table.text())
    out.write(b"startxref\n%d\n%%%%EOF\n" % start)


class _Table:
    """The classic cross-reference table of a PDF with one revision: ISO 32000-1, 7.5.4."""

    def __init__(self, pdf: bytes) -> None:
        place = re.search(rb"startxref\s+(\d+)\s+%%EOF\s*$", pdf[-64:])
        self.start = int(place[1]) if place else -1
        head = re.compile(rb"xref\n0 (\d+)\n").match(pdf, self.start) if place else None
        if head is None:
            raise UsageError("cannot attach to this PDF: it has no classic cross-reference table")
        entries = head.end(), head.end() + 20 * int(head[1])
        self._lines = [pdf[at : at + 20] for at in range(*entries, 20)]
        self._trailer = pdf[entries[1] : pdf.rindex(b"startxref")]
        self.offsets: dict[int, int] = {}

    def text(self) -> bytes:
        lines = list(self._lines)
        for number, offset in self.offsets.items():
            lines[number] = b"%010d 00000 n \n" % offset
        return b"xref\n0 %d\n" % len(lines) + b"".join(lines) + self._trailer


def _placeholders(pdf: bytes, files: Sequence[Described]) -> Iterator[tuple[int, bytes, Described]]:
    """Object number and dictionary of each placeholder in the saved file (saving numbers objects anew)."""
    streamed = {file.attachment.name: file for file in files if not isinstance(file.attachment.source, bytes)}
    with pikepdf.open(io.BytesIO(pdf)) as saved:
        for specification in saved.Root.AF:
            file = streamed.get(str(specification.UF))
            if file is not None:
                stream = specification.EF.F
                entries = {key: value for key, value in stream.items() if key not in ("/Length", "/Filter")}
                yield stream.objgen[0], pikepdf.Dictionary(entries).unparse(), file


def _write_stream(out: BinaryIO, number: int, dictionary: bytes, file: Described) -> None:
    """Write the file, deflated, as an object; its length, unknown until then, goes into the blank left for it."""
    out.write(b"%d 0 obj\n<< /Filter /FlateDecode /Length " % number)
    blank = out.tell()
    out.write(b"%-12s" % b"" + dictionary.removeprefix(b"<<") + b"\nstream\n")
    start = out.tell()
    _copy_deflated(out, file)
    end = out.tell()
    out.write(b"\nendstream\nendobj\n")
    out.seek(blank)
    out.write(b"%-12d" % (end - start))
    out.seek(0, io.SEEK_END)


def _copy_deflated(out: BinaryIO, file: Described) -> None:
    name, source, digest = file.attachment.name, file.attachment.source, hashlib.sha256()
    if isinstance(source, Deflated):
        expected = source.packed_sha256
        for chunk in _chunks(name, source.path):
            digest.update(chunk)
            out.write(chunk)
    else:
        expected, packer = file.sha256, zlib.compressobj(LEVEL)
        for chunk in _chunks(name, source):
            digest.update(chunk)
            out.write(packer.compress(chunk))
        out.write(packer.flush())
    if digest.digest() != expected:
        raise UsageError(f"{name} changed while the report was being written")


def _chunks(name: str, source: bytes | Path) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    try:
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise UsageError(f"cannot read {name} for the report: {error.strerror}") from error
