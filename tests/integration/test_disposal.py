"""Disposals: who may take part, what is left behind, and that it is done once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from retention import adoption, approvers, destroying, disposal, disposallist, evidence_of, holding
from retention.destroying import Outcome
from retention.plan import plan
from tests.support.acting import happened, hire, last, later
from tests.support.board import COOLING, YEARS, Board, standing
from tests.support.books import book
from tests.support.vault import Installation
from vault import generations, ledgers, people, reading, selections
from vault.context import Actor, Vault
from vault.core.errors import Denied, Destroyed, KeyUnavailable, Modified, Unknown, UsageError
from vault.db.engine import transact
from vault.keys.provider import KeyState
from vault.keys.ring import group_ref
from vault.verdict import Depth, worst

SG = 45
"""Records in the smaller ledger; one in seven is customer cus-3's."""
CUSTOMERS = {seq for seq in range(1, SG + 1) if seq % 7 == 3}


@pytest.fixture
def board(installation: Installation) -> Iterator[Board]:
    with installation.retaining() as vault:
        yield Board.of(vault)


def hold(vault: Vault, ledger: str, **terms: Any) -> str:
    """Place a hold as the passphrase's holder; on customer cus-3 unless other terms are given."""
    place = [ledgers.get(vault, ledger)]
    wanted = terms or {"customers": ["cus-3"]}
    return holding.place(vault, case="case-1", reason="a test", ledgers=place, random=os.urandom, **wanted).hold.id


def names(vault: Vault, ledger: str) -> dict[str, str]:
    """Return a ledger's groups and their states."""
    place = ledgers.get(vault, ledger).id
    return transact(vault.engine, lambda connection: generations.states(connection, place))


def test_what_is_due_is_destroyed_and_the_verifier_believes_it(installation: Installation, board: Board) -> None:
    made = board.intended("sg")
    assert (made.entries, made.groups, made.kind) == (SG, ("2029-11.0",), "expiry")
    assert destroying.run(board.cooled, made.id) == Outcome(made.id, str(made.ledger), SG, 0, 1)
    assert standing(installation, board.due, "sg") == set()
    assert names(board.due, "sg") == {"2029-11.0": "destroyed"}
    described = board.due.provider.describe(group_ref(made.ledger, "2029-11.0"))
    assert described.state is KeyState.DESTROYED
    with pytest.raises(Destroyed, match=made.id):
        reading.read(board.due, ledgers.get(board.due, "sg"), "dec-3", "a test")
    reports = {report.name: report for report in installation.audit(Depth.OPEN)}
    assert worst(list(reports.values())) is None
    assert (reports["sg"].erased, reports["cn"].erased) == (SG, 0)


def test_nothing_due_is_no_event(board: Board) -> None:
    before = board.today.register.standing().size
    made = plan(board.today.acting(board.officers[0]), ledgers.get(board.today, "sg"))
    assert (made.id, made.entries) == ("", 0)
    assert not happened(board.today, "disposal.planned")
    assert board.today.register.standing().size == before


def test_a_plan_leaves_what_is_not_due_and_says_why(installation: Installation, board: Board) -> None:
    name = hold(board.due, "sg")
    made = board.planned("sg")
    assert made.entries == SG - len(CUSTOMERS)
    assert made.excepted == {"held": len(CUSTOMERS), "extended": 0, "not_due": 0, "open_ended": 0, "planned": 0}
    assert made.holds == {name: len(CUSTOMERS)}
    assert disposallist.whole(board.due, made.id, all_said=False)["holds"] == made.holds
    # What is planned is planned once.
    again = board.planned("sg")
    assert (again.id, again.excepted["planned"]) == ("", SG - len(CUSTOMERS))
    for no_month in ("held", "2029-13", "2029-1", "0000-01", ""):
        with pytest.raises(UsageError, match="--month is YYYY-MM"):
            board.planned("sg", month=no_month)
    assert board.planned("sg", month="2029-10").looked == 0
    # Until it is cancelled.
    disposal.cancel(board.acting(1), made.id)
    assert board.planned("sg").entries == made.entries
    assert len(standing(installation, board.due, "sg")) == SG


def test_a_month_is_not_due_before_it_is_over(board: Board) -> None:
    vault = board.today.acting(board.officers[0])
    ledger = ledgers.get(vault, "sg")
    month_end = 1_890_777_600  # 2029-12-01T00:00:00Z
    assert plan(vault, ledger, now=month_end - 1).looked == 0
    assert plan(vault, ledger, now=month_end).entries == SG


def test_four_eyes(board: Board) -> None:
    made = board.planned("sg")
    stranger = hire(board.due, "stranger", "officer")
    auditor = hire(board.due, "auditor", "auditor")
    own = Ed25519PrivateKey.generate()
    with pytest.raises(Denied, match="planned"):
        disposal.approve(board.acting(0), made.id, board.key(0))
    with pytest.raises(Denied, match="officer"):
        disposal.approve(board.due.acting(auditor), made.id, own)
    with pytest.raises(Denied, match="officer"):
        disposal.approve(board.due, made.id, board.key(1))  # whoever holds the passphrase is nobody's second person
    with pytest.raises(Denied, match="no approver's key"):
        disposal.approve(board.due.acting(stranger), made.id, own)
    approvers.register(board.due.acting(stranger), own.public_key().public_bytes_raw())
    with pytest.raises(Denied, match="after the plan"):
        disposal.approve(board.due.acting(stranger), made.id, own)
    with pytest.raises(Denied, match="not the one that you registered"):
        disposal.approve(board.acting(1), made.id, board.key(2))
    disposal.approve(board.acting(1), made.id, board.key(1))
    with pytest.raises(Denied, match="already"):
        disposal.approve(board.acting(1), made.id, board.key(1))
    assert disposal.find(board.due, made.id).state == "planned"
    with pytest.raises(Denied, match="1 more approval"):
        destroying.run(board.cooled, made.id)
    assert disposal.approve(board.acting(2), made.id, board.key(2)).state == "intended"
    assert len(happened(board.due, "disposal.approved")) == 2
    assert {one.facts["code"] for one in happened(board.due, "access.denied")} == {"role", "four_eyes"}


def test_who_may_plan_and_who_may_register(board: Board) -> None:
    auditor = hire(board.due, "auditor", "auditor")
    with pytest.raises(Denied, match="plans"):
        plan(board.due.acting(auditor), ledgers.get(board.due, "sg"))
    with pytest.raises(Denied, match="approver's key"):
        approvers.register(board.due.acting(auditor), Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    with pytest.raises(Denied, match="approver's key"):
        approvers.register(board.due, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    with pytest.raises(Denied, match="somebody else's"):
        approvers.register(board.acting(0), board.key(1).public_key().public_bytes_raw())
    with pytest.raises(UsageError):
        approvers.register(board.acting(0), bytes(32))
    with pytest.raises(Denied):
        approvers.remove(board.due.acting(auditor), board.officers[0].name)
    with pytest.raises(Unknown):
        disposal.approve(board.acting(1), "d-none", board.key(1))
    with pytest.raises(Unknown):
        disposal.cancel(board.acting(1), "d-none")


def test_the_worker_plans_and_runs_and_approves_nothing(installation: Installation, board: Board) -> None:
    worker = Actor("worker", break_glass=False)
    made = disposal.plan_due(board.due.acting(worker))
    assert sorted(one.entries for one in made) == [6, SG, 181]  # the events' sealed details too
    with pytest.raises(Denied):
        disposal.approve(board.due.acting(worker), made[0].id, board.key(1))
    assert disposal.run_ready(board.cooled.acting(worker)) == []
    for one in made:
        disposal.approve(board.acting(0), one.id, board.key(0))
        disposal.approve(board.acting(1), one.id, board.key(1))
    assert disposal.run_ready(board.due.acting(worker)) == []
    done = disposal.run_ready(board.cooled.acting(worker))
    assert sorted(one.entries for one in done) == [6, SG, 181]
    assert disposal.run_ready(board.cooled.acting(worker)) == []
    reports = installation.audit(Depth.OPEN)
    assert worst(reports) is None
    assert {report.name: report.erased for report in reports} == {"cn": 181, "sg": SG, "events": 6}


def test_a_hold_during_cooling_off_saves_its_records_and_the_rest_die(installation: Installation, board: Board) -> None:
    made = board.intended("sg")
    name = hold(board.due, "sg")
    done = destroying.run(board.cooled, made.id)
    assert (done.entries, done.excepted) == (SG - len(CUSTOMERS), len(CUSTOMERS))
    assert standing(installation, board.due, "sg") == CUSTOMERS
    assert names(board.due, "sg") == {"2029-11.0": "destroyed", "held.0": "live"}
    read = reading.read(board.due, ledgers.get(board.due, "sg"), "dec-3", "a test")
    assert b'"id":"dec-3"' in read.raw
    told = last(board.due, "disposal.destroying").facts
    assert (told["held"], told["excepted"]) == (len(CUSTOMERS), len(CUSTOMERS))
    place = installation.ledger("sg")
    assert set(selections.load(board.due, place, told["exceptions"])) == CUSTOMERS
    assert worst(installation.audit(Depth.OPEN)) is None
    # Released by two, they go through a whole disposal of their own.
    assert board.planned("sg").id == ""
    holding.request_release(board.acting(0), name)
    holding.release(board.acting(1), name)
    second = board.intended("sg")
    assert (second.entries, second.groups) == (len(CUSTOMERS), ("held.0",))
    assert destroying.run(board.cooled, second.id).entries == len(CUSTOMERS)
    assert standing(installation, board.due, "sg") == set()
    assert worst(installation.audit(Depth.OPEN)) is None
    facts = evidence_of.collect(board.cooled, second.id)
    assert [(key.group, key.destroyed_for) for key in facts.keys] == [("2029-11.0", made.id), ("held.0", second.id)]


def test_a_hold_on_everything_leaves_nothing_to_destroy(installation: Installation, board: Board) -> None:
    made = board.intended("sg")
    hold(board.due, "sg", classes=["payment"])
    assert destroying.run(board.cooled, made.id) == Outcome(made.id, str(made.ledger), 0, SG, 0)
    assert destroying.run(board.cooled, made.id) == Outcome(made.id, str(made.ledger), 0, SG, 0)
    assert not happened(board.due, "disposal.destroying", "key.destroyed")
    assert len(standing(installation, board.due, "sg")) == SG
    assert board.due.provider.describe(group_ref(made.ledger, "2029-11.0")).state is KeyState.ENABLED
    assert worst(installation.audit(Depth.OPEN)) is None
    assert evidence_of.collect(board.cooled, made.id).destroyed == 0
    hold(board.due, "sg")  # whoever looks at disposals that ended meets one without a final set


def test_a_hold_between_the_look_and_the_commit_point_is_seen(
    installation: Installation, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = board.intended("sg")
    commit = destroying._commit
    held: list[str] = []

    def late(vault: Vault, *rest: Any) -> None:
        if not held:
            held.append(hold(board.due, "sg"))
        commit(vault, *rest)

    monkeypatch.setattr(destroying, "_commit", late)
    done = destroying.run(board.cooled, made.id)
    assert (done.entries, done.excepted) == (SG - len(CUSTOMERS), len(CUSTOMERS))
    assert standing(installation, board.due, "sg") == CUSTOMERS
    assert worst(installation.audit(Depth.OPEN)) is None


def test_a_cancel_between_the_look_and_the_commit_point_counts(
    installation: Installation, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = board.intended("sg")
    commit = destroying._commit

    def late(vault: Vault, *rest: Any) -> None:
        disposal.cancel(board.acting(1), made.id)
        commit(vault, *rest)

    monkeypatch.setattr(destroying, "_commit", late)
    with pytest.raises(Denied, match="cancelled"):
        destroying.run(board.cooled, made.id)
    assert not happened(board.due, "disposal.destroying", "key.destroyed")
    assert len(standing(installation, board.due, "sg")) == SG


def test_a_rule_that_is_lengthened_during_cooling_off_keeps_the_records(
    installation: Installation, board: Board
) -> None:
    made = board.intended("sg")
    longer = book("2046-11", {"PROD-3Y": {"minimum": "P40Y"}})
    adoption.propose(board.acting(0), longer)
    adoption.adopt(board.acting(1), longer)
    assert destroying.run(board.cooled, made.id).entries == 0
    assert len(standing(installation, board.due, "sg")) == SG
    again = board.planned("sg")
    assert (again.id, again.excepted["extended"]) == ("", SG)


def test_a_cancelled_disposal_destroys_nothing(installation: Installation, board: Board) -> None:
    made = board.intended("sg")
    auditor = hire(board.due, "auditor", "auditor")
    with pytest.raises(Denied, match="cancels"):
        disposal.cancel(board.due.acting(auditor), made.id)
    assert disposal.cancel(board.acting(0), made.id).state == "cancelled"
    with pytest.raises(Denied, match="cancelled"):
        destroying.run(board.cooled, made.id)
    with pytest.raises(Denied, match="cancelled"):
        disposal.cancel(board.acting(0), made.id)
    assert len(standing(installation, board.due, "sg")) == SG


def test_cooling_off_is_waited_for_and_a_key_that_was_removed_counts_no_more(board: Board) -> None:
    made = board.intended("sg")
    with pytest.raises(Denied, match="cooling-off lasts until"):
        destroying.run(later(board.due, COOLING - 2 * 3_600_000_000), made.id)
    with pytest.raises(Denied, match="cooling-off"):
        destroying.run(later(board.today, YEARS // 2), made.id)  # a clock that went back
    approvers.remove(board.acting(0), board.officers[1].name)
    with pytest.raises(Denied, match="does not count any more"):
        destroying.run(board.cooled, made.id)
    # Registered again it is a key from after the plan.
    approvers.register(board.acting(1), board.key(1).public_key().public_bytes_raw())
    with pytest.raises(Denied, match="does not count any more"):
        destroying.run(board.cooled, made.id)
    assert not happened(board.due, "disposal.destroying")


def test_without_cooling_off_it_says_so(board: Board) -> None:
    made = board.planned("sg", cooling_off=disposal.CoolingOff(expiry=0))
    board.approve(made)
    destroying.run(later(board.due, 5_000_000), made.id)
    assert evidence_of.collect(board.cooled, made.id).cooling_off_seconds == 0


def test_one_record_dies_early_and_the_others_of_its_group_live_on(installation: Installation, board: Board) -> None:
    today = board.today
    ledger = ledgers.get(today, "sg")
    vault = today.acting(board.officers[0])
    with pytest.raises(UsageError, match="reason"):
        plan(vault, ledger, kind="early", records=[7])
    hold(today, "sg")
    with pytest.raises(Denied, match="held"):
        plan(vault, ledger, kind="early", records=[3, 7], reason="sent by mistake")
    made = plan(vault, ledger, kind="early", records=[7], reason="sent by mistake")
    with pytest.raises(UsageError, match="another disposal"):
        plan(vault, ledger, kind="early", records=[7], reason="again")
    disposal.approve(today.acting(board.officers[1]), made.id, board.key(1))
    disposal.approve(today.acting(board.officers[2]), made.id, board.key(2))
    done = destroying.run(later(today, COOLING), made.id)
    assert (done.entries, done.excepted) == (1, 0)
    assert standing(installation, today, "sg") == set(range(1, SG + 1)) - {7}
    # What is held goes aside at once: its group is dying.
    assert names(today, "sg") == {"2029-11.0": "destroyed", "2029-11.1": "live", "held.0": "live"}
    assert worst(installation.audit(Depth.OPEN)) is None
    facts = evidence_of.collect(later(today, COOLING), made.id)
    assert (facts.early, facts.reason, facts.due) == (True, "sent by mistake", "")
    with pytest.raises(UsageError, match="not there any more"):
        plan(vault, ledger, kind="early", records=[7], reason="again")
    with pytest.raises(UsageError, match="1 to"):
        plan(vault, ledger, kind="early", records=[], reason="none")


def test_entries_that_were_changed_are_not_destroyed(installation: Installation, board: Board) -> None:
    made = board.intended("sg")
    with installation.tampering() as connection:
        place = installation.ledger("sg")
        connection.execute(
            "UPDATE vault.entry SET leaf = substr(leaf, 1, 20) WHERE ledger_id = %s AND seq = 9", [place]
        )
    with pytest.raises((Modified, Denied)):
        destroying.run(board.cooled, made.id)
    with pytest.raises(Modified):
        board.planned("sg")
    assert not happened(board.due, "disposal.destroying")
    assert len(standing(installation, board.due, "sg")) == SG


def test_nobody_signs_for_entries_that_were_changed(installation: Installation, board: Board) -> None:
    made = board.planned("sg")
    place = installation.ledger("sg")
    with installation.tampering() as connection:
        other = "SELECT leaf FROM vault.entry WHERE ledger_id = %(place)s AND seq = 10"
        swap = f"UPDATE vault.entry SET leaf = ({other}) WHERE ledger_id = %(place)s AND seq = 9"
        connection.execute(swap, {"place": place})
    with pytest.raises(Modified, match="manifest"):
        disposal.approve(board.acting(1), made.id, board.key(1))
    assert not happened(board.due, "disposal.approved")


def test_a_provider_that_is_out_of_reach_stops_it_and_nothing_is_reported(
    installation: Installation, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = board.intended("sg")

    def down(*_: object) -> None:
        raise KeyUnavailable("the key provider does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(type(board.due.provider), "destroy_due", down)
        for _ in range(2):
            with pytest.raises(KeyUnavailable):
                destroying.run(board.cooled, made.id)
    assert disposal.find(board.due, made.id).state == "destroying"
    assert not happened(board.due, "key.destroyed", "disposal.done")
    assert len(standing(installation, board.due, "sg")) == SG
    with pytest.raises(UsageError, match="destroying"):
        evidence_of.collect(board.cooled, made.id)
    with pytest.raises(Denied, match="destroying"):
        disposal.cancel(board.acting(0), made.id)
    assert destroying.run(board.cooled, made.id).entries == SG
    assert worst(installation.audit(Depth.OPEN)) is None


def test_who_was_disabled_during_cooling_off_has_not_approved(board: Board) -> None:
    made = board.intended("sg")
    people.disable(board.today, "petra")
    with pytest.raises(Denied, match="no compliance officer now"):
        destroying.run(board.cooled, made.id)
    assert not happened(board.due, "disposal.destroying")
    assert [one["counts"] for one in evidence_of.view(board.due, made.id)["approvals"]] == [False, True]


def test_no_intent_comes_of_an_approval_whose_approver_was_disabled(board: Board) -> None:
    made = board.planned("sg")
    disposal.approve(board.acting(1), made.id, board.key(1))
    people.disable(board.today, "petra")
    assert disposal.approve(board.acting(2), made.id, board.key(2)).state == "planned"


def test_cooling_off_is_that_of_the_plan(board: Board) -> None:
    made = board.planned("sg", cooling_off=disposal.CoolingOff(expiry=100 * 3600))
    board.approve(made)
    assert evidence_of.view(board.due, made.id)["cooling_off_seconds"] == 100 * 3600
    with pytest.raises(Denied, match="cooling-off lasts until"):
        destroying.run(board.cooled, made.id)
    assert destroying.run(later(board.cooled, COOLING), made.id).entries == SG
