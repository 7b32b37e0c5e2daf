"""Reports as jobs: asked for under a grant, made by a process of their own, fetched under the same grant.

    1. take one of a few places; decide that a grant covers the whole ledger, and commit ``report.requested``
    2. a child process makes the report; it gets the passphrase through a pipe, never as an argument or in its
       environment. It decides again, by the same grant, with its own access and with ``report.issued``: once the grant
       is revoked nothing is opened any more, and what was opened is not handed out
    3. fetching decides again, and commits ``report.fetched`` before a byte leaves

Below ``<home>/reports/<id>/`` lie ``job.json`` and, once it is issued, ``report.pdf``: any worker answers for any job.
A job whose process died is told as failed; it is asked for again.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec

from reports import governing
from reports.period import period_of
from service import wiring
from service.problems import HttpProblem
from service.schema import ReportAsk
from vault import events, grants, ledgers
from vault.context import Vault
from vault.core.errors import Unavailable, Unknown
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.ledgers import Ledger
from vault.reading import denial, held_grants, no_grant, require_grant, tell_whole

GOVERNING: Final = frozenset({"integrity", "retention"})
"""Kinds that open no record (reports.governing)."""

RUNNING: Final = 2
"""Reports that are being made at a time, by all workers of a home on one machine."""

_STARTING: Final = 60_000_000  # microseconds in which a process is there, or never will be
_DIED: Final = "the process that made it died: ask for it again"
_NOT_FOR_THE_CHILD: Final = frozenset(
    {
        "REASONVAULT_PASSPHRASE",
        "REASONVAULT_PASSPHRASE_FILE",
        "REASONVAULT_PASSWORD_FILE",
        "DATABASE_OWNER_URL",
        "PYTHONSTARTUP",
        "PYTHONHOME",
    }
)


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
        self._watchers: list[threading.Thread] = []

    def __repr__(self) -> str:
        return f"Reporting({self._folder})"

    def ask(self, vault: Vault, ledger: Ledger, wanted: ReportAsk) -> Job:
        """Steps 1 and 2: have a report made. Returns the job, which a process works on from now on.

        Raises:
            UsageError: no such period.
            Denied: no grant covers the whole ledger, or, for a kind that opens nothing, none names it.
            HttpProblem: enough reports are being made on this machine.
        """
        place, kind = str(ledger.id), wanted.kind
        if kind in GOVERNING:
            governing.require(vault, ledger)
        else:
            require_grant(vault, ledger.id, "report.request", {"ledger": place})
        days = [None if day is None else _day(day) for day in (wanted.first, wanted.end)]
        period_of(wiring.rule_book(vault), ledger.genesis.jurisdictions, *days)  # refuses a period that cannot be
        report = f"r-{uuid4()}"
        with self._slot() as slot:

            def requested(by: dict[str, object]) -> Event:
                return Event("report.requested", {"report": report, "kind": kind, "ledger": place, **by})

            used = ""
            if kind in GOVERNING:
                governing.tell(vault, ledger, requested)
            else:
                _, used = tell_whole(vault, ledger.id, None, requested)
            job = Job(report, "running", place, ledger.row.name, kind, used, vault.actor.name, vault.clock())
            self._folder.joinpath(report).mkdir(mode=0o700)
            self._write(job)
            known = [one for name, one in vault.register.standing().grants.items() if name == used]
            told = {
                "home": str(self._home),
                "passphrase": b64encode(self._passphrase).decode(),
                "actor": vault.actor.name,
                "roles": sorted(vault.actor.roles),
                "generation": vault.actor.generation,
                "grant": used,
                "ledger": ledger.row.name,
                "kind": kind,
                "language": wanted.language,
                "first": wanted.first,
                "end": wanted.end,
                "purpose": "".join(one.purpose for one in grants.told(vault, known)) or "asked for over HTTP",
                "out": str(self._folder / report / "report.pdf"),
            }
            self._start(job, told, slot)
        return job

    @contextmanager
    def _slot(self) -> Iterator[int]:
        """One of the places of this machine for a report that is being made: a locked file. The process that makes it
        inherits the lock, and lets go of it however it ends.

        Raises:
            HttpProblem: none is free.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(RUNNING):
            descriptor = os.open(self._folder / f".slot-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            try:
                yield descriptor
            finally:
                os.close(descriptor)
            return
        raise HttpProblem("too-many-requests", "enough reports are being made: come back", retry_after=30)

    def _start(self, job: Job, told: dict[str, Any], slot: int) -> None:
        try:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "service.report_job"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=[slot],
            )
        except OSError as error:
            job.state, job.detail = "failed", f"no process could be started for it: {error.strerror}"
            self._write(job)
            return
        job.pid = child.pid
        self._write(job)
        watcher = threading.Thread(target=self._watch, args=(job, told, child), name=f"report-{child.pid}")
        self._watchers = [one for one in self._watchers if one.is_alive()] + [watcher]
        watcher.start()

    def _watch(self, job: Job, told: dict[str, Any], child: subprocess.Popen[bytes]) -> None:
        """Tell the process what to make, and write down what came of it, before the process is gone from the table:
        whoever finds it gone then finds this written."""
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError), child.stdin as stdin:
            stdin.write(msgspec.json.encode(told))
        with child.stdout as stdout:
            said = stdout.read()
        try:
            answer = msgspec.json.decode(said, type=dict[str, Any])
        except msgspec.MsgspecError:
            answer = {"detail": _DIED}
        done = msgspec.structs.replace(job, state="failed" if "detail" in answer else "ready", **answer)
        with suppress(OSError):  # else whoever asks finds it running and its process gone
            self._write(done)
        child.wait()

    def find(self, vault: Vault, report: str) -> Job:
        """Return a job that whoever asks may know of: their own, or any for an officer.

        Raises:
            Unknown: there is none.
        """
        job = self._read(report)
        roles = vault.actor.roles_by(vault.register.standing())
        if job is None or ("officer" not in roles and job.person != vault.actor.name):
            raise Unknown("there is no such report")
        begun = vault.clock() - job.requested_at < _STARTING
        if job.state == "running" and not (_lives(job.pid) if job.pid else begun):
            job = self._read(report) or job  # it may have ended since
            if job.state == "running":
                job.state, job.detail = "failed", _DIED
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
            if job.kind in GOVERNING:
                told = Event("report.fetched", facts | {"sha256": job.sha256})
                return governing.ruled(vault, standing, ledgers.get(vault, job.ledger_name), lambda _by: [told])
            if not held_grants(vault, standing, job.ledger, job.grant):
                return refuse(no_grant(standing, vault), denial("report.fetch", "grant", facts))
            return Ruling([Event("report.fetched", facts | {"sha256": job.sha256})], None)

        events.rule(vault, decide)
        return self._folder / report / "report.pdf"

    async def close(self) -> None:
        """Wait for what is being made."""
        for watcher in self._watchers:
            await asyncio.to_thread(watcher.join)

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


def _environment() -> dict[str, str]:
    """Return what the child finds in its environment: nothing that opens a vault, and our own code before any other."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_THE_CHILD}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[1])}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
