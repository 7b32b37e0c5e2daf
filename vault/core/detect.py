"""Types of forbidden or personal numbers in one text: the guard's whole judgement about a leaf of the document.

A text is read on several layers: as it stands, with JSON escapes undone (tool arguments are JSON inside a JSON
string), and with one layer of base64 undone. Each layer is folded (``vault.core.folding``) before any number is looked
for. Nothing here returns a digit: callers learn types only.

    >>> sorted(detect("NRIC S1234567D, card 4111 1111 1111 1111, cvv 123"))
    ['card_number', 'cvv', 'identity_number:sg_nric']
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterator

from stdnum import iban

from vault.core.cards import Span, card_numbers, is_card_number
from vault.core.folding import fold, readings
from vault.core.identity import identity_numbers

CARD = "card_number"
TRACK = "track_data"
CVV = "cvv"
IDENTITY = "identity_number:"

# Of the schemes without a check character a bare id could match by chance.
_SELF_CHECKING = frozenset({CARD, *(IDENTITY + scheme for scheme in ("cn_ric", "sg_nric", "hk_id", "kr_rrn"))})


def detect(text: str, key: str = "") -> frozenset[str]:
    """Types found in ``text``.

    Args:
        text: one string of the document, or the digits of a number in it.
        key: the object key it stands under, whose words count as context (``"cvv": 123``); empty for none.
    """
    context = fold(key)
    found: set[str] = set()
    for layer in layers(text):
        for reading in readings(layer):
            found.update(kind for kind, _ in _numbers(reading, context))
        for payload in payloads(layer.encode("utf-8", "surrogatepass")):
            for reading in readings(payload):
                found.update(kind for kind, _ in _numbers(reading, context))
    return frozenset(found)


def detect_whole(text: str) -> frozenset[str]:
    """Types of which ``text`` is one number and nothing else: the test for declared ids.

    Ids are long digit runs by nature, so only numbers that check themselves count, and only when nothing stands
    beside them.
    """
    reading = fold(text).strip()
    whole = Span(0, len(reading))
    return frozenset(kind for kind, span in _numbers(reading, "") if span == whole and kind in _SELF_CHECKING)


_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SHORT_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def layers(text: str) -> Iterator[str]:
    """The text, and the text with its JSON escapes undone where it has any."""
    yield text
    if "\\" in text:
        yield _ESCAPE.sub(_unescape, text)


def _unescape(match: re.Match[str]) -> str:
    code, short = match.groups()
    return chr(int(code, 16)) if code else _SHORT_ESCAPES.get(short, short)


_RUN_LENGTH = 16  # base64 of 12 bytes, the shortest card number
_ALPHABET = bytes(0x78 if chr(b).isascii() and chr(b).isalnum() else 0x20 for b in range(256))
_RUN = b"x" * _RUN_LENGTH
_NOT_DIGITS = bytes(b for b in range(256) if not 0x30 <= b <= 0x39)
_FEWEST_DIGITS = 3


def payloads(data: bytes) -> Iterator[str]:
    """Texts that base64 in ``data`` (UTF-8) may carry: one layer, standard and URL alphabet, wrapped lines joined.

    What is decoded is each unbroken stretch of at least 16 letters and digits, at all four alignments, since a
    prefix may be glued to it; ``+ / - _`` end a stretch (ASCII text rarely makes them, digits never do). Stretches
    without a capital letter (hex, words) carry no text. Only payloads with three ASCII digits are given. Not decoded:
    payloads under 12 bytes, a second layer, compressed content.
    """
    yield from _payloads(data)
    if b"\n" in data.rstrip(b"\n"):
        yield from _payloads(data.translate(None, b"\r\n"))


def _payloads(data: bytes) -> Iterator[str]:
    shape = data.translate(_ALPHABET)
    start = shape.find(_RUN)
    while start >= 0:
        end = shape.find(b" ", start)
        run = data[start:] if end < 0 else data[start:end]
        if not (run.islower() or run.isdigit()):
            for alignment in range(4):
                payload = a2b_base64(_padded(run[alignment:]))
                if len(payload.translate(None, _NOT_DIGITS)) >= _FEWEST_DIGITS:
                    yield payload.decode("utf-8", "replace")
        start = shape.find(_RUN, start + len(run))


def _padded(run: bytes) -> bytes:
    """Whole quads and what is left of the last one; a single character left over carries no byte."""
    over = len(run) % 4
    return run[:-1] if over == 1 else run + b"=" * (-over % 4)


def _numbers(text: str, context: str) -> Iterator[tuple[str, Span]]:
    """Type and place of everything found in folded ``text`` under the folded key ``context``."""
    naming = f"{context} {text}"
    for span in card_numbers(_without_codes(text)):
        yield CARD, span
    for span in _tracks(text):
        yield TRACK, span
    for span in _verification_values(text, context):
        yield CVV, span
    for scheme, span in identity_numbers(text, naming):
        yield IDENTITY + scheme, span


_CODE = re.compile(
    r"(?<![0-9A-Za-z])(?:"
    r"(?=[0-9-]{0,35}[a-f])(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}(?:[0-9a-f]{8}|[0-9a-f]{32})?)"
    r"|(?P<iban>[A-Z]{2}[0-9]{2}(?:[ .-]?[A-Z0-9]){11,30})"
    r")(?![0-9A-Za-z])"
)


def _without_codes(text: str) -> str:
    """The text with UUIDs, digests and bank account numbers blanked: their digits are not those of a card."""
    return _CODE.sub(_blank, text)


def _blank(match: re.Match[str]) -> str:
    code = match.group()
    if match["iban"]:
        # Words in capitals may follow: the account number is the longest beginning that verifies.
        ends = [end for end in range(len(code), 14, -1) if end == len(code) or not code[end].isalnum()]
        account = next((end for end in ends if iban.is_valid(code[:end], check_country=False)), 0)
        return "x" * account + code[account:]
    return "x" * len(code)


_TRACK = re.compile(r"[Bb](?P<one>[0-9]{12,19})\^[^^\n]{2,26}\^[0-9]{4}|(?<![0-9])(?P<two>[0-9]{12,19})[=Dd][0-9]{7}")


def _tracks(text: str) -> Iterator[Span]:
    """Magnetic stripe and chip images. From: ISO/IEC 7813 (tracks 1 and 2), EMV tag 57 (``D`` as separator)."""
    for match in _TRACK.finditer(text):
        if is_card_number(match["one"] or match["two"]):
            yield Span(*match.span())


_VALUE_NAME = (
    r"(?P<sure>cvv2?|cvc2?|cvn2?|card[ _-]{0,3}verification[ _-]{0,3}(?:value|code|number|no)|背面.{0,3}三位)"
    r"|(?P<maybe>security[ _-]{0,3}code|安全[码碼])"
)
_VALUE = re.compile(
    rf"(?:{_VALUE_NAME})(?:[ \n\"'“”:=#_.,()\[\]{{}}是为為码碼号號数數字-]|is|was|code|number|value|no){{0,8}}"
    r"(?P<digits>[0-9]{3,4})(?![0-9%]|[.,][0-9])",
    re.ASCII | re.IGNORECASE,
)
_VALUE_KEY = re.compile(rf"(?:{_VALUE_NAME})(?:[ _-]?(?:code|number|value|no))?$", re.ASCII | re.IGNORECASE)
_ON_A_CARD = re.compile("card|amex|卡", re.ASCII | re.IGNORECASE)


def _verification_values(text: str, context: str) -> Iterator[Span]:
    """Card verification values: three or four digits behind a name for them, in the text or as its key.

    "Security code" alone also names other things; four digits behind it count only where a card is spoken of.
    """
    on_a_card = _ON_A_CARD.search(text) is not None
    for match in _VALUE.finditer(text):
        if match["sure"] or len(match["digits"]) == 3 or on_a_card:
            yield Span(*match.span())
    value = text.strip()
    if context and len(value) in {3, 4} and value.isdigit() and _VALUE_KEY.search(context):
        yield Span(0, len(text))
