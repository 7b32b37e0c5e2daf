"""Tallies with a bound: labels of producers, and exact sums by currency."""

from __future__ import annotations

from collections import Counter
from decimal import Context, Decimal
from typing import Final

from reports.figures import Money

LABELS: Final = 5_000
"""More distinct labels than this (a producer that writes a new model name into every record) fold into one."""
OTHERS: Final = "(others)"
CURRENCIES: Final = 8

# Sums of 24-digit amounts: the default context of 28 digits would round them.
_EXACT: Final = Context(prec=60)


def bounded(counter: Counter[str], label: str) -> None:
    """Count a label."""
    counter[label if label in counter or len(counter) < LABELS else OTHERS] += 1


class Sums:
    """Sums of money by currency; ISO 4217 bounds them."""

    def __init__(self) -> None:
        self._sums: dict[str, Decimal] = {}
        self._counts: Counter[str] = Counter()

    def add(self, money: Money) -> None:
        self._sums[money.currency] = _EXACT.add(self._sums.get(money.currency, Decimal(0)), money.amount)
        self._counts[money.currency] += 1

    def join(self, other: Sums) -> None:
        """Add the sums of another."""
        for code, amount in other._sums.items():
            self._sums[code] = _EXACT.add(self._sums.get(code, Decimal(0)), amount)
            self._counts[code] += other._counts[code]

    def result(self, limit: int = CURRENCIES) -> tuple[tuple[Money, int], ...]:
        """The currencies with most amounts, each with its sum and their number."""
        order = sorted(self._sums, key=lambda code: (-self._counts[code], code))
        return tuple((Money(self._sums[code], code), self._counts[code]) for code in order[:limit])
