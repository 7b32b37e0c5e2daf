from __future__ import annotations

import json
import struct
from datetime import date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.period import Period, end_of_period, first_instant_after, local_date, year_end, zone
from vault.core.errors import UsageError

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "retention-dates.json").read_text())
ZONES = [
    ZoneInfo(name)
    for name in (
        "Asia/Shanghai",
        "Asia/Kolkata",
        "Europe/Berlin",
        "Pacific/Honolulu",
        "America/Sao_Paulo",
        "America/Havana",
        "America/St_Johns",
        "America/Toronto",
        "Pacific/Apia",
        "Africa/Monrovia",
        "Africa/Cairo",
        "Australia/Lord_Howe",
        "Etc/GMT-14",
        "Etc/GMT+12",
    )
]
dates = st.dates(date(1900, 1, 1), date(2100, 1, 1))
periods = st.builds(Period, st.integers(0, 1200), st.integers(0, 4000))


@pytest.mark.parametrize(
    "vector",
    [vector for group in VECTORS["sets"] for vector in group["vectors"]],
    ids=lambda vector: f"{vector['event']} {vector['zone']} {vector['minimum']}",
)
def test_vector(vector: dict[str, str]) -> None:
    where = zone(vector["zone"])
    start = local_date(int(datetime.fromisoformat(vector["event"]).timestamp()), where)
    if vector["trigger"] == "calendar_year_end":
        start = year_end(start)
    last = end_of_period(start, Period.parse(vector["minimum"]))
    assert last.isoformat() == vector["last_day"]
    assert first_instant_after(last, where) == datetime.fromisoformat(vector["eligible"]).timestamp()


@pytest.mark.parametrize(
    ("text", "months", "days"), [("P3Y", 36, 0), ("P25M", 25, 0), ("P0D", 0, 0), ("P1Y2M3D", 14, 3)]
)
def test_period_is_read(text: str, months: int, days: int) -> None:
    assert Period.parse(text) == Period(months, days)


@pytest.mark.parametrize(
    "text", ["", "P", "3Y", "P3", "p3y", "P-3Y", "P3Y ", "P1.5Y", "P2W", "P3YT1H", "P3D1Y", "P٣Y", "P99999Y"]
)
def test_period_without_a_counting_rule_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Period.parse(text)


@pytest.mark.parametrize("name", ["", "Nowhere/Land", "../etc/passwd", "/etc/localtime", "Asia", "a\0b"])
def test_unknown_zone_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError):
        zone(name)


@given(dates, dates, periods)
def test_a_later_start_never_ends_earlier(one: date, other: date, period: Period) -> None:
    early, late = sorted((one, other))
    assert end_of_period(early, period) <= end_of_period(late, period)


@given(dates, periods, st.integers(0, 24), st.integers(0, 60))
def test_a_longer_period_never_ends_earlier(start: date, period: Period, months: int, days: int) -> None:
    longer = Period(period.months + months, period.days + days)
    assert end_of_period(start, longer) >= end_of_period(start, period)


@given(dates, st.sampled_from(ZONES))
def test_a_day_is_over_for_good_and_not_a_second_later(last_day: date, where: ZoneInfo) -> None:
    instant = first_instant_after(last_day, where)
    assert local_date(instant - 1, where) <= last_day
    for ahead in (0, 1, 59, 1800, 3600, 7200, 86_400):
        assert local_date(instant + ahead, where) > last_day


def test_every_clock_change_around_midnight_is_survived() -> None:
    where = ZoneInfo("America/St_Johns")  # changed at 00:01 for decades, so midnight came twice each autumn
    day = date(1987, 1, 1)
    while day < date(2012, 1, 1):
        instant = first_instant_after(day, where)
        assert local_date(instant - 1, where) <= day
        assert all(local_date(instant + ahead, where) > day for ahead in range(0, 7200, 60))
        day += timedelta(days=1)


def test_days_before_year_one_count_as_its_first_day() -> None:
    assert local_date(-62_135_596_800, ZoneInfo("Pacific/Honolulu")) == date.min
    assert local_date(-(10**15), ZoneInfo("Asia/Shanghai")) == date.min


@pytest.mark.parametrize("instant", [253_402_300_799, 10**13, 10**25])
def test_days_after_year_9999_overflow(instant: int) -> None:
    with pytest.raises(OverflowError):
        local_date(instant, ZoneInfo("Asia/Shanghai"))


def test_periods_that_end_after_year_9999_overflow() -> None:
    with pytest.raises(OverflowError):
        end_of_period(date(9998, 1, 1), Period.parse("P3Y"))
    with pytest.raises(OverflowError):
        end_of_period(date(9999, 12, 31), Period.parse("P1D"))
    with pytest.raises(OverflowError):
        first_instant_after(date.max, ZoneInfo("Etc/UTC"))


def test_a_quarter_hour_that_begins_and_ends_on_one_date_lies_on_that_date() -> None:
    """The ground on which retention.keeping remembers dates by 15-minute bucket, in every zone of the world.

    Without a clock change dates only grow, so a bucket that begins and ends on one date lies on it. With one
    change in it, both parts are looked at. Two changes within one bucket never happened.
    """
    checked = 0
    for name in sorted(available_timezones()):
        where = ZoneInfo(name)
        changes = _clock_changes(name)
        assert len({change // 900 for change in changes}) == len(changes), name
        for change in changes:
            begins = change // 900 * 900
            first = local_date(begins, where)
            if first == local_date(begins + 899, where):
                assert local_date(max(begins, change - 1), where) == first, name
                assert local_date(change, where) == first, name
            checked += 1
    assert checked > 10_000


def _clock_changes(name: str) -> list[int]:
    """The transition times of a zone, read from its TZif file. From: RFC 9636 3.1-3.2."""
    try:
        data = files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return []  # a name that only this machine knows, such as localtime
    head = struct.Struct(">4sc15x6L")
    magic, version, isut, isstd, leap, times, types, chars = head.unpack_from(data)
    assert magic == b"TZif"
    assert version >= b"2"
    second = head.size + times * 5 + types * 6 + chars + leap * 8 + isstd + isut
    count = head.unpack_from(data, second)[5]
    return list(struct.unpack_from(f">{count}q", data, second + head.size))
