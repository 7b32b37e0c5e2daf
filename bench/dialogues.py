"""Dialogues of customers with a payment assistant, put together from the sentences in ``texts/``.

A talk is one kind of matter (a bus ticket, a refund): a few exchanges with several wordings each, and what
the assistant says when it acts, holds back or refuses. A slot such as ``{city}`` is drawn when a sentence
first uses it and keeps its value for the rest of the dialogue, so that a dialogue does not contradict
itself too much.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.dice import Dice
from bench.slots import Slots, price

LANGUAGES: Final = ("en", "zh")

# Which slot fills an argument of the tool call, where the two are not called alike.
_ARGUMENTS: Final = {
    "area": "city",
    "car_type": "car",
    "check_in_date": "date_iso",
    "date": "date_iso",
    "departure_date": "date_iso",
    "departure_time": "time",
    "destination": "town",
    "dropoff_date": "date2_iso",
    "due_date": "date_iso",
    "event_name": "artist",
    "from_account": "account",
    "hotel_name": "hotel",
    "origin": "city",
    "party_size": "count",
    "passengers": "count",
    "pickup_city": "city",
    "pickup_date": "date_iso",
    "pickup_time": "time",
    "property_name": "street",
    "reason": "cause",
    "recipient": "person",
    "restaurant_name": "restaurant",
    "return_date": "date2_iso",
    "ride_type": "ride",
    "seating_class": "seat",
    "tickets": "count",
    "title": "film",
    "to_account": "account",
    "visit_date": "date_iso",
}


class _Exchange(msgspec.Struct, forbid_unknown_fields=True):
    user: list[str]
    assistant: list[str]
    share: float = 1.0  # in how many dialogues it comes
    paired: bool = False  # the third answer is to the third question; otherwise any answer fits any question


class _Redacted(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    rule: str
    text: list[str]


class Talk(msgspec.Struct, forbid_unknown_fields=True):
    """One kind of matter. ``low`` and ``high`` bound the price, in dollars (en) or yuan (zh)."""

    name: str
    scenario: str
    service: str
    method: str
    action: str
    arguments: list[str]
    low: int
    high: int
    exchange: list[_Exchange]
    closing: list[str]
    answer: list[str]
    hold: list[str]
    refuse: list[str]
    alternative: list[str] = []


class Texts(msgspec.Struct, forbid_unknown_fields=True):
    """All texts of one language; ``review`` is what a reviewer writes, ``agreed`` or ``declined``."""

    slots: dict[str, list[str]]
    system: dict[str, list[str]]
    review: dict[str, list[str]]
    redacted: list[_Redacted]
    aside: list[_Exchange]
    courtesy: list[_Exchange]
    talk: list[Talk]


@dataclass
class Dialogue:
    """One dialogue, ready to be put into records.

    Attributes:
        prompt: chat messages, or one string for the rating of a payment.
        amount: the price as a decimal string in ``currency``.
        redactions: what was taken out of the customer's words.
    """

    language: str
    talk: Talk
    prompt: str | list[dict[str, Any]]
    amount: str
    currency: str
    slots: Slots
    redactions: list[dict[str, Any]] = field(default_factory=list)

    def say(self, options: Sequence[str]) -> str:
        """One of the sentences, with its slots filled."""
        return self.slots.dice.pick(options).format_map(self.slots)

    def arguments(self) -> dict[str, str]:
        """The arguments of the tool call that would do what the customer asked for."""
        return {name: self.slots[_ARGUMENTS.get(name, name)] for name in self.talk.arguments}


@cache
def texts(language: str) -> Texts:
    """Read the texts of a language, ``en`` or ``zh``."""
    content = Path(__file__).with_name("texts").joinpath(f"{language}.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(content), Texts)


def converse(dice: Dice, language: str, scenario: str, currency: str, today: date) -> Dialogue:
    """Make up one dialogue of a scenario: booking, travel_refund, churn, fraud or invoice."""
    book = texts(language)
    talk = dice.pick([talk for talk in book.talk if talk.scenario == scenario])
    amount = price(dice, talk.low, talk.high, currency, in_yuan=language == "zh")
    slots = Slots(dice, book.slots, language, currency, today, amount)
    gap = " " if language == "en" else ""
    system = gap.join(dice.pick(book.system[kind]).format_map(slots) for kind in (scenario, "facts"))
    dialogue = Dialogue(language, talk, "", amount, currency, slots)
    if scenario == "fraud":
        dialogue.prompt = f"{system}\n\n{dialogue.say(talk.exchange[0].user)}"
        return dialogue
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}]
    for exchange in _course(dice, book, talk):
        asked = dice.between(0, len(exchange.user) - 1)
        answers = exchange.assistant[asked : asked + 1] if exchange.paired else exchange.assistant
        messages.append({"role": "user", "content": exchange.user[asked].format_map(slots)})
        messages.append({"role": "assistant", "content": dialogue.say(answers)})
    closing = dialogue.say(talk.closing)
    if dice.chance(0.12):
        hidden = dice.pick(book.redacted)
        closing += gap + dice.pick(hidden.text)
        dialogue.redactions.append({"type": hidden.type, "count": 1, "rule": hidden.rule})
    messages.append({"role": "user", "content": closing})
    dialogue.prompt = messages
    return dialogue


def _course(dice: Dice, book: Texts, talk: Talk) -> list[_Exchange]:
    course = [exchange for exchange in talk.exchange if exchange.share == 1 or dice.chance(exchange.share)]
    asides = dice.sample(book.aside, dice.between(0, 3)) if talk.scenario == "booking" else []
    for aside in (*asides, *dice.sample(book.courtesy, dice.between(0, 2))):
        course.insert(dice.between(1, len(course)), aside)
    return course
