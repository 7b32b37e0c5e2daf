"""The report's own typefaces, and which characters they can draw.

A PDF prints nothing where a font lacks a character, while its text still extracts: the page would lie by
omission. So every string is checked against these fonts before layout, and what none of them can draw is
printed as an escape.

The files come from the PyPI distribution ``weblate-fonts`` (SIL Open Font License 1.1, kept by the Weblate
project): Source Sans 3 and Source Code Pro for the report itself; Kurinto Sans for other alphabets,
Chinese (simplified first, then traditional), Japanese and Korean. System fonts are never used, so a report
looks the same on every machine.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

from vault.core.errors import UsageError

SANS = "Report Sans"
MONO = "Report Mono"
_PACKAGE = "weblate_fonts"


@dataclass(frozen=True, slots=True)
class Face:
    """One font file as the style sheet names it. ``path`` is relative to the package's font folder."""

    family: str
    weight: int
    style: str
    path: str


BASE = (
    Face(SANS, 300, "normal", "source-sans/ttf/SourceSans3-Light.ttf"),
    Face(SANS, 400, "normal", "source-sans/ttf/SourceSans3-Regular.ttf"),
    Face(SANS, 400, "italic", "source-sans/ttf/SourceSans3-It.ttf"),
    Face(SANS, 600, "normal", "source-sans/ttf/SourceSans3-Semibold.ttf"),
    Face(MONO, 400, "normal", "source-code/ttf/SourceCodePro-Regular.ttf"),
)
# In the order in which a character looks for its font.
FALLBACK = (
    Face("Report SC", 400, "normal", "kurinto/ttf/KurintoSansSC-Rg.ttf"),
    Face("Report TC", 400, "normal", "kurinto/ttf/KurintoSansTC-Rg.ttf"),
    Face("Report JP", 400, "normal", "kurinto/ttf/KurintoSansJP-Rg.ttf"),
    Face("Report KR", 400, "normal", "kurinto/ttf/KurintoSansKR-Rg.ttf"),
    Face("Report World", 400, "normal", "kurinto/ttf/KurintoSans-Rg.ttf"),
)


def file_of(face: Face) -> Path:
    """The font file.

    Raises:
        UsageError: the distribution that carries the fonts is not installed, or is not the one we know.
    """
    found = importlib.util.find_spec(_PACKAGE)
    roots = list(found.submodule_search_locations or ()) if found else []
    path = Path(roots[0], "static", _PACKAGE, face.path) if roots else None
    if path is None or not path.is_file():
        raise UsageError("the report's fonts are missing: install the Python distribution weblate-fonts")
    return path


@lru_cache(maxsize=len(BASE) + len(FALLBACK))
def coverage(face: Face) -> frozenset[int]:
    """Code points that the face has a glyph for."""
    with TTFont(file_of(face), lazy=True) as font:
        return frozenset(font.getBestCmap())


class FontBook:
    """Answers which characters can be drawn, and remembers which fallback faces that took.

    The big faces (5 to 10 MB each) are opened only when a character asks for them, and only those asked
    for are given to the layout.
    """

    def __init__(self) -> None:
        self._used: set[Face] = set()
        self._known = set(coverage(BASE[1]))

    def covers(self, character: str) -> bool:
        """Whether some face can draw the character."""
        point = ord(character)
        if point in self._known:
            return True
        for face in FALLBACK:
            if point in coverage(face):
                self._used.add(face)
                self._known.add(point)
                return True
        return False

    def faces(self) -> tuple[Face, ...]:
        """The faces that the strings asked so far need."""
        return BASE + tuple(face for face in FALLBACK if face in self._used)
