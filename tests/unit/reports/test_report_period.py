"""Days of the ledger's home as instants, half-open."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from reports.period import contains, period_of
from retention.rules import load_default
from vault.core.errors import UsageError

BOOK = load_default()


def test_days_are_those_of_the_first_jurisdiction() -> None:
    period = period_of(BOOK, ("CN", "SG"), date(2026, 1, 1), date(2026, 2, 1))
    assert period.zone == "Asia/Shanghai"
    assert period.start == datetime(2025, 12, 31, 16, tzinfo=UTC)
    assert period.end == datetime(2026, 1, 31, 16, tzinfo=UTC)


def test_half_open() -> None:
    period = period_of(BOOK, ("CN",), date(2026, 1, 1), date(2026, 1, 2))
    assert period.start is not None
    assert period.end is not None
    tick = timedelta(microseconds=1)
    edges = (period.start - tick, period.start, period.end - tick, period.end)
    assert [contains(period, edge) for edge in edges] == [False, True, True, False]


def test_open_bounds() -> None:
    whole = period_of(BOOK, ("CN",), None, None)
    assert contains(whole, datetime(1970, 1, 1, tzinfo=UTC))
    assert contains(whole, datetime(9999, 1, 1, tzinfo=UTC))
    since = period_of(BOOK, ("CN",), date(2026, 1, 1), None)
    assert not contains(since, datetime(2025, 12, 31, 15, 59, tzinfo=UTC))


def test_the_first_listed_jurisdiction_else_utc() -> None:
    assert period_of(BOOK, ("IS", "SG"), None, None).zone == "Asia/Singapore"
    assert period_of(BOOK, ("IS",), date(2026, 1, 1), None).start == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("first", "end"), [(date(2026, 1, 2), date(2026, 1, 1)), (date(2026, 1, 1),) * 2])
def test_an_empty_period_is_refused(first: date, end: date) -> None:
    with pytest.raises(UsageError, match="empty"):
        period_of(BOOK, ("CN",), first, end)


def test_the_calendar_has_a_beginning() -> None:
    with pytest.raises(UsageError, match="cannot bound"):
        period_of(BOOK, ("CN",), date.min, None)
