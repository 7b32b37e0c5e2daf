"""Issuer identification numbers: which leading digits belong to a card scheme, and how long its numbers are.

From: ISO/IEC 7812-1 (the form of the number) and the ranges the schemes themselves publish. A range says that a
scheme may issue there, not that a bank has. Left out on purpose: UATP (a lone leading 1 would make epoch times cards)
and lengths that schemes reserve but do not issue, where they would mostly match order numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple


class Issuer(NamedTuple):
    """One run of leading digits: ``first`` to ``last`` inclusive, both of the same number of digits."""

    scheme: str
    first: str
    last: str
    lengths: frozenset[int]


def _issuer(scheme: str, ranges: str, *lengths: int) -> list[Issuer]:
    pairs = (entry.partition("-") for entry in ranges.split())
    return [Issuer(scheme, first, last or first, frozenset(lengths)) for first, _, last in pairs]


_MAESTRO = "5018 5020 5038 5893 6304 6390 6759 6761-6763"

# Ranges may overlap (schemes share cards): a number may have any length that any of them issues.
ISSUERS: tuple[Issuer, ...] = (
    *_issuer("visa", "4", 13, 16, 19),
    *_issuer("mastercard", "51-55 2221-2720", 16),
    *_issuer("amex", "34 37", 15),
    *_issuer("diners", "300-305 3095 36 38-39", 14, 16, 19),
    *_issuer("jcb", "3528-3589", 16, 19),
    *_issuer("discover", "6011 644-649 65", 16, 19),
    *_issuer("unionpay", "62 810-817", 16, 17, 18, 19),
    *_issuer("unionpay-legacy", "9558 601382", 19),
    *_issuer("maestro", _MAESTRO, 12, 13, 14, 15, 16, 17, 18, 19),
    *_issuer("mir", "2200-2204", 16),
    *_issuer("rupay", "508500-508999 606985-607984 608001-608500 820000-829999", 16),
    *_issuer("elo", "506699-506778 509000-509999 627780 636297 636368", 16),
    *_issuer("hipercard", "606282", 16, 19),
    *_issuer("verve", "506099-506198 507865-507964", 16, 19),
    *_issuer("meeza", "507803-507810", 16),
    *_issuer("interpayment", "636", 16, 17, 18, 19),
    *_issuer("instapayment", "637-639", 16),
    *_issuer("dankort", "5019", 16),
    *_issuer("troy", "979200-979289", 16),
    *_issuer("napas", "9704", 16, 19),
    *_issuer("uzcard", "8600", 16),
    *_issuer("humo", "9860", 16),
    *_issuer("belkart", "9112", 16),
)

_WIDTH = max(len(issuer.first) for issuer in ISSUERS)


def _table() -> tuple[list[int], list[tuple[int, ...]]]:
    """Cut the number line of ``_WIDTH`` leading digits where any range begins or ends, once, at import."""
    spans = [(int(i.first.ljust(_WIDTH, "0")), int(i.last.ljust(_WIDTH, "9")) + 1, i.lengths) for i in ISSUERS]
    cuts = sorted({0, *(low for low, _, _ in spans), *(high for _, high, _ in spans)})
    lengths = [
        tuple(sorted(frozenset[int]().union(*(n for low, high, n in spans if low <= cut < high)))) for cut in cuts
    ]
    return cuts, lengths


_CUTS, _LENGTHS = _table()


def lengths(digits: str) -> tuple[int, ...]:
    """Lengths of the card numbers that may begin with ``digits``, ascending; empty where no scheme issues.

    Args:
        digits: ASCII digits; fewer than six are no card number.
    """
    if len(digits) < _WIDTH:
        return ()
    return _LENGTHS[bisect_right(_CUTS, int(digits[:_WIDTH])) - 1]
