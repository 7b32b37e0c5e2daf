from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.core import groups
from vault.core.errors import UsageError

LAST = 253_402_300_799  # the end of the year 9999


@pytest.mark.parametrize("name", ["2029-01.0", "1999-12.17", "open.0", "held.3"])
def test_a_name_comes_apart_and_together_again(name: str) -> None:
    assert groups.name_of(groups.stem_of(name), groups.generation_of(name)) == name


@pytest.mark.parametrize("name", ["", "2029-13.0", "2029-00.0", "2029-1.0", "open", "open.00", "held.-1", "٢٠٢٩-01.0"])
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        groups.stem_of(name)


def test_a_group_is_due_when_its_month_is_over() -> None:
    assert groups.due_at("2028-12") == int(datetime(2029, 1, 1, tzinfo=UTC).timestamp())
    assert groups.due_at("2028-02") == int(datetime(2028, 3, 1, tzinfo=UTC).timestamp())
    assert groups.due_at("open") is None
    assert groups.due_at("held") is None


@given(st.integers(0, LAST - 31 * 86_400))
def test_no_entry_is_due_before_its_own_instant(keep_until: int) -> None:
    due = groups.due_at(groups.stem_at(keep_until))
    assert due is not None
    assert keep_until < due <= keep_until + 31 * 86_400


def test_what_has_no_date_is_never_due() -> None:
    assert groups.due_at(groups.stem_at(None)) is None


def test_months_follow_one_another() -> None:
    assert groups.months_later("2028-11", 1) == "2028-12"
    assert groups.months_later("2028-12", 1) == "2029-01"
    assert groups.months_later("2028-12", 25) == "2031-01"
    with pytest.raises(UsageError):
        groups.months_later("open", 1)
