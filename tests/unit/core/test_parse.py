"""Parsing: what is accepted means the same to two parsers, what is refused is refused clearly and quietly."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jiter
import msgspec
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from vault.core import parse as parse_module
from vault.core.errors import RefusedInput
from vault.core.flags import Flag
from vault.core.malformed import MAX_DEPTH, find_fault, path_of
from vault.core.parse import MAX_RECORD, Parsed, epoch_us, parse
from vault.core.schema_fault import explain

VECTORS = Path(__file__).parents[2] / "vectors" / "records"
VALID = json.loads((VECTORS / "valid.json").read_bytes())
REFUSED = json.loads((VECTORS / "refused.json").read_bytes())["cases"]
BASES: dict[str, dict[str, Any]] = {name: case["document"] for name, case in VALID["documents"].items()}
NOW = epoch_us(datetime.fromisoformat(VALID["now"]))

# No deadline: a busy machine is no fault of the parser.
patient = settings(deadline=None)
thorough = settings(deadline=None, max_examples=300)

MINUTE = 60 * 1_000_000
DAY = 24 * 60 * MINUTE


def dump(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def with_time(moment: str, **fields: Any) -> bytes:
    return dump(BASES["minimal"] | {"occurred_at": moment} | fields)


def refusal(raw: bytes, now_us: int = NOW) -> RefusedInput:
    with pytest.raises(RefusedInput) as caught:
        parse(raw, now_us=now_us)
    return caught.value


def outcome(raw: bytes) -> Parsed | RefusedInput:
    """Either of the two things that may come of any bytes; every other exception fails the test."""
    try:
        return parse(raw, now_us=NOW)
    except RefusedInput as error:
        return error


@pytest.mark.parametrize("name", BASES)
def test_valid(name: str) -> None:
    expect = VALID["documents"][name]["expect"]
    raw = dump(BASES[name])
    parsed = parse(raw, now_us=NOW)
    assert {flag.name for flag in Flag if flag in parsed.flags} == set(expect["flags"])
    assert parsed.below_threshold is expect["below"]
    assert parsed.tree == BASES[name]
    assert_agree(parsed.tree, parsed.record)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["name"])
def test_refused(case: dict[str, Any]) -> None:
    error = refusal(build(case))
    assert (error.code, error.path) == (case["code"], case["path"])
    assert type(error) is RefusedInput
    # A chained parser error would carry content into a traceback or a log.
    assert error.__cause__ is None
    assert error.__context__ is None


def build(case: dict[str, Any]) -> bytes:
    """Make the bytes of a case of refused.json, as its provenance line says."""
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    if "text" in case:
        return expand(case["text"])
    document = json.loads(json.dumps(BASES[case["base"]]))
    for pointer, value in case.get("set", {}).items():
        parent, key = resolve(document, pointer)
        if isinstance(parent, list) and int(key) == len(parent):
            parent.append(value)
        else:
            parent[int(key) if isinstance(parent, list) else key] = value
    for pointer in case.get("remove", []):
        parent, key = resolve(document, pointer)
        del parent[int(key) if isinstance(parent, list) else key]
    raw = dump(document)
    if "replace" in case:
        old, new = case["replace"]
        assert raw.count(old.encode()) == 1
        raw = raw.replace(old.encode(), expand(new))
    if "cut_at" in case:
        raw = raw[: raw.index(case["cut_at"].encode())]
    return raw + expand(case.get("append", ""))


def resolve(document: Any, pointer: str) -> tuple[Any, str]:
    *parents, key = pointer.split("/")[1:]
    for part in parents:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document, key


def expand(text: str) -> bytes:
    raw = re.sub(rb"\{hex:([0-9a-f]+)\}", lambda found: bytes.fromhex(found[1].decode()), text.encode())
    return re.sub(rb"\{([^{}*]+|\{[^{}*]+)\*([0-9]+)\}", lambda found: found[1] * int(found[2]), raw)


def assert_agree(tree: Any, view: Any) -> None:
    """Compare what the two parsers read, field by field: names, values and their types."""
    if isinstance(view, msgspec.Struct):
        assert isinstance(tree, dict)
        names = {field.encode_name: field.name for field in msgspec.structs.fields(view)}
        assert set(tree) - set(names) <= {type(view).__struct_config__.tag_field}
        for encoded, name in names.items():
            assert_agree(tree.get(encoded), getattr(view, name))
    elif isinstance(view, datetime):
        assert abs(epoch_us(datetime.fromisoformat(tree)) - epoch_us(view)) <= 1  # it cuts, msgspec rounds
    elif isinstance(view, dict):
        assert list(tree) == list(view)
        for key, value in view.items():
            assert_agree(tree[key], value)
    elif isinstance(view, list):
        assert len(tree) == len(view)
        for one, other in zip(tree, view, strict=True):
            assert_agree(one, other)
    elif isinstance(view, float):
        assert isinstance(tree, int | float)
        assert float(tree).hex() == view.hex()
    else:
        assert type(tree) is type(view)
        assert tree == view


@pytest.mark.parametrize(
    ("text", "spelled_in_utc"),
    [
        ("2026-01-05T08:01:12.111Z", "2026-01-05T08:01:12.111000+00:00"),
        ("2026-01-05t08:01:12z", "2026-01-05T08:01:12+00:00"),
        ("2026-01-05T08:01:12+08:00", "2026-01-05T00:01:12+00:00"),
        ("2026-01-05T08:01:12-05:30", "2026-01-05T13:31:12+00:00"),
        ("2026-01-05T08:01:12-00:00", "2026-01-05T08:01:12+00:00"),
        ("2026-01-05T08:01:12.123456Z", "2026-01-05T08:01:12.123456+00:00"),
        ("2026-01-05T08:01:12.1234564Z", "2026-01-05T08:01:12.123456+00:00"),
        ("2026-01-05T08:01:12.1234565Z", "2026-01-05T08:01:12.123457+00:00"),
        ("2025-12-31T23:59:59.999999999Z", "2026-01-01T00:00:00+00:00"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00+00:00"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
    ],
)
def test_times(text: str, spelled_in_utc: str) -> None:
    parsed = parse(with_time(text), now_us=NOW)
    assert parsed.occurred_at_us == epoch_us(datetime.fromisoformat(spelled_in_utc))


def test_executed_at() -> None:
    assert parse(dump(BASES["minimal"]), now_us=NOW).executed_at_us is None
    parsed = parse(dump(BASES["every_field"]), now_us=NOW)
    assert parsed.executed_at_us == parsed.occurred_at_us - 123456 + 2_000_000


@pytest.mark.parametrize(
    ("ahead_us", "flagged"),
    [(-1, False), (0, False), (5 * MINUTE - 1, False), (5 * MINUTE, True), (DAY - 1, True), (DAY, True)],
)
def test_clock_ahead(ahead_us: int, flagged: bool) -> None:
    moment = datetime.fromisoformat(VALID["now"]) + timedelta(microseconds=ahead_us)
    parsed = parse(with_time(moment.isoformat()), now_us=NOW)
    assert (Flag.CLOCK_AHEAD in parsed.flags) is flagged


@pytest.mark.parametrize(
    ("now", "occurred", "older"),
    [
        ("2026-06-01T00:00:00Z", "2023-06-01T00:00:00Z", False),
        ("2026-06-01T00:00:00Z", "2023-05-31T23:59:59.999999Z", True),
        ("2026-06-01T00:00:00Z", "2023-06-01T07:59:59+08:00", True),
        ("2024-03-01T00:00:00Z", "2021-03-01T00:00:00Z", False),
        ("2024-03-01T00:00:00Z", "2021-02-28T23:59:59Z", True),
        ("2024-02-29T12:00:00Z", "2021-03-01T00:00:00Z", False),
        ("2024-02-29T12:00:00Z", "2021-02-28T23:59:59Z", True),
        ("2023-02-28T12:00:00Z", "2020-02-29T00:00:00Z", False),
        ("2023-02-28T12:00:00Z", "2020-02-28T11:59:59Z", True),
        ("2025-01-01T00:00:00Z", "2021-12-31T00:00:00Z", True),
        ("2025-01-01T00:00:00Z", "2022-01-01T00:00:00Z", False),
        ("2026-06-01T00:00:00Z", "1970-01-01T00:00:00Z", True),
    ],
)
def test_older_than_the_floor(now: str, occurred: str, older: bool) -> None:
    parsed = parse(with_time(occurred), now_us=epoch_us(datetime.fromisoformat(now)))
    assert (Flag.OLDER_THAN_FLOOR in parsed.flags) is older


@patient
@given(
    now=st.datetimes(datetime(1973, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)),
    age=st.timedeltas(timedelta(days=1090), timedelta(days=1100)),
)
def test_the_floor_is_three_calendar_years(now: datetime, age: timedelta) -> None:
    occurred = now - age
    assume(occurred.year >= 1970)
    parsed = parse(with_time(occurred.isoformat()), now_us=epoch_us(now))
    full_years = now.year - occurred.year - ((now.month, now.day) < (occurred.month, occurred.day))
    if (now.month, now.day) != (occurred.month, occurred.day):
        assert (Flag.OLDER_THAN_FLOOR in parsed.flags) is (full_years >= 3)


@pytest.mark.parametrize(
    ("confidence", "flags", "below"),
    [
        ({"score": 0.8, "threshold": 0.75}, Flag(0), False),
        ({"score": 0.7, "threshold": 0.75}, Flag(0), True),
        ({"score": 1, "threshold": 1}, Flag(0), False),
        ({"score": 0.8}, Flag.THRESHOLD_DEFAULTED, False),
        ({"score": 0.8, "threshold": None}, Flag.THRESHOLD_DEFAULTED, False),
        ({"threshold": 0.5}, Flag.SCORE_UNUSABLE, True),
        ({"score": None, "threshold": 0.5}, Flag.SCORE_UNUSABLE, True),
        ({"score": 1.5, "threshold": 0.5}, Flag.SCORE_UNUSABLE, True),
        ({"score": -0.1, "threshold": 0, "direction": "lower_is_better"}, Flag.SCORE_UNUSABLE, True),
        ({}, Flag.SCORE_UNUSABLE | Flag.THRESHOLD_DEFAULTED, True),
        (None, Flag.SCORE_UNUSABLE | Flag.THRESHOLD_DEFAULTED, True),
    ],
)
def test_confidence(confidence: object, flags: Flag, below: bool) -> None:
    parsed = parse(dump(BASES["minimal"] | {"confidence": confidence}), now_us=NOW)
    assert (parsed.flags, parsed.below_threshold) == (flags, below)


def test_the_ledgers_threshold_is_used() -> None:
    raw = dump(BASES["minimal"] | {"confidence": {"score": 0.8}})
    assert parse(raw, now_us=NOW, default_threshold=0.9).below_threshold is True


def test_a_review_that_disagrees_is_not_flagged() -> None:
    review = {"reviewer": "rev-9", "agreed": False}
    parsed = parse(dump(BASES["minimal"] | {"review": review}), now_us=NOW)
    assert Flag.REVIEW_AGREED not in parsed.flags


@pytest.mark.parametrize("amount", ["0", "0.00", "128.50", "9" * 18 + ".999999", "007", "0.000001"])
def test_amounts(amount: str) -> None:
    document = BASES["bypass"]
    decision = document["decision"] | {"executed": {"amount": amount, "currency": "CNY"}}
    parsed = parse(dump(document | {"decision": decision}), now_us=NOW)
    assert parsed.record.decision.executed is not None
    assert parsed.record.decision.executed.amount == amount


@pytest.mark.parametrize("name", ["i", "i" * 128, "号" * 128, "a b/c:d#1", "🙂", "order\\u0000"])
def test_ids(name: str) -> None:
    assert parse(dump(BASES["minimal"] | {"id": name}), now_us=NOW).record.id == name


def test_one_mebibyte_and_no_byte_more() -> None:
    room = MAX_RECORD - len(dump(BASES["minimal"] | {"prompt": ""}))
    largest = dump(BASES["minimal"] | {"prompt": "x" * room})
    assert len(largest) == 1024 * 1024
    assert parse(largest, now_us=NOW).record.prompt == "x" * room
    error = refusal(largest + b" ")
    assert (error.code, error.path) == ("too_large", "$")


def test_extra_of_sixteen_levels() -> None:
    extra: Any = {}
    for _ in range(7):
        extra = {"d": [extra]}
    parse(dump(BASES["minimal"] | {"extra": {"d": extra}}), now_us=NOW)
    parse(dump(BASES["minimal"] | {"extra": {"d": extra, "e": 1}}), now_us=NOW)
    assert refusal(dump(BASES["minimal"] | {"extra": {"d": [{"d": extra}]}})).code == "too_deep"


def test_white_space_around_the_document() -> None:
    raw = b"\r\n " + dump(BASES["minimal"]) + b" \n"
    assert parse(raw, now_us=NOW).record.id == "dec-1"


def test_an_escaped_backslash_before_u0000_is_text() -> None:
    parsed = parse(dump(BASES["minimal"] | {"prompt": "in C: \\u0000"}), now_us=NOW)
    assert parsed.record.prompt == "in C: \\u0000"


def test_deep_stacks_of_the_caller_do_not_break_through() -> None:
    def descend(levels: int) -> Parsed:
        return descend(levels - 1) if levels else parse(nested, now_us=NOW)

    nested = dump(BASES["minimal"]).replace(b'"No."', b'{"a":' * 198 + b"1" + b"}" * 198)
    assert parse(nested, now_us=NOW).record.id == "dec-1"
    with pytest.raises(RefusedInput):
        descend(850)


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
@given(
    st.one_of(st.binary(max_size=60), st.text(alphabet='{}[]",:\\u0123dDeE.+- natrufls\x00é', max_size=40))
)
def test_any_bytes_are_parsed_or_refused(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    refusal(raw)
    assert_scanner_agrees(raw)


SPANNERS = [b'"', b"\\", b"{", b"]", b",", b"1e999", b"\\ud800", b"\\u0000", b"\0"]


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
                    raw[at:at] = draw(
                        st.sampled_from([b'"', b"\\", b"{", b"]", b",", b"1e999", b"\\ud800", b"\0"])
                    )
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
    """The slow scanner finds a fault exactly where jiter does, and in the two places where jiter is lenient."""
    fault = find_fault(raw)
    try:
        jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        assert fault is not None
    else:
        assert fault is None or fault.code in {"nul", "number_out_of_range"}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (container, key) of a document."""
    for key, child in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(child, dict | list):
            yield from places(child)


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


@patient
@given(values, values)
def test_wrong_types_anywhere_are_refused_or_fit(value: Any, other: Any) -> None:
    for document in BASES.values():
        for field in document:
            changed = document | {field: value, "extra": {"x": other}}
            parsed = outcome(dump(changed))
            if isinstance(parsed, Parsed):
                assert_agree(parsed.tree, parsed.record)


def test_messages_nobody_has_seen_yet_are_not_repeated() -> None:
    error = explain(f"Something new about {SECRET} - at `$.prompt[0]`")
    assert str(error) == "$.prompt[0]: does not fit the schema"
    assert str(explain(f"{SECRET}")) == "$: does not fit the schema"


def test_paths_show_no_key_that_could_be_content() -> None:
    assert path_of([]) == "$"
    assert path_of(["decision", "executed", 3, "amount"]) == "$.decision.executed[3].amount"
    assert (
        path_of(["extra", "Alice", "a b", "x\n", "", "a" * 33, SECRET, "v2_2026"]) == "$.extra.*.*.*.*.*.*.*"
    )
    assert path_of(["extra", "v_2026"]) == "$.extra.v_2026"
    assert path_of(["a"] * 21) == "$" + ".a" * 20 + "..."


def test_the_depth_limit_is_the_fast_parsers_own() -> None:
    def nested(depth: int) -> bytes:
        return b"[" * depth + b"1" + b"]" * depth

    assert find_fault(nested(MAX_DEPTH)) is None
    jiter.from_json(nested(MAX_DEPTH))
    assert find_fault(nested(MAX_DEPTH + 1)) is not None
    with pytest.raises(ValueError, match="recursion limit"):
        jiter.from_json(nested(MAX_DEPTH + 1))


def test_a_fault_the_scanner_cannot_name_is_still_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse_module, "find_fault", lambda raw: None)
    error = refusal(b"{")
    assert (error.code, error.path) == ("malformed", "$")
