"""Counting for the threshold report: each figure worked out by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from reports import sheet
from reports.figures import Money
from reports.tally import Sums
from reports.threshold.collect import DEFAULT_WHAT_IF, asked_of
from reports.threshold.count import AGREED, ALONE, IN_USE, OVERRULED, Asked, ThresholdCount
from reports.threshold.rows import Decided
from vault.core.errors import UsageError

AT = datetime(2026, 1, 31, 20, tzinfo=UTC)  # February in Shanghai


def row(number: int, score: float | None = 0.9, **changes: Any) -> Decided:
    """Return an AI decision with a threshold of 0.75 that moved CNY 10."""
    made = Decided(
        seq=number,
        record_id=f"dec-{number}",
        occurred_at=AT,
        jurisdictions=("CN", "SG"),
        api="payment_intelligence",
        outcome="accepted",
        model="qwen-max",
        moved=True,
        below=score is None or score < 0.75,
        unusable=score is None,
        defaulted=False,
        opened=True,
        score=score,
        threshold=0.75,
        policy="refund-1",
        executed=Money(Decimal(10), "CNY"),
    )
    return msgspec.structs.replace(made, **changes)


def review(number: int, of: str, agreed: bool) -> Decided:
    return row(number, api="human_review", score=None, below=False, unusable=False, reviews=((of, agreed),))


def counted(folder: Path, *rows: Decided, asked: tuple[Asked, ...] = (Asked(0.8),)) -> ThresholdCount:
    count = ThresholdCount(ZoneInfo("Asia/Shanghai"), asked, folder / "waiting")
    for one in rows:
        count.add(one)
    count.close()
    return count


def states(count: ThresholdCount) -> dict[str, str]:
    return {one.record_id: state for one, state in count.waiting()}


def test_a_review_counts_wherever_it_stands_and_agreement_before_disagreement(tmp_path: Path) -> None:
    count = counted(
        tmp_path,
        review(1, "dec-4", True),  # spooled producers send late: before what it reviews
        row(2, 0.5),
        row(3, 0.5, agreed=True),
        row(4, 0.5),
        row(5, 0.5, agreed=False),
        row(6, 0.5),
        review(7, "dec-6", False),
        row(8, 0.5),
        review(9, "dec-8", False),
        review(10, "dec-8", True),
        row(11, 0.9),
    )
    count.relate(review(99, "dec-2", False))  # after the period
    assert states(count) == {
        "dec-2": OVERRULED,
        "dec-3": AGREED,
        "dec-4": AGREED,
        "dec-5": OVERRULED,
        "dec-6": OVERRULED,
        "dec-8": AGREED,
    }
    assert (count.decisions, count.others, count.unusable) == (7, 4, 0)


def test_what_waits_comes_back_exactly(tmp_path: Path) -> None:
    sent = row(7, 0.5, executed=Money(Decimal("999999999999999999.999999"), "CNY"), model=None, moved=False)
    ((back, state),) = counted(tmp_path, sent).waiting()
    assert (back, state) == (sent, ALONE)


def test_scores_near_the_threshold_fall_into_their_hundredth(tmp_path: Path) -> None:
    scores = [0.65, 0.6499, 0.7499999, 0.75, 0.7599, 0.76, 0.78, 0.8499, 0.85, 0.74]
    near = counted(tmp_path, *(row(at, score) for at, score in enumerate(scores, 1))).near()
    found = {one.hundredth: (one.below, one.above) for one in near if one.count}
    assert found == {-10: (1, 0), -1: (2, 0), 0: (0, 2), 1: (0, 1), 3: (0, 1), 9: (0, 1)}
    assert (near[0].hundredth, near[-1].hundredth) == (-10, 9)


def test_another_threshold_counts_what_it_would_have_stopped(tmp_path: Path) -> None:
    rows = (
        row(1, 0.76),
        row(2, 0.79, executed=Money(Decimal("2.5"), "USD")),
        row(3, 0.79, executed=None),
        row(4, 0.79, moved=False),
        row(5, 0.80),
        row(6, 0.80, strict=True),
        row(7, 0.70),
        row(8, None),
        row(9, 0.78, threshold=0.9, below=True),
        row(10, 0.91, threshold=0.9),
    )
    asked = (Asked(0.8), Asked(0.6), Asked(add=0.05))
    by_value, lower, by_more = counted(tmp_path, *rows, asked=asked).what_if()
    assert (by_value.more, by_value.moved, by_value.without_amount, by_value.fewer) == (5, 4, 1, 0)
    assert by_value.sums == ((Money(Decimal(20), "CNY"), 2), (Money(Decimal("2.5"), "USD"), 1))
    assert (lower.more, lower.fewer) == (0, 2)
    assert by_more.more == 6  # 1 to 4, the strict one, and 0.91 against 0.95; 0.80 is 0.75 + 0.05
    assert (by_value.label, str(by_more.label)) == ("0.80", "each decision’s own threshold + 0.05")


def test_thresholds_that_changed_stand_first(tmp_path: Path) -> None:
    rows = [row(1), row(2), row(3, threshold=0.8, occurred_at=AT.replace(year=2025)), row(4, api="risk_compliance")]
    rows += [row(5, policy=None, defaulted=True)]
    in_use, total, changed = counted(tmp_path, *rows).in_use()
    assert (total, changed) == (4, 1)
    assert [(one.threshold, one.count, one.changed, one.stated) for one in in_use] == [
        (0.75, 2, True, True),
        (0.8, 1, True, True),
        (0.75, 1, False, False),
        (0.75, 1, False, True),
    ]


def test_thresholds_without_end_do_not_grow_the_page(tmp_path: Path) -> None:
    rows = [row(at, 0.9, policy=f"policy-{at}") for at in range(2_500)]
    in_use, total, _ = counted(tmp_path, *rows).in_use()
    assert (len(in_use), total) == (IN_USE, 2_001)
    assert sum(one.count for one in in_use if one.api == "(others)") == 500


def test_months_are_those_of_the_zone(tmp_path: Path) -> None:
    assert counted(tmp_path, row(1)).months == {"2026-02": 1}


def test_default_and_stated_questions() -> None:
    assert [one.threshold for one in asked_of(())] == [*DEFAULT_WHAT_IF, None]
    assert [one.threshold for one in asked_of((0.9, 0.7, 0.9))] == [0.9, 0.7, None]
    for bad in (0, 1.01, -1, float("nan")):
        with pytest.raises(UsageError, match="--what-if"):
            asked_of((bad,))


def test_sums_are_exact_and_largest_count_first() -> None:
    sums, more = Sums(), Sums()
    for _ in range(3):
        sums.add(Money(Decimal("999999999999999999.999999"), "CNY"))
    sums.add(Money(Decimal("0.1"), "USD"))
    more.add(Money(Decimal("0.2"), "USD"))
    sums.join(more)
    assert sums.result() == (
        (Money(Decimal("2999999999999999999.999997"), "CNY"), 3),
        (Money(Decimal("0.3"), "USD"), 2),
    )


def test_a_spreadsheet_runs_nothing() -> None:
    line = sheet.line((1, "=HYPERLINK(0)", "@x", "-2", 'a,b\n"c"', None, -5, "名"))
    assert line.decode() == '1,\'=HYPERLINK(0),\'@x,\'-2,"a,b\n""c""",,-5,名\r\n'


@pytest.mark.parametrize("text", ["＝1+1", "＋1", "－1", "＠SUM(1)", " =1", "\u3000＝1", "\t=1", "\n@x"])
def test_nor_what_a_spreadsheet_of_another_language_would_run(text: str) -> None:
    assert sheet.line((text,)).decode().lstrip('"').startswith(f"'{text}")


def test_a_row_without_its_record_keeps_what_the_leaf_vouches_for(tmp_path: Path) -> None:
    lost = replace_opened(row(1, None, below=True, unusable=False))
    count = counted(tmp_path, lost)
    assert (count.decisions, count.usable) == (1, 0)
    assert states(count) == {"dec-1": ALONE}
    assert count.in_use() == ((), 0, 0)


def replace_opened(one: Decided) -> Decided:
    return msgspec.structs.replace(one, opened=False, threshold=None, policy=None, executed=None)


def test_labels_are_json(tmp_path: Path) -> None:
    hostile = row(1, 0.5, record_id='"}\n{"seq":9', model="\u202e")
    ((back, _),) = counted(tmp_path, hostile).waiting()
    assert back == hostile
    assert json.loads((tmp_path / "waiting").read_bytes())["record_id"] == hostile.record_id
