"""Reports against people who mean harm: a grant that ended or masks, too many at once, a foreign directory."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from reports.evidence import KIND
from reports.issue import issue
from reports.kind import Wanted
from reports.period import period_of
from service import reporting, wiring
from service.problems import HttpProblem
from service.reporting import Job, Reporting
from service.schema import ReportAsk
from tests.support.acting import await_, granted, happened, hire, last
from tests.support.vault import PASSPHRASE, RECORDS, Installation
from vault import grants, ledgers, reading
from vault.context import Actor, Vault
from vault.core.errors import Denied


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def anna(vault: Vault) -> Actor:
    return hire(vault, "anna", "auditor")


@pytest.fixture
def olaf(vault: Vault) -> Actor:
    return hire(vault, "olaf", "officer")


class Desk:
    """The report jobs of a worker, whose processes wait for their orders until ``go``."""

    def __init__(self, installation: Installation, vault: Vault, who: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.vault, self.who = vault, who
        self.environment = installation.environment()
        self.jobs = Reporting(installation.home, PASSPHRASE)
        self.go = threading.Event()
        watch = Reporting._watch

        def later(*arguments: Any) -> None:
            self.go.wait()
            watch(*arguments)

        monkeypatch.setattr(Reporting, "_watch", later)

    def ask(self) -> Job:
        with mock.patch.dict(os.environ, self.environment):
            acting = self.vault.acting(self.who)
            return self.jobs.ask(acting, ledgers.get(self.vault, "sg"), ReportAsk("sg"))

    def made(self, job: Job) -> Job:
        self.go.set()

        def finished() -> Job | None:
            found = self.jobs.find(self.vault.acting(self.who), job.report)
            return None if found.state == "running" else found

        found = await_(finished, 120)
        assert isinstance(found, Job)
        return found


@pytest.fixture
def desk(installation: Installation, vault: Vault, anna: Actor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    found = Desk(installation, vault, anna, monkeypatch)
    yield found
    found.go.set()
    asyncio.run(found.jobs.close())


def test_what_opens_records_names_the_grant(
    desk: Desk, vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the process that does it takes no code from the directory that the service was started in."""
    (tmp_path / "service.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    grant = granted(vault, anna, olaf, ["sg"])
    job = desk.made(desk.ask())
    assert job.state == "ready", job.detail
    for name in ("report.requested", "records.opened", "report.issued"):
        told = last(vault, name)
        assert (told.facts["grant"], told.actor) == (grant.id, anna.name)
    assert last(vault, "records.opened").facts["count"] == RECORDS["sg"]


def test_a_grant_that_is_revoked_meanwhile_opens_nothing(desk: Desk, vault: Vault, anna: Actor, olaf: Actor) -> None:
    """Another one does not help: the report was asked for under this one."""
    grant = granted(vault, anna, olaf, ["sg"])
    job = desk.ask()
    grants.revoke(vault.acting(olaf), grant.id)
    granted(vault, anna, olaf, ["sg"])
    assert desk.made(job).state == "failed"
    assert happened(vault, "records.opened") == []
    assert last(vault, "access.denied").facts["act"] == "report.request"


def test_people_whose_account_ended_meanwhile_open_nothing(desk: Desk, vault: Vault, anna: Actor, olaf: Actor) -> None:
    granted(vault, anna, olaf, ["sg"])
    desk.ask()
    hire(vault, "anna", "auditor")  # another password: the login of before is void
    desk.go.set()
    await_(lambda: happened(vault, "access.denied"), 120)
    assert happened(vault, "records.opened") == []


def test_a_grant_that_is_revoked_while_records_are_opened_hands_nothing_out(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    grant = granted(vault, anna, olaf, ["sg"])
    book, ledger, out = wiring.rule_book(vault), ledgers.get(vault, "sg"), tmp_path / "report.pdf"
    period = period_of(book, ledger.genesis.jurisdictions, None, None)

    def revoke(*_told: object) -> None:
        if not happened(vault, "grant.revoked"):
            grants.revoke(vault.acting(olaf), grant.id)

    with pytest.raises(Denied):
        issue(vault.acting(anna), KIND, Wanted(ledger, book, period, "a test"), out, progress=revoke)
    assert last(vault, "records.opened").facts["grant"] == grant.id
    assert happened(vault, "report.issued") == []
    assert list(tmp_path.glob("*report*")) == []


def test_without_a_grant_a_report_opens_nothing(vault: Vault, anna: Actor, tmp_path: Path) -> None:
    """Whoever calls it, and whatever was looked at before."""
    book, ledger = wiring.rule_book(vault), ledgers.get(vault, "sg")
    period = period_of(book, ledger.genesis.jurisdictions, None, None)
    with pytest.raises(Denied):
        issue(vault.acting(anna), KIND, Wanted(ledger, book, period, "a test"), tmp_path / "report.pdf")
    assert happened(vault, "records.opened") == []


def test_a_masked_grant_makes_no_report(desk: Desk, vault: Vault, anna: Actor, olaf: Actor) -> None:
    """A report has every record's id and model in its attachments, as the producer spelled them."""
    granted(vault, anna, olaf, ["sg"], fields="masked")
    with pytest.raises(Denied, match="shows everything"):
        desk.ask()
    with pytest.raises(Denied, match="shows everything"):
        reading.require_whole(vault.acting(anna), ledgers.get(vault, "sg"))
    assert {told.facts["code"] for told in happened(vault, "access.denied")} == {"scope"}


def test_few_reports_are_made_at_a_time_whoever_asks(
    installation: Installation, desk: Desk, vault: Vault, anna: Actor, olaf: Actor
) -> None:
    granted(vault, anna, olaf, ["sg"])
    jobs = [desk.ask() for _ in range(reporting.RUNNING)]
    desk.jobs, mine = Reporting(installation.home, PASSPHRASE), desk.jobs  # another worker's
    for _ in range(3):
        with pytest.raises(HttpProblem, match="enough reports"):
            desk.ask()
    assert len(happened(vault, "report.requested")) == reporting.RUNNING
    desk.jobs = mine
    for job in jobs:
        assert desk.made(job).state == "ready"
    assert desk.made(desk.ask()).state == "ready"


def test_a_process_that_cannot_start_is_told(
    desk: Desk, vault: Vault, anna: Actor, olaf: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted(vault, anna, olaf, ["sg"])
    with monkeypatch.context() as patched:
        patched.setattr(reporting.sys, "executable", "/nowhere/python")
        job = desk.ask()
    assert (job.state, desk.made(job).state) == ("failed", "failed")
    assert "no process could be started" in (job.detail or "")


def test_what_opens_a_vault_is_not_in_the_environment_of_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REASONVAULT_PASSPHRASE", "REASONVAULT_PASSPHRASE_FILE", "REASONVAULT_PASSWORD_FILE"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("DATABASE_OWNER_URL", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    found = reporting._environment()
    assert "secret" not in found.values()
    assert found["PYTHONPATH"] == str(Path(reporting.__file__).parents[1])
    assert found["PATH"] == os.environ["PATH"]
