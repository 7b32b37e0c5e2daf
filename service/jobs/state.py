"""How the jobs stand, for the service's figures: when each last ended well, and since when it should have again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from service.jobs import catalogue
from service.jobs.catalogue import Job
from vault.context import Vault
from vault.db import jobs as rows
from vault.db.engine import transact
from vault.jobs import FAILED


class JobState(NamedTuple):
    """One job that is on.

    Attributes:
        succeeded: Unix seconds; 0 where it never did.
        overdue: seconds since it should have been done again, 0 while there is time; a run that goes on counts as not
            done yet.
        failed: whether its newest run did.
    """

    name: str
    succeeded: float
    overdue: float
    failed: bool


def read(vault: Vault, home: Path) -> list[JobState]:
    """Return how the jobs stand.

    Raises:
        UsageError: ``jobs.toml`` cannot work.
        Unavailable: the database cannot be reached.
    """
    wanted = catalogue.load(home)
    now = datetime.fromtimestamp(vault.clock() // 1_000_000, UTC)
    newest, good = transact(
        vault.engine,
        lambda connection: (
            rows.latest(connection, vault.events, wanted.jobs),
            rows.succeeded(connection, vault.events, wanted.jobs),
        ),
        tries=1,
    )
    found = []
    for name, job in wanted.jobs.items():
        if job.enabled:
            last = good.get(name)
            ended = None if last is None else last.finished_at
            overdue = _overdue(job, None if last is None else last.due, now)
            failed = name in newest and newest[name].outcome == FAILED
            found.append(JobState(name, 0.0 if ended is None else ended.timestamp(), overdue, failed))
    return found


def _overdue(job: Job, last: datetime | None, now: datetime) -> float:
    """A job that never ended well should have been done when it was last due."""
    again = job.schedule.latest(now) if last is None else job.schedule.following(last)
    return 0.0 if again is None else max(0.0, (now - again).total_seconds())
