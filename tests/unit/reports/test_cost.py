"""Counting for the cost report: each figure worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from reports.cost.count import MONTHS, SLICES, CostCount
from reports.cost.rows import BATCH, CACHE, Used
from reports.figures import Money

AT = datetime(2026, 1, 31, 20, tzinfo=UTC)  # February in Shanghai


def row(number: int, **changes: Any) -> Used:
    """Return an AI record with tokens and a fee of USD 0.01."""
    made = Used(
        seq=number,
        record_id=f"dec-{number}",
        occurred_at=AT,
        api="payment_intelligence",
        outcome="accepted",
        model="qwen-max",
        moved=True,
        opened=True,
        input_tokens=100,
        output_tokens=10,
        fee=Money(Decimal("0.01"), "USD"),
        ai_ms=200.0,
        total_ms=250.0,
    )
    return msgspec.structs.replace(made, **changes)


def bare(number: int, api: str, **changes: Any) -> Used:
    """Return a record that no model decided."""
    none = dict.fromkeys(("input_tokens", "output_tokens", "fee", "ai_ms", "model"))
    return row(number, api=api, **none | changes)


def counted(*rows: Used) -> CostCount:
    count = CostCount(ZoneInfo("Asia/Shanghai"))
    for one in rows:
        count.add(one)
    return count


def test_nothing_is_estimated() -> None:
    count = counted(
        row(1),
        row(2, fee=None),
        row(3, input_tokens=None, output_tokens=None, fee=Money(Decimal(0), "USD")),
        row(4, cached_tokens=40, reasoning_tokens=5, fee=Money(Decimal("7.5"), "CNY")),
        bare(5, "human_review"),
        bare(6, "non_ai_bypass", fee=Money(Decimal(1), "USD")),
    )
    total = count.total()
    assert (total.count, total.without_fee) == (4, 1)
    assert total.fees == ((Money(Decimal("0.01"), "USD"), 2), (Money(Decimal("7.5"), "CNY"), 1))
    tokens = total.tokens
    assert (tokens.input, tokens.output, tokens.cached, tokens.reasoning) == (300, 30, 40, 5)
    assert (tokens.recorded, tokens.missing) == (3, 1)
    assert count.elsewhere() == ((Money(Decimal(1), "USD"), 1),)
    assert [count.counted(api) for api in ("payment_intelligence", "human_review", "non_ai_bypass")] == [4, 1, 1]


def test_a_decision_costs_what_all_attempts_cost() -> None:
    count = counted(
        row(1),
        row(2, outcome="failed", moved=False),
        row(3, outcome="human_review", moved=False),
        row(4, fee=None),
        row(5, fee=Money(Decimal("0.2"), "CNY"), outcome="rejected", moved=False),
    )
    dollars, yuan = count.per_decision()
    assert (dollars.fees, dollars.records, dollars.accepted, dollars.moved) == (Money(Decimal("0.03"), "USD"), 3, 1, 1)
    assert dollars.per_accepted == dollars.per_moved == Decimal("0.030000")
    assert (yuan.accepted, yuan.per_accepted, yuan.per_moved) == (0, None, None)


def test_origins_have_their_own_fees_and_latency() -> None:
    count = counted(
        row(1),
        row(2, ai_ms=None),
        row(3, origin=BATCH, discount=0.5, fee=Money(Decimal("0.005"), "USD")),
        row(4, origin=BATCH, discount=None, fee=None),
        row(5, origin=CACHE, discount=0.5, fee=Money(Decimal(0), "USD"), ai_ms=3.2),
    )
    call, batch, cache = count.origins()
    assert [one.line.count for one in (call, batch, cache)] == [2, 2, 1]
    assert [one.median_ms for one in (call, batch, cache)] == [200, 200, 4]
    means = [str(money.amount) for one in (call, batch, cache) for money in one.means]
    assert means == ["0.010000", "0.005000", "0.000000"]
    assert batch.line.without_fee == 1
    assert [(one.share, one.count) for one in count.discounts()] == [(0.5, 2), (None, 1)]


def test_ai_bypass_and_review_are_timed_beside_each_other() -> None:
    rows = [row(at, ai_ms=float(at)) for at in range(1, 101)]
    rows += [bare(101, "non_ai_bypass", total_ms=2.5), bare(102, "non_ai_bypass", total_ms=None)]
    answer, first, whole, bypass, desk, _ = counted(*rows).times()
    assert (answer.p50, answer.p95, answer.p99, answer.longest, answer.missing) == (50, 95, 99, 100, 0)
    assert (first.measured, first.missing, first.p50) == (0, 100, None)
    assert (whole.measured, bypass.measured, bypass.missing, bypass.p50) == (100, 1, 1, 3)
    assert (desk.measured, desk.missing) == (0, 0)


def test_a_decision_waits_from_its_own_time_to_the_verdict() -> None:
    minute = timedelta(minutes=1)
    count = counted(
        bare(1, "human_review", reviews=("dec-9",), decided_at=AT + 2 * minute),  # it arrived before what it reviews
        row(9),
        row(10),
        bare(11, "human_review", reviews=("dec-10",), decided_at=None, occurred_at=AT + 4 * minute),
        bare(12, "human_review", reviews=("dec-400",), decided_at=AT),
        bare(13, "human_review", reviews=("dec-9",), decided_at=AT - minute),
        row(14, reviewed_inside=True),
    )
    count.relate(bare(90, "human_review", reviews=("dec-10",), decided_at=AT + 9 * minute))
    count.relate(bare(91, "human_review", reviews=("dec-77",), decided_at=AT + 9 * minute))  # of another period
    waits, told = count.times()[-1], count.waiting()
    assert (waits.measured, waits.p50, waits.longest) == (3, 4 * 60_000, 9 * 60_000)
    assert (told.elsewhere, told.before, told.inside, told.undated) == (1, 1, 1, 1)


def test_no_review_and_no_record_are_no_error() -> None:
    count = counted()
    assert count.times()[-1].measured == 0
    assert (count.by_month(), count.per_decision(), count.models()) == (("", ()), (), ())
    alone = counted(bare(1, "human_review", reviews=("dec-9",), decided_at=AT))
    assert alone.waiting().elsewhere == 1


def test_pages_stay_bounded_and_add_up() -> None:
    rows = [row(at, model=f"model-{at}", occurred_at=AT - timedelta(days=31 * at)) for at in range(60)]
    count = counted(*rows)
    models, months = count.models(), count.months()
    assert (len(models), models[-1].label, sum(one.count for one in models)) == (SLICES, "49 others", 60)
    assert len(months) == MONTHS + 1
    assert sum(one.count for one in months) == 60
    assert sum(money.amount for one in months for money, _ in one.fees) == Decimal("0.60")
    assert months[-1].label == "2026-02"
    assert len(count.model_times()) == SLICES
    currency, by_month = count.by_month()
    assert (currency, len(by_month), by_month[-1].call) == ("USD", MONTHS, Decimal("0.01"))
    assert len(dict(count.cells())) == 4
