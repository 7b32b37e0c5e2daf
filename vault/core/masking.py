"""Masking: what a record shows under a grant that masks.

A masked grant lets an auditor follow what was decided, by which model, how surely, for how much money and when; not
what was said, to whom, or about whom. So the list below names what stays. Everything else becomes ``"[masked]"``,
the whole value whatever it is, an unknown field with its name:

    >>> mask({"id": "dec-1", "prompt": "May Li Wei have 50 back?", "decision": {"action": "refund", "reason": "late"}})
    {'id': 'dec-1', 'prompt': '[masked]', 'decision': {'action': 'refund', 'reason': '[masked]'}}

A field that stays shows only what has its form. The record's own types are wider: an id may be 128 characters of any
script, a label 256, so a name or a sentence would fit. Here

    numbers, booleans, instants, codes of a list    have no room for text, though an amount may be any digits
    words (action, record_class)                    a-z 0-9 _ . -  as the record's type has it
    names (adapter, model, policy, rule, ...)       at most 64 of  A-Z a-z 0-9 . _ : / + -  without space, perhaps
                                                    @ and digits, as some providers write a model's version; none
                                                    of 7 to 15 digits alone, which could be a telephone number
    ids                                             as names, at most 128
    words, names, ids and amounts                   none that holds a card number or an identity number
                                                    (vault.core.detect)

and what has not is masked as well. What remains is that a producer can spell a person as a word, ``refund_li_wei``; no
form can tell. ``customer_ref`` is masked however it is spelled, and so are digests of what could be guessed
(``source.raw_sha256``, ``usage.cache.key``), but for those of attachments, which tie a record to its files.

null stays null where the field stays: it means absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from vault.core.detect import detect
from vault.core.iso import COUNTRIES, CURRENCIES
from vault.core.record import (
    AMOUNT,
    API_CODES,
    FIDELITY_CODES,
    OUTCOME_CODES,
    RELATION_CODES,
    SCHEMA,
    SHA256_HEX,
    WORD,
)

MASKED: Final = "[masked]"

Form: TypeAlias = Callable[[Any], bool]
Shape: TypeAlias = "Form | Mapping[str, Shape] | list[Shape]"

_INTEGERS_BELOW: Final = 10**11
"""No counter, size or duration is as long as a card number."""


def mask(record: Any) -> Any:
    """Return a copy of a record, as a JSON parser made it, with all but the clear fields masked."""
    return _masked(record, SHAPE)


def shows(value: str, *path: str) -> bool:
    """Say whether a text stays as the value of a record's field, named from the outside in."""
    shape: Shape = SHAPE
    for name in path:
        assert isinstance(shape, Mapping)
        shape = shape[name]
    shown: object = _masked(value, shape)
    return shown == value


def _masked(value: Any, shape: Shape) -> Any:
    if shape is secret:
        return MASKED
    if value is None:
        return None
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return MASKED
        shown = {name: _masked(item, shape[name]) for name, item in value.items() if name in shape}
        return shown if len(shown) == len(value) else {**shown, MASKED: MASKED}
    if isinstance(shape, list):
        return [_masked(item, shape[0]) for item in value] if isinstance(value, list) else MASKED
    return value if shape(value) else MASKED


def secret(_value: Any) -> bool:
    """The form of what is never shown."""
    return False


def _text(pattern: str, most: int) -> Form:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and len(value) <= most and compiled.fullmatch(value) is not None


def _unnumbered(form: Form) -> Form:
    """A form, but for texts that hold a card number or an identity number."""
    return lambda value: form(value) and not detect(value, "")


def _one_of(words: Mapping[str, int] | frozenset[str]) -> Form:
    return lambda value: isinstance(value, str) and value in words


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _INTEGERS_BELOW


def _counter(value: Any) -> bool:
    """A producer's own numbers may be long, and stand in the leaf in clear."""
    return isinstance(value, int) and not isinstance(value, bool)


_INSTANT = _text(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:?[0-9]{2})", 40
)
_NAME_FORM: Final = r"(?!\+?([0-9]-?){7,15}\Z)[A-Za-z0-9][A-Za-z0-9._:/+-]*(@[0-9]{1,8})?"
_WORD = _unnumbered(_text(WORD, 64))
_NAME = _unnumbered(_text(_NAME_FORM, 64))
_ID = _unnumbered(_text(_NAME_FORM, 128))
_MONEY: Final[Shape] = {"amount": _unnumbered(_text(AMOUNT, 25)), "currency": _one_of(CURRENCIES)}
_LANGUAGE = _text("[A-Za-z]{2,3}(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?", 12)
_MEDIA_TYPE = _text("(application|audio|font|image|message|model|multipart|text|video)/[a-z0-9.+-]{1,80}", 100)

SHAPE: Final[Mapping[str, Shape]] = {
    "schema": _one_of(frozenset({SCHEMA})),
    "id": _ID,
    "conversation_id": _ID,
    "step": _number,
    "attempt": _number,
    "producer_seq": _counter,
    "occurred_at": _INSTANT,
    "jurisdictions": [_one_of(COUNTRIES)],
    "record_class": _WORD,
    "api": _one_of(API_CODES),
    "source": {
        "adapter": _NAME,
        "adapter_version": _NAME,
        "fidelity": _one_of(FIDELITY_CODES),
        "endpoint": secret,
        "call_id": secret,
        "raw_sha256": secret,
    },
    "prompt": secret,
    "response": secret,
    "model": {
        "provider": _NAME,
        "requested": _NAME,
        "served": _NAME,
        "gateway": _NAME,
        "call_id": secret,
        "parameters": secret,
    },
    "confidence": {
        "score": _number,
        "direction": _one_of(frozenset({"higher_is_better", "lower_is_better"})),
        "minimum": _number,
        "maximum": _number,
        "threshold": _number,
        "comparator": _one_of(frozenset({">=", ">", "<=", "<"})),
        "policy": _NAME,
    },
    "decision": {
        "action": _WORD,
        "outcome": _one_of(OUTCOME_CODES),
        "money_moved": _boolean,
        "proposed": _MONEY,
        "executed": _MONEY,
        "transaction_id": secret,
        "executed_at": _INSTANT,
        "reason": secret,
        "explanation": secret,
        "alternative": secret,
        "consent": _boolean,
    },
    "review": {
        "reviewer": secret,
        "decided_at": _INSTANT,
        "agreed": _boolean,
        "reason": secret,
        "rule_id": _ID,
    },
    "relates_to": [{"kind": _one_of(RELATION_CODES), "id": _ID}],
    "customer_ref": secret,
    "language": _LANGUAGE,
    "usage": {
        "input_tokens": _number,
        "output_tokens": _number,
        "cached_tokens": _number,
        "reasoning_tokens": _number,
        "cost": _MONEY,
        "price_table": _NAME,
        "batch": {"id": secret, "item": secret, "discount": _number},
        "cache": {"hit": _boolean, "key": secret},
    },
    "timing": {"ai_ms": _number, "total_ms": _number, "first_token_ms": _number},
    "redactions": [{"type": _NAME, "count": _number, "rule": _NAME}],
    "validation": {"ok": _boolean, "schema": _NAME, "errors": secret},
    "attachments": [
        {
            "name": secret,
            "sha256": _text(SHA256_HEX, 64),
            "media_type": _MEDIA_TYPE,
            "size": _number,
            "content": secret,
        }
    ],
    "extra": secret,
}
"""Every field of the record (a test compares), and the form in which it stays; ``secret`` never does."""
