r"""Values as they are printed: strings made harmless and visible, numbers, instants, sums, digests.

A producer's string may hold markup, control characters, marks that turn the reading direction, combining
marks in heaps, blanks that look like nothing, a million characters without a break, or characters that no
font of ours can draw. All of it is printed as text: what cannot be shown is shown as its code point,
``\u{202E}``, set apart by its style so that it cannot be mistaken for somebody typing the same thing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from string import Formatter
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from reports.catalog import ENGLISH, Catalog
from reports.figures import Money
from reports.fonts import FontBook
from reports.phrase import Phrase, phrase

LIMIT = 160
"""Characters of a string that are printed: a record id (at most 128) always stands in full."""

_SENTENCE = 2000
"""Characters of a phrase that are printed: ours are shorter, but what was put into one may not be."""

_MARKS_IN_A_ROW = 2
_NOTE_LINES = 24
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_VISIBLE_BLANKS = frozenset(" \u3000")
# Letters and marks that draw nothing although Unicode does not call them format characters.
_BLANK_LETTERS = frozenset(
    [
        0x034F,
        0x115F,
        0x1160,
        0x17B4,
        0x17B5,
        0x2800,
        0x3164,
        0xFFA0,
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
    ]
)


class Wording:
    """Printing for one report: knows its fonts and its language, and collects which fonts the strings need."""

    def __init__(self, fonts: FontBook, catalog: Catalog = ENGLISH) -> None:
        self._fonts = fonts
        self._catalog = catalog

    def say(self, message: str, **parts: Any) -> Markup:
        """A message of ours in the report's language, for an HTML text node. It may hold markup; what is put into its
        places may not: strings are printed as `text`, whole numbers with their thousands apart."""
        said = self._catalog.say(message)
        if parts:
            _require_names(said)
        for character in said:
            if not character.isascii():
                self._fonts.covers(character)
        ours = Markup(said)  # noqa: S704 - catalogues are part of this program
        return ours.format(**{name: self._part(part) for name, part in parts.items()}) if parts else ours

    def word(self, value: str) -> Markup:
        """A word of ours that comes with the figures, such as a state; one that is none of ours is text."""
        return self.text(self._catalog.say(value))

    def choose(self, count: int, one: str, many: str, **parts: Any) -> Markup:
        """The message for one or that for another number, said with ``count``."""
        return self.say(one if count == 1 else many, count=count, **parts)

    def _part(self, part: Any) -> Any:
        if isinstance(part, str) and not isinstance(part, Markup):
            return self.text(part, _SENTENCE if isinstance(part, Phrase) else LIMIT)
        return number(part) if isinstance(part, int) and not isinstance(part, bool) else part

    def _said(self, value: str, limit: int) -> tuple[str, int]:
        if isinstance(value, Phrase):
            return self._catalog.of(value), max(limit, _SENTENCE)
        return value, limit

    def text(self, value: str, limit: int = LIMIT) -> Markup:
        """A string for an HTML text node; a phrase is said in the report's language."""
        value, limit = self._said(value, limit)
        if len(value) <= limit and value.isascii() and value.isprintable():
            return escape(value)
        pieces = (
            Markup('<span class="escape">{}</span>').format(piece) if hidden else escape(piece)
            for piece, hidden in self._pieces(value, limit)
        )
        return Markup("").join(pieces)

    def plain(self, value: str, limit: int = LIMIT) -> str:
        """The same without markup, for attributes, metadata and chart labels."""
        value, limit = self._said(value, limit)
        return "".join(piece for piece, _ in self._pieces(value, limit))

    def label(self, value: str, limit: int) -> str:
        """A short string for a drawing: cut with a bare ellipsis, since the table beside it says more."""
        value = self._catalog.of(value)
        return self.plain(value, limit) if len(value) <= limit else self.plain(value[: limit - 1]) + "\u2026"

    def lines(self, value: str, limit: int = LIMIT) -> Markup:
        """Like `text`, with line feeds kept: for a signed note, whose lines are part of its format."""
        return Markup("\n").join(self.text(line, limit) for line in value.splitlines()[:_NOTE_LINES])

    def _pieces(self, value: str, limit: int) -> Iterator[tuple[str, bool]]:
        marks = 0
        for character in value[:limit]:
            mark = unicodedata.category(character) in ("Mn", "Me")
            marks = marks + 1 if mark else 0
            if marks <= _MARKS_IN_A_ROW and self._shows(character):
                yield character, False
            else:
                yield f"\\u{{{ord(character):04X}}}", True
        if len(value) > limit:
            cut = self._catalog.of(phrase("… ({count:,} characters)", count=len(value)))
            for character in cut:
                self._fonts.covers(character)
            yield cut, True

    def _shows(self, character: str) -> bool:
        category = unicodedata.category(character)
        if category in _HIDDEN_CATEGORIES or ord(character) in _BLANK_LETTERS:
            return False
        if category == "Zs":
            return character in _VISIBLE_BLANKS
        return self._fonts.covers(character)


def _require_names(message: str) -> None:
    """Refuse a message with places that reach into what stands there: ``str.format`` knows no sandbox, and an
    operator's template chooses its messages."""
    for _, place, spelled, _ in Formatter().parse(message):
        if (place and not place.isidentifier()) or (spelled and "{" in spelled):
            raise ValueError("a place in a message is a name")


def number(value: int) -> str:
    """``1234567`` as ``1,234,567``."""
    return f"{value:,}"


def share(part: int, whole: int) -> str:
    """A percentage with one digit that never rounds a remainder away: ``100 %`` and ``0 %`` mean all and
    none."""
    if whole == 0:
        return "\u2013"
    if part in (0, whole):
        return "100 %" if part else "0 %"
    tenths = min(max(round(1000 * part / whole), 1), 999)
    return f"{tenths // 10}.{tenths % 10} %"


def completeness(value: Fraction | None) -> str:
    """Rounded down to a hundredth of a percent: one missing log in a million is not printed as 100 %."""
    if value is None:
        return "\u2013"
    if value == 1:
        return "100 %"
    hundredths = int(value * 10_000)
    return f"{hundredths // 100}.{hundredths % 100:02d} %"


def instant(value: datetime | None) -> str:
    """``2026-01-05 08:01:12 UTC``; an en dash for none."""
    return "\u2013" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def day(value: datetime | None) -> str:
    """The UTC date and minute, for narrow columns."""
    return "\u2013" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def local_day(value: datetime, zone: str) -> str:
    """``2026-01-05``, with the time of day where it is not midnight in that zone."""
    there = value.astimezone(ZoneInfo(zone))
    return there.strftime("%Y-%m-%d" if (there.hour, there.minute, there.second) == (0, 0, 0) else "%Y-%m-%d %H:%M:%S")


def w3c(value: datetime) -> str:
    """W3C profile of ISO 8601, in UTC, as document metadata wants it."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")


def percent(value: Fraction) -> str:
    """``19/20`` as ``95 %``."""
    return f"{float(value * 100):g} %"


def decimal(value: Decimal) -> str:
    """All digits, grouped by thousands, never in exponent form."""
    return f"{value:,f}"


def amount(value: Decimal) -> str:
    """An amount of money: all its digits, grouped by thousands, at least two behind the point."""
    whole, _, rest = decimal(value).partition(".")
    return f"{whole}.{rest:0<2}"


def money(value: Money | None) -> str:
    """``CNY 1,128.50``; an en dash for none."""
    return "\u2013" if value is None else f"{value.currency} {decimal(value.amount)}"


def score(value: float | None) -> str:
    """Four digits, cut and not rounded, so that 0.74999 is not printed as its threshold 0.75."""
    # The millionth makes up for binary fractions: 0.0003 * 10_000 is just below 3.
    return "\u2013" if value is None else f"{int(value * 10_000 + 1e-6) / 10_000:.4f}"


def threshold(value: float | None) -> str:
    """At least two digits, as short as it is exact to four."""
    return "\u2013" if value is None else f"{value:.4f}".rstrip("0").ljust(4, "0")


def hexadecimal(value: bytes) -> str:
    return value.hex()


def size(value: int) -> str:
    """Bytes, in the unit that leaves at most four digits before the point."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= factor:
            return f"{value / factor:,.1f} {unit}"
    return f"{value} bytes"
