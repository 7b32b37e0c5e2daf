"""Fold text into the plain form in which the guard looks for numbers.

Full-width, Arabic-Indic and circled digits, no-break and zero-width spaces all mean the same to a reader. Folding
applies NFKC, turns every decimal digit of Unicode into its ASCII digit, every space into a space, every line break into
LF, every dash into ``-``, every middle dot into ``.``, and takes out what cannot be seen. The folded text is only
looked at: nothing stores it and nothing hashes it.

Not folded: letters that merely look like digits (``O`` for 0), numerals spelled out, HTML entities and
percent-encoding.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_LINE_BREAKS = frozenset("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
_DOTS = frozenset("\u00b7\u2022\u2027\u3002\u30fb")
_MINUS = "\u2212"
# Letters by category, yet drawn as nothing: the Hangul fillers.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
_INVISIBLE = frozenset({"Cf", "Cc", "Mn", "Me"})
_SPACES = frozenset({"Zs", "Zl", "Zp"})

_CACHE_LIMIT = 8192


class _Folding(dict[int, str]):
    """Translation table for ``str.translate`` that learns each character when it first meets it.

    The cache stops growing at a bound, since a producer chooses the text.
    """

    def __init__(self, invisible: str) -> None:
        super().__init__()
        self._invisible = invisible

    def __missing__(self, code: int) -> str:
        folded = _fold_character(chr(code), self._invisible)
        if len(self) < _CACHE_LIMIT:
            self[code] = folded
        return folded


def _fold_character(character: str, invisible: str) -> str:
    """One character after NFKC: ``invisible`` stands for every character that is not drawn."""
    if "!" <= character <= "~":
        return character
    if character in _LINE_BREAKS:
        return "\n"
    if character in _DOTS:
        return "."
    if character == "\t":
        return " "
    category = unicodedata.category(character)
    if category in _INVISIBLE or character in _FILLERS:
        return invisible
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category in _SPACES:
        return " "
    if category == "Pd" or character == _MINUS:
        return "-"
    return character


_JOINING = _Folding("")
_PARTING = _Folding(" ")


def fold(text: str) -> str:
    """The folded text, with invisible characters taken out."""
    return _fold(text, _JOINING)


def readings(text: str) -> Iterator[str]:
    """Every folded form in which a reader could see a number, without repeats.

    An invisible character or a line break may stand inside a number (a wrapped line) or between a number and the
    next one, and neither reading contains the other: both are given.
    """
    joined = fold(text)
    yield joined
    parted = _fold(text, _PARTING)
    if parted != joined:
        yield parted
    if "\n" in joined:
        yield joined.replace("\n", "")


def _fold(text: str, table: _Folding) -> str:
    return unicodedata.normalize("NFKC", text).replace("\r\n", "\n").translate(table)
