"""Reports over HTTP: under a grant for the whole ledger, by a process of their own, fetched while that grant holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.acting import await_, happened, last
from tests.support.evidence import attachments
from tests.support.serving import PASSWORD, Service, bearer, serving
from tests.support.vault import PASSPHRASE, RECORDS, Installation
from vault.core import canonical


class Office:
    """The service, an auditor with a colleague, and an officer."""

    def __init__(self, service: Service) -> None:
        self.service, self.client, self.site = service, service.client, service.installation
        for name, role in (("anna", "auditor"), ("alma", "auditor"), ("olaf", "officer")):
            service.person(name, role)
        self.anna, self.alma, self.olaf = (service.login(name) for name in ("anna", "alma", "olaf"))

    def ask(self, who: str, ledger: str = "sg", **more: Any) -> httpx.Response:
        return self.client.post("/v1/reports", json={"ledger": ledger, **more}, headers=bearer(who))

    def get(self, who: str, path: str) -> httpx.Response:
        return self.client.get(path, headers=bearer(who))

    def made(self, report: str) -> dict[str, Any]:
        """Wait until a report is made and return what is said of it."""

        def finished() -> dict[str, Any] | None:
            view: dict[str, Any] = self.get(self.anna, f"/v1/reports/{report}").json()
            return view if view["state"] != "running" else None

        found = await_(finished, 120)
        assert isinstance(found, dict)
        return found

    def told(self, name: str) -> list[Any]:
        with self.site.opened() as vault:
            return happened(vault, name)


@pytest.fixture(scope="module")
def office(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with (
        built.copied(tmp_path_factory.mktemp("reports") / "home") as copy,
        serving(copy, workers=2, logins_per_minute=100_000, requests_per_second=10_000) as service,
    ):
        yield Office(service)


@pytest.fixture(scope="module")
def grant(office: Office) -> str:
    return office.service.granted(office.anna, office.olaf, "sg", purpose="the yearly audit")


@pytest.fixture(scope="module")
def report(office: Office, grant: str) -> dict[str, Any]:
    """A report that is made."""
    answer = office.ask(office.anna)
    assert answer.status_code == 202, answer.text
    view = answer.json()
    assert (view["state"], view["ledger"], view["grant"]) == ("running", str(office.site.ledger("sg")), grant)
    return office.made(view["report"])


def test_a_report_is_made_and_fetched(office: Office, report: dict[str, Any], grant: str, tmp_path: Any) -> None:
    assert report["state"] == "ready", report
    answer = office.get(office.anna, f"/v1/reports/{report['report']}/file")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.content.startswith(b"%PDF-1.7")
    assert len(answer.content) == report["bytes"]
    digest = canonical.b64(hashlib.sha256(answer.content).digest())
    with office.site.opened() as vault:
        issued, opened = last(vault, "report.issued"), last(vault, "records.opened")
        requested, fetched = last(vault, "report.requested"), last(vault, "report.fetched")
        auditor = requested.actor
    assert {issued.facts["sha256"], fetched.facts["sha256"], report["sha256"]} == {digest}
    assert (issued.seq, issued.facts["recipient"], issued.actor) == (report["event"], auditor, auditor)
    assert (opened.actor, opened.facts["count"], opened.facts["break_glass"]) == (auditor, RECORDS["sg"], 0)
    assert (requested.facts["grant"], fetched.facts["report"]) == (grant, report["report"])
    assert requested.seq < opened.seq < issued.seq < fetched.seq
    file = tmp_path / "report.pdf"
    file.write_bytes(answer.content)
    texts = b"".join(attachments(file).values())
    assert b"dec-7" in texts
    for content in (b"was cancelled", b"Yes, refund", b"cus-3"):
        assert content not in texts, "a report shows no content"


def test_somebody_elses_report_is_none(office: Office, report: dict[str, Any], grant: str) -> None:
    office.service.granted(office.alma, office.olaf, "sg")
    theirs = report["report"]
    for path in (f"/v1/reports/{theirs}", f"/v1/reports/{theirs}/file"):
        mine = office.get(office.alma, path)
        none = office.get(office.alma, path.replace(theirs, "r-3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"))
        assert mine.status_code == none.status_code == 404
        assert mine.json()["detail"] == none.json()["detail"]
    assert office.told("access.denied")[-1].facts["act"] == "report.fetch"
    assert office.get(office.olaf, f"/v1/reports/{theirs}").json()["state"] == "ready", "an officer may know of it"
    assert office.get(office.olaf, f"/v1/reports/{theirs}/file").status_code == 404, "and not read it"
    assert grant


@pytest.mark.parametrize("name", ["..", "r-..%2F..%2Fservice.toml", "r-x", "%00", "r-" + "a" * 62, "r-.json", "R-1"])
def test_names_that_no_report_has(office: Office, name: str) -> None:
    for path in (f"/v1/reports/{name}", f"/v1/reports/{name}/file"):
        url = httpx.URL(office.service.url).copy_with(raw_path=path.encode())
        answer = office.client.get(url, headers=bearer(office.anna))
        assert answer.status_code in (404, 405, 422), answer.text
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_narrower_grant_makes_no_report(office: Office) -> None:
    before = len(office.told("report.requested"))
    for more in (
        {"classes": ["payment"]},
        {"start": "2026-01-01T00:00:00Z"},
        {"end": "2030-01-01T00:00:00Z"},
        {"fields": "masked"},
    ):
        office.service.granted(office.anna, office.olaf, "cn", **more)
        answer = office.ask(office.anna, "cn")
        assert answer.status_code == 403, answer.text
        assert "without period and classes" in answer.json()["detail"]
    for who in (office.olaf, office.alma):
        assert office.ask(who, "cn").status_code == 403
    assert len(office.told("report.requested")) == before
    assert [one.facts["code"] for one in office.told("access.denied")[-6:]] == ["scope"] * 4 + ["grant"] * 2


@pytest.mark.parametrize(
    "wrong", [{"first": "2026-13-01"}, {"first": "2026-02-02", "end": "2026-02-02"}, {"first": "x"}, {"kind": "other"}]
)
def test_reports_that_cannot_be(office: Office, grant: str, wrong: dict[str, str]) -> None:
    assert office.ask(office.anna, **wrong).status_code == 422
    assert grant


def test_the_passphrase_shows_in_no_process_and_no_file(office: Office, report: dict[str, Any]) -> None:
    folder = office.site.home / "reports" / report["report"]
    assert {path.name for path in folder.iterdir()} == {"job.json", "report.pdf"}
    assert folder.stat().st_mode & 0o77 == 0
    words = (folder / "job.json").read_text() + office.service.lines()
    for secret in (PASSPHRASE.decode(), PASSWORD, "the yearly audit", office.anna):
        assert secret not in words


def test_without_the_event_nothing_is_fetched(office: Office, report: dict[str, Any]) -> None:
    with office.site.tampering() as connection:
        connection.execute("REVOKE INSERT ON vault.entry FROM reasonvault_app")
    try:
        answer = office.get(office.anna, f"/v1/reports/{report['report']}/file")
    finally:
        with office.site.tampering() as connection:
            connection.execute("GRANT INSERT ON vault.entry TO reasonvault_app")
    assert answer.status_code == 503
    assert b"%PDF" not in answer.content


def test_once_the_grant_is_revoked_nothing_is_fetched(office: Office, report: dict[str, Any], grant: str) -> None:
    """Another grant for the same ledger does not help: the report was made under this one."""
    other = office.service.granted(office.anna, office.olaf, "sg")
    assert office.client.post(f"/v1/grants/{grant}/revoke", headers=bearer(office.olaf)).status_code == 200
    answer = office.get(office.anna, f"/v1/reports/{report['report']}/file")
    assert answer.status_code == 403
    assert b"%PDF" not in answer.content
    denied = office.told("access.denied")[-1]
    assert (denied.facts["act"], denied.facts["report"]) == ("report.fetch", report["report"])
    assert other


def _ended(view: dict[str, Any]) -> dict[str, Any] | None:
    return view if view["state"] != "running" else None


def test_a_report_that_opens_nothing_needs_no_grant_of_an_officer(office: Office) -> None:
    opened = len(office.told("records.opened"))
    answer = office.ask(office.olaf, kind="integrity", language="zh-Hans")
    assert answer.status_code == 202, answer.text
    name = answer.json()["report"]
    found = await_(lambda: _ended(office.get(office.olaf, f"/v1/reports/{name}").json()), 120)
    assert isinstance(found, dict)
    assert (found["state"], found["kind"], found["grant"]) == ("ready", "integrity", ""), found
    assert office.get(office.olaf, f"/v1/reports/{name}/file").content.startswith(b"%PDF-1.7")
    assert office.get(office.alma, f"/v1/reports/{name}/file").status_code == 404
    assert office.ask(office.alma, "cn", kind="integrity").status_code == 403
    assert office.ask(office.olaf, kind="threshold").status_code == 403
    assert len(office.told("records.opened")) == opened
