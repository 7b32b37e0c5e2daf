"""A few passes over bytes that tell, without reading a text, that the guard would find nothing in it.

Most records hold no number worth a look, so this is what most records cost: three translations and a few substring
searches, each at memory speed. ``may_match`` may say yes for nothing, and then the detectors decide; it must never say
no where they would find something (a property test runs both). What makes that hold:

- Each translation keeps everything a detector can demand and forgets the rest: separators that detectors skip are
  deleted or become one character, characters that detectors refuse between digits stay.
- UTF-8 is read as bytes. A lead byte of U+4000 to U+9FFF (nearly all of written Chinese) parts digits, as it does for
  the detectors; other characters are taken for separators, and their continuation bytes deleted.
- A character that folding would turn into an ASCII letter, digit or bracket, or take out, is *unusual*: the answer is
  yes at once. ``_USUAL`` lists the blocks known to be free of them; a test folds every one of their characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vault.core.detect import payloads

_DIGITS = b"0123456789"
_UPPER = bytes(range(0x41, 0x5B))
_LOWER = bytes(range(0x61, 0x7B))
_ALNUM = _DIGITS + _UPPER + _LOWER
_PARTING = bytes(range(0xE4, 0xEA))
_CONTINUATION = bytes(range(0x80, 0xC0))


def _table(image: Callable[[int], str]) -> bytes:
    return "".join(image(byte) for byte in range(256)).encode("latin-1")


# JOINED: digits are 0, letters x but for those that spell the names of card verification values; what is neither letter
# nor digit is deleted, and vowels too, for shorter strings (deleting can only join more). A quote stays: see may_match.
_SPELLED = b"cdnrvy"
_JOINED = _table(
    lambda b: "0" if b in _DIGITS
    else ("x" if bytes([b | 32]) not in (bytes([s]) for s in _SPELLED) else chr(b | 32)) if b in _ALNUM
    else "~" if b in _PARTING
    else chr(b)
)
_UNJOINED = bytes(b for b in range(256) if b not in _ALNUM + _PARTING + b'"') + b"aeiouAEIOU"
_CARD_DIGITS = b"0" * 12

# SHAPED: digits are 0, letters a or A, possible separators of grouped numbers and all other characters -, "(" itself.
_SEPARATORS = b" \t\n\r\v\f\x1c\x1d\x1e-._"
_SHAPED = _table(
    lambda b: "0" if b in _DIGITS
    else "a" if b in _UPPER + _LOWER
    else "(" if b == 0x28
    else "-" if b in _SEPARATORS or b >= 0x80
    else "|"
)

_USUAL = (
    "\\t\\n\\r -~"
    "\u00a0-\u00a7\u00a9\u00ab\u00ac\u00ae\u00b0\u00b1\u00b6\u00b7\u00bb\u00bf-\u0131\u0134-\u013e\u0141-\u0148\u014a-\u017e"
    "\u0391-\u03a1\u03a3-\u03ce\u0400-\u0482\u048a-\u04ff"
    "\u2010-\u2015\u2018-\u201e\u2020-\u2022\u2026\u2030\u2039\u203a\u20ac\u2190-\u21ff"
    "\u3001-\u3029\u3030\u3041-\u3096\u309b-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\uff01\uff04-\uff0a\uff0c\uff0e\uff1a\uff1b\uff1f\uff20\uffe5\ufffd"
)
_UNUSUAL = re.compile(f"[^{_USUAL}]")
_WIDE_BRACKET = "\uff08".encode()
_SIGNS = tuple(word.encode() for word in ("安全码", "安全碼", "背面"))
_HK_SIGNS = ("hkid", "hk_id", "身份證", "身份证")


def may_match(data: bytes) -> bool:
    """False only where no detector finds anything in ``data``.

    Args:
        data: UTF-8; it begins and ends with a character that is neither letter nor digit. Either one text, or several
            with a character between them that parts digits: U+4E00, or a quote where no text contains one.
    """
    return _any_sign(data) or any(_any_sign(f'"{text}"'.encode()) for text in payloads(data))


def _any_sign(data: bytes) -> bool:
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    ascii_only = data.isascii()
    if ascii_only:
        if _CONTROLS.search(data):
            return True
    elif _UNUSUAL.search(data.decode("utf-8", "surrogatepass")):
        return True
    else:
        data = data.replace(_WIDE_BRACKET, b"(")
    joined = data.translate(_JOINED, _UNJOINED)
    if _CARD_DIGITS in joined or b"<" in data:
        return True
    shaped = data.translate(_SHAPED, None if ascii_only else _CONTINUATION)
    return False
