"""From the model to one file: templates, fonts, layout, attachments, then an atomic rename.

The steps, and what a crash leaves behind (a hidden temporary file beside the target, never half a report):

1. measure the attachments, since the pages print their digests;
2. render the templates; every printed string passes `wording`, which collects the fonts it needs;
3. draw the charts, lay out the pages with WeasyPrint as tagged PDF/A-3u: no URL is fetched but our fonts
   and charts;
4. add the attachments, write to a temporary file beside the target, fsync;
5. rename over the target: the commit point.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pikepdf

from reports import layout
from reports.attach import Attachment, Described, attach, describe, write_with_streams
from reports.kind import Pages
from reports.look import Look
from vault.core.errors import Unavailable, UsageError


@dataclass(frozen=True, slots=True)
class RenderedReport:
    """The written file, its digest and its number of pages."""

    path: Path
    sha256: bytes
    pages: int


def render(pages: Pages, attachments: Iterable[Attachment], out: Path, look: Look = layout.PLAIN) -> RenderedReport:
    """Write a report as tagged PDF/A-3u, mode 0600, replacing ``out`` atomically.

    Args:
        attachments: streamed into the file where their source is a path.
        out: the file to make; its folder exists.

    Raises:
        UsageError: the fonts are missing, an attachment cannot be read, or two attachments share a name.
        Unavailable: the report cannot be written to that place.
        VaultError: a template is broken; the message names it and its line.
    """
    files = [describe(attachment) for attachment in attachments]
    names = [file.attachment.name for file in files]
    if len(set(names)) < len(names):
        raise UsageError("two attachments of a report cannot share a name")
    pdf, number = layout.lay_out(pages, files, look)
    return write_report(out, pdf, number, files, pages.who.generated_at)


def write_report(out: Path, pdf: bytes, pages: int, files: Sequence[Described], at: datetime) -> RenderedReport:
    """Steps 4 and 5: put the attachments into laid-out pages, and the file into its place.

    Raises:
        UsageError: an attachment changed since it was measured.
        Unavailable: the report cannot be written to that place.
    """
    return RenderedReport(out, _write(out, _with_attachments(pdf, files, at), files), pages)


def _with_attachments(pdf: bytes, files: Sequence[Described], at: datetime) -> bytes:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        attach(opened, files, at)
        opened.save(out, object_stream_mode=pikepdf.ObjectStreamMode.disable, deterministic_id=True)
    return out.getvalue()


def _write(out: Path, pdf: bytes, files: Sequence[Described]) -> bytes:
    """Returns the digest of the file as it lies on the disk."""
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        with _private(temporary) as file:
            write_with_streams(pdf, files, file)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").digest()
        temporary.replace(out)
        _sync_folder(out.parent)
    except OSError as error:
        raise Unavailable(f"cannot write the report to {out}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def _private(path: Path) -> io.BufferedRandom:
    """A new file that only its owner can read, whatever the umask; never one that was there before."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
