"""Reports as jobs: asked for under a grant, made by a process of their own, fetched under the same grant.

    1. decide that a grant covers the whole ledger, and commit ``report.requested``
    2. a child process makes the report; it gets the passphrase through a pipe, never as an argument or in its
       environment. It commits its own access and ``report.issued`` before the file is in its place
    3. fetching decides again, and commits ``report.fetched`` before a byte leaves

Below ``<home>/reports/<id>/`` lie ``job.json`` and, once it is issued, ``report.pdf``: any worker answers for any job.
A job whose process died is told as failed; it is asked for again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from base64 import b64encode
from datetime import date
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec

from reports.period import period_of
from service import wiring
from service.problems import HttpProblem
from vault import events, grants
from vault.context import Vault
from vault.core.errors import Denied, Unavailable, Unknown
from vault.core.grant import Grant
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.ledgers import Ledger
from vault.reading import denial, held_grants, no_grant

RUNNING: Final = 2
"""Reports that one worker has made at a time."""


class Job(msgspec.Struct):
    """``job.json``: one report, from the asking to the end."""

    report: str
    state: str
    ledger: str
    ledger_name: str
    kind: str
    grant: str
    person: str
    requested_at: int
    pid: int = 0
    sha256: str | None = None
    pages: int | None = None
    bytes: int | None = None
    event: int | None = None
    detail: str | None = None


class Reporting:
    """The report jobs of one worker.

    Args:
        passphrase: opens the vault for the child; held as long as the worker runs.
    """

    def __init__(self, home: Path, passphrase: bytes) -> None:
        self._home = home
        self._folder = home / "reports"
        self._passphrase = passphrase
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"Reporting({self._folder})"

    def ask(self, vault: Vault, ledger: Ledger, first: str | None, end: str | None) -> tuple[Job, dict[str, Any]]:
        """Step 1. Returns the job and what its process is told.

        Raises:
            UsageError: no such period.
            Denied: no grant covers the whole ledger.
            HttpProblem: enough reports are being made.
        """
        days = [None if day is None else _day(day) for day in (first, end)]
        period_of(wiring.rule_book(), ledger.genesis.jurisdictions, *days)  # refuses a period that cannot be
        if len(self._tasks) >= RUNNING:
            raise HttpProblem("too-many-requests", "enough reports are being made: come back", retry_after=30)
        report = f"r-{uuid4()}"
        place = str(ledger.id)

        def decide(standing: Standing) -> Ruling[Grant]:
            for one in held_grants(vault, standing, place, None):
                if one.scope.covers_ledger(place):
                    told = {"report": report, "kind": "evidence", "ledger": place, "grant": one.id}
                    return Ruling([Event("report.requested", told)], one)
            if held_grants(vault, standing, place, None):
                error = Denied("a report opens the whole ledger: it needs a grant without period and classes")
                return refuse(error, denial("report.request", "scope", {"ledger": place}))
            return refuse(no_grant(standing, vault), denial("report.request", "grant", {"ledger": place}))

        _, grant = events.rule(vault, decide)
        job = Job(report, "running", place, ledger.row.name, "evidence", grant.id, vault.actor.name, vault.clock())
        folder = self._folder / report
        folder.mkdir(mode=0o700, parents=True)
        self._write(job)
        (purpose,) = [one.purpose for one in grants.told(vault, [grant])]
        return job, {
            "home": str(self._home),
            "passphrase": b64encode(self._passphrase).decode(),
            "actor": vault.actor.name,
            "ledger": ledger.row.name,
            "first": first,
            "end": end,
            "purpose": purpose,
            "out": str(folder / "report.pdf"),
        }

    def start(self, job: Job, told: dict[str, Any]) -> None:
        """Step 2, on the loop."""
        task = asyncio.get_running_loop().create_task(self._make(job, told))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _make(self, job: Job, told: dict[str, Any]) -> None:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "service.report_job", stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
        )
        job.pid = child.pid
        self._write(job)
        said, _ = await child.communicate(msgspec.json.encode(told))
        try:
            answer = msgspec.json.decode(said, type=dict[str, Any])
        except msgspec.MsgspecError:
            answer = {"detail": "the process that made it died: ask for it again"}
        job.state = "failed" if "detail" in answer else "ready"
        for name, value in answer.items():
            setattr(job, name, value)
        self._write(job)

    def find(self, vault: Vault, report: str) -> Job:
        """Return a job that whoever asks may know of: their own, or any for an officer.

        Raises:
            Unknown: there is none.
        """
        job = self._read(report)
        roles = vault.actor.roles_by(vault.register.standing())
        if job is None or ("officer" not in roles and job.person != vault.actor.name):
            raise Unknown("there is no such report")
        if job.state == "running" and job.pid and not _lives(job.pid):
            job.state, job.detail = "failed", "the process that made it died: ask for it again"
        return job

    def fetch(self, vault: Vault, report: str) -> Path:
        """Step 3. Returns the file.

        Raises:
            Unknown: there is no such report of one's own, or it is not ready.
            Denied: the grant it was made under does not hold any more.
        """
        job = self._read(report)

        def decide(standing: Standing) -> Ruling[None]:
            if job is None or job.person != vault.actor.name or job.state != "ready":
                return refuse(
                    Unknown("there is no such report, or it is not ready"), denial("report.fetch", "none", {})
                )
            facts: dict[str, Any] = {"report": job.report, "grant": job.grant, "ledger": job.ledger}
            if not held_grants(vault, standing, job.ledger, job.grant):
                return refuse(no_grant(standing, vault), denial("report.fetch", "grant", facts))
            return Ruling([Event("report.fetched", facts | {"sha256": job.sha256})], None)

        events.rule(vault, decide)
        return self._folder / report / "report.pdf"

    async def close(self) -> None:
        """Wait for what is being made."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _read(self, report: str) -> Job | None:
        if not report.startswith("r-") or not report.replace("-", "").isalnum():
            return None
        try:
            return msgspec.json.decode((self._folder / report / "job.json").read_bytes(), type=Job)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError):
            raise Unavailable("cannot read what is known of this report: check the home directory") from None

    def _write(self, job: Job) -> None:
        path = self._folder / job.report / "job.json"
        temporary = path.with_suffix(".new")
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(msgspec.json.encode(job))
        os.replace(temporary, path)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise HttpProblem("invalid", "first and end are days: YYYY-MM-DD") from None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
