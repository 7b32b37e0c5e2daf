"""Rows to numbers, against counting by hand."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.figures import ExceptionCheck, Money
from reports.histogram import LatencyCount, VolumeCount
from reports.rows import Opened, Row, confidence_position
from reports.sequences import SequenceCount
from reports.statistics import PopulationCount, finding_lines
from tests.support.report_model import rows
from vault.core.flags import Flag

AT = datetime(2026, 1, 5, 8, tzinfo=UTC)
PLAIN = Row(
    seq=1,
    record_id="r-1",
    occurred_at=AT,
    jurisdictions=("CN",),
    record_class="payment",
    api="payment_intelligence",
    outcome="accepted",
    money_moved=False,
    model="m",
    score=0.9,
    below_threshold=False,
    ai_ms=300.0,
    flags=0,
    fidelity="wire",
    keep_until=AT + timedelta(days=1100),
    group="2029-01.1",
    opened=Opened(conversation_id="c-1", threshold=0.75),
)


def record(seq: int, *, opened: dict[str, Any] | None = None, **changes: Any) -> Row:
    inside = msgspec.structs.replace(PLAIN.opened, **({"conversation_id": f"c-{seq}"} | (opened or {})))
    return msgspec.structs.replace(PLAIN, **({"seq": seq, "record_id": f"r-{seq}", "opened": inside} | changes))


def counted(*population: Row, opened: bool = True, related: tuple[Row, ...] = ()) -> PopulationCount:
    count = PopulationCount(zone=ZoneInfo("Asia/Shanghai"), opened=opened)
    for row in population:
        count.add(row)
    for row in related:
        count.relate(row)
    return count


def check(count: PopulationCount, code: str) -> ExceptionCheck:
    return next(found for found in count.checks() if found.code == code)


LOW = {"below_threshold": True, "money_moved": True, "score": 0.3}
AGREES = {"relates_to": (("review_of", "r-1"),), "review_agreed": True}


@pytest.mark.parametrize(
    ("others", "found"),
    [
        ((), 1),
        ((record(2, opened=AGREES),), 0),
        ((record(2, opened=AGREES | {"review_agreed": False}),), 1),
        ((record(2, opened=AGREES | {"review_agreed": None}),), 1),
        ((record(2, opened={"relates_to": (("retry_of", "r-1"),), "review_agreed": True}),), 1),
        ((record(2, opened={"relates_to": (("review_of", "r-2"),), "review_agreed": True}),), 1),
    ],
)
def test_low_confidence_execution_needs_an_agreeing_review(others: tuple[Row, ...], found: int) -> None:
    low = counted(record(1, **LOW), *others).low_confidence()
    assert (low.count, low.reviewed) == (found, 1 - found)
    assert [row.seq for row in low.rows] == [1] * found


def test_a_review_outside_the_period_or_before_the_record_counts() -> None:
    review = record(9, opened=AGREES)
    assert counted(record(1, **LOW), related=(review,)).low_confidence().count == 0
    assert counted(review, record(1, **LOW)).low_confidence().count == 0


def test_the_record_s_own_review_counts() -> None:
    assert counted(record(1, **LOW, flags=Flag.REVIEW_AGREED.value)).low_confidence().count == 0


def test_low_confidence_rows_are_bounded_and_lowest_first() -> None:
    population = [
        record(
            seq,
            **(LOW | {"score": None if seq == 70 else seq / 1000}),
            opened={"executed": Money(Decimal("0.10"), "CNY")},
        )
        for seq in range(1, 101)
    ]
    low = counted(*population).low_confidence()
    assert [row.seq for row in low.rows] == [70, *range(1, 25)]
    assert low.count == 100
    assert low.totals == ((Money(Decimal("10.00"), "CNY"), 100),)
    assert str(low.totals[0][0].amount) == "10.00"


def test_possible_double_charge() -> None:
    same = {"conversation_id": "c", "step": 2}
    first = record(1, money_moved=True, opened=same)
    count = counted(
        first,
        record(5, money_moved=True, opened=same),
        record(6, money_moved=True, opened=same | {"step": 3}),
    )
    found = check(count, "possible_double_charge")
    assert found.count == 2
    assert [(example.seq, example.detail) for example in found.examples] == [(1, "same conversation and step as seq 5")]
    settled = record(5, money_moved=True, opened=same | {"relates_to": (("settles", "r-1"),)})
    assert check(counted(first, settled), "possible_double_charge").count == 0
    third = record(7, money_moved=True, opened=same)
    assert check(counted(first, settled, third), "possible_double_charge").count == 2
    assert check(counted(first, record(5, opened=same)), "possible_double_charge").count == 0


def test_unknown_outcome_until_settled() -> None:
    unknown = record(1, outcome="outcome_unknown")
    assert check(counted(unknown), "outcome_unknown").count == 1
    settles = record(3, opened={"relates_to": (("settles", "r-1"),)})
    assert check(counted(unknown, settles), "outcome_unknown").count == 0
    assert check(counted(unknown, related=(settles,)), "outcome_unknown").count == 0


@pytest.mark.parametrize(
    ("flag", "code"),
    [
        (Flag.AMOUNT_MISSING, "amount_missing"),
        (Flag.VALIDATION_FAILED, "validation_failed"),
        (Flag.SCORE_UNUSABLE, "score_unusable"),
        (Flag.THRESHOLD_DEFAULTED, "threshold_defaulted"),
        (Flag.IDENTITY_NUMBER, "identity_number"),
        (Flag.CARD_DATA, "card_data"),
        (Flag.CLOCK_AHEAD, "clock_ahead"),
        (Flag.OLDER_THAN_FLOOR, "older_than_floor"),
        (Flag.TRANSACTION_PRESUMED, "transaction_presumed"),
        (Flag.OPEN_ENDED, "open_ended"),
        (Flag.UNCONFIGURED_JURISDICTION, "unconfigured_jurisdiction"),
        (Flag.ERASURE_CONFLICT, "erasure_conflict"),
    ],
)
def test_every_flag_but_a_good_review_is_a_test(flag: Flag, code: str) -> None:
    count = counted(record(1), record(2, flags=flag.value))
    assert [found.code for found in count.checks() if found.count] == [code]
    assert [example.record_id for example in check(count, code).examples] == ["r-2"]
    assert list(finding_lines(count.findings())) == [b'{"test":"%s","seq":2}\n' % code.encode()]


def test_fidelity_below_wire_is_found_without_any_flag() -> None:
    assert check(counted(record(1, fidelity="redacted")), "not_wire").count == 1


def test_without_opened_records_pair_tests_say_that_they_were_not_made() -> None:
    closed = record(1, **LOW, outcome="outcome_unknown", opened=None)
    count = counted(msgspec.structs.replace(closed, opened=None), opened=False)
    assert check(count, "possible_double_charge").not_tested
    assert check(count, "outcome_unknown").not_tested
    assert check(count, "outcome_unknown").count == 0
    assert not count.low_confidence().reviews_read
    assert [code for code, _ in count.findings()] == ["low_confidence"]


def test_sums_are_exact_beyond_the_default_context() -> None:
    amount = Money(Decimal("999999999999999999.999999"), "CNY")
    row = record(1, money_moved=True, opened={"executed": amount, "proposed": amount})
    (total,) = counted(*[row] * 20_001).decisions().totals
    assert str(total.executed) == str(total.proposed) == "20000999999999999999999.979999"


def test_executed_counts_only_where_money_moved() -> None:
    count = counted(record(1, opened={"executed": Money(Decimal(5), "CNY")}))
    assert not count.decisions().totals


def test_histogram_is_split_by_each_record_s_own_verdict() -> None:
    confidence = (
        counted(
            record(1, score=0.75),
            record(2, score=0.7499, below_threshold=True),
            record(3, score=1.0),
            record(4, score=0.0),
        )
        .decisions()
        .confidence
    )
    assert confidence.bins[15].at_or_above == 1
    assert confidence.bins[14].below == 1
    assert confidence.bins[19].at_or_above == 1
    assert confidence.scored == 4
    assert confidence.threshold == 0.75


def test_numbers_agree_with_counting_by_hand() -> None:
    population = list(rows(3000))
    decisions = counted(*population).decisions()
    assert decisions.count == 3000
    assert decisions.moved == sum(row.money_moved for row in population)
    assert sum(column.count for column in decisions.volume) == 3000
    assert {row.label: row.count for row in decisions.models} == {
        name: sum(row.model == name for row in population) for name in {row.model for row in population} - {None}
    }
    assert sum(row.count for row in decisions.jurisdictions) == sum(len(row.jurisdictions) for row in population)
    timed = sorted(row.ai_ms for row in population if row.ai_ms is not None)
    assert decisions.latency.p95 is not None
    assert 0 <= decisions.latency.p95 - timed[-(-len(timed) * 95 // 100) - 1] < 1
    groups = {row.group for row in population}
    assert {group.group for group in counted(*population).groups()} == groups


def test_labels_and_slices_are_bounded() -> None:
    count = counted(*(record(seq, model=f"model-{seq}", record_class=f"class-{seq}") for seq in range(1, 6001)))
    decisions = count.decisions()
    assert len(decisions.models) == len(decisions.classes) == 10
    assert sum(row.count for row in decisions.models) == sum(row.count for row in decisions.classes) == 6000
    assert decisions.models[-1].label.endswith("others")


def test_a_million_s_figures_do_not_grow_the_model() -> None:
    """Every tuple of the model has its bound at 3,000 and at 30,000 rows: pages cannot follow the population."""
    small, large = (counted(*rows(size)) for size in (3_000, 30_000))

    def sizes(count: PopulationCount) -> list[int]:
        parts = (count.decisions(), count.low_confidence(), *count.checks())
        return [
            len(value)
            for part in parts
            for field in fields(part)
            if isinstance(value := getattr(part, field.name), tuple)
        ]

    assert max(sizes(large)) <= max(max(sizes(small)), 25)


@settings(deadline=None, max_examples=40)  # each example counts into 146,000 cells
@given(st.lists(st.floats(0, 200_000), min_size=1, max_size=60))
def test_latency_quantiles_are_nearest_rank(values: list[float]) -> None:
    count = LatencyCount()
    for value in values:
        count.add(value)
    latency = count.result()
    ranked = sorted(values)
    for percent, got in ((50, latency.p50), (95, latency.p95), (99, latency.p99)):
        exact = ranked[-(-len(ranked) * percent // 100) - 1]
        assert got is not None
        assert got == math.ceil(exact) if exact <= 59_999 else 0 <= got - exact < 1001
    assert sum(entry.count for entry in latency.bins) == latency.measured == len(values)
    assert len(latency.bins) <= 27


@given(st.lists(st.datetimes(datetime(1970, 1, 2), datetime(2120, 1, 1)), min_size=1, max_size=30))
def test_volume_loses_no_record_and_fits_the_chart(moments: list[datetime]) -> None:
    count = VolumeCount(ZoneInfo("Asia/Shanghai"))
    for moment in moments:
        count.add(moment.replace(tzinfo=UTC))
    unit, columns = count.result()
    assert unit in ("day", "week", "month", "year")
    assert sum(column.count for column in columns) == len(moments)
    assert 1 <= len(columns) <= 45


@given(st.lists(st.integers(1, 60), min_size=1), st.randoms(use_true_random=False))
def test_sequence_gaps_are_what_is_not_there_whatever_the_order(numbers: list[int], order: Any) -> None:
    order.shuffle(numbers)
    count = SequenceCount()
    for number in numbers:
        count.add("p", number)
    (row,) = count.result(gaps=100).producers
    absent = [number for number in range(min(numbers), max(numbers)) if number not in numbers]
    assert [number for first, last in row.gaps for number in range(first, last + 1)] == absent
    assert (row.missing, row.numbered) == (len(absent), len(set(numbers)))


def test_producers_with_most_missing_come_first_and_are_bounded() -> None:
    count = SequenceCount()
    for index in range(20):
        count.add(f"p{index:02}", 1)
        count.add(f"p{index:02}", index + 2)
    count.add("p00", None)
    result = count.result(producers=3)
    assert [row.producer for row in result.producers] == ["p19", "p18", "p17"]
    assert (result.total_producers, result.unnumbered, result.missing) == (20, 1, sum(range(20)))


def test_confidence_is_placed_on_its_own_scale() -> None:
    assert confidence_position(0.8) == 0.8
    assert confidence_position(30, minimum=0, maximum=100, higher_is_better=False) == pytest.approx(0.7)
    assert confidence_position(1.5) is None
    assert confidence_position(float("nan")) is None
    assert confidence_position(0.5, minimum=1, maximum=1) is None


def test_finding_lines_are_json() -> None:
    assert [json.loads(line) for line in finding_lines([("amount_missing", 3)])] == [
        {"test": "amount_missing", "seq": 3}
    ]
