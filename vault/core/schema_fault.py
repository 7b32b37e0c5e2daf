"""What msgspec says about a record that does not fit its types, in words that repeat nothing of the record.

msgspec names the path of the fault well, but its messages quote values and keys ("Invalid enum value '...'").
This module takes from a message only what comes from the schema: the kind of fault, the path, the bound.
Everything else is said anew. A message that it does not know becomes a plain sentence, never a copy.

    >>> str(explain("Expected `int | null`, got `str` - at `$.step`"))
    '$.step: is a string where an integer is expected'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from vault.core.errors import RefusedInput
from vault.core.malformed import printable_key
from vault.core.record import (
    AMOUNT,
    API_CODES,
    FIDELITY_CODES,
    LANGUAGE,
    MEDIA_TYPE,
    OUTCOME_CODES,
    RELATION_CODES,
    SCHEMA,
    SHA256_HEX,
    VISIBLE,
    WORD,
)

_UNKNOWN_FIELD: Final = "Object contains unknown field `"
_MISSING_FIELD: Final = "Object missing required field `"
_PATH = re.compile(r"\$(?:\.[a-z][a-z0-9_]*|\[[0-9]+\]|\[\.\.\.\])*")
_NAME = re.compile(r"\.([a-z][a-z0-9_]*)")
_CARD_DIGITS: Final = 12
_WRONG_TYPE = re.compile(r"Expected `([a-z |]+)`, got `([a-z]+)`")
_BOUND = re.compile(r"Expected `(?:int|float)` ([<>]=) (-?[0-9]+)(?:\.0)?")
_LENGTH = re.compile(r"Expected `(?:str|array)` of length ([<>]=) ([0-9]+)")
_PATTERN: Final = "Expected `str` matching regex "
_BAD_TIMES: Final = ("Invalid RFC3339 encoded datetime", "Expected `datetime` with a timezone component")
_OUT_OF_RANGE: Final = ("Number out of range", "Integer value out of range")
_NOT_ALLOWED: Final = ("Invalid enum value ", "Invalid value ")

_TYPES: Final = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "datetime": "a time",
    "null": "null",
}
_SIGNS: Final = {"<=": "at most", ">=": "at least"}
_FORMS: Final = {
    repr(VISIBLE): "has control, zero-width or bidirectional characters",
    repr(WORD): "is not a lower-case word of letters, digits, dots, hyphens and underscores",
    repr(AMOUNT): "is no decimal amount (at most 18 digits, then 6 after the point, no sign or exponent)",
    repr(SHA256_HEX): "is not a SHA-256 digest of 64 lower-case hexadecimal digits",
    repr(LANGUAGE): "is not a BCP 47 language tag",
    repr(MEDIA_TYPE): "is not a media type",
}
_ALLOWED: Final[Mapping[str, Iterable[str]]] = {
    "schema": (SCHEMA,),
    "api": API_CODES,
    "outcome": OUTCOME_CODES,
    "fidelity": FIDELITY_CODES,
    "kind": RELATION_CODES,
    "direction": ("higher_is_better", "lower_is_better"),
    "comparator": (">=", ">", "<=", "<"),
    "type": ("text", "image"),
}


def explain(message: str) -> RefusedInput:
    """Return the refusal for a message of msgspec's JSON decoder.

    Codes: unknown_field, missing_field, wrong_type, unknown_value, bad_time, bad_form, bad_length,
    out_of_range, number_out_of_range, invalid.
    """
    what, path = _split(message)
    if what.startswith(_UNKNOWN_FIELD):
        key = printable_key(what.removeprefix(_UNKNOWN_FIELD).removesuffix("`"))
        return RefusedInput("unknown field", f"{path}.{key}", "unknown_field")
    if what.startswith(_MISSING_FIELD):
        name = what.removeprefix(_MISSING_FIELD).removesuffix("`")
        return RefusedInput("required field is missing", f"{path}.{name}", "missing_field")
    if found := _WRONG_TYPE.fullmatch(what):
        return _wrong_type(found[1].split(" | "), found[2], path)
    if what.startswith(_NOT_ALLOWED):
        words = ", ".join(_ALLOWED.get(path.rpartition(".")[2], ()))
        return RefusedInput(f"is none of the allowed values: {words}", path, "unknown_value")
    if what in _BAD_TIMES:
        return RefusedInput("is not an RFC 3339 time with its offset from UTC", path, "bad_time")
    if what.startswith(_PATTERN):
        reason = _FORMS.get(what.removeprefix(_PATTERN), "does not have the form of this field")
        return RefusedInput(reason, path, "bad_form")
    if found := _LENGTH.fullmatch(what):
        return RefusedInput(f"must have a length of {_SIGNS[found[1]]} {found[2]}", path, "bad_length")
    if found := _BOUND.fullmatch(what):
        return RefusedInput(f"must be {_SIGNS[found[1]]} {found[2]}", path, "out_of_range")
    if what in _OUT_OF_RANGE:
        return RefusedInput("is a number out of range", path, "number_out_of_range")
    return RefusedInput("does not fit the schema", path, "invalid")


def _split(message: str) -> tuple[str, str]:
    """Return what is wrong and where.

    An unknown key may be spelled like the end of a message. So a path counts only if its names are fit to
    print and it has fewer digits than a card number: the worst a producer can fake is the place of its fault.
    """
    what, found, path = message.rpartition(" - at `")
    path = path.removesuffix("`")
    if (
        not found
        or not _PATH.fullmatch(path)
        or sum(character.isdigit() for character in path) >= _CARD_DIGITS
        or any(printable_key(name) == "*" for name in _NAME.findall(path))
    ):
        return message, "$"
    return what, path.replace("[...]", ".*")


def _wrong_type(wanted: list[str], got: str, path: str) -> RefusedInput:
    if got == "null":  # null means absent, and this field may not be absent
        return RefusedInput("required field is missing", path, "missing_field")
    names = " or ".join(_TYPES.get(name, "another type") for name in wanted if name != "null")
    return RefusedInput(f"is {_TYPES.get(got, 'another type')} where {names} is expected", path, "wrong_type")
