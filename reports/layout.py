"""From the model to pages: templates, fonts, charts, WeasyPrint.

Every string is escaped, checked for glyphs and cut by `wording` on its way through the templates; no URL is fetched but
our fonts and charts, which are served from memory and package data.
"""

from __future__ import annotations

import hashlib
import logging
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, Final, cast

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape
from weasyprint import CSS, HTML, LOGGER
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

from reports import wording
from reports.attach import Described
from reports.catalog import catalog
from reports.charts import Charts
from reports.fonts import MONO, Face, FontBook, file_of
from reports.kind import Pages
from reports.limits import of_every
from reports.look import Look
from reports.model import VERDICTS
from vault.core.errors import VaultError

_ORIGIN = "report:"
_TEMPLATES = "templates"
_VARIANT = "pdf/a-3u"
_SHORT = 120  # characters of what is not ours in an error
_PLACE = re.compile(r"(\{pages?\})")
PLAIN: Final = Look()


def lay_out(pages: Pages, files: Sequence[Described], look: Look = PLAIN) -> tuple[bytes, int]:
    """The pages as a PDF without attachments, and their number."""
    fonts = FontBook()
    words = wording.Wording(fonts, catalog(look.language))
    templates = environment(words, look)
    with template_errors():
        body = templates.get_template(pages.template).render(
            who=pages.who,
            title=pages.title,
            sections=pages.sections,
            files=[_without_source(file) for file in files],
            limits=(*pages.limits, *of_every(pages.who)),
            **pages.values,
        )
        drawn = pages.charts(Charts(fonts, words.label))
        css, served = dress(templates, fonts, words, pages.title, look)
    served |= {f"chart/{name}": ("image/svg+xml", svg) for name, svg in drawn.items()}
    return to_pdf(body, css, Served(served, look.templates), pages.who.report_id)


def _without_source(file: Described) -> Described:
    """What a template sees of an attachment: nothing that it could open."""
    return replace(file, attachment=replace(file.attachment, source=b""))


def dress(
    templates: jinja2.Environment, fonts: FontBook, words: wording.Wording, title: str, look: Look = PLAIN
) -> tuple[str, dict[str, tuple[str, bytes | Path]]]:
    """The style sheet and what `Served` needs for it: last, since it names the fonts that the words took."""
    foot = _quoted(words.plain(title) + " ")
    numbered = Markup(" ").join(map(_counted, _PLACE.split(words.say("Page {page} of {pages}"))))
    faces = fonts.faces()
    sheet = templates.get_template("base.css.j2")
    accent = Markup(look.brand.accent)  # noqa: S704 - six hex digits (reports.look)
    css = sheet.render(faces=faces, stack=_stack(faces), mono=MONO, foot=foot, numbered=numbered, accent=accent)
    served: dict[str, tuple[str, bytes | Path]] = {f"font/{face.path}": ("font/ttf", file_of(face)) for face in faces}
    logo = look.brand.logo
    if logo is not None:
        served["brand/logo"] = ("image/svg+xml" if logo.suffix == ".svg" else "image/png", logo)
    return css, served


def _counted(piece: str) -> Markup:
    return Markup("counter({})").format(piece[1:-1]) if _PLACE.fullmatch(piece) else _quoted(piece)


def _quoted(text: str) -> Markup:
    """A text as a CSS string: letters and digits as they are, all else by code point; blanks too, since CSS takes a
    blank behind a code point for its end."""
    spelled = "".join(char if char.isalnum() else f"\\{ord(char):06x}" for char in text)
    return Markup('"{}"').format(Markup(spelled))  # noqa: S704 - neither quotes nor markup are left in it


def _stack(faces: Sequence[Face]) -> Markup:
    """The CSS font list: the report's sans serif first, then the fallbacks in use."""
    names = dict.fromkeys(face.family for face in faces if face.family != MONO)
    return Markup(", ").join(Markup('"{}"').format(name) for name in names)


def environment(words: wording.Wording, look: Look = PLAIN) -> jinja2.Environment:
    """Every expression that yields a plain string passes `wording.Wording.text`: forgetting a filter is harmless.

    Sandboxed, since operators may bring templates of their own: those see the report, and nothing that leads from it
    into the program.
    """
    ours = jinja2.PackageLoader("reports", _TEMPLATES)
    loader = ours if look.templates is None else jinja2.ChoiceLoader([jinja2.FileSystemLoader(look.templates), ours])
    made = _Sandbox(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: words.text(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "t": words.say,
        "tn": words.choose,
        "language": look.language,
        "brand": look.brand,
        "origin": _ORIGIN,
        "verdicts": VERDICTS,
    }
    made.filters |= {
        "text": words.text,
        "said": words.word,
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
        "amount": wording.amount,
        "money": wording.money,
        "score": wording.score,
        "threshold": wording.threshold,
        "hex": wording.hexadecimal,
        "size": wording.size,
    }
    return made


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox keeps templates from what Python hides; a path's own methods read files, and are public."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return not isinstance(obj, PurePath) and super().is_safe_attribute(obj, attr, value)


class Served(URLFetcher):  # type: ignore[misc]  # WeasyPrint has no type hints
    """Answers for our fonts and charts, from memory and package data; any other URL stops the report.

    Args:
        templates: an operator's own, where the line that asks for something else is looked for.
    """

    def __init__(self, served: Mapping[str, tuple[str, bytes | Path]], templates: Path | None = None) -> None:
        super().__init__(allowed_protocols=())
        self._served = served
        self._templates = templates
        self.refused = ""

    def where(self) -> str:
        """Return the template and the line that hold the refused URL, as the start of a sentence; "" if none does."""
        for path in sorted(self._templates.rglob("*")) if self._templates else ():
            if path.is_file():
                for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
                    if self.refused in line:
                        return f"template {path.name}, line {number}: "
        return ""

    def fetch(self, url: str, headers: Any = None) -> URLFetcherResponse:
        if url.removeprefix(_ORIGIN) not in self._served or not url.startswith(_ORIGIN):
            self.refused = url
            raise FatalURLFetchingError("a report fetches nothing")
        media_type, source = self._served[url.removeprefix(_ORIGIN)]
        body = source.read_bytes() if isinstance(source, Path) else source
        return URLFetcherResponse(url, body=body, headers={"Content-Type": media_type})


def to_pdf(html: str, css: str, fetcher: Served, report_id: str) -> tuple[bytes, int]:
    """Tagged PDF/A-3u; the same bytes for the same input.

    Raises:
        VaultError: the page asks for a URL that is not served, or for a picture that cannot be drawn.
    """
    fonts = FontConfiguration()
    identifier = hashlib.sha256(report_id.encode()).digest()[:16]
    with _failures() as failed, suppress(FatalURLFetchingError):
        style = CSS(string=css, url_fetcher=fetcher, font_config=fonts)
        document = HTML(string=html, url_fetcher=fetcher).render(
            font_config=fonts, stylesheets=[style], pdf_variant=_VARIANT, pdf_tags=True
        )
        with warnings.catch_warnings():
            # WeasyPrint 70 leaves closing its colour profile to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            pdf = document.write_pdf(pdf_variant=_VARIANT, pdf_tags=True, pdf_identifier=identifier)
    if fetcher.refused:  # also where WeasyPrint went on without it, as it does within a drawing
        raise VaultError(
            f"{fetcher.where()}a template of the report, or its logo, asks for something that is neither a font nor a "
            f"chart of ours: {_short(fetcher.refused)}"
        )
    if failed:
        raise VaultError(f"a picture of the report cannot be drawn: {_short(failed[0])}")
    return cast(bytes, pdf), len(document.pages)


def _short(text: str) -> str:
    return " ".join(text.encode("ascii", "backslashreplace").decode().split())[:_SHORT]


@contextmanager
def _failures() -> Iterator[list[str]]:
    """Collects what WeasyPrint only writes to its log: a report that lacks a picture must not look whole."""
    found: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = (  # type: ignore[method-assign]
        lambda record: found.append(record.getMessage()) if record.getMessage().startswith("Failed to") else None
    )
    LOGGER.addHandler(handler)
    try:
        yield found
    finally:
        LOGGER.removeHandler(handler)


@contextmanager
def template_errors() -> Iterator[None]:
    """Turns whatever a template raises into one line that names the template and its line."""
    try:
        yield
    except VaultError:
        raise
    except jinja2.TemplateSyntaxError as error:
        raise VaultError(f"template {error.name}, line {error.lineno}: {error.message}") from error
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(".j2")]
        if isinstance(error, jinja2.TemplateNotFound):
            asked = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}, asks for it)" if frames else ""
            raise VaultError(f"template {error.name} is missing{asked}") from error
        if not frames:
            raise
        name, line = Path(frames[-1].filename).name, frames[-1].lineno
        what = error.message if isinstance(error, jinja2.TemplateError) else type(error).__name__
        raise VaultError(f"template {name}, line {line}: {what}") from error
