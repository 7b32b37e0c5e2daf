"""The period of a report: calendar days of the ledger's home, as instants."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from reports.model import Period
from retention.period import first_instant_after
from retention.rules import RuleBook
from vault.core.errors import UsageError


def period_of(book: RuleBook, jurisdictions: Sequence[str], first: date | None, end: date | None) -> Period:
    """Return the period from the beginning of ``first`` up to, but without, ``end``; None leaves a bound open.

    Days are those of the first jurisdiction that the rule book lists, UTC where it lists none.

    Raises:
        UsageError: the period is empty, or a day lies outside the calendar.
    """
    if first is not None and end is not None and first >= end:
        raise UsageError("the period is empty: --to is the first day that is not included, and must lie after --from")
    listed = next((code for code in jurisdictions if code in book.jurisdictions), None)
    zone = ZoneInfo("UTC") if listed is None else book.zone_of(listed)
    return Period(_beginning(first, zone), _beginning(end, zone), zone.key)


def contains(period: Period, moment: datetime) -> bool:
    """Say whether an instant lies in the period."""
    return (period.start is None or period.start <= moment) and (period.end is None or moment < period.end)


def _beginning(day: date | None, zone: ZoneInfo) -> datetime | None:
    """The first instant of a day, also where clocks change at midnight."""
    if day is None:
        return None
    try:
        return datetime.fromtimestamp(first_instant_after(day - timedelta(days=1), zone), UTC)
    except (OverflowError, ValueError):
        raise UsageError(f"the day {day} cannot bound a period") from None
