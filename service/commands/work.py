"""``worker`` and ``jobs``: what is done on a schedule, and what was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from service import home as homes
from service import settings, wiring
from service import worker as working
from service.jobs import catalogue
from service.jobs.catalogue import Job
from service.terminal import Commands, say
from vault.db import jobs as rows
from vault.db.engine import transact
from vault.db.jobs import JobRow
from vault.jobs import STOPPED


@click.command()
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Default: service.toml's.")
def worker(log_level: str | None) -> None:
    """Do the jobs that are due until told to stop (SIGTERM, Ctrl-C): the step at hand is finished.

    Several workers may run, on several hosts: each due run is done once.
    """
    home = homes.default_path()
    wiring.identity(home)
    level = settings.load(home, log_level=log_level).service.log_level
    wanted = catalogue.load(home)
    words = f"working on {sum(job.enabled for job in wanted.jobs.values())} jobs"
    document = {"jobs": [job.name for job in wanted.jobs.values() if job.enabled]}
    working.work(home, homes.passphrase(), wanted, level, ready=lambda: say(words, document))


@click.group(cls=Commands)
def jobs() -> None:
    """Jobs: planning and executing disposals, verifying, signing, and the rest of what is done on a schedule."""


@jobs.command("list")
def list_jobs() -> None:
    """List the jobs: when each is due, and how its last run went. Needs no passphrase."""
    home = homes.default_path()
    wanted = catalogue.load(home)
    with wiring.open_sealed(home) as sealed:
        events = sealed.identity.events
        newest = transact(sealed.engine, lambda connection: rows.latest(connection, events, wanted.jobs))
    told = [_told(job, newest.get(job.name)) for job in wanted.jobs.values()]
    form = "{job:<20} {schedule:<26} {last:<21} {outcome:<8} {next}"
    head = form.format(job="job", schedule="schedule (UTC)", last="last run", outcome="outcome", next="next run")
    say("\n".join([head, *(form.format(**{key: one[key] or "-" for key in one}) for one in told)]), told)


def _told(job: Job, run: JobRow | None) -> dict[str, Any]:
    now = datetime.fromtimestamp(wiring.clock() // 1_000_000, UTC)
    following = job.schedule.following(now) if job.enabled else None
    if run is None:
        outcome = None
    elif run.outcome is None:
        outcome = "running" if run.live else STOPPED  # or its worker died; either way somebody will begin it again
    else:
        outcome = run.outcome
    return {
        "job": job.name,
        "does": job.does,
        "schedule": job.schedule.cron if job.enabled else "off",
        "last": None if run is None else f"{run.due:%Y-%m-%dT%H:%M:%SZ}",
        "outcome": outcome,
        "worker": None if run is None else run.worker,
        "next": None if following is None else f"{following:%Y-%m-%dT%H:%M:%SZ}",
    }


@jobs.command("run")
@click.argument("name")
def run_job(name: str) -> None:
    """Do a job now, due or not, and wait for it. Refused while a worker runs the same one."""
    home = homes.default_path()
    wiring.identity(home)
    wanted = catalogue.load(home)
    job = wanted.job(name)
    with wiring.open_for_retention(home, homes.passphrase()) as vault:
        ended = working.run_now(vault, wanted, job)
    words = [f"{name}: {ended.outcome}"]
    for key, value in ended.counts.items():
        words += [f"  {key.replace('_', ' ')}: {' '.join(value) if isinstance(value, list) else value}"]
    say("\n".join(words), {"job": name, "outcome": ended.outcome} | dict(ended.counts))
