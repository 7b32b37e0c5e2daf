"""From the model to one file: templates, fonts, layout, attachments, then an atomic rename.

The steps, and what a crash leaves behind (a hidden temporary file beside the target, never half a report):

1. measure the attachments, since the pages print their digests;
2. render the templates; every printed string passes `wording`, which collects the fonts it needs;
3. draw the charts, lay out the pages with WeasyPrint as tagged PDF/A-3u: no URL is fetched but our fonts and charts;
4. add the attachments, write to a temporary file beside the target, fsync;
5. rename over the target: the commit point.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import jinja2
import pikepdf
from markupsafe import Markup, escape
from weasyprint import CSS, HTML
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

from reports import wording
from reports.attach import JSON_LINES, Attachment, Described, attach, describe, write_with_streams
from reports.captions import MEANINGS, SECTIONS, alternatives
from reports.charts import Charts
from reports.fonts import MONO, Face, FontBook, file_of
from reports.limits import limits
from reports.model import VERDICTS, EvidenceReport, ExceptionCheck
from vault.core.errors import Unavailable, UsageError, VaultError

_ORIGIN = "report:"
_TEMPLATES = "templates"
_VARIANT = "pdf/a-3u"


@dataclass(frozen=True, slots=True)
class RenderedReport:
    """The written file, its digest and its number of pages."""

    path: Path
    sha256: bytes
    pages: int


def render_evidence(
    model: EvidenceReport,
    out: Path,
    *,
    population: Path,
    findings: Path,
    attachments: Sequence[Attachment] = (),
) -> RenderedReport:
    """Write the evidence report as tagged PDF/A-3u, mode 0600, replacing ``out`` atomically.

    Args:
        model: what the pages show.
        out: the file to make; its folder exists.
        population: JSON lines of leaves and facets, one record a line, in seq order. It is streamed into the file.
        findings: JSON lines of every finding of every exception test (`statistics.finding_lines`). Streamed as well.
        attachments: more files, by names of their own. The checkpoint and the verifier key are attached always.

    Raises:
        UsageError: the fonts are missing, an attachment cannot be read, or two attachments share a name.
        Unavailable: the report cannot be written to that place.
        VaultError: a template is broken; the message names it and its line.
    """
    files = [describe(attachment) for attachment in _attachments(model, population, findings, attachments)]
    names = [file.attachment.name for file in files]
    if len(set(names)) < len(names):
        raise UsageError("two attachments of a report cannot share a name")
    pdf, pages = _lay_out(model, files)
    return RenderedReport(out, _write(out, _with_attachments(pdf, files, model), files), pages)


def _attachments(
    model: EvidenceReport, population: Path, findings: Path, more: Sequence[Attachment]
) -> Iterator[Attachment]:
    checkpoint = model.integrity.checkpoint
    yield Attachment(
        "population.jsonl", "Every record of the period: leaf and facets, one a line", JSON_LINES, population
    )
    yield Attachment(
        "findings.jsonl", "Every finding of every exception test: test and seq", JSON_LINES, findings
    )
    yield Attachment(
        "checkpoint.txt", "The signed checkpoint (C2SP signed note)", "text/plain", checkpoint.note.encode()
    )
    yield Attachment(
        "verifier-key.txt",
        "The key that verifies the checkpoint",
        "text/plain",
        checkpoint.verifier_key.encode() + b"\n",
    )
    yield from more


def _lay_out(model: EvidenceReport, files: Sequence[Described]) -> tuple[bytes, int]:
    """The pages as a PDF without attachments, and their number."""
    fonts = FontBook()
    words = wording.Wording(fonts)
    environment = _environment(words)
    with _template_errors():
        body = environment.get_template("evidence.html.j2").render(
            report=model,
            files=files,
            limits=limits(model),
            sections=SECTIONS,
            verdicts=VERDICTS,
            meanings=MEANINGS,
            alt=alternatives(model.decisions),
            areas=_areas(model.exceptions),
            origin=_ORIGIN,
        )
        faces = fonts.faces()
        css = environment.get_template("base.css.j2").render(
            faces=faces, stack=_stack(faces), mono=MONO, origin=_ORIGIN
        )
    served: dict[str, tuple[str, bytes | Path]] = {
        f"font/{face.path}": ("font/ttf", file_of(face)) for face in faces
    }
    served |= {f"chart/{name}": ("image/svg+xml", svg) for name, svg in _charts(model, fonts, words).items()}
    return _to_pdf(body, css, _Served(served), model)


def _areas(checks: Sequence[ExceptionCheck]) -> dict[str, list[ExceptionCheck]]:
    """Tests by area, areas in the order in which they first appear."""
    areas: dict[str, list[ExceptionCheck]] = {}
    for check in checks:
        areas.setdefault(check.area, []).append(check)
    return areas


def _stack(faces: Sequence[Face]) -> Markup:
    """The CSS font list: the report's sans serif first, then the fallbacks in use."""
    names = dict.fromkeys(face.family for face in faces if face.family != MONO)
    return Markup(", ".join(f'"{name}"' for name in names))


def _environment(words: wording.Wording) -> jinja2.Environment:
    """Every expression that yields a plain string passes `wording.Wording.text`: forgetting a filter is harmless."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", _TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: (
            words.text(value) if isinstance(value, str) and not isinstance(value, Markup) else value
        ),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "text": words.text,
        "plain": lambda value, limit=wording.LIMIT: escape(words.plain(value, limit)),
        "n": wording.number,
        "share": wording.share,
        "completeness": wording.completeness,
        "instant": wording.instant,
        "day": wording.day,
        "date": wording.local_day,
        "lines": words.lines,
        "percent": wording.percent,
        "w3c": wording.w3c,
        "decimal": wording.decimal,
        "money": wording.money,
        "score": wording.score,
        "threshold": wording.threshold,
        "hex": wording.hexadecimal,
        "size": wording.size,
    }
    return environment


def _charts(model: EvidenceReport, fonts: FontBook, words: wording.Wording) -> dict[str, bytes]:
    """SVG by name; a chart without data is not drawn, and the template asks for none."""
    charts, decisions = Charts(fonts, words.plain), model.decisions
    drawn: dict[str, bytes] = {}
    if decisions.count:
        drawn["volume"] = charts.volume(decisions.volume)
        drawn["outcomes"] = charts.outcomes(decisions.outcomes)
        height = max(len(decisions.models), len(decisions.jurisdictions))
        drawn["models"] = charts.slices(decisions.models, height)
        drawn["jurisdictions"] = charts.slices(decisions.jurisdictions, height)
    if decisions.confidence.scored:
        drawn["confidence"] = charts.confidence(decisions.confidence)
    if decisions.latency.measured:
        drawn["latency"] = charts.latency(decisions.latency)
    return drawn


class _Served(URLFetcher):  # type: ignore[misc]  # WeasyPrint has no type hints
    """Answers for our fonts and charts, from memory and package data; any other URL stops the report."""

    def __init__(self, served: Mapping[str, tuple[str, bytes | Path]]) -> None:
        super().__init__(allowed_protocols=())
        self._served = served

    def fetch(self, url: str, headers: Any = None) -> URLFetcherResponse:
        if url.removeprefix(_ORIGIN) not in self._served or not url.startswith(_ORIGIN):
            raise FatalURLFetchingError("a report fetches nothing")
        media_type, source = self._served[url.removeprefix(_ORIGIN)]
        body = source.read_bytes() if isinstance(source, Path) else source
        return URLFetcherResponse(url, body=body, headers={"Content-Type": media_type})


def _to_pdf(html: str, css: str, fetcher: _Served, model: EvidenceReport) -> tuple[bytes, int]:
    fonts = FontConfiguration()
    identifier = hashlib.sha256(model.identification.report_id.encode()).digest()[:16]
    try:
        style = CSS(string=css, url_fetcher=fetcher, font_config=fonts)
        document = HTML(string=html, url_fetcher=fetcher).render(
            font_config=fonts, stylesheets=[style], pdf_variant=_VARIANT, pdf_tags=True
        )
        with warnings.catch_warnings():
            # WeasyPrint 70 leaves closing its colour profile to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            pdf = document.write_pdf(pdf_variant=_VARIANT, pdf_tags=True, pdf_identifier=identifier)
    except FatalURLFetchingError:
        raise VaultError(
            "a template of the report asks for something that is neither a font nor a chart of ours"
        ) from None
    return cast(bytes, pdf), len(document.pages)


def _with_attachments(pdf: bytes, files: Sequence[Described], model: EvidenceReport) -> bytes:
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        attach(opened, files, model.identification.generated_at)
        opened.save(out, object_stream_mode=pikepdf.ObjectStreamMode.disable, deterministic_id=True)
    return out.getvalue()


def _write(out: Path, pdf: bytes, files: Sequence[Described]) -> bytes:
    """Steps 4 and 5; the digest of the file as it lies on the disk."""
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


def _private(path: Path) -> BinaryIO:
    """A new file that only its owner can read, whatever the umask; never one that was there before."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _template_errors() -> Iterator[None]:
    """Turns whatever a template raises into one line that names the template and its line."""
    try:
        yield
    except VaultError:
        raise
    except jinja2.TemplateSyntaxError as error:
        raise VaultError(f"template {error.name}, line {error.lineno}: {error.message}") from error
    except jinja2.TemplateNotFound as error:
        raise VaultError(f"template {error.name} is missing") from error
    except Exception as error:
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(".j2")
        ]
        if not frames:
            raise
        name, line = Path(frames[-1].filename).name, frames[-1].lineno
        what = error.message if isinstance(error, jinja2.TemplateError) else type(error).__name__
        raise VaultError(f"template {name}, line {line}: {what}") from error
