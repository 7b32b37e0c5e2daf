"""Values for the slots of a sentence: places, dates, prices, numbers.

A slot is drawn when it is first used and keeps its value: a dialogue speaks of one city and one price.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from bench.dice import Dice

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_SYMBOLS: Final = {"USD": "$", "GBP": "£", "EUR": "€"}
_PER_DOLLAR: Final = {
    "USD": 1,
    "EUR": 0.9,
    "GBP": 0.8,
    "SGD": 1.3,
    "AUD": 1.5,
    "MYR": 4.4,
    "BRL": 5.5,
    "CNY": 7,
    "HKD": 7.8,
    "INR": 85,
    "JPY": 150,
}  # roughly; only the size of the prices depends on it
_WHOLE_UNITS: Final = frozenset({"JPY"})
_FACTORS: Final = {"other": 0.3, "balance": 9.0, "limit": 5.0, "rent": 12.0}  # of the price in question
_NUMBERS: Final = {
    "_ahead": (1, 40),
    "count": (2, 5),
    "days": (3, 2900),
    "degrees": (3, 34),
    "few": (0, 3),
    "few2": (0, 1),
    "hours": (1, 30),
    "months": (2, 6),
    "nights": (2, 9),
    "number": (10, 990),
    "rooms": (1, 1),
    "small": (2, 9),
    "transfers": (0, 2),
    "years": (1, 14),
}


def price(dice: Dice, low: int, high: int, currency: str, *, in_yuan: bool) -> str:
    """A price as a decimal string in ``currency``; the bounds are in dollars, or in yuan."""
    # Small amounts are more frequent than large ones.
    units = low * (high / low) ** (dice.random() ** 1.4)
    return _decimal(units * _PER_DOLLAR[currency] / (_PER_DOLLAR["CNY"] if in_yuan else 1), currency)


def _decimal(units: float, currency: str) -> str:
    return f"{units:.0f}" if currency in _WHOLE_UNITS else f"{units:.2f}"


class Slots(dict[str, str]):
    """Values of the slots, drawn on first use."""

    def __init__(
        self, dice: Dice, lists: dict[str, list[str]], language: str, currency: str, today: date, amount: str
    ) -> None:
        super().__init__()
        self.dice = dice
        self._lists = lists
        self._language = language
        self._currency = currency
        self._today = today
        self._amount = amount

    def __missing__(self, slot: str) -> str:
        options = self._lists.get(slot)
        value = self.dice.pick(options) if options else self._make(slot)
        self[slot] = value
        return value

    def _make(self, slot: str) -> str:
        dice = self.dice
        bounds = _NUMBERS.get(slot)
        if bounds:
            return str(dice.between(*bounds))
        match slot:
            case "money":
                return self._money(self._amount)
            case "amount":
                return self._amount
            case "other" | "balance" | "limit" | "rent":
                units = float(self._amount) * _FACTORS[slot] * (0.6 + dice.random())
                return self._money(_decimal(units, self._currency))
            case "town":
                return dice.pick([city for city in self._lists["city"] if city != self["city"]])
            case "past":
                return self._spoken(self._today - timedelta(days=dice.between(2, 200)))
            case "case":
                return f"C-{dice.between(100, 9999)}-{dice.letters(3).upper()}"
            case "date_iso" | "date2_iso":
                return self._date(slot.removesuffix("_iso")).isoformat()
            case "date" | "date2":
                return self._spoken(self._date(slot))
            case "time" | "time2" | "time3":
                return self._clock()
            case "percent":
                return str(5 * dice.between(2, 6))
            case "rating":
                return f"{dice.between(32, 50) / 10:.1f}"
            case "known":
                return dice.pick(("yes", "no") if self._language == "en" else ("是", "否"))
            case "country":
                return dice.pick(("CN", "SG", "HK", "US", "DE", "GB", "JP"))
            case "policy":
                return f"{dice.pick('ABCDEFGH')}-{dice.between(1, 9)}.{dice.between(0, 9)}"
            case "booking" | "invoice":
                return f"{dice.pick('BKRTN')}{dice.pick('ACDEFX')}-{dice.between(1000, 99999)}"
        raise LookupError(f"no such slot: {slot}")

    def _money(self, amount: str) -> str:
        if self._language == "zh" and self._currency == "CNY":
            return f"{amount}元"
        symbol = _SYMBOLS.get(self._currency)
        return f"{symbol}{amount}" if symbol else f"{amount} {self._currency}"

    def _date(self, slot: str) -> date:
        ahead = int(self["_ahead"])
        return self._today + timedelta(days=ahead + (int(self["nights"]) if slot == "date2" else 0))

    def _spoken(self, day: date) -> str:
        if self._language == "zh":
            return f"{day.month}月{day.day}日"
        ending = "th" if day.day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
        return f"{_MONTHS[day.month - 1]} {day.day}{ending}"

    def _clock(self) -> str:
        hour, minute = self.dice.between(6, 22), 5 * self.dice.between(0, 11)
        if self._language == "zh":
            return f"{hour}点{minute:02d}分" if minute else f"{hour}点"
        half = "am" if hour < 12 else "pm"
        return f"{(hour - 1) % 12 + 1}:{minute:02d} {half}" if minute else f"{(hour - 1) % 12 + 1} {half}"
