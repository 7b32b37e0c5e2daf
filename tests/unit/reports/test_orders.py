"""Which periods of a standing order are due."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import orders
from reports.kinds import NAMES, kind_of

SHANGHAI = ZoneInfo("Asia/Shanghai")
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("every", "since", "now", "expected"),
    [
        ("month", "2026-10-15T00:00Z", "2026-11-01T00:00Z", [("2026-10-01", "2026-11-01")]),
        ("month", "2026-10-31T15:59Z", "2026-10-31T15:59Z", []),
        ("month", "2026-10-31T15:59Z", "2026-10-31T16:00Z", [("2026-10-01", "2026-11-01")]),  # midnight in Shanghai
        ("month", "2026-10-31T16:00Z", "2026-11-30T15:00Z", []),
        ("week", "2026-11-18T00:00Z", "2026-11-28T00:00Z", [("2026-11-16", "2026-11-23")]),
        ("day", "2026-11-26T00:00Z", "2026-11-28T00:00Z", [("2026-11-26", "2026-11-27"), ("2026-11-27", "2026-11-28")]),
        (
            "quarter",
            "2026-02-01T00:00Z",
            "2026-07-02T00:00Z",
            [("2026-01-01", "2026-04-01"), ("2026-04-01", "2026-07-01")],
        ),
    ],
)
def test_a_period_is_due_when_it_has_ended_at_the_ledgers_home(
    every: str, since: str, now: str, expected: list[tuple[str, str]]
) -> None:
    found = orders.periods(every, datetime.fromisoformat(since), datetime.fromisoformat(now), SHANGHAI)
    assert [(first.isoformat(), end.isoformat()) for first, end in found] == expected


@given(every=st.sampled_from(orders.EVERY), since=MOMENTS, days=st.integers(0, 4000))
def test_periods_touch_have_ended_and_are_few(every: str, since: datetime, days: int) -> None:
    now = since + timedelta(days=days)
    found = orders.periods(every, since, now, SHANGHAI)
    assert len(found) <= orders.MOST_BEHIND
    assert all(before[1] == after[0] for before, after in pairwise(found))
    today, ordered = now.astimezone(SHANGHAI).date(), since.astimezone(SHANGHAI).date()
    assert all(ordered < end <= today for _, end in found)
    if found:
        assert today - found[-1][1] < timedelta(days=93)


def test_a_period_is_due_once_however_often_one_looks() -> None:
    since = datetime(2026, 1, 5, tzinfo=UTC)
    seen = [
        first
        for day in range(200)
        for first, _ in orders.periods("month", since, since + timedelta(days=day), ZoneInfo("UTC"))
    ]
    assert set(seen) == {date(2026, month, 1) for month in range(1, 7)}


def test_only_what_a_worker_can_make_alone_can_be_ordered() -> None:
    """A dossier names a conversation, reconciliation a list: each time anew."""
    alone = {name for name in NAMES if kind_of(name).repeats}
    assert alone == {"access", "cost", "evidence", "integrity", "retention", "threshold"}
