"""ISO 19005-3, 6.2.11: fonts embedded, of the widths they claim, and every drawn glyph with its text."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterator

import pikepdf
from fontTools.ttLib import TTFont, TTLibError  # type: ignore[import-untyped]
from pikepdf import Dictionary, Object

Drawn = dict[tuple[int, int], tuple[Object, set[int]]]


def faults(pdf: pikepdf.Pdf) -> Iterator[str]:
    """Faults of every font that a page draws with; glyphs of fonts that none draws with are not looked at."""
    drawn: Drawn = {}
    for page in pdf.pages:
        _collect(page.obj, page.obj.get("/Resources", Dictionary()), drawn, set())
    for font, codes in drawn.values():
        name = str(font.get("/BaseFont", "?"))
        for fault in _font(font, codes):
            yield f"{fault} ({name})"


def _collect(content: Object, resources: Object, drawn: Drawn, seen: set[tuple[int, int]]) -> None:
    font: Object | None = None
    stack: list[Object | None] = []
    for operands, operator in pikepdf.parse_content_stream(content):
        word = str(operator)
        if word == "q":
            stack.append(font)
        elif word == "Q":
            font = stack.pop()
        elif word == "Tf":
            font = resources.Font[str(operands[0])]
        elif word in ("Tj", "TJ", "'", '"') and font is not None:
            codes = drawn.setdefault(font.objgen, (font, set()))[1]
            wide = font.get("/Subtype") == "/Type0"
            for part in operands[-1] if word == "TJ" else [operands[-1]]:
                if isinstance(part, pikepdf.String):
                    raw = bytes(part)
                    codes |= (
                        {int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)} if wide else {*raw}
                    )
    for one in resources.get("/XObject", Dictionary()).values():
        if one.get("/Subtype") == "/Form" and one.objgen not in seen:
            seen.add(one.objgen)
            _collect(one, one.get("/Resources", resources), drawn, seen)


def _font(font: Object, codes: set[int]) -> Iterator[str]:
    if font.get("/Subtype") != "/Type0":
        yield f"6.2.11 fonts: {font.get('/Subtype')}, which these rules do not know"
        return
    if font.get("/Encoding") != "/Identity-H":
        yield "6.2.11.3.3 fonts: an encoding that is neither embedded nor Identity"
    (inner,) = font.DescendantFonts
    descriptor = inner.get("/FontDescriptor", Dictionary())
    program = descriptor.get("/FontFile2", descriptor.get("/FontFile3"))
    if program is None:
        yield "6.2.11.4.1 fonts: not embedded"
        return
    if inner.get("/Subtype") == "/CIDFontType2" and inner.get("/CIDToGIDMap") is None:
        yield "6.2.11.3.2 fonts: no map from CID to glyph"
    if 0 in codes:
        yield "6.2.11.8 fonts: .notdef is drawn"
    yield from _texts(font, codes)
    yield from _widths(inner, program, codes)


def _texts(font: Object, codes: set[int]) -> Iterator[str]:
    if "/ToUnicode" not in font:
        yield "6.2.11.7.2 fonts: no map to Unicode"
        return
    pairs = re.findall(rb"<([0-9a-fA-F]{4})>\s*<([0-9a-fA-F]+)>\s*\n", font.ToUnicode.read_bytes())
    texts = {int(code, 16): bytes.fromhex(text.decode()).decode("utf-16-be", "replace") for code, text in pairs}
    for code in sorted(codes):
        if not texts.get(code) or {"\0", "\ufeff", "\ufffe", "\ufffd"} & set(texts[code]):
            yield f"6.2.11.7.2 fonts: glyph {code} has no text"


def _widths(inner: Object, program: Object, codes: set[int]) -> Iterator[str]:
    try:
        font = TTFont(io.BytesIO(program.read_bytes()), lazy=True)
        scale, metrics, order = 1000 / font["head"].unitsPerEm, font["hmtx"], font.getGlyphOrder()
    except (TTLibError, KeyError) as error:
        yield f"6.2.11.4.1 fonts: the program cannot be read ({type(error).__name__})"
        return
    claimed: dict[int, float] = defaultdict(lambda: float(inner.get("/DW", 1000)), _listed(inner))
    mapped = inner.get("/CIDToGIDMap")
    table = mapped.read_bytes() if isinstance(mapped, pikepdf.Stream) else None
    for code in sorted(codes):
        glyph = int.from_bytes(table[2 * code : 2 * code + 2], "big") if table is not None else code
        if glyph >= len(order):
            yield f"6.2.11.4.1 fonts: glyph {code} is not embedded"
        elif abs(metrics[order[glyph]][0] * scale - claimed[code]) > 1:
            yield f"6.2.11.5 fonts: glyph {code} has another width"


def _listed(inner: Object) -> Iterator[tuple[int, float]]:
    """ISO 32000-1, 9.7.4.3: ``c [w1 w2 ...]`` and ``first last w``."""
    entries = list(inner.get("/W", []))
    at = 0
    while at < len(entries):
        first = int(entries[at])
        if isinstance(entries[at + 1], pikepdf.Array):
            for step, width in enumerate(entries[at + 1]):
                yield first + step, float(width)
            at += 2
        else:
            for code in range(first, int(entries[at + 1]) + 1):
                yield code, float(entries[at + 2])
            at += 3
