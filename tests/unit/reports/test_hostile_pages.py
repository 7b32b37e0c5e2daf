"""Strings of others on every kind's pages: whatever they hold, the page has the same elements as without them.

The pages are compared as HTML, before they are laid out: that costs nothing, and nothing but an element or an attribute
can fetch, execute or lay out anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reports import evidence, wording
from reports.attach import Attachment, describe
from reports.catalog import catalog
from reports.fonts import FontBook
from reports.kind import Pages
from reports.layout import environment
from reports.phrase import Phrase
from tests.support import kind_models, report_model
from tests.unit.reports import test_figures_pages as figures

CALM = "calm"
HOSTILE = (
    "</p></td></table></style></title></textarea><script>alert(1)</script><!-- <![CDATA[ \"' & &lt; &#60;"
    '<img src="http://127.0.0.1:9/x.png"><a href="file:///etc/passwd">x</a><link rel=attachment href=x>'
    "{{ 7*7 }}{% raw %}{{ ''.__class__ }} {name} {0} %s %(x)s ![x](http://127.0.0.1:9) [x](file:///x) "
    "\u202egnp\u2066\u2069\u200f\ufeff\0\x1b[31m\x85\u2028\ud800 e\u0301\u0301\u0301\u0301 https://127.0.0.1:9/"
)
ENDLESS = "x" * 1_000_000
OURS = {
    *("OK", "MODIFIED", "MISSING", "FORKED", "UNSEALED", "ERASED-BY-POLICY"),
    *("events", "decisions", "witness", "time-stamp", "Asia/Shanghai", "envelopes", "open"),
    *("full", "masked", "mixed", "text"),
}
"""Words of the vault's own, which decide about what stands on a page."""

KINDS: dict[str, Callable[[Path], Pages]] = {
    "evidence": lambda _folder: evidence.pages(report_model.evidence(report_model.counted(60))),
    "integrity": lambda _folder: kind_models.integrity_pages(),
    "access": lambda _folder: kind_models.access_pages(),
    "retention": lambda _folder: kind_models.keeping_pages(),
    "completeness": lambda _folder: kind_models.completeness_pages(),
    "threshold": figures._threshold,
    "cost": figures._cost,
    "dossier": figures._dossier,
}


class Elements(HTMLParser):
    """The elements of a page with their attributes, without those that set apart what cannot be shown."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self._open: list[bool] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        escape = ("class", "escape") in attrs and tag == "span"
        if tag == "span":
            self._open.append(escape)
        if not escape:
            self.found.append(f"<{tag} {' '.join(name for name, _ in attrs)}>")
            self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag != "span" or not self._open.pop():
            self.found.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def filled(value: Any, words: str, place: str = "") -> Any:
    """Return a model with every string of others exchanged."""
    if isinstance(value, Phrase):
        return value
    if isinstance(value, str):
        return words if value and value not in OURS and place not in _KEPT else value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: filled(getattr(value, one.name), words, one.name) for one in fields(value)})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(filled(one, words, name) for name, one in zip(value._fields, value, strict=True)))
    if isinstance(value, tuple | list):
        return type(value)(filled(one, words, place) for one in value)
    return value


_KEPT = {"code", "unit", "outcome", "verdict", "zone", "cache", "kind", "minimum"}
"""Fields that hold words of ours."""


def page(build: Callable[[Path], Pages], folder: Path, words: str, language: str = "en") -> Elements:
    pages = build(folder)
    who = replace(filled(pages.who, words), period=pages.who.period, assured=None, signer=None)
    values = {
        name: filled(value, words) if is_dataclass(value) and not isinstance(value, type) else value
        for name, value in pages.values.items()
    }
    files = [describe(Attachment(words[:64], words, "text/plain", b""))]
    templates = environment(wording.Wording(FontBook(), catalog(language)))
    shown = {"who": who, "title": pages.title, "sections": pages.sections, "files": files, "limits": (words,)}
    return Elements(templates.get_template(pages.template).render(shown | values))


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_strings_add_no_element_and_no_attribute(tmp_path: Path, kind: str) -> None:
    for name in ("calm", "hostile", "endless"):
        (tmp_path / name).mkdir()
    calm = page(KINDS[kind], tmp_path / "calm", CALM)
    hostile = page(KINDS[kind], tmp_path / "hostile", HOSTILE, "zh-Hans")
    assert hostile.found == calm.found
    assert CALM in "".join(calm.text)
    text = "".join(hostile.text)
    assert "<script>alert(1)</script>" in text
    assert "\\u{202E}" in text
    assert not re.search("[\0-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]", text)
    for attribute, value in hostile.attributes:
        if attribute in ("src", "href", "data", "style", "srcset", "action", "poster", "background"):
            assert "127.0.0.1" not in value
            assert "passwd" not in value
    endless = page(KINDS[kind], tmp_path / "endless", ENDLESS)
    assert endless.found == calm.found
    assert "(1,000,000 characters)" in "".join(endless.text)
    assert max(map(len, endless.text)) < 3_000
