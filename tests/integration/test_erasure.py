"""What verification says of records that are not there: erased by policy, or missing and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.support.acting import hire
from tests.support.disposing import DISPOSAL, Officer, Staged, delete_rows, restaged
from tests.support.tampering import Crime
from tests.support.vault import Installation
from vault.audit import audit
from vault.core import canonical
from vault.core.leaf import Leaf
from vault.core.selection import Selection
from vault.db.store import AuditRow
from vault.keys.ring import group_ref
from vault.verdict import Depth, LedgerReport, Verdict

SEQS = range(3, 9)
GONE = "its envelope is not there and no erasure explains it"


@dataclass
class Scene:
    """A vault in which a disposal is staged, and what verification says of its ledger."""

    site: Installation
    staged: Staged

    def delete(self, *seqs: int) -> None:
        delete_rows(self.site, self.staged.ledger, seqs or self.staged.final)

    def report(self, depth: Depth = Depth.ENVELOPES) -> LedgerReport:
        return next(one for one in self.site.audit(depth) if one.ledger == self.staged.ledger)

    def missing(self) -> dict[int, str]:
        """Return why each entry of the ledger is missing; nothing else may be wrong with it."""
        found = {}
        for fault in self.report().faults:
            assert fault.verdict is Verdict.MISSING
            assert fault.seq is not None
            for seq in range(fault.seq, (fault.last or fault.seq) + 1):
                found[seq] = fault.what.removeprefix(GONE).removeprefix(f": disposal {DISPOSAL}: ")
        return found


@pytest.fixture
def scene(crime: Crime) -> Iterator[Scene]:
    with crime.site.opened() as vault:
        yield Scene(crime.site, Staged.begin(vault, "cn", SEQS))


def test_rows_deleted_by_a_lawful_disposal_are_erased_by_policy(scene: Scene) -> None:
    scene.staged.run()
    scene.delete()
    report = scene.report()
    assert report.faults == []
    assert (report.erased, report.early, report.dying) == (len(SEQS), 0, 0)
    (erasure,) = report.erasures
    assert erasure.disposal == DISPOSAL
    assert set(erasure.approvers) == {officer.actor.name for officer in scene.staged.officers}
    assert (report.records, report.envelopes) == (181, 181 - len(SEQS))


def test_so_it_is_at_depth_open_and_leaves_know_nothing_of_it(scene: Scene) -> None:
    scene.staged.run()
    scene.delete()
    opened = scene.report(Depth.OPEN)
    assert (opened.faults, opened.erased, opened.opened) == ([], len(SEQS), 181 - len(SEQS))
    assert (scene.report(Depth.LEAVES).faults, scene.report(Depth.LEAVES).erased) == ([], 0)


def test_the_same_rows_deleted_by_hand_are_missing(scene: Scene) -> None:
    scene.delete()
    assert scene.missing() == dict.fromkeys(SEQS, "")


def test_a_neighbour_deleted_beside_a_lawful_disposal_is_missing(scene: Scene) -> None:
    scene.staged.run()
    scene.delete(*SEQS, 9)
    assert scene.missing() == {9: ""}
    assert scene.report().erased == len(SEQS)


def test_an_early_disposal_is_erased_by_policy_and_told_apart(scene: Scene) -> None:
    scene.staged.kind = "early"
    scene.staged.vault = scene.staged.today
    scene.staged.run()
    scene.delete()
    report = scene.report()
    assert (report.faults, report.erased, report.early) == ([], len(SEQS), len(SEQS))


def test_entries_that_the_final_selection_leaves_out_must_be_there(scene: Scene) -> None:
    scene.staged.final = Selection.of(range(3, 7))
    scene.staged.run()
    scene.delete(*SEQS)
    assert scene.missing() == {7: "", 8: ""}
    assert scene.report().erased == 4


def test_two_disposals_of_the_same_plan_one_after_the_other(scene: Scene) -> None:
    """What the first excepted, the second destroys: each manifest holds entries of the other."""
    scene.staged.final = Selection.of(range(3, 7))
    scene.staged.run()
    second = restaged(scene.staged, id="d-2", planned=Selection.of(range(5, 12)), final=Selection.of(range(7, 12)))
    second.run()
    scene.delete(*range(3, 12))
    report = scene.report()
    assert report.faults == []
    assert [(one.disposal, one.count) for one in report.erasures] == [(DISPOSAL, 4), ("d-2", 5)]


def test_details_of_events_are_erased_like_records(crime: Crime) -> None:
    with crime.site.opened() as vault:
        detailed = list(Staged.begin(vault, "events", []).leaves)[:2]
        staged = Staged.begin(vault, "events", detailed)
        staged.run()
        delete_rows(crime.site, staged.ledger, detailed)
        report = next(one for one in crime.site.audit() if one.ledger == vault.events)
        assert (report.faults, report.erased) == ([], 2)
        other = max(staged.leaves)
        delete_rows(crime.site, staged.ledger, [other])
        report = next(one for one in crime.site.audit() if one.ledger == vault.events)
        assert [(fault.verdict, fault.seq) for fault in report.faults] == [(Verdict.MISSING, other)]


Step = Callable[[Staged], None]


def _forged_signatures(staged: Staged) -> None:
    """Whoever owns home and database signs checkpoints, and can write any event; approvers keep their keys."""
    forger = Officer(staged.planner.actor)
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer, signer=forger)
    staged.intend()
    staged.destroy()
    staged.kill()
    staged.done()


def _a_key_of_the_forger_in_an_approvers_name(staged: Staged) -> None:
    forged = Officer(staged.officers[0].actor)
    staged.plan()
    staged.approve(forged)
    staged.approve(staged.officers[1])
    _rest(staged)


def _a_key_registered_after_the_plan(staged: Staged) -> None:
    late = Officer(hire(staged.vault, "late", "officer"))
    staged.plan()
    staged.register(late)
    staged.approve(late)
    staged.approve(staged.officers[0])
    _rest(staged)


def _one_person_twice(staged: Staged) -> None:
    staged.plan()
    staged.approve(staged.officers[0])
    staged.approve(staged.officers[0])
    _rest(staged)


def _two_people_with_one_key(staged: Staged) -> None:
    twin = Officer(staged.officers[1].actor, staged.officers[0].key)
    staged.register(twin)
    staged.plan()
    staged.approve(staged.officers[0])
    staged.approve(twin)
    _rest(staged)


def _the_requester_approves(staged: Staged) -> None:
    staged.register(staged.planner)
    staged.plan()
    staged.approve(staged.planner)
    staged.approve(staged.officers[0])
    _rest(staged)


def _somebody_who_is_no_officer_approves(staged: Staged) -> None:
    auditor = Officer(hire(staged.vault, "auditor", "auditor"))
    staged.register(auditor)
    staged.plan()
    staged.approve(auditor)
    staged.approve(staged.officers[0])
    _rest(staged)


def _an_approval_after_the_intent(staged: Staged) -> None:
    staged.plan()
    staged.approve(staged.officers[0])
    staged.intend()
    staged.approve(staged.officers[1])
    staged.destroy()
    staged.kill()


def _approved_for_another_disposal(staged: Staged) -> None:
    other = restaged(staged, id="d-other")
    other.plan()
    for officer in staged.officers:
        other.approve(officer)
    staged.plan()
    for officer in staged.officers:
        signed = other.vault.register.standing().governance.disposals["d-other"].approvals
        mine = next(one for one in signed if one.person == officer.actor.name)
        staged.approve(officer, signature=mine.signature)
    _rest(staged)


def _no_approval_at_all(staged: Staged) -> None:
    staged.plan()
    _rest(staged)


def _without_intent(staged: Staged) -> None:
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.destroy()
    staged.kill()


def _before_cooling_off_was_over(staged: Staged) -> None:
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    before = staged.vault
    staged.intend()
    staged.vault = before
    staged.destroy()
    staged.kill()


def _cancelled(staged: Staged) -> None:
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    staged.tell("disposal.cancelled", {"disposal": staged.id}, staged.officers[0])
    staged.destroy()
    staged.kill()


def _begun_twice(staged: Staged) -> None:
    staged.run()
    staged.destroy()


def _widened_after_it_was_signed(staged: Staged) -> None:
    signed = staged.planned
    staged.planned = Selection.of(range(3, 6))
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    staged.destroy()  # the final selection is the wide one
    staged.kill()
    staged.planned = signed


def _widened_in_the_plan_itself(staged: Staged) -> None:
    """The plan names more positions than the manifest that was signed is made of."""
    wide = staged.planned
    staged.planned = Selection.of(range(3, 8))
    narrow = {"manifest": canonical.b64(staged.manifest), "selection": staged.keep(wide), "count": 5}
    staged.plan(**narrow)
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    staged.destroy()
    staged.kill()
    staged.planned = wide


def _another_manifest(staged: Staged) -> None:
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    staged.destroy(manifest=canonical.b64(bytes(32)))
    staged.kill()


def _held_when_it_began(staged: Staged) -> None:
    staged.hold(range(3, 9))
    staged.run()


def _held_while_cooling_off(staged: Staged) -> None:
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    looked = staged.vault.register.standing().size
    staged.hold([100])  # of no entry of it: but nobody looked again
    staged.destroy(holds_at=looked)
    staged.kill()


def _key_not_destroyed(staged: Staged) -> None:
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    staged.destroy()


def _due_in_the_future(staged: Staged) -> None:
    staged.vault = staged.today
    staged.run()


def _rest(staged: Staged) -> None:
    staged.intend()
    staged.destroy()
    staged.kill()
    staged.done()


CRIMES: list[tuple[Step, str]] = [
    (_forged_signatures, "0 of 2 approvals are sound"),
    (_a_key_of_the_forger_in_an_approvers_name, "1 of 2 approvals are sound"),
    (_a_key_registered_after_the_plan, "1 of 2 approvals are sound"),
    (_one_person_twice, "1 of 2 approvals are sound"),
    (_two_people_with_one_key, "1 of 2 approvals are sound"),
    (_the_requester_approves, "1 of 2 approvals are sound"),
    (_somebody_who_is_no_officer_approves, "1 of 2 approvals are sound"),
    (_an_approval_after_the_intent, "1 of 2 approvals are sound"),
    (_approved_for_another_disposal, "0 of 2 approvals are sound"),
    (_no_approval_at_all, "0 of 2 approvals are sound"),
    (_without_intent, "its keys began to die while it was planned"),
    (_before_cooling_off_was_over, "its cooling-off was not over"),
    (_cancelled, "its keys began to die while it was cancelled"),
    (_begun_twice, "its keys began to die twice"),
    (_widened_after_it_was_signed, "it destroyed other entries than were planned"),
    (_widened_in_the_plan_itself, "the manifest is not that of these entries"),
    (_another_manifest, "it destroyed another manifest than was planned"),
    (_held_when_it_began, "the hold h-1 was open"),
    (
        _held_while_cooling_off,
        "something was held, dated or to be kept longer after its records were looked at",
    ),
    (_key_not_destroyed, "the key of its group {group} is not destroyed"),
    (_due_in_the_future, "it was to be kept until {keep_until}"),
]


@pytest.mark.parametrize(("crime_", "why"), CRIMES, ids=[step.__name__.strip("_") for step, _ in CRIMES])
def test_a_disposal_that_was_none_explains_nothing(scene: Scene, crime_: Step, why: str) -> None:
    crime_(scene.staged)
    scene.delete()
    expected = {}
    for seq in SEQS:
        leaf = scene.staged.leaves[seq][0]
        expected[seq] = why.format(group=leaf.group, keep_until=leaf.keep_until)
    assert scene.missing() == expected
    assert scene.report().erased == 0


def test_a_hold_released_before_does_not_count_and_one_placed_afterwards_does_not_either(scene: Scene) -> None:
    staged = scene.staged
    staged.hold(range(3, 9))
    staged.tell("hold.release_requested", {"hold": "h-1"}, staged.officers[0])
    staged.tell("hold.released", {"hold": "h-1", "request": 1}, staged.officers[1])
    staged.run()
    staged.hold(range(1, 20), "h-2")
    scene.delete()
    assert (scene.report().faults, scene.report().erased) == ([], len(SEQS))


def test_a_hold_that_names_some_of_them_keeps_those(scene: Scene) -> None:
    scene.staged.hold([4, 5])
    scene.staged.run()
    scene.delete()
    assert scene.missing() == dict.fromkeys([4, 5], "the hold h-1 was open")
    assert scene.report().erased == 4


def test_a_hold_whose_records_nobody_can_tell_stops_all_of_it(scene: Scene) -> None:
    scene.staged.hold([100])
    scene.staged.run()
    scene.delete()
    assert scene.report().erased == len(SEQS)
    digest = canonical.unb64(scene.staged.keep(Selection.of([100])), 32)
    _sql(scene, "DELETE FROM vault.selection WHERE digest = %s", digest)
    assert set(scene.missing()) == set(SEQS)
    assert "cannot be told" in scene.missing()[3]


def test_an_approver_who_left_afterwards_has_approved_all_the_same(scene: Scene) -> None:
    scene.staged.run()
    scene.staged.tell("approver.removed", {"person": scene.staged.officers[0].actor.name}, scene.staged.planner)
    scene.delete()
    assert scene.report().erased == len(SEQS)


def test_an_approver_whose_key_was_removed_before_has_not(scene: Scene) -> None:
    staged = scene.staged
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    staged.tell("approver.removed", {"person": staged.officers[0].actor.name}, staged.planner)
    staged.destroy()
    staged.kill()
    scene.delete()
    assert scene.missing() == dict.fromkeys(SEQS, "1 of 2 approvals are sound")


def test_every_key_that_ever_wrapped_it_must_be_destroyed(scene: Scene) -> None:
    scene.staged.move([4, 5], "held.0")
    scene.staged.run()
    scene.delete()
    why = "the key of group held.0, which it was moved to, is not destroyed"
    assert scene.missing() == dict.fromkeys([4, 5], why)
    scene.staged.kill("held.0")
    assert (scene.report().faults, scene.report().erased) == ([], len(SEQS))


def test_what_was_moved_to_a_later_month_was_not_due(scene: Scene) -> None:
    scene.staged.move([4], "2077-03.0")
    scene.staged.move([5], "2031-03.0")
    scene.staged.run()
    scene.staged.kill("2077-03.0", "2031-03.0")
    scene.delete()
    assert scene.missing() == {4: "it was moved to group 2077-03.0, whose month was not over"}


@pytest.mark.parametrize("which", ["planned", "final"])
def test_a_selection_that_is_gone_or_edited_explains_nothing(scene: Scene, which: str) -> None:
    scene.staged.final = Selection.of(range(3, 7))
    scene.staged.run()
    scene.delete()
    digest = canonical.unb64(scene.staged.keep(getattr(scene.staged, which)), 32)
    other = scene.staged.keep(Selection.of(range(3, 150)))
    with scene.site.tampering() as connection:  # whoever owns the database is not stopped by it
        connection.execute("ALTER TABLE vault.selection DROP CONSTRAINT IF EXISTS selection_digest_check")
    _sql(
        scene,
        "UPDATE vault.selection s SET content = o.content FROM vault.selection o WHERE s.digest = %s AND o.digest = %s",
        digest,
        canonical.unb64(other, 32),
    )
    assert set(scene.missing()) == set(range(3, 7))
    _sql(scene, "DELETE FROM vault.selection WHERE digest = %s", digest)
    assert set(scene.missing()) == set(range(3, 7))


def test_rows_that_came_back_are_modified(scene: Scene) -> None:
    scene.staged.run()
    scene.delete(3, 4)
    report = scene.report()
    assert [(fault.verdict, fault.seq, fault.last) for fault in report.faults] == [(Verdict.MODIFIED, 5, 8)]
    assert (report.erased, report.dying) == (2, 0)


def test_rows_that_a_disposal_under_way_has_still_to_delete_are_counted(scene: Scene) -> None:
    staged = scene.staged
    staged.plan()
    for officer in staged.officers:
        staged.approve(officer)
    staged.intend()
    staged.destroy()
    staged.kill()
    scene.delete(3, 4)
    report = scene.report()
    assert (report.faults, report.erased, report.dying) == ([], 2, 4)


def test_keys_that_a_disposal_destroys_while_they_are_read_are_not_lost(crime: Crime) -> None:
    with crime.site.opened() as vault:
        group = Staged.begin(vault, "cn", []).leaves[3][0].group
        every = [seq for seq, (leaf, _) in Staged.begin(vault, "cn", []).leaves.items() if leaf.group == group]
        staged = Staged.begin(vault, "cn", every[:-1])
        staged.plan()
        for officer in staged.officers:
            staged.approve(officer)
        staged.intend()
        end = vault.register.standing().size

        def watch(ledger: UUID, row: AuditRow, _leaf: Leaf | None) -> None:
            if ledger == vault.events and row.seq == end - 1:  # the snapshot is older than all of this
                staged.destroy()
                now = datetime.now(UTC)
                vault.provider.schedule_destroy(group_ref(staged.ledger, str(group)), now)
                assert vault.provider.destroy_due(now + timedelta(seconds=1))
                staged.kill()

        arguments = (vault.engine, vault.checkpoints, vault.events, Depth.OPEN)
        report = audit(*arguments, ring=vault.ring, only="cn", watch=watch)[-1]
    assert report.dying == len(every) - 1
    assert [(fault.verdict, fault.seq) for fault in report.faults] == [(Verdict.MISSING, every[-1])]


def test_what_was_signed_after_we_read_the_checkpoint_counts(scene: Scene) -> None:
    """The snapshot holds a whole disposal that the checkpoint we began with does not cover; a newer one does."""
    vault = scene.staged.vault
    before = vault.checkpoints.read(vault.events)
    assert before is not None
    scene.staged.run()
    scene.delete()
    arguments = (vault.engine, vault.checkpoints, vault.events, Depth.ENVELOPES)
    events, cn = audit(*arguments, only="cn", at={vault.events: before})
    assert events.unsealed > 0
    assert (cn.faults, cn.erased) == ([], len(SEQS))


def test_verify_prints_what_was_erased_and_ends_well(scene: Scene) -> None:
    scene.staged.run()
    early = restaged(scene.staged, id="d-early", planned=Selection.of([20]), final=Selection.of([20]), kind="early")
    early.run()
    scene.delete(*SEQS, 20)
    run = scene.site.run("verify")
    assert run.exit_code == 0
    officers = ", ".join(officer.actor.name for officer in scene.staged.officers)
    assert f"  ERASED-BY-POLICY 1 early, by order of {officers}: disposal d-early\n" in run.stdout
    assert f"  ERASED-BY-POLICY {len(SEQS)} when due, by 1 disposal\n" in run.stdout
    assert "self-asserted" in run.stdout
    document = json.loads(scene.site.run("verify", "--json").stdout)
    (cn,) = [one for one in document["ledgers"] if one["name"] == "cn"]
    assert (cn["erased_by_policy"], cn["being_destroyed"], cn["faults"]) == (len(SEQS) + 1, 0, [])
    assert [(one["kind"], one["count"], one["time"]) for one in cn["disposals"]] == [
        ("expiry", len(SEQS), "self-asserted"),
        ("early", 1, "self-asserted"),
    ]


def test_events_that_were_forged_into_the_database_explain_nothing(scene: Scene) -> None:
    """A database owner appends a whole disposal, moves the head, and deletes: nothing of it is under a checkpoint."""
    place = scene.site.checkpoints("events")
    before = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    scene.staged.run()
    for name, content in before.items():
        (place / name).write_bytes(content)
    for path in place.iterdir():
        if path.is_file() and path.name not in before:
            path.unlink()
    scene.delete()
    reports = scene.site.audit()
    assert reports[0].counts  # the head is no announced one
    assert scene.report().erased == 0
    assert {fault.verdict for fault in scene.report().faults} == {Verdict.MISSING}


def test_an_edited_events_ledger_explains_nothing(scene: Scene) -> None:
    scene.staged.run()
    scene.delete()
    _sql(scene, "DELETE FROM vault.entry WHERE ledger_id = %s AND seq = 2", scene.staged.vault.events)
    why = "the events ledger is not the one that was signed, so no erasure is believed"
    assert {scene.missing()[seq] for seq in SEQS} == {f": {why}"}


def _sql(scene: Scene, statement: str, *parameters: object) -> None:
    with scene.site.tampering() as connection:
        assert connection.execute(statement, parameters).rowcount > 0
