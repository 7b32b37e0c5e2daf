"""Computation of periods: calendar years, months and days in the time zone of the law.

One counting rule for every instrument (CN Civil Code Art. 201-203; Regulation (EEC) 1182/71 Art. 3):

1. the day on which the event falls, in the zone, is the start day and is not counted;
2. years and months run to the corresponding day; where that day does not exist, to the month's last day;
3. the last day counts in full, so the record may go at 00:00 local of the day after it;
4. the end never moves to an earlier day for a holiday.

    >>> shanghai = zone("Asia/Shanghai")
    >>> start = local_date(1_709_227_800, shanghai)       # 2024-02-29T17:30:00Z, already March in Shanghai
    >>> end_of_period(start, Period.parse("P3Y"))
    datetime.date(2027, 3, 1)
    >>> first_instant_after(date(2027, 3, 1), shanghai)   # 2027-03-01T16:00:00Z
    1803916800

Zone data is the system's, else that of the ``tzdata`` package (the order of :mod:`zoneinfo`). What a
government decides later about its clocks cannot be known here: an instant once computed is frozen with the
record.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from vault.core.errors import UsageError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_DAY = timedelta(days=1)
_PERIOD = re.compile(r"P(?=[0-9])(?:([0-9]{1,4})Y)?(?:([0-9]{1,5})M)?(?:([0-9]{1,6})D)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Period:
    """A length of calendar time, never converted to days or seconds.

    Attributes:
        months: years and months together, 12 to the year.
        days: added after the months.
    """

    months: int
    days: int

    @classmethod
    def parse(cls, text: str) -> Period:
        """Read an ISO 8601 calendar period of years, months and days, such as ``P10Y``, ``P25M`` or ``P0D``.

        Weeks, times, signs and fractions have no agreed counting rule here and are refused.

        Raises:
            UsageError: anything else.
        """
        match = _PERIOD.fullmatch(text)
        if match is None:
            raise UsageError("a period is written P<n>Y<n>M<n>D with at least one part, such as P3Y or P25M")
        years, months, days = (int(part or 0) for part in match.groups())
        return cls(12 * years + months, days)


def zone(name: str) -> ZoneInfo:
    """The IANA time zone of that name.

    Raises:
        UsageError: neither the system nor the ``tzdata`` package knows it.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageError(f"the time zone {name!r} is unknown here (is tzdata installed?)") from None


def local_date(instant: int, where: ZoneInfo) -> date:
    """The calendar day on which an instant (Unix seconds) falls in a zone.

    Days before year 1 count as its first day, which can only lengthen a period.

    Raises:
        OverflowError: the day lies after year 9999.
    """
    try:
        return (_EPOCH + timedelta(seconds=instant)).astimezone(where).date()
    except OverflowError:
        if instant < 0:
            return date.min
        raise


def year_end(day: date) -> date:
    """The day's 31st of December: the start day of periods that run from a calendar year's end."""
    return date(day.year, 12, 31)


def end_of_period(start: date, period: Period) -> date:
    """The last day kept, when ``start`` is the day that is not counted.

    Never decreases when ``start`` grows.

    Raises:
        OverflowError: the last day lies after year 9999.
    """
    years, month = divmod(start.month - 1 + period.months, 12)
    year = start.year + years
    if year > date.max.year:
        raise OverflowError("the period ends after year 9999")
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return date(year, month + 1, day) + timedelta(days=period.days)


def first_instant_after(last_day: date, where: ZoneInfo) -> int:
    """Unix seconds of the instant at which ``last_day`` is over in a zone for good.

    That is 00:00 of the next day, unless the clocks change around that midnight. Where 00:00 is skipped,
    the day begins with the first instant after the gap. Where it comes twice, the first one counts, except
    when the clock still returns to ``last_day`` in between.

    Raises:
        OverflowError: the next day lies after year 9999.
    """
    midnight = datetime.combine(last_day + _ONE_DAY, time(), where)
    first = _unix(midnight)
    second = _unix(midnight.replace(fold=1))
    if first == second:
        return first
    if first < second:  # 00:00 comes twice
        return second if local_date(second - 1, where) <= last_day else first
    # PEP 495: in a gap, fold=0 reads the clock as it was before the change and fold=1 as it is after it, so
    # the change itself lies between the two.
    early, late = second, first
    while early < late:
        middle = (early + late) // 2
        if local_date(middle, where) > last_day:
            late = middle
        else:
            early = middle + 1
    return early


def _unix(moment: datetime) -> int:
    # The offset is subtracted by hand: astimezone(UTC) overflows on the calendar's first and last days.
    offset = moment.utcoffset() or timedelta()
    return (moment.replace(tzinfo=UTC) - _EPOCH - offset) // timedelta(seconds=1)
