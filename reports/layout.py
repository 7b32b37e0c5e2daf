"""From the model to pages: templates, fonts, charts, WeasyPrint.

Every string is escaped, checked for glyphs and cut by `wording` on its way through the templates; no URL is fetched but
our fonts and charts, which are served from memory and package data.
"""

from __future__ import annotations

import hashlib
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import jinja2
from markupsafe import Markup, escape
from weasyprint import CSS, HTML
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

from reports import wording
from reports.attach import Described
from reports.captions import MEANINGS, SECTIONS, alternatives
from reports.charts import Charts
from reports.figures import ExceptionCheck
from reports.fonts import MONO, Face, FontBook, file_of
from reports.limits import limits
from reports.model import VERDICTS, EvidenceReport
from vault.core.errors import VaultError

_ORIGIN = "report:"
_TEMPLATES = "templates"
_VARIANT = "pdf/a-3u"


def lay_out(model: EvidenceReport, files: Sequence[Described]) -> tuple[bytes, int]:
    """The pages as a PDF without attachments, and their number."""
    fonts = FontBook()
    words = wording.Wording(fonts)
    templates = environment(words)
    with template_errors():
        body = templates.get_template("evidence.html.j2").render(
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
        css = style(templates, faces, "Evidence report")
    served = served_fonts(faces)
    served |= {f"chart/{name}": ("image/svg+xml", svg) for name, svg in _charts(model, fonts, words).items()}
    return to_pdf(body, css, Served(served), model.identification.report_id)


def style(templates: jinja2.Environment, faces: Sequence[Face], footer: str) -> str:
    """The style sheet for pages whose foot says what they are part of."""
    sheet = templates.get_template("base.css.j2")
    return sheet.render(faces=faces, stack=_stack(faces), mono=MONO, origin=_ORIGIN, footer=footer)


def served_fonts(faces: Sequence[Face]) -> dict[str, tuple[str, bytes | Path]]:
    """What `Served` needs for the style sheet."""
    return {f"font/{face.path}": ("font/ttf", file_of(face)) for face in faces}


def _areas(checks: Sequence[ExceptionCheck]) -> dict[str, list[ExceptionCheck]]:
    """Tests by area, areas in the order in which they first appear."""
    areas: dict[str, list[ExceptionCheck]] = {}
    for check in checks:
        areas.setdefault(check.area, []).append(check)
    return areas


def _stack(faces: Sequence[Face]) -> Markup:
    """The CSS font list: the report's sans serif first, then the fallbacks in use."""
    names = dict.fromkeys(face.family for face in faces if face.family != MONO)
    return Markup(", ").join(Markup('"{}"').format(name) for name in names)


def environment(words: wording.Wording) -> jinja2.Environment:
    """Every expression that yields a plain string passes `wording.Wording.text`: forgetting a filter is harmless."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", _TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: words.text(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
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
    return made


def _charts(model: EvidenceReport, fonts: FontBook, words: wording.Wording) -> dict[str, bytes]:
    """SVG by name; a chart without data is not drawn, and the template asks for none."""
    charts, decisions = Charts(fonts, words.label), model.decisions
    drawn: dict[str, bytes] = {}
    if decisions.count:
        drawn["volume"] = charts.volume(decisions.volume)
        drawn["outcomes"] = charts.outcomes(decisions.outcomes)
        height = max(len(decisions.models), len(decisions.jurisdictions))
        drawn["jurisdictions"] = charts.slices(decisions.jurisdictions, height)
        if decisions.models:
            drawn["models"] = charts.slices(decisions.models, height)
    if decisions.confidence.scored:
        drawn["confidence"] = charts.confidence(decisions.confidence)
    if decisions.latency.measured:
        drawn["latency"] = charts.latency(decisions.latency)
    return drawn


class Served(URLFetcher):  # type: ignore[misc]  # WeasyPrint has no type hints
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


def to_pdf(html: str, css: str, fetcher: Served, report_id: str) -> tuple[bytes, int]:
    """Tagged PDF/A-3u; the same bytes for the same input.

    Raises:
        VaultError: the page asks for a URL that is not served.
    """
    fonts = FontConfiguration()
    identifier = hashlib.sha256(report_id.encode()).digest()[:16]
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


@contextmanager
def template_errors() -> Iterator[None]:
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
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(".j2")]
        if not frames:
            raise
        name, line = Path(frames[-1].filename).name, frames[-1].lineno
        what = error.message if isinstance(error, jinja2.TemplateError) else type(error).__name__
        raise VaultError(f"template {name}, line {line}: {what}") from error
