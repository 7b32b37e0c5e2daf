"""Jobs: which run is due, who has it, and how it ended. One row a run; the lease is by the database's clock.

    claim    insert the run's row, or take over one whose lease is over; never beside a run of the same job
    renew    by compare-and-swap: who was overtaken changes nothing, and is told
    finish   likewise
    release  end the lease at once, for whoever comes next

Claims of one job wait for each other: each begins by writing that job's row of 1970, which stands for no run. The hosts
of two workers may disagree about the time, so no lease is ever compared with a clock of theirs.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

LATCH = datetime(1970, 1, 1, tzinfo=UTC)
"""``due`` of the row that claims of a job wait for."""


class JobRow(NamedTuple):
    """One run.

    Attributes:
        worker: who had it last, a word.
        live: whether it goes on: not finished, and its lease holds.
        attempts: how often it was begun and not given back.
        outcome: None until it is finished.
    """

    name: str
    due: datetime
    worker: str
    lease_until: datetime
    live: bool
    attempts: int
    finished_at: datetime | None
    outcome: str | None


_COLUMNS = "name, due, worker, lease_until, finished_at IS NULL AND lease_until > now(), attempts, finished_at, outcome"


def now(connection: Connection) -> datetime:
    """Return the database's time."""
    found: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return found


def claim(
    connection: Connection, ledger: UUID, name: str, due: datetime, worker: str, seconds: float
) -> tuple[JobRow | None, JobRow | None]:
    """Take a run, for so many seconds.

    Returns:
        (the run as this worker has it now, None); or (None, the run in its way: another of this job that goes on, or
        one of this time or a later one that is finished).
    """
    connection.execute(
        text(
            "INSERT INTO vault.job (ledger_id, name, due, worker, lease_until, attempts, finished_at)"
            " VALUES (:ledger, :name, :latch, '', :latch, 0, :latch)"
            " ON CONFLICT (ledger_id, name, due) DO UPDATE SET attempts = 0"
        ),
        {"ledger": ledger, "name": name, "latch": LATCH},
    )
    found = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM vault.job"  # noqa: S608 - constants
            " WHERE ledger_id = :ledger AND name = :name AND due > :latch"
            " AND ((finished_at IS NULL AND lease_until > now()) OR (finished_at IS NOT NULL AND due >= :due))"
            " ORDER BY finished_at IS NULL DESC, due DESC LIMIT 1"
        ),
        {"ledger": ledger, "name": name, "latch": LATCH, "due": due},
    ).one_or_none()
    if found is not None:
        return None, JobRow(*found)
    taken = connection.execute(
        text(
            "INSERT INTO vault.job (ledger_id, name, due, worker, lease_until, attempts)"  # noqa: S608 - constants
            " VALUES (:ledger, :name, :due, :worker, now() + make_interval(secs => :seconds), 1)"
            " ON CONFLICT (ledger_id, name, due) DO UPDATE SET worker = excluded.worker,"
            f" lease_until = excluded.lease_until, attempts = job.attempts + 1 RETURNING {_COLUMNS}"
        ),
        {"ledger": ledger, "name": name, "due": due, "worker": worker, "seconds": seconds},
    ).one()
    return JobRow(*taken), None


# What a worker may change is the run as it has it: not one that somebody took over meanwhile.
_MINE = (
    " WHERE ledger_id = :ledger AND name = :name AND due = :due"
    " AND worker = :worker AND attempts = :attempts AND finished_at IS NULL"
)


def renew(connection: Connection, ledger: UUID, run: JobRow, seconds: float) -> bool:
    """Have a run for so many seconds from now on. False: somebody else has it."""
    return _change(connection, ledger, run, "lease_until = now() + make_interval(secs => :seconds)", seconds=seconds)


def release(connection: Connection, ledger: UUID, run: JobRow) -> bool:
    """Give a run back that was stopped, not tried. False: somebody else has it."""
    return _change(connection, ledger, run, "lease_until = now(), attempts = attempts - 1")


def finish(connection: Connection, ledger: UUID, run: JobRow, outcome: str) -> bool:
    """Note how a run ended. False: somebody else has it."""
    return _change(connection, ledger, run, "finished_at = now(), outcome = :outcome", outcome=outcome)


def _change(connection: Connection, ledger: UUID, run: JobRow, changes: str, **values: object) -> bool:
    mine = {"ledger": ledger, "name": run.name, "due": run.due, "worker": run.worker, "attempts": run.attempts}
    changed = connection.execute(text(f"UPDATE vault.job SET {changes}{_MINE}"), mine | values)  # noqa: S608 - constants
    return changed.rowcount == 1


def latest(connection: Connection, ledger: UUID, names: Collection[str]) -> dict[str, JobRow]:
    """Return the newest run of each of these jobs, by due time; those that never ran are left out."""
    return _newest(connection, ledger, names, "true")


def succeeded(connection: Connection, ledger: UUID, names: Collection[str]) -> dict[str, JobRow]:
    """Return the newest run of each of these jobs that ended well."""
    return _newest(connection, ledger, names, "outcome = 'ok'")


def _newest(connection: Connection, ledger: UUID, names: Collection[str], which: str) -> dict[str, JobRow]:
    """One step into the index a job: runs are kept for ever, and this is asked every few seconds."""
    found = connection.execute(
        text(
            "SELECT newest.* FROM unnest(CAST(:names AS text[])) AS wanted, LATERAL ("  # noqa: S608 - constants
            f" SELECT {_COLUMNS} FROM vault.job"
            f" WHERE ledger_id = :ledger AND name = wanted AND due > :latch AND {which}"
            " ORDER BY due DESC LIMIT 1) newest"
        ),
        {"ledger": ledger, "names": list(names), "latch": LATCH},
    )
    return {row[0]: JobRow(*row) for row in found}
