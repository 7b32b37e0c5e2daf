"""Parsing: what is accepted and flagged, and that every fault is refused under its own code and path."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.records import BASES, NOW, REFUSED, VALID, assert_agree, build, dump, refusal
from vault.core import parse as parse_module
from vault.core.errors import RefusedInput
from vault.core.flags import Flag
from vault.core.parse import MAX_RECORD, Parsed, epoch_us, parse

MINUTE = 60 * 1_000_000
DAY = 24 * 60 * MINUTE


def with_time(moment: str, **fields: Any) -> bytes:
    return dump(BASES["minimal"] | {"occurred_at": moment} | fields)


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
    # Up to Python 3.11 the caller's depth leaves the C parser less room; later ones count the two apart.
    if sys.version_info >= (3, 12):
        assert descend(850).record.id == "dec-1"
    else:
        with pytest.raises(RefusedInput) as caught:
            descend(850)
        assert caught.value.code == "too_deep"


def test_a_fault_the_scanner_cannot_name_is_still_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse_module, "find_fault", lambda raw: None)
    error = refusal(b"{")
    assert (error.code, error.path) == ("malformed", "$")
