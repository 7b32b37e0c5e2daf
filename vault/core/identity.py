"""Identity numbers in folded text: each scheme's form, check character and neighbours.

| type    | number                                             | demanded besides the form                           |
|---------|----------------------------------------------------|-----------------------------------------------------|
| cn_ric  | resident identity number, China                    | province, date, MOD 11-2                            |
| sg_nric | NRIC and FIN, Singapore                            | check letter                                        |
| hk_id   | identity card, Hong Kong                           | check digit; brackets, or a word that names it      |
| us_ssn  | social security number, United States              | issued area and group; 3-2-4, or a word             |
| kr_rrn  | resident registration number, Korea                | date, check digit; 6-7, or a word                   |
| my_nric | identity card (MyKad), Malaysia                    | date, place of birth; 6-2-4, or a word              |
| mrz     | machine-readable zone of a passport or card        | every check digit; a filler ``<`` in the text       |

"A word" is one that names the document, in the text or in the key it stands under: those numbers have too little
redundancy to be told from other numbers of their length. Korean numbers issued since October 2020 have no check digit
and are not found. Bank account numbers (IBAN) name an account, not a person, and are not reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from stdnum.kr import rrn
from stdnum.my import nric as mykad
from stdnum.us import ssn

from vault.core.cards import Span, chains, is_resident_number, may_begin_resident_number

_SOFT_GAP = re.compile(r"[ \n._-]{1,3}")
_FINAL_X = re.compile(r"[ \n._-]?[Xx](?![0-9A-Za-z])")
_LETTER_OR_DIGIT = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def identity_numbers(text: str, naming: str) -> Iterator[tuple[str, Span]]:
    """Scheme and place of each identity number.

    Args:
        text: folded text.
        naming: folded text in which a word may name the document: the text itself and the key it stands under.
    """
    for scheme, find in _SCHEMES:
        for span in find(text, naming):
            yield scheme, span


def resident_numbers(text: str, _naming: str) -> Iterator[Span]:
    """China: 18 characters, grouped anyhow. The last may be an X, which no digit token contains."""
    for chain in chains(text):
        for first, offset in enumerate(chain.offsets[:-1]):
            if not may_begin_resident_number(chain.digits[offset : offset + 8]):
                continue
            for digits, last in chain.stretches(first, (17, 18)):
                end = chain.tokens[last].end
                if len(digits) == 17:
                    mark = _FINAL_X.match(text, end)
                    if mark is None:
                        continue
                    digits, end = digits + "X", mark.end()
                if all(map(_SOFT_GAP.fullmatch, chain.gaps[first:last])) and is_resident_number(digits):
                    yield Span(chain.tokens[first].start, end)


_SG = re.compile(
    r"(?<![0-9A-Za-z])(?:[STFGM][0-9]{7}[A-Z]|[stfgm][0-9]{7}[a-z]|[STFGM]([ \n._-])[0-9]{7}\1[A-Z])(?![0-9A-Za-z])"
)
_SG_WEIGHTS = (2, 7, 6, 5, 4, 3, 2)
# By series: what is added to the weighted sum, and the check letters in order of its remainder by 11.
_SG_SERIES = {
    "S": (0, "JZIHGFEDCBA"),
    "T": (4, "JZIHGFEDCBA"),
    "F": (0, "XWUTRQPNMLK"),
    "G": (4, "XWUTRQPNMLK"),
    "M": (3, "XWUTRQPNJLK"),
}


def singapore_numbers(text: str, _naming: str) -> Iterator[Span]:
    """NRIC (series S, T) and FIN (F, G, M). The state publishes no rule; the letters are known from public use."""
    for match in _SG.finditer(text):
        number = _compact(match.group())
        offset, letters = _SG_SERIES[number[0]]
        total = offset + sum(weight * int(digit) for weight, digit in zip(_SG_WEIGHTS, number[1:8], strict=True))
        if letters[total % 11] == number[8]:
            yield Span(*match.span())


_HK = re.compile(r"(?<![0-9A-Za-z])(?:[A-Z]{1,2}|[a-z]{1,2})[0-9]{6}(?:[ \n._-]?\([0-9Aa]\)|[0-9Aa](?![0-9A-Za-z]))")
_HK_WORDS = re.compile(r"hk_?id|身份證|身份证", re.ASCII | re.IGNORECASE)


def hong_kong_numbers(text: str, naming: str) -> Iterator[Span]:
    """One or two letters, six digits, a check digit 0-9 or A. Weights 9 to 1, a missing first letter counts 36."""
    named = _HK_WORDS.search(naming) is not None
    for match in _HK.finditer(text):
        if not named and not match.group().endswith(")"):
            continue
        number = _compact(match.group())
        letters = number[:-7]
        values = [36] * (2 - len(letters)) + [ord(letter) - 55 for letter in letters]
        values += [int(digit) for digit in number[-7:-1]] + [int(number[-1], 16)]
        if sum(weight * value for weight, value in zip(range(9, 0, -1), values, strict=True)) % 11 == 0:
            yield Span(*match.span())


_US = re.compile(r"(?<![0-9])[0-9]{3}(?:([ \n._-])[0-9]{2}\1)?(?(1)|[0-9]{2})[0-9]{4}(?![0-9])")
_US_WORDS = re.compile(r"(?<![a-z])ssn|social[\W_]{0,3}security", re.ASCII | re.IGNORECASE)


def united_states_numbers(text: str, naming: str) -> Iterator[Span]:
    """Nine digits as 3-2-4. Longer chains of the same separator are other things: versions, phone lists."""
    return _grouped(_US, _US_WORDS, ssn.is_valid, text, naming)


_KR = re.compile(r"(?<![0-9])[0-9]{6}([ \n._-])?[0-9]{7}(?![0-9])")
_KR_WORDS = re.compile(r"(?<![a-z])rrn|resident[\W_]{0,3}registration|주민", re.ASCII | re.IGNORECASE)


def korean_numbers(text: str, naming: str) -> Iterator[Span]:
    """Thirteen digits as 6-7; in one piece they could be an epoch time in milliseconds."""
    return _grouped(_KR, _KR_WORDS, rrn.is_valid, text, naming)


_MY = re.compile(r"(?<![0-9])[0-9]{6}(?:([ \n._-])[0-9]{2}\1)?(?(1)|[0-9]{2})[0-9]{4}(?![0-9])")
_MY_WORDS = re.compile(r"my_?kad|nric|kad[\W_]{0,3}pengenalan", re.ASCII | re.IGNORECASE)


def malaysian_numbers(text: str, naming: str) -> Iterator[Span]:
    """Twelve digits as 6-2-4; the scheme has no check digit."""
    return _grouped(_MY, _MY_WORDS, mykad.is_valid, text, naming)


def _grouped(
    form: re.Pattern[str], words: re.Pattern[str], valid: Callable[[str], bool], text: str, naming: str
) -> Iterator[Span]:
    named = words.search(naming) is not None
    for match in form.finditer(text):
        separator, span = match.group(1), Span(*match.span())
        wanted = named if separator is None else not _goes_on(text, span, separator)
        if wanted and valid(_compact(match.group())):
            yield span


def _goes_on(text: str, span: Span, separator: str) -> bool:
    """The same separator joins the groups to one more group of digits."""
    before, after = text[max(span.start - 2, 0) : span.start], text[span.end : span.end + 2]
    return (before[:1].isdigit() and before[1:] == separator) or (after[:1] == separator and after[1:].isdigit())


_MRZ = tuple(
    re.compile(form)
    for form in (
        r"[A-Z0-9<]{9}[0-9][A-Z<]{3}[0-9]{6}[0-9][MFX<][0-9]{6}[0-9][A-Z0-9<]{14}[0-9<][0-9]",  # TD3, line 2
        r"[A-Z0-9<]{9}[0-9][A-Z<]{3}[0-9]{6}[0-9][MFX<][0-9]{6}[0-9][A-Z0-9<]{7}[0-9]",  # TD2, line 2
    )
)
_MRZ_TD1 = re.compile(
    r"[ACI][A-Z0-9<][A-Z<]{3}[A-Z0-9<]{9}[0-9<][A-Z0-9<]{15}"
    r"[0-9]{6}[0-9][MFX<][0-9]{6}[0-9][A-Z<]{3}[A-Z0-9<]{11}[0-9]"
)


def machine_readable_zones(text: str, _naming: str) -> Iterator[Span]:
    """Passports and cards. From: ICAO 9303 parts 4-6. Spaces and line breaks are ignored, as scanners add them.

    Only whether there is one is told: the span is the whole text.
    """
    if "<" not in text:
        return
    solid = "".join(text.split())
    if any(_zone_verifies(line) for form in _MRZ for line in _overlapping(form, solid)) or any(
        _card_zone_verifies(zone) for zone in _overlapping(_MRZ_TD1, solid)
    ):
        yield Span(0, len(text))


def _overlapping(form: re.Pattern[str], text: str) -> Iterator[str]:
    match = form.search(text)
    while match is not None:
        yield match.group()
        match = form.search(text, match.start() + 1)


def _zone_verifies(line: str) -> bool:
    """Line 2 of TD3 (44 characters) and TD2 (36): number, birth, expiry, personal number (TD3), all of them."""
    parts = [(line[:9], line[9]), (line[13:19], line[19]), (line[21:27], line[27])]
    parts.append((line[:10] + line[13:20] + line[21:-1], line[-1]))
    if len(line) == 44 and line[42] != "<":
        parts.append((line[28:42], line[42]))
    return all(_icao_check(field) == int(digit) for field, digit in parts)


def _card_zone_verifies(zone: str) -> bool:
    """Lines 1 and 2 of TD1 (60 characters). A number over nine characters has ``<`` for its digit: not checked."""
    parts = [(zone[30:36], zone[36]), (zone[38:44], zone[44]), (zone[5:37] + zone[38:45] + zone[48:59], zone[59])]
    if zone[14] != "<":
        parts.append((zone[5:14], zone[14]))
    return all(_icao_check(field) == int(digit) for field, digit in parts)


def _icao_check(field: str) -> int:
    return sum((7, 3, 1)[i % 3] * (0 if c == "<" else int(c, 36)) for i, c in enumerate(field)) % 10


def _compact(number: str) -> str:
    return "".join(c for c in number if c in _LETTER_OR_DIGIT).upper()


_SCHEMES: tuple[tuple[str, Callable[[str, str], Iterator[Span]]], ...] = (
    ("cn_ric", resident_numbers),
    ("sg_nric", singapore_numbers),
    ("hk_id", hong_kong_numbers),
    ("us_ssn", united_states_numbers),
    ("kr_rrn", korean_numbers),
    ("my_nric", malaysian_numbers),
    ("mrz", machine_readable_zones),
)
