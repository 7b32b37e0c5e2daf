"""Card numbers in folded text: find the digits, then demand issuer range, length, check digit and a likely shape.

A number may be written in one piece or in groups. Digits are therefore read as *chains*: digit tokens with at most
three characters between them, none of them a letter. A card number is a stretch of whole tokens, so ``4111 1111 1111
1111 12/28`` is one and 16 digits inside a 28-digit trade number are none. Luhn passes one number in ten, so a
stretch of separate tokens must also look like one number:

- its groups are those printed on cards (4-4-4-4, 4-6-5, ...), or
- it is the whole chain, cut anywhere, as after a line wrap or in ``4 1 1 1 ...``, or
- its groups are of one size (the last may be shorter), joined alike, and joined otherwise to what surrounds them.

Four kinds of numbers satisfy issuer, length and Luhn by chance often enough to need a rule of their own: fractions of
floating-point numbers, 13-digit barcodes, order numbers that begin with a YYMMDD date, and resident identity numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from stdnum import ean, luhn

from vault.core import iin

_TOKEN = re.compile("[0-9]+")
_GAP = re.compile(r"[\W_]{1,3}")
# Separators that people and printers put inside one number. Others (comma, slash, colon, quotes) rather list several.
_SOFT = re.compile(r"[ \n._*~-]{1,3}")

_LAYOUTS = frozenset(
    {(4, 6, 5), (4, 6, 4), (4, 3, 3, 3), (6, 10), (6, 13), (4, 4, 4, 4, 1), (4, 4, 4, 4, 2), (4, 4, 4, 4, 3)}
)
_MOST_GROUPS = max(map(len, _LAYOUTS))
_SHORTEST_SCATTERED = 14
_FLOAT_DIGITS = 17  # significant digits in the shortest form of a 64-bit float, at most
_CARD_WORDS = re.compile(r"card|visa|master|\bpan\b|cv[cv]|卡", re.ASCII | re.IGNORECASE)


class Span(NamedTuple):
    """``text[start:end]`` is a number."""

    start: int
    end: int


class Chain(NamedTuple):
    """Digit tokens that belong together.

    Attributes:
        tokens: where each stands in the text.
        gaps: what stands between neighbours; one fewer than tokens.
        digits: all digits of the chain, without the gaps.
        offsets: where in ``digits`` each token begins, and one more for the end.
    """

    tokens: list[Span]
    gaps: list[str]
    digits: str
    offsets: list[int]

    def stretches(self, first: int, sizes: tuple[int, ...]) -> Iterator[tuple[str, int]]:
        """Digits of each stretch that starts with token ``first`` and has one of ``sizes``, with its last token."""
        start = self.offsets[first]
        last = first
        for size in sizes:
            while last < len(self.tokens) and self.offsets[last + 1] < start + size:
                last += 1
            if last < len(self.tokens) and self.offsets[last + 1] == start + size:
                yield self.digits[start : start + size], last


def chains(text: str) -> Iterator[Chain]:
    """All chains of folded ``text``, in order."""
    tokens: list[Span] = []
    gaps: list[str] = []
    for match in _TOKEN.finditer(text):
        token = Span(*match.span())
        if tokens:
            gap = text[tokens[-1].end : token.start]
            if len(gap) <= 3 and _GAP.fullmatch(gap):
                gaps.append(gap)
            else:
                yield _chain(text, tokens, gaps)
                tokens, gaps = [], []
        tokens.append(token)
    if tokens:
        yield _chain(text, tokens, gaps)


def _chain(text: str, tokens: list[Span], gaps: list[str]) -> Chain:
    offsets = [0]
    for token in tokens:
        offsets.append(offsets[-1] + token.end - token.start)
    return Chain(tokens, gaps, "".join(text[token.start : token.end] for token in tokens), offsets)


def card_numbers(text: str) -> Iterator[Span]:
    """Card numbers in folded ``text``."""
    about_cards = _CARD_WORDS.search(text) is not None
    for chain in chains(text):
        for first, offset in enumerate(chain.offsets[:-1]):
            for digits, last in chain.stretches(first, iin.lengths(chain.digits[offset : offset + 8])):
                if (
                    _looks_like_one(chain, first, last)
                    and luhn.is_valid(digits)
                    and not _is_something_else(digits, grouped=first != last, about_cards=about_cards)
                ):
                    yield Span(chain.tokens[first].start, chain.tokens[last].end)


def is_card_number(digits: str) -> bool:
    """Issuer range, length and Luhn of bare ASCII digits; nothing about what surrounds them."""
    return len(digits) in iin.lengths(digits) and luhn.is_valid(digits)


def _looks_like_one(chain: Chain, first: int, last: int) -> bool:
    """The tokens ``first`` to ``last`` look like one number, written in one piece or in groups."""
    if first == last:
        return not _is_fraction(chain, first)
    gaps = chain.gaps[first:last]
    around = chain.gaps[max(first - 1, 0) : first] + chain.gaps[last : last + 1]
    apart = len(set(gaps)) == 1 and gaps[0] not in around
    if around and not apart and last - first >= _MOST_GROUPS:
        return False
    sizes = tuple(token.end - token.start for token in chain.tokens[first : last + 1])
    soft = all(map(_SOFT.fullmatch, gaps))
    if sizes in _LAYOUTS or (sum(sizes) == 16 and not any(size % 4 for size in sizes)):
        return (soft or apart or not around) and not (len(sizes) == 2 and gaps[0] == ".")
    if not soft or sum(sizes) < _SHORTEST_SCATTERED or _lists_amounts(gaps, sizes):
        return False
    return not around or (apart and len(set(sizes[:-1])) == 1 and sizes[-1] <= sizes[0])


def _is_something_else(digits: str, *, grouped: bool, about_cards: bool) -> bool:
    """A valid card number by chance: a resident's number, a barcode, or an order number that begins with a date."""
    if len(digits) == 18:
        return is_resident_number(digits)
    if grouped:
        return False
    if len(digits) == 13:
        return ean.is_valid(digits)
    return _begins_with_date(digits) and not about_cards


def _is_fraction(chain: Chain, token: int) -> bool:
    """The token is what follows the point of a number such as 0.4539578067834225."""
    if token == 0 or chain.gaps[token - 1] != "." or "." in chain.gaps[token : token + 1]:
        return False
    if token > 1 and chain.gaps[token - 2] == ".":
        return False
    whole = chain.digits[chain.offsets[token - 1] : chain.offsets[token]].lstrip("0")
    return len(whole) + chain.offsets[token + 1] - chain.offsets[token] <= _FLOAT_DIGITS


def _lists_amounts(gaps: list[str], sizes: tuple[int, ...]) -> bool:
    """Some piece between wider gaps is a plain decimal number such as 45.50, so the stretch lists amounts."""
    pieces: list[list[int]] = [[sizes[0]]]
    for gap, size in zip(gaps, sizes[1:], strict=True):
        if gap == ".":
            pieces[-1].append(size)
        else:
            pieces.append([size])
    return any(len(piece) == 2 for piece in pieces)


def _begins_with_date(digits: str) -> bool:
    """YYMMDD in a range where a scheme issues: order numbers of 2023 to 2027 look like Mastercard's 2-series."""
    return digits[0] == "2" and _is_date("20" + digits[:6])


def is_resident_number(number: str) -> bool:
    """A resident identity number of mainland China: 17 digits and a digit or ``X``.

    From: GB 11643-1999; check character by ISO 7064 MOD 11-2. Checks province, birth date and check character, not
    whether the county exists: counties are renamed and abolished, and their numbers live on.
    """
    if not may_begin_resident_number(number) or not _is_date(number[6:14]):
        return False
    remainder = 0
    for character in number[:17]:
        remainder = (remainder + int(character)) * 2 % 11
    return "10X98765432"[remainder] == number[17].upper()


_PROVINCES = frozenset(
    str(code)
    for first, last in ((11, 15), (21, 23), (31, 37), (41, 46), (50, 54), (61, 65), (71, 71), (81, 83), (91, 91))
    for code in range(first, last + 1)
)


def may_begin_resident_number(digits: str) -> bool:
    """Province and century of the birth year are possible: a cheap look at the first eight digits."""
    return digits[:2] in _PROVINCES and digits[6:8] in {"18", "19", "20"}


def _is_date(digits: str) -> bool:
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return False
    return True
