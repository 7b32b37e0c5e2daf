"""A few passes over bytes that tell, without reading a text, that the guard would find nothing in it.

Most records hold no number worth a look, so this is what most records cost: three translations and a dozen
substring searches, each at memory speed. ``may_match`` may say yes for nothing, and then the detectors decide;
it must never say no where they would find something (property tests run both). What makes that hold:

- Each translation keeps everything a detector can demand and forgets the rest: separators that detectors skip
  are deleted or become one character, characters that detectors refuse between digits stay.
- UTF-8 is read as bytes. A lead byte of U+4000 to U+9FFF (nearly all of written Chinese) parts digits, as it
  does for the detectors; other characters are taken for separators, and their continuation bytes deleted.
- A character that folding would turn into an ASCII letter, digit or bracket, or take out, is *unusual*: the
  answer is yes at once. ``_USUAL`` lists blocks known to be free of them; a test folds all their characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vault.core.detect import payloads

_DIGITS = b"0123456789"
_LOWER = bytes(range(0x61, 0x7B))
_LETTERS = _LOWER + _LOWER.upper()
_CONTROLS = bytes(b for b in (*range(0x20), 0x7F) if b not in b"\t\n\r")
_PARTING = bytes(range(0xE4, 0xEA))
_CONTINUATION = bytes(range(0x80, 0xC0))


def _table(image: Callable[[int], str]) -> bytes:
    return "".join(map(image, range(256))).encode("latin-1")


# JOINED: a digit is 0; a letter is x, or itself where it spells a name of the card verification value; a control
# character is !; whatever else may stand between the digits of a number is deleted.
_SPELLED = b"cdorvy"


def _joined(byte: int) -> str:
    if byte in _DIGITS:
        return "0"
    if byte in _LETTERS:
        return chr(byte | 0x20) if byte | 0x20 in _SPELLED else "x"
    if byte in _CONTROLS:
        return "!"
    return "~" if byte in _PARTING else chr(byte)


_JOINED = _table(_joined)
_BETWEEN = bytes(b for b in range(256) if b not in _DIGITS + _LETTERS + _CONTROLS + _PARTING)
_BETWEEN_QUOTES = _BETWEEN.replace(b'"', b"")
_CARD_DIGITS = b"0" * 12


# SHAPED: a digit is 0, a letter a, an opening bracket itself; what may part the groups of a short number is -.
def _shaped(byte: int) -> str:
    if byte in _DIGITS:
        return "0"
    if byte in _LETTERS:
        return "a"
    if byte in b" \t\n\r-._" or byte >= 0x80:
        return "-"
    return "(" if byte == 0x28 else "|"


_SHAPED = _table(_shaped)

_USUAL = (
    "\t\n\r -~"
    "\u00a0-\u00a7\u00a9\u00ab\u00ac\u00ae\u00b0\u00b1\u00b6\u00b7\u00bb\u00bf-\u0131\u0134-\u013e\u0141-\u0148"
    "\u014a-\u017e\u0391-\u03a1\u03a3-\u03ce\u0400-\u0482\u048a-\u04ff"
    "\u2010-\u2015\u2018-\u201e\u2020-\u2022\u2026\u2030\u2039\u203a\u20ac\u2190-\u21ff"
    "\u3001-\u3029\u3030\u3041-\u3096\u309d-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\uff01\uff04-\uff0a\uff0c\uff0e\uff1a\uff1b\uff1f\uff20\uffe5\ufffd"
    "\u2600-\u26ff\U0001f300-\U0001f64f\U0001f680-\U0001f6d7\U0001f900-\U0001f9ff"
)
_UNUSUAL = re.compile(f"[^{_USUAL}]")
_WIDE_BRACKET = "\uff08".encode()


def may_match(data: bytes, *, quotes_part: bool = False) -> bool:
    """False only where no detector finds anything in any of the texts in ``data``.

    Args:
        data: UTF-8: one text, or several with U+4E00 between them, which parts digits and adds no word.
        quotes_part: no text contains a quote, so quotes too stand between texts (JSON without escapes).
    """
    return _any_sign(data, quotes_part) or any(
        _any_sign(payload.encode("utf-8", "surrogatepass"), False) for payload in payloads(data)
    )


def _any_sign(data: bytes, quotes_part: bool) -> bool:
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    ascii_only = data.isascii()
    if not ascii_only:
        if _UNUSUAL.search(data.decode("utf-8", "surrogatepass")):
            return True
        data = data.replace(_WIDE_BRACKET, b"(")
    between = _BETWEEN_QUOTES if quotes_part else _BETWEEN
    joined = data.translate(_JOINED, between)
    if b"!" in joined or b"<" in data:
        return True
    if _CARD_DIGITS in joined:
        # Only now, since few come here: a time with a numeric offset looks like 13 digits and more.
        data = _without_long_runs(_TIME.sub(b'""', data) if quotes_part else data)
        if _CARD_DIGITS in data.translate(_JOINED, between):
            return True
    # Texts are also read with their line breaks taken out. JOINED has none, names and shapes may need either.
    unbroken = data.translate(None, b"\n") if b"\n" in data.rstrip(b"\n") else data
    if _names_a_value(joined, unbroken, ascii_only):
        return True
    unshaped = b"" if ascii_only else _CONTINUATION
    return _shapes_an_identity(data.translate(_SHAPED, unshaped), data, unbroken, ascii_only) or (
        unbroken is not data
        and _shapes_an_identity(unbroken.translate(_SHAPED, unshaped), unbroken, unbroken, ascii_only)
    )


def _without_long_runs(data: bytes) -> bytes:
    """Each run of 20 digits or more made a letter: no number is found in one.

    Trade numbers of 28 digits stand in every record of some producers.
    """
    shaped = data.translate(_SHAPED)
    kept: list[bytes] = []
    end = 0
    while (start := shaped.find(_LONG_RUN, end)) >= 0:
        kept.append(data[end:start])
        end = len(shaped) - len(shaped[start:].lstrip(b"0"))
    kept.append(data[end:])
    return b"x".join(kept)


_LONG_RUN = b"0" * 20

# A text that is nothing but an RFC 3339 time. No detector finds a number in one: a test runs them over such times.
_TIME = re.compile(
    rb'"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"'
)


def _names_a_value(joined: bytes, data: bytes, ascii_only: bool) -> bool:
    """A name of the card verification value; in ``joined`` first, where they are short and rare."""
    if not ascii_only and any(name in data for name in _VALUE_NAMES):
        return True
    return (
        (b"cv" in joined and any(name in data.lower() for name in (b"cvv", b"cvc", b"cvn")))
        or (b"ycod" in joined and b"security" in data.lower())
        or (b"rdv" in joined and b"verification" in data.lower())
    )


_VALUE_NAMES = tuple(name.encode() for name in ("安全码", "安全碼", "背面"))


def _shapes_an_identity(shaped: bytes, data: bytes, naming: bytes, ascii_only: bool) -> bool:
    """The short numbers: Singapore and Hong Kong by their letters, the United States by groups or by a name."""
    if b"000-00-0000" in shaped:
        return True
    if b"(" in shaped and (b"a000000(" in shaped or b"a000000-(" in shaped):
        return True
    if b"000000" not in shaped:
        return False
    if b"0000000" in shaped and (
        b"a-0000000-a" in shaped
        or (b"a0000000a" in shaped and _SINGAPORE.search(data))
        or (b"000000000" in shaped and any(name in naming.lower() for name in (b"ssn", b"security")))
    ):
        return True
    return b"a000000" in shaped and (
        any(name in naming.lower() for name in (b"hkid", b"hk_id"))
        or (not ascii_only and any(name in naming for name in _HONG_KONG_NAMES))
    )


_SINGAPORE = re.compile(rb"(?<![0-9A-Za-z])[STFGMstfgm][0-9]{7}[A-Za-z](?![0-9A-Za-z])")
_HONG_KONG_NAMES = tuple(name.encode() for name in ("身份證", "身份证"))
