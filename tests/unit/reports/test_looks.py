"""Looks: pages as pictures, compared with those that a person looked at and found good.

A picture is small and grey, and what is compared are tiles of four millimetres, so that another rasteriser of type
passes while a table that moved, a column that wraps or a chart that lost a bar does not. After a change that is meant:

    REASONVAULT_RENEW_LOOKS=1 pytest tests/unit/reports/test_looks.py

writes the pictures anew (tests/vectors/looks); look at them before they are committed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pypdfium2
import pytest
from PIL import Image, ImageChops

from reports import evidence
from reports.attach import Attachment, describe
from reports.kind import Pages
from reports.layout import lay_out
from reports.look import Look
from tests.support import kind_models, report_model
from tests.unit.reports import test_figures_pages as figures
from tests.unit.reports.test_render import text_of

LOOKS = Path(__file__).parents[2] / "vectors" / "looks"
DPI, FINER = 36, 3
TILE = 6  # pixels: four millimetres
MOST = 40.0  # of 255: what a tile may differ by. Type without smoothing: 25; all of it moved by 0.7 mm: 57 and more
_MM = 72 / 25.4
_RENEW = bool(os.environ.get("REASONVAULT_RENEW_LOOKS"))


def _evidence(_folder: Path) -> Pages:
    return evidence.pages(report_model.evidence(report_model.counted(400)))


KINDS: dict[str, tuple[Callable[[Path], Pages], str]] = {
    "evidence-en": (_evidence, "en"),
    "evidence-zh": (_evidence, "zh-Hans"),
    "integrity-zh": (lambda _folder: kind_models.integrity_pages(), "zh-Hans"),
    "access-zh": (lambda _folder: kind_models.access_pages(), "zh-Hans"),
    "retention-en": (lambda _folder: kind_models.keeping_pages(), "en"),
    "completeness-en": (lambda _folder: kind_models.completeness_pages(), "en"),
    "threshold-en": (figures._threshold, "en"),
    "cost-zh": (figures._cost, "zh-Hans"),
    "dossier-en": (figures._dossier, "en"),
}


@pytest.fixture(scope="module", params=KINDS)
def laid_out(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, bytes, pypdfium2.PdfDocument]]:
    """The name, the PDF and its pages."""
    build, language = KINDS[request.param]
    attached = [describe(Attachment("population.jsonl", "one a line", "application/jsonl", b"{}\n"))]
    pdf, _ = lay_out(build(tmp_path_factory.mktemp("look")), attached, Look(language))
    document = pypdfium2.PdfDocument(pdf)
    yield request.param, pdf, document
    document.close()


def picture(document: pypdfium2.PdfDocument, **how: Any) -> Image.Image:
    """All pages beside each other, in sixteen greys, averaged from a finer picture."""
    pages = [page.render(scale=DPI * FINER / 72, grayscale=True, **how).to_pil().reduce(FINER) for page in document]
    columns = 7
    width, height = pages[0].size
    sheet = Image.new("L", (width * min(columns, len(pages)), height * -(-len(pages) // columns)), 255)
    for at, page in enumerate(pages):
        sheet.paste(page, (at % columns * width, at // columns * height))
    return sheet.point(lambda grey: min(grey // 16 * 17, 255))


def difference(one: Image.Image, other: Image.Image) -> float:
    """The worst tile's mean absolute difference."""
    if one.size != other.size:
        return 255.0
    apart = np.asarray(ImageChops.difference(one, other), dtype=np.float64)
    height, width = (length // TILE * TILE for length in apart.shape)
    tiles = apart[:height, :width].reshape(height // TILE, TILE, width // TILE, TILE).mean(axis=(1, 3))
    return float(tiles.max())


def test_pages_look_as_somebody_found_them_good(laid_out: tuple[str, bytes, pypdfium2.PdfDocument]) -> None:
    name, _, document = laid_out
    made, path = picture(document), LOOKS / f"{name}.png"
    if _RENEW:
        LOOKS.mkdir(exist_ok=True)
        made.quantize(16, dither=Image.Dither.NONE).save(path, optimize=True)
    with Image.open(path) as kept:
        assert difference(made, kept.convert("L")) <= MOST, f"{name} looks otherwise: see how to renew it above"


def test_nothing_leaves_the_margins(laid_out: tuple[str, bytes, pypdfium2.PdfDocument]) -> None:
    name, _, document = laid_out
    for number, page in enumerate(document, 1):
        width, height = page.get_size()
        left, right = 22 * _MM - 1, width - 22 * _MM + 1
        text = page.get_textpage()
        for at in range(text.count_rects()):
            box: Any = text.get_rect(at)
            where = (name, number, text.get_text_bounded(*box))
            assert left <= box[0] <= box[2] <= right, where
            assert 8 * _MM <= box[1] <= box[3] <= height - 8 * _MM, where


def test_no_text_lies_on_another(laid_out: tuple[str, bytes, pypdfium2.PdfDocument]) -> None:
    name, _, document = laid_out
    for number, page in enumerate(document, 1):
        text = page.get_textpage()
        boxes = np.array([text.get_rect(at) for at in range(text.count_rects())])
        left, bottom, right, top = (boxes[:, at] for at in range(4))
        wide = np.minimum.outer(right, right) - np.maximum.outer(left, left)
        high = np.minimum.outer(top, top) - np.maximum.outer(bottom, bottom)
        one, other = np.nonzero(np.triu((wide > 1.5) & (high > 1.5), 1))
        assert [text.get_text_bounded(*boxes[at]) for at in (*one[:1], *other[:1])] == [], (name, number)


def test_every_character_has_a_glyph(laid_out: tuple[str, bytes, pypdfium2.PdfDocument]) -> None:
    name, pdf, _ = laid_out
    with pikepdf.open(io.BytesIO(pdf)) as opened:
        printed = text_of(opened)  # fails on a glyph that is missing
    assert ("记录" in printed) == name.endswith("-zh")


def test_another_rasteriser_passes_and_what_moved_does_not(laid_out: tuple[str, bytes, pypdfium2.PdfDocument]) -> None:
    name, _, document = laid_out
    if name != "integrity-zh":
        return
    good = picture(document)
    rough = picture(document, no_smoothtext=True, no_smoothpath=True)
    assert difference(good, rough) < MOST
    moved = good.copy()
    width, height = good.size
    moved.paste(good.crop((0, 60, width, height - 2)), (0, 62))  # by a millimetre and a half
    assert difference(good, moved) > MOST
    assert difference(good, good.crop((0, 0, width, height - 1))) == 255.0, "another number of pages"


def test_the_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in LOOKS.glob("*.png")) < 600_000
    assert {path.stem for path in LOOKS.glob("*.png")} == set(KINDS)
