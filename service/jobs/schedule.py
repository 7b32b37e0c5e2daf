"""Schedules: when a job is due, told by a cron expression, in UTC.

    minute hour day-of-month month day-of-week      "15 2 * * *": every day at 02:15

APScheduler reads the expression. It differs from cron in two things: a day must fit both day fields, not one of them,
and it counts weekdays from Monday, so weekdays must be spelled (mon ... sun) and a number there is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from apscheduler.triggers.cron import CronTrigger

from vault.core.errors import UsageError

# Looking back: the first window that holds a due time is short enough to walk through.
_WINDOWS = tuple(timedelta(hours=hours) for hours in (1, 24, 32 * 24, 366 * 24, 9 * 366 * 24))
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


class Schedule:
    """One cron expression.

    Raises:
        UsageError: it is none, or never comes due.
    """

    def __init__(self, cron: str) -> None:
        self.cron = cron
        fields = cron.split()
        if len(fields) != 5:
            raise UsageError(f"{cron!r} is no schedule: minute, hour, day of month, month and day of week")
        if any(char.isdigit() for char in fields[4].partition("/")[0]):
            raise UsageError(f"{cron!r} is no schedule: spell weekdays mon, tue, wed, thu, fri, sat, sun")
        try:
            self.trigger = CronTrigger.from_crontab(cron, timezone=UTC)
        except ValueError:
            raise UsageError(f"{cron!r} is no schedule: minute, hour, day of month, month and day of week") from None
        if self._from(_SOME_DAY) is None:
            raise UsageError(f"{cron!r} is no schedule: it never comes due")

    def following(self, now: datetime) -> datetime | None:
        """Return the first due time after an instant."""
        return self._from(now.replace(microsecond=0) + timedelta(seconds=1))

    def latest(self, now: datetime) -> datetime | None:
        """Return the last due time that is not after an instant; None where the last years had none."""
        for window in _WINDOWS:
            found = self._from(now - window)
            if found is None or found > now:
                continue
            while (later := self.following(found)) is not None and later <= now:
                found = later
            return found
        return None

    def _from(self, moment: datetime) -> datetime | None:
        found: datetime | None = self.trigger.get_next_fire_time(None, moment)
        return found
