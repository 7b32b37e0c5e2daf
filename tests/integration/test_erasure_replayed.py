"""What was signed or told for something else, or afterwards, explains no erasure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.disposing import Staged, delete_rows
from tests.support.tampering import Crime
from tests.support.vault import Installation
from vault import people
from vault.core import governance, leaf
from vault.core.governance import Governance
from vault.verdict import Depth, LedgerReport, Verdict

SEQS = range(3, 9)
PLANNED = "disposal.planned"


@pytest.fixture
def staged(crime: Crime) -> Iterator[Staged]:
    with crime.site.opened() as vault:
        yield Staged.begin(vault, "cn", SEQS)


def after(site: Installation, staged: Staged) -> LedgerReport:
    """Delete the rows, and return what verification says of the ledger."""
    delete_rows(site, staged.ledger, staged.final)
    return next(one for one in site.audit(Depth.ENVELOPES) if one.ledger == staged.ledger)


def require_missing(report: LedgerReport, why: str) -> None:
    assert report.erased == 0
    assert {fault.verdict for fault in report.faults} == {Verdict.MISSING}
    assert sum((fault.last or fault.seq or 0) - (fault.seq or 0) + 1 for fault in report.faults) == len(SEQS)
    for fault in report.faults:
        assert why in fault.what


def ends(staged: Staged, cooling_off: int = 72 * 3600) -> None:
    staged.intend(cooling_off)
    staged.destroy()
    staged.kill()
    staged.done()


def replayed(staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a disposal approved, cancel it, and plan an early one of the same id, with the same approvals."""
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    signed = staged.vault.register.standing().governance.disposals[staged.id].approvals
    staged.tell("disposal.cancelled", {"disposal": staged.id}, staged.planner)
    takes = governance._TAKES[PLANNED]

    def forgetful(all_: Governance, actor: str, facts: Mapping[str, Any], seq: int, at: int) -> None:
        all_.disposals.pop(facts["disposal"], None)
        takes(all_, actor, facts, seq, at)

    monkeypatch.setitem(governance._TAKES, PLANNED, forgetful)
    staged.kind, staged.approvals = "early", []
    staged.plan(cooling_off=0)
    for officer in staged.officers:
        mine = next(one for one in signed if one.person == officer.actor.name)
        staged.approve(officer, signature=mine.signature)
    ends(staged, 0)


def test_an_id_is_planned_once(crime: Crime, staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    replayed(staged, monkeypatch)
    monkeypatch.undo()
    require_missing(after(crime.site, staged), "cannot be read, so no erasure is believed")
    faults = [fault for one in crime.site.audit(Depth.LEAVES) for fault in one.faults]
    assert [(fault.verdict, fault.what) for fault in faults] == [
        (Verdict.MODIFIED, "a disposal of this id was planned before")
    ]


def test_approvals_fit_one_plan_even_where_ids_are_taken_again(
    crime: Crime, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed(staged, monkeypatch)
    require_missing(after(crime.site, staged), "0 of 2 approvals are sound")


def test_an_intent_cannot_shorten_the_cooling_off_that_was_signed(crime: Crime, staged: Staged) -> None:
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    ends(staged, 71 * 3600)
    require_missing(after(crime.site, staged), "its cooling-off was not over")


def test_a_second_intent_takes_no_cancelled_disposal_up_again(crime: Crime, staged: Staged) -> None:
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    staged.tell("disposal.cancelled", {"disposal": staged.id}, staged.planner)
    ends(staged)
    require_missing(after(crime.site, staged), "its keys began to die while it was cancelled")


def test_who_was_disabled_before_the_keys_died_has_not_approved(crime: Crime, staged: Staged) -> None:
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    people.disable(staged.vault, "cn-1")
    staged.destroy()
    staged.kill()
    require_missing(after(crime.site, staged), "1 of 2 approvals are sound")


def test_who_is_no_officer_any_more_when_the_keys_die_has_not_approved(crime: Crime, staged: Staged) -> None:
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    other = {"person": staged.officers[0].actor.name, "roles": ["auditor"], "verifier": "v"}
    staged.tell("user.added", other)
    staged.destroy()
    staged.kill()
    require_missing(after(crime.site, staged), "1 of 2 approvals are sound")


def test_who_was_disabled_afterwards_has_approved_all_the_same(crime: Crime, staged: Staged) -> None:
    staged.run()
    people.disable(staged.vault, "cn-1")
    report = after(crime.site, staged)
    assert (report.faults, report.erased) == ([], len(SEQS))


def test_whoever_looked_later_than_the_keys_died_has_not_looked(crime: Crime, staged: Staged) -> None:
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    staged.hold([100])
    staged.destroy(holds_at=10**9)
    staged.kill()
    require_missing(after(crime.site, staged), "its records were looked at after their keys began to die")


def test_a_date_told_after_the_look_is_looked_for(crime: Crime, staged: Staged) -> None:
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    looked = staged.vault.register.standing().size
    dated(staged, 100)
    staged.destroy(holds_at=looked)
    staged.kill()
    require_missing(after(crime.site, staged), "something was held, dated or to be kept longer")


def dated(staged: Staged, *seqs: int) -> None:
    told = leaf.instant(staged.vault.clock() // 1_000_000 - 1)
    for seq in seqs:
        facts = {"ledger": str(staged.ledger), "seq": seq, "trigger": "relationship_ended", "at": told, "by": 0}
        staged.tell("record.dated", facts)
