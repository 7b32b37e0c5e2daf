"""How the members of a leaf are spelled (FORMAT.md section 2), and a whole record leaf at once.

A record leaf is read by one regular expression that matches nothing but canonical record leaves: it costs what encoding
the leaf again and comparing would cost, and also holds every member to its form. Genesis and event leaves are few; they
go through ``canonical.decode``, and ``check`` holds their members to the same forms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any, Final

from vault.core.errors import Modified

_DIGEST: Final = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"  # 32 bytes: the last character has two unused bits, zero
_TAG: Final = r"[A-Za-z0-9_-]{21}[AQgw]"  # 16 bytes: four unused bits
_WORD: Final = r"[A-Za-z0-9._:/+-]+"
_NUMBER: Final = r"(?:0|[1-9][0-9]{0,15})"
_SECOND: Final = r"[0-9]{4}-[01][0-9]-[0-3][0-9]T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_MILLISECOND: Final = _SECOND + r"\.[0-9]{3}Z"
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

FORMS: Final[Mapping[str, str]] = {
    "actor": _WORD,
    "at": _MILLISECOND,
    "created_at": _MILLISECOND,
    "event": _WORD,
    "facets": _DIGEST,
    "group": r"(?:[0-9]{4}-(?:0[1-9]|1[0-2])|open|held)\.(?:0|[1-9][0-9]{0,8})",
    "id_tag": _TAG,
    "jurisdictions": _WORD,
    "keep_until": _SECOND + "Z",
    "key": _DIGEST,
    "ledger": _UUID,
    "ledger_kind": "decisions|events",
    "name": _WORD,
    "parts": _DIGEST,
    "plaintext": _DIGEST,
    "predecessor": rf"{_UUID}:{_NUMBER}:{_DIGEST}:{_NUMBER}",
    "prev": _DIGEST,
    "producer": _WORD,
    "received_at": _MILLISECOND,
    "region": _WORD,
    "rulebook": _DIGEST,
    "rules": _WORD,
    "tenant": _WORD,
    "verifiers": _WORD,
}
"""Member -> form of its text, or of each text in its array. Members that are missing here hold numbers or facts."""


def _member(name: str) -> str:
    return f'"{name}":"(?:{FORMS[name]})"'


def _array(name: str) -> str:
    item = f'"(?:{FORMS[name]})"'
    return rf'"{name}":\[(?:{item}(?:,{item})*)?\]'


_SPELLED: Final = [
    _member("facets"),
    _member("group"),
    _member("id_tag"),
    f"(?:{_member('keep_until')},)?" + _member("key"),
    '"kind":"record"',
    _member("ledger"),
    _array("parts"),
    _member("plaintext"),
    _member("prev"),
    _member("producer"),
    f'(?:"producer_seq":{_NUMBER},)?' + _member("received_at"),
    _member("rulebook"),
    _array("rules"),
    f'"seq":{_NUMBER}',
    '"v":1',
]

RECORD: Final = re.compile(rf"\{{{','.join(_SPELLED)}\}}".encode())
"""Matches a canonical record leaf. Not told by it: integers beyond 2^53 - 1, order, and days that no calendar has."""

_COMPILED: Final = {name: re.compile(form) for name, form in FORMS.items()}


def check(document: Mapping[str, Any]) -> None:
    """Hold every member of a leaf to its form.

    Raises:
        Modified: a member is not spelled as its form says. Members without a form are not looked at.
    """
    for name, value in document.items():
        form = _COMPILED.get(name)
        for text in value if isinstance(value, list) else (value,):
            if form is not None and not (isinstance(text, str) and form.fullmatch(text)):
                raise Modified(f"leaf has a {name} of the wrong form")


@lru_cache(maxsize=4096)  # a ledger's leaves share few days
def check_day(day: str) -> None:
    """Hold the first ten characters of an instant, spelled as its form says, to the calendar.

    Raises:
        Modified: there is no such day.
    """
    try:
        date.fromisoformat(day)
    except ValueError:
        raise Modified("leaf names a day that no calendar has") from None


@lru_cache(maxsize=1024)  # and few sets of rules
def check_order(rules: tuple[str, ...]) -> None:
    """Raise Modified unless the rules stand in ascending order, each once."""
    if list(rules) != sorted(set(rules)):
        raise Modified("leaf has rules out of order")
