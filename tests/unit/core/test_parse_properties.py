"""Parsing, for all bytes: two parsers read one record; only a record or a quiet refusal comes of them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jiter
import msgspec
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.support.records import BASES, NOW, assert_agree, dump, outcome, refusal
from vault.core.errors import RefusedInput
from vault.core.flags import Flag
from vault.core.malformed import find_fault
from vault.core.parse import Parsed, epoch_us, parse

# No deadline: a busy machine is no fault of the parser.
patient = settings(deadline=None)
thorough = settings(deadline=None, max_examples=300)

# JSON that both parsers must read alike: numbers at the edges, escapes, keys that look alike.
numbers = st.one_of(
    st.integers(),
    st.integers(-(10**60), 10**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.1, 1e-320, 5e-324, 2.2250738585072011e-308, 1.7976931348623157e308, 2**53 + 1, -0.0]),
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

SPANNERS = [b'"', b"\\", b"{", b"]", b",", b"1e999", b"\\ud800", b"\\u0000", b"\0"]
SECRET = "5105105105105100"
SECRETS = [
    SECRET,
    f"card_{SECRET}",
    f"x` - at `$.{SECRET}",
    f"x` - at `$.a[{SECRET}]",
    f"' - at `$.{SECRET}`",
    int(SECRET),
    int(SECRET) + 0.5,
    [SECRET],
    {SECRET: SECRET},
    {f"a_{SECRET}": {"x": [{f"_{SECRET}": "INFINITE"}]}},
]


@patient
@given(parameters=st.dictionaries(texts, values, max_size=4), response=texts, score=st.floats(0, 1))
def test_two_parsers_read_one_record(parameters: dict[str, Any], response: str, score: float) -> None:
    document = BASES["minimal"] | {
        "model": {"served": "gpt-4o", "parameters": parameters},
        "response": response,
        "confidence": {"score": score},
    }
    for ascii_only in (False, True):
        raw = json.dumps(document, ensure_ascii=ascii_only).encode()
        parsed = parse(raw, now_us=NOW)
        assert_agree(parsed.tree, parsed.record)
        assert_agree(json.loads(raw), parsed.record)


@patient
@given(
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?\Z"),
)
@example("123456789012345678901234567890.0")
@example("8.98846567431158e307")
@example("9007199254740993e0")
@example("0.000000000000000000000000000000000000000000000000001e50")
@example("1e-400")
@example("-0")
def test_two_parsers_read_one_number(number: str) -> None:
    raw = dump(BASES["minimal"]).replace(b'"No."', b'{"n":%s}' % number.encode())
    if math.isinf(float(number)) and not re.fullmatch("-?[0-9]+", number):
        error = refusal(raw)
        assert (error.code, error.path) == ("number_out_of_range", "$.response.n")
        return
    parsed = parse(raw, now_us=NOW)
    assert_agree(parsed.tree, parsed.record)
    assert_agree(json.loads(raw), parsed.record)


@thorough
@given(st.one_of(st.binary(max_size=60), st.text(alphabet='{}[]",:\\u0123dDeE.+- natrufls\x00é', max_size=40)))
def test_any_bytes_are_parsed_or_refused(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    refusal(raw)
    assert_scanner_agrees(raw)


def mutations() -> st.SearchStrategy[bytes]:
    """A valid document with a few bytes changed, dropped, put in or copied from elsewhere in it."""

    @st.composite
    def mutate(draw: st.DrawFn) -> bytes:
        raw = bytearray(dump(draw(st.sampled_from(list(BASES.values())))))
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.integers(0, len(raw) - 1))
            match draw(st.integers(0, 3)):
                case 0:
                    raw[at] = draw(st.integers(0, 255))
                case 1:
                    del raw[at : at + draw(st.integers(1, 20))]
                case 2:
                    raw[at:at] = draw(st.sampled_from([b'"', b"\\", b"{", b"]", b",", b"1e999", b"\\ud800", b"\0"]))
                case _:
                    start = draw(st.integers(0, len(raw) - 1))
                    raw[at:at] = raw[start : start + draw(st.integers(1, 40))]
            if not raw:
                break
        return bytes(raw)

    return mutate()


@thorough
@given(mutations())
def test_damaged_records_are_parsed_or_refused(raw: bytes) -> None:
    parsed = outcome(raw)
    if isinstance(parsed, Parsed):
        assert_agree(parsed.tree, parsed.record)
    assert_scanner_agrees(raw)


def assert_scanner_agrees(raw: bytes) -> None:
    """The scanner finds a fault exactly where jiter does, and in the two places where jiter is lenient."""
    fault = find_fault(raw)
    try:
        jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        assert fault is not None
    else:
        assert fault is None or fault.code in {"nul", "number_out_of_range"}


@thorough
@given(data=st.data(), secret=st.sampled_from(SECRETS), as_key=st.booleans())
def test_no_refusal_repeats_content(data: st.DataObject, secret: Any, as_key: bool) -> None:
    document = json.loads(dump(data.draw(st.sampled_from(list(BASES.values())))))
    container, key = data.draw(st.sampled_from(list(places(document))))
    if as_key and isinstance(container, dict) and isinstance(secret, str):
        container[secret] = container.pop(key)
    else:
        container[key] = secret
    raw = msgspec.json.encode(document).replace(b'"INFINITE"', b"1e999")
    damaged = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    error = outcome(damaged)
    if isinstance(error, RefusedInput):
        assert SECRET[:6] not in f"{error!r} {error.path} {error.reason} {error.code}"
        assert error.__context__ is None


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (container, key) of a document."""
    for key, child in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(child, dict | list):
            yield from places(child)


@patient
@given(values, values)
def test_wrong_types_anywhere_are_refused_or_fit(value: Any, other: Any) -> None:
    for document in BASES.values():
        for field in document:
            changed = document | {field: value, "extra": {"x": other}}
            parsed = outcome(dump(changed))
            if isinstance(parsed, Parsed):
                assert_agree(parsed.tree, parsed.record)


@patient
@given(
    now=st.datetimes(datetime(1973, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)),
    age=st.timedeltas(timedelta(days=1090), timedelta(days=1100)),
)
def test_the_floor_is_three_calendar_years(now: datetime, age: timedelta) -> None:
    occurred = now - age
    assume(occurred.year >= 1970)
    parsed = parse(dump(BASES["minimal"] | {"occurred_at": occurred.isoformat()}), now_us=epoch_us(now))
    full_years = now.year - occurred.year - ((now.month, now.day) < (occurred.month, occurred.day))
    if (now.month, now.day) != (occurred.month, occurred.day):
        assert (Flag.OLDER_THAN_FLOOR in parsed.flags) is (full_years >= 3)
