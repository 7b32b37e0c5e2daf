"""A report's process killed at any point: nothing lies at its place, the vault says what happened, the next run works.

And the command line with branding, templates and records that mean harm.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import pikepdf
import pytest

from reports import issue as issuing
from reports import layout, snapshot
from reports.integrity import collect as integrity
from reports.kind import Wanted
from reports.kinds import kind_of
from reports.period import period_of
from reports.render import RenderedReport
from service import wiring
from tests.support.acting import granted, hire
from tests.support.decisions import decision, spelled
from tests.support.evidence import PURPOSE, told
from tests.support.vault import Installation
from tests.unit.reports.test_render import text_of
from vault import ledgers

EVENTS = ("records.opened", "report.issued")
COMPLETENESS = ("completeness", "--ledger", "sg", "--movements")
LIST = "transaction_id,amount,currency,moved_at\ntxn-1,1.50,CNY,2026-01-02T09:00:00+08:00\n"


@pytest.fixture(autouse=True)
def unsigned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.desk.report_signer", lambda *_: nullcontext(None))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make no pages."""

    def render(_pages: Any, _attachments: Any, out: Path, _look: Any) -> RenderedReport:
        out.write_bytes(b"%PDF")
        return RenderedReport(out, bytes(32), 1)

    monkeypatch.setattr(issuing, "render", render)


def _kill(*_: Any, **__: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def killed(work: Callable[[], object], owner: Any, name: str) -> None:
    """Do something in a child that is killed when it comes to a function; fail where it does not."""
    child = os.fork()
    if child == 0:
        try:
            setattr(owner, name, _kill)
            work()
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, "it did not come to that point"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("kind", "owner", "name", "happened"),
    [
        ("integrity", integrity, "audit", ()),
        ("completeness", snapshot, "audit", ("records.opened",)),
        ("completeness", issuing, "render", ("records.opened",)),
        ("integrity", issuing, "put", ("report.issued",)),
    ],
    ids=["before anything is read", "while records are opened", "before the pages", "before it is handed out"],
)
def test_a_killed_report_leaves_a_hidden_directory_at_most(
    installation: Installation, tmp_path: Path, kind: str, owner: Any, name: str, happened: tuple[str, ...]
) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    (tmp_path / "list.csv").write_text(LIST)
    out = folder / "made.pdf"
    out.write_text("an earlier report")
    listed = (*COMPLETENESS, str(tmp_path / "list.csv")) if kind == "completeness" else (kind,)
    command = ("report", *listed, "--purpose", PURPOSE, "-o", str(out))
    killed(lambda: installation.run(*command), owner, name)
    (left,) = [path for path in folder.iterdir() if path != out]
    assert left.name.startswith(".made.pdf.")
    assert stat.S_IMODE(left.stat().st_mode) == 0o700
    assert out.read_text() == "an earlier report"
    assert tuple(one.event for one in told(installation, *EVENTS)) == happened
    made = installation.run(*command)
    assert made.exit_code == 0, made.output
    assert out.read_bytes() == b"%PDF"
    assert [path.name for path in folder.iterdir() if path not in (out, left)] == []
    assert len(told(installation, "report.issued")) == 1 + happened.count("report.issued")
    assert all(not found.counts for found in installation.audit())


def test_killed_while_pages_are_laid_out(installation: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    command = ("report", "access", "--purpose", PURPOSE, "-o", str(folder / "made.pdf"))
    killed(lambda: installation.run(*command), layout, "to_pdf")
    (left,) = folder.iterdir()
    assert left.name.startswith(".made.pdf.")
    assert told(installation, *EVENTS) == []


def test_branding_that_cannot_be_is_found_before_anything_is_done(installation: Installation, tmp_path: Path) -> None:
    """And a template that is wrong stops the report with its line; neither leaves a file or an event."""
    out, branding = tmp_path / "made.pdf", installation.home / "branding"
    (branding / "templates").mkdir(parents=True)
    command = ("report", "access", "--purpose", PURPOSE, "-o", str(out))
    before = installation.size("events")

    def refused(code: int, says: str, *more: str) -> None:
        made = installation.run(*command, *more)
        assert made.exit_code == code, made.output
        assert says in made.output
        assert len(made.output.splitlines()) == 1
        assert not out.exists()
        assert installation.size("events") == before

    refused(2, "reports speak en and zh-Hans", "--language", "tlh")
    (branding / "branding.toml").write_text("logo = '../../etc/passwd'")
    refused(2, "branding.toml: logo names a file")
    (branding / "branding.toml").write_text("accent = 'red; background: url(http://127.0.0.1:9)'")
    refused(2, "#rrggbb")
    (branding / "branding.toml").unlink()
    for text, says in (
        ("<p>\n{{ ''.__class__ }}", "template access.html.j2, line 2: "),
        ("<p>\n{% include '/etc/passwd' %}", "access.html.j2, line 2"),
        ('<html><title>x</title>\n<img src="file:///etc/passwd">', "template access.html.j2, line 2: "),
    ):
        (branding / "templates" / "access.html.j2").write_text(text)
        refused(1, says)
    assert [path.name for path in tmp_path.iterdir() if "made" in path.name] == []


MARKUP = (
    "</style></p></td></script><script>alert(1)</script><img src='http://127.0.0.1:9/x.png'>"
    "<link rel=attachment href='file:///etc/passwd'> ![x](http://127.0.0.1:9/y) https://127.0.0.1:9/z "
    "{{ 7*7 }} \u202egnp\u2066\u200f\u2028 \x1b[31m e" + "\u0301" * 9
)
ENDLESS = 1_000_000


def test_a_dossier_prints_hostile_text_as_text(installation: Installation, tmp_path: Path) -> None:
    records = [
        decision(901, conversation_id="hostile", prompt=MARKUP, response="W" * ENDLESS, producer_seq=901),
        decision(902, conversation_id="hostile", prompt=MARKUP[:8] * 120_000, response=MARKUP, producer_seq=902),
    ]
    results = installation.ingest("sg", list(enumerate(map(spelled, records), 1)))
    assert [result.status.value for result in results] == ["accepted"] * 2
    out = tmp_path / "made.pdf"
    with installation.opened() as vault:
        anna, olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
        granted(vault, anna, olaf, ["sg"])
        book, subject = wiring.rule_book(vault), ledgers.get(vault, "sg")
        period = period_of(book, subject.genesis.jurisdictions, None, None)
        wanted = Wanted(subject, book, period, PURPOSE, options={"conversation": "hostile"})
        assert issuing.issue(vault.acting(anna), kind_of("dossier"), wanted, out).pages <= 9
    with pikepdf.open(out) as opened:
        printed = text_of(opened)
        links = [note for page in opened.pages for note in page.get("/Annots", []) if "/A" in note]
        attached = set(opened.attachments)
    assert not links
    assert not {name for name in attached if "passwd" in name}
    flat = printed.replace("\n", "")
    assert "</style></p></td></script><script>alert(1)</script>" in flat
    assert "{{ 7*7 }}" in flat
    assert "\\u{202E}gnp\\u{2066}\\u{200F}" in flat
    assert "\u202e" not in printed
    assert "1,000,000" in flat
    assert "W" * 5_000 not in flat
