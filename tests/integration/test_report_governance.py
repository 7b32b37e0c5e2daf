"""Reports that open nothing, on the vault itself: figures from real events, who may have them, what damage does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reports import issue as issuing
from reports.access.model import AccessReview
from reports.bundle.scope import Scope
from reports.integrity.model import IntegrityReport
from reports.issue import issue
from reports.keeping.model import KeepingReport
from reports.kind import Collected, Wanted
from reports.kinds import kind_of
from reports.model import Period
from reports.render import RenderedReport
from retention import destroying, holding
from service import wiring
from tests.support import bundles
from tests.support.acting import asked, granted, happened, hire, last, later
from tests.support.board import Board
from tests.support.evidence import PURPOSE, attachments, lines
from tests.support.losing import ANCHORED, WHOLE, anchored, cut, recovered
from tests.support.tampering import Crime, changed
from tests.support.vault import RECORDS, Installation
from vault import ledgers, people, producers, reading, search
from vault.context import Actor, Vault
from vault.core.canonical import b64
from vault.core.errors import Denied, UsageError

CN, SG = RECORDS["cn"], RECORDS["sg"]
GOVERNANCE = ("integrity", "access", "retention")
DAY = 86_400_000_000
WORKER = Actor("worker", break_glass=False)
PRODUCER = Actor("psp-1", break_glass=False)
SOME = Scope("positions", positions=(3, 4))


@dataclass(frozen=True)
class Governed:
    """A vault in which things happened from ``start`` on: readings, refusals, a bundle, holds, a disposal.

    Attributes:
        vault: as the passphrase's holder has it, on the day of the reports: twenty years later.
        held: entries of ledger sg that a hold keeps.
    """

    site: Installation
    vault: Vault
    start: datetime
    people: dict[str, Actor]
    used: str
    held: int

    def collected(self, kind: str, folder: Path, ledger: str | None = None, **period: Any) -> Collected:
        folder.mkdir(exist_ok=True)
        wanted = wanted_of(self.vault, ledger, Period(period.get("start", self.start), period.get("end"), "UTC"))
        return kind_of(kind).collect(self.vault, wanted, folder, "xx-1", lambda *_: None)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make no pages: what is tried is what comes after them."""

    def render(_pages: Any, _attachments: Any, out: Path, _look: Any) -> RenderedReport:
        out.write_bytes(b"%PDF")
        return RenderedReport(out, bytes(32), 1)

    monkeypatch.setattr(issuing, "render", render)


@pytest.fixture
def unsigned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.desk.report_signer", lambda *_: nullcontext(None))


def wanted_of(vault: Vault, ledger: str | None = None, period: Period | None = None) -> Wanted:
    found = None if ledger is None else ledgers.get(vault, ledger)
    return Wanted(found, wiring.rule_book(vault), period or Period(None, None, "UTC"), PURPOSE)


@pytest.fixture(scope="module")
def governed(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Governed]:
    folder = tmp_path_factory.mktemp("governed")
    with built.copied(folder / "home") as site, site.retaining() as vault:
        start = datetime.fromtimestamp(vault.clock() / 1e6, UTC)
        board = Board.of(vault)
        staff = dict(zip(("olaf", "petra", "rita"), board.officers, strict=True))
        staff |= {name: hire(vault, name, "auditor") for name in ("anna", "ben")} | {
            "otto": hire(vault, "otto", "operator")
        }
        cn, sg = ledgers.get(vault, "cn"), ledgers.get(vault, "sg")
        used = granted(vault, staff["anna"], staff["olaf"], ["cn"]).id
        granted(vault, staff["anna"], staff["olaf"], ["sg"], fields="masked")  # nobody uses it
        asked(vault, staff["ben"], ["cn"])  # nobody approves it
        anna = vault.acting(staff["anna"])
        for name in ("dec-5", "dec-6"):
            reading.read(anna, cn, name, "", grant=used)
        search.search(anna, cn, search.Wanted(record="dec-5"), used)
        for _ in range(3):
            with pytest.raises(Denied):
                reading.read(vault.acting(staff["ben"]), cn, "dec-5", "")
        reading.read(vault, sg, "dec-7", "a test looks at it")
        bundles.make(vault, folder / "full.zip", SOME)
        bundles.make(vault, folder / "masked.zip", SOME, full=False)
        terms: dict[str, Any] = {"case": "case-1", "reason": "a test"}
        holding.place(
            vault,
            ledgers=[sg],
            customers=["cus-3"],
            random=lambda size: bytes(size),
            review_at=vault.clock() + DAY,
            **terms,
        )
        made = board.intended("sg")
        destroying.run(board.cooled, made.id)
        yield Governed(site, board.cooled, start, staff, used, SG - made.entries)


def test_the_access_review_counts_what_people_did(governed: Governed, tmp_path: Path) -> None:
    review: AccessReview = governed.collected("access", tmp_path).model
    readers = {one.person: one for one in review.readers}
    anna, ben = readers[governed.people["anna"].name], readers[governed.people["ben"].name]
    assert (anna.one_by_one, anna.together, anna.searches, anna.taken, anna.break_glass) == (2, 0, 1, 0, 0)
    assert (ben.one_by_one, ben.denied, ben.records) == (0, 3, 0)
    (holder,) = [one for name, one in readers.items() if name.startswith("local:")]
    assert (holder.one_by_one, holder.together, holder.records, holder.taken) == (1, 2, 4, 2)
    assert (holder.break_glass, review.break_glass) == (3, 3)
    assert (review.records, review.searches, review.total_denials) == (7, 1, 3)
    assert [(one.label, one.count) for one in review.denials] == [("record.open: grant", 3)]
    assert {(one.kind, one.text, one.count) for one in review.taken if one.kind == "bundle"} == {
        ("bundle", True, 2),
        ("bundle", False, 2),
    }
    assert review.policy is False


def test_the_access_review_finds_grants_that_nobody_needed(governed: Governed, tmp_path: Path) -> None:
    review: AccessReview = governed.collected("access", tmp_path).model
    grants = {(one.used, bool(one.approver), one.fields) for one in review.grants}
    assert grants == {(3, True, "full"), (0, True, "masked"), (0, False, "full")}
    assert (review.total_grants, review.unused) == (3, 1)
    assert review.grants[0].grant == governed.used


def test_a_refused_use_of_a_grant_is_no_use(governed: Governed, tmp_path: Path) -> None:
    with governed.site.opened() as vault:
        anna = vault.acting(hire(vault, "anna-2", "auditor"))
        grant = granted(vault, anna.actor, governed.people["olaf"], ["cn"], classes=("aml",)).id
        with pytest.raises(Denied):
            bundles.make(anna, tmp_path / "x.zip", SOME, grant=grant)
        assert last(vault, "access.denied").actor == anna.actor.name
    review: AccessReview = governed.collected("access", tmp_path / "work").model
    assert {one.grant: one.used for one in review.grants}[grant] == 0


def test_the_access_review_is_of_its_period_and_attaches_what_it_rests_on(governed: Governed, tmp_path: Path) -> None:
    found = governed.collected("access", tmp_path / "before", start=None, end=governed.start)
    review: AccessReview = found.model
    assert (review.records, review.break_glass, review.total_denials, review.taken) == (1, 1, 0, ())
    (attached,) = found.attachments
    assert isinstance(attached.source, Path)
    (line,) = [line for line in lines(attached.source) if line["event"] == "record.opened"]
    assert PURPOSE not in str(line)
    assert found.facts == {"count": review.events}


def test_retention_says_what_is_kept_held_due_and_gone(governed: Governed, tmp_path: Path) -> None:
    found = governed.collected("retention", tmp_path)
    report: KeepingReport = found.model
    cn, sg = report.ledgers
    assert (cn.name, cn.kept, cn.destroyed, cn.due, cn.held) == ("cn", CN, 0, CN, 0)
    assert (sg.name, sg.kept, sg.destroyed, sg.due, sg.held) == ("sg", governed.held, SG - governed.held, governed.held,
                                                                  governed.held)  # fmt: skip
    assert 0 < governed.held < SG
    (hold,) = report.holds
    assert (hold.records, hold.ledgers, hold.late, hold.releasing, hold.released_by) == (
        governed.held,
        1,
        True,
        False,
        "",
    )
    assert "case-1" not in str(report), "a case is a pseudonym"
    (disposal,) = report.disposals
    assert (disposal.state, disposal.kind, disposal.ledger, disposal.approvals) == ("done", "expiry", "sg", 2)
    assert disposal.records == SG - governed.held
    months = {(one.ledger, one.group): (one.kept, one.destroyed, one.due) for one in report.months}
    assert sum(kept for kept, _, _ in months.values()) == CN + governed.held
    assert sum(destroyed for _, destroyed, _ in months.values()) == SG - governed.held
    assert all(due for _, _, due in months.values())
    assert (report.verdict, report.faults) == ("OK", ())
    assert found.document["past_month"] == CN + governed.held


def test_before_the_month_ends_nothing_is_due_and_no_review_is_late(governed: Governed, tmp_path: Path) -> None:
    with governed.site.opened() as vault:
        today = Governed(governed.site, vault, governed.start, governed.people, governed.used, governed.held)
        report: KeepingReport = today.collected("retention", tmp_path).model
        assert (report.due, report.held, [one.late for one in report.holds]) == (0, 0, [False])
        week = Governed(governed.site, later(vault, 2 * DAY), governed.start, governed.people, "", 0)
        report = week.collected("retention", tmp_path / "later").model
        assert [one.late for one in report.holds] == [True]


def test_a_disposal_that_is_over_stands_in_the_period_it_was_planned_in(governed: Governed, tmp_path: Path) -> None:
    report: KeepingReport = governed.collected("retention", tmp_path, end=governed.start).model
    assert (report.disposals, report.total_disposals) == ((), 0)


def test_integrity_tells_of_everything(governed: Governed, tmp_path: Path) -> None:
    found = governed.collected("integrity", tmp_path)
    report: IntegrityReport = found.model
    assert [one.name for one in report.ledgers] == ["events", "cn", "sg"]
    assert report.ledgers[0].kind == "events"
    assert (report.verdict, report.total_faults, found.problems) == ("OK", 0, ())
    assert [(one.entries, one.records) for one in report.ledgers[1:]] == [(CN + 1, CN), (SG + 1, SG)]
    assert report.count("ERASED-BY-POLICY") == SG - governed.held
    (gone,) = report.destructions
    assert (gone.ledger, gone.count, gone.approvers, gone.done, gone.outside) == ("sg", SG - governed.held, 2, True, "")
    assert (report.seen, report.longest_unseen) == ((), None)
    names = [one.name for one in found.attachments]
    assert {"faults.jsonl", "ledgers.jsonl", "checkpoint-cn.txt", "checkpoint-events.txt"} <= set(names)


def test_one_ledger_is_verified_with_the_events_that_vouch_for_it(governed: Governed, tmp_path: Path) -> None:
    found = governed.collected("integrity", tmp_path, ledger="sg")
    assert [one.name for one in found.model.ledgers] == ["events", "sg"]
    assert found.facts["ledger"] == str(governed.site.ledger("sg"))


@pytest.mark.parametrize("ledger", [None, "cn"])
def test_who_may_have_them(governed: Governed, ledger: str | None) -> None:
    staff = governed.people
    with governed.site.opened() as today:
        subject = None if ledger is None else ledgers.get(today, ledger)
        granted(today, staff["anna"], staff["olaf"], ["cn"])
        may = [today, *(today.acting(one) for one in (staff["olaf"], staff["anna"], WORKER))]
        may_not = dict.fromkeys((staff["otto"], PRODUCER, Actor("local:worker", break_glass=False)), "role")
        if ledger is None:
            may.append(today.acting(staff["ben"]))
        else:
            may_not[staff["ben"]] = "grant"
        for kind in map(kind_of, GOVERNANCE):
            before = len(happened(today, "access.denied"))
            for one in may:
                kind.require(one, subject)
            assert len(happened(today, "access.denied")) == before
            for actor, code in may_not.items():
                with pytest.raises(Denied):
                    kind.require(today.acting(actor), subject)
                denied = last(today, "access.denied")
                assert (denied.facts["act"], denied.facts["code"]) == ("report.request", code)
                assert denied.actor == actor.name


def test_a_grant_of_another_ledger_or_one_that_ended_is_none(governed: Governed) -> None:
    with governed.site.opened() as today:
        cleo = hire(today, "cleo", "auditor")
        granted(today, cleo, governed.people["olaf"], ["sg"])
        require = kind_of("retention").require
        require(today.acting(cleo), ledgers.get(today, "sg"))
        with pytest.raises(Denied, match="no grant"):
            require(today.acting(cleo), ledgers.get(today, "cn"))
        with pytest.raises(Denied, match="no grant"):
            require(later(today, 2 * DAY).acting(cleo), ledgers.get(today, "sg"))


def test_no_producer_can_take_the_name_of_the_vaults_own_jobs(governed: Governed) -> None:
    with governed.site.opened() as today, pytest.raises(UsageError, match="cannot be called worker"):
        producers.add(today, "worker", [ledgers.get(today, "cn")], lambda size: bytes(size))


@pytest.mark.usefixtures("quick")
def test_a_role_that_ends_while_the_report_is_made_hands_nothing_out(governed: Governed, tmp_path: Path) -> None:
    with governed.site.opened() as today:
        dora = hire(today, "dora", "officer")

        def fire(*_told: object) -> None:
            if not today.register.standing().people[dora.name].disabled:
                people.disable(today, "dora")

        before = len(happened(today, "report.issued"))
        with pytest.raises(Denied):
            issue(today.acting(dora), kind_of("integrity"), wanted_of(today), tmp_path / "x.pdf", progress=fire)
        assert len(happened(today, "report.issued")) == before
        assert last(today, "access.denied").actor == dora.name
    assert list(tmp_path.iterdir()) == []


def test_made_at_the_command_line_nothing_is_opened_and_one_event_tells(
    installation: Installation, tmp_path: Path
) -> None:
    out = tmp_path / "made.pdf"
    made = installation.run("report", "integrity", "--purpose", PURPOSE, "-o", str(out), "--json")
    assert made.exit_code == 0, made.output
    document = json.loads(made.stdout)
    assert document["verdict"] == "OK"
    with installation.opened() as vault:
        (told,) = happened(vault, "report.issued")
        assert (told.facts["kind"], told.facts["report"]) == ("integrity", document["report"])
        assert told.facts["sha256"] == b64(bytes.fromhex(document["sha256"]))
        assert happened(vault, "records.opened") == []
        assert len(happened(vault, "record.opened")) == 1, "the one of before"
        note = vault.checkpoints.note(ledgers.get(vault, "cn").id)
    assert note is not None
    assert attachments(out)["checkpoint-cn.txt"].decode().startswith(note)


def _edit(site: Installation) -> None:
    with site.tampering() as connection:
        connection.execute("UPDATE vault.sealed SET salt = sha256('x') WHERE seq = 5")


def _delete(site: Installation) -> None:
    with site.tampering() as connection:
        connection.execute("DELETE FROM vault.sealed WHERE seq = 5")


def _set_back(site: Installation) -> None:
    cut(site, "sg", 30)


@pytest.mark.usefixtures("quick", "unsigned")
@pytest.mark.parametrize(
    ("damage", "verdict", "code"),
    [(_edit, "MODIFIED", 10), (_delete, "MISSING", 11), (_set_back, "FORKED", 12)],
    ids=["edited", "deleted", "set back"],
)
def test_damage_decides_how_the_command_ends(
    installation: Installation, tmp_path: Path, damage: Callable[[Installation], None], verdict: str, code: int
) -> None:
    damage(installation)
    for kind in ("integrity", "retention"):
        out = tmp_path / f"{kind}.pdf"
        made = installation.run("report", kind, "--purpose", PURPOSE, "-o", str(out), "--json")
        assert (made.exit_code, json.loads(made.stdout)["verdict"]) == (code, verdict), kind
        assert out.exists(), "what is wrong is told, not hidden"
    made = installation.run("report", "access", "--purpose", PURPOSE, "-o", str(tmp_path / "access.pdf"))
    assert made.exit_code == 0, "it stands on events alone"


def test_an_event_that_was_edited_decides_over_the_access_review(installation: Installation, tmp_path: Path) -> None:
    """Whoever has followed the events does not read them again, so it is seen nowhere else."""
    with installation.opened() as vault:
        vault.register.standing()
        crime = Crime.against(installation)
        leaves = crime.leaves("events")
        (seq,) = [at for at, leaf in enumerate(leaves) if b'"record.opened"' in leaf]
        crime.put_leaf("events", seq, changed(leaves[seq], lambda leaf: leaf.update(actor="local:nobody")))
        found = kind_of("access").collect(vault, wanted_of(vault), tmp_path, "ac-1", lambda *_: None)
    assert found.verdict == found.document["verdict"] == "MODIFIED"
    assert seq in {one.seq for one in found.model.faults}


def test_a_frozen_ledger_is_shown_with_what_it_lost(bare: Installation, tmp_path: Path) -> None:
    with anchored(bare, tmp_path / "home") as site:
        cut(site, "hk", ANCHORED)
        recovered(site)
        with site.opened() as vault:
            folder = tmp_path / "work"
            folder.mkdir()
            found = kind_of("integrity").collect(vault, wanted_of(vault), folder, "in-1", lambda *_: None)
    report: IntegrityReport = found.model
    (frozen,) = [one for one in report.ledgers if one.lost]
    assert (frozen.name, frozen.lost, frozen.successor) == ("hk", (ANCHORED, WHOLE - 1), "hk-2")
    assert frozen.verdict == report.verdict == found.verdict == "MISSING"
    assert {one.name for one in report.anchored} >= {"hk"}


def test_every_ledger_decides_however_many_there_are(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.integrity.collect.LEDGERS", 1)
    monkeypatch.setattr("reports.keeping.collect.ROWS", 1)
    _edit(installation)
    with installation.opened() as vault:
        for kind in ("integrity", "retention"):
            folder = tmp_path / kind
            folder.mkdir()
            found = kind_of(kind).collect(vault, wanted_of(vault), folder, "xx-1", lambda *_: None)
            assert found.verdict == "MODIFIED"
            (listed,) = [one.source for one in found.attachments if one.name == "ledgers.jsonl"]
            assert isinstance(listed, bytes | Path)
            assert len(lines(listed)) == found.model.total_ledgers > 1
    assert (found.model.kept, found.document["kept"]) == (CN + SG, CN + SG)
