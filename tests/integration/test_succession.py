"""A ledger that lost entries is frozen at its last good head, and its successor says so for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from retention import dating, disposal, holding
from tests.support.acting import granted, happened, hire, keyed, later
from tests.support.breaking import Killed, broken
from tests.support.decisions import as_file, decision, decisions, spelled
from tests.support.losing import ANCHORED, WHOLE, WHY, anchored, cut, faults, recovered, reports, sent
from tests.support.tampering import Crime, Found, missing
from tests.support.vault import Installation
from vault import (
    anchoring,
    events,
    grants,
    incremental,
    intake,
    ledgers,
    people,
    reading,
    receipts,
    signing,
    succession,
)
from vault.context import Vault
from vault.core.errors import Denied, Forked, LedgerFrozen, Missing, UsageError, VaultError
from vault.linking import append
from vault.recordline import RecordLine
from vault.settling import Status
from vault.verdict import Depth, Verdict


@pytest.fixture(scope="module")
def whole(bare: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Nobody changes it."""
    with anchored(bare, tmp_path_factory.mktemp("whole") / "home") as site:
        yield site


@pytest.fixture
def site(whole: Installation, tmp_path: Path) -> Iterator[Installation]:
    with whole.copied(tmp_path / "home") as copy:
        yield copy


def test_an_older_dump_is_recovered(site: Installation) -> None:
    crime = cut(site, "hk", ANCHORED)
    crime.refused_append("hk")
    made = recovered(site)
    one = made.recovery
    assert (one.size, one.proved, one.end, made.successor_name) == (ANCHORED, ANCHORED, WHOLE, "hk-2")
    assert {result.status for result in sent(site, "hk-2", range(11, 21))} == {Status.ACCEPTED}
    found = reports(site, Depth.OPEN)
    assert faults(found["hk"]) == missing("hk", ANCHORED, WHOLE - 1)
    assert found["hk"].cleared
    assert not found["hk-2"].faults
    assert not found["events"].faults
    with site.opened() as vault:
        old, new = ledgers.get(vault, "hk"), ledgers.get(vault, "hk-2")
        word = f"{old.id}:{ANCHORED}:{one.root}:{WHOLE}"
        assert (new.genesis.predecessor, new.genesis.jurisdictions) == (word, old.genesis.jurisdictions)
        assert [told.event for told in happened(vault, "ledger.frozen", "ledger.created", "ledger.succeeded")][-3:] == [
            "ledger.frozen",
            "ledger.created",
            "ledger.succeeded",
        ]
        assert reading.read(vault, old, "dec-3", "a test").seq == 3
        with pytest.raises(UsageError, match="no record"):
            reading.read(vault, old, "dec-15", "a test")
        assert b"dec-15" in reading.read(vault, new, "dec-15", "a test").raw


def test_a_record_of_the_good_part_keeps_its_one_receipt(site: Installation) -> None:
    cut(site, "hk", ANCHORED)
    recovered(site)
    again = sent(site, "hk-2", range(8, 13))
    assert [one.status for one in again] == [Status.DUPLICATE] * 3 + [Status.ACCEPTED] * 2
    assert [one.seq for one in again] == [8, 9, 10, 1, 2]
    other = site.ingest("hk-2", [(1, spelled(decision(4, language="en")))])
    assert (other[0].status, other[0].seq) == (Status.CONFLICTING, 4)
    with site.opened() as vault:
        old, new = ledgers.get(vault, "hk"), ledgers.get(vault, "hk-2")
        assert happened(vault, "record.conflict")[-1].facts["predecessor"] == str(old.id)
        key = keyed(vault, "psp", "hk-2")
        answers = RecordLine(vault, new, lambda _group: None).take([(1, spelled(decision(3)))], key)
        ((_, first),) = receipts.again(vault, old, [3])
        assert not isinstance(answers[0], Exception)
        assert answers[0].receipt == first
        (place,) = (one for one in again if one.seq == 8)
        assert place.before == old.id
    file = site.home.with_name("again.jsonl")
    file.write_bytes(as_file(decisions(12)))
    out = site.home.with_name("receipts.jsonl")
    done = site.run("ingest", str(file), "--ledger", "hk-2", "--receipts", str(out), "--processes", "1", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["duplicate"] == 12
    assert len(out.read_text().splitlines()) == 12


def test_a_frozen_ledger_takes_nothing_any_more(site: Installation, whole: Installation, tmp_path: Path) -> None:
    """Not even when its database is all there again."""
    with site.opened() as vault:
        key = keyed(vault, "psp", "hk")
    crime = cut(site, "hk", ANCHORED)
    rows = Crime.against(whole).leaves("hk")
    recovered(site)
    for seq in range(ANCHORED, WHOLE):
        crime.insert_leaf("hk", seq, rows[seq])
    crime.set_head("hk", rows)
    refused = crime.refused_append("hk")
    assert "use ledger hk-2" in refused.output
    with site.opened() as vault:
        hk = ledgers.get(vault, "hk")
        (answer,) = RecordLine(vault, hk, lambda _group: None).take([(1, spelled(decision(99)))], key)
        assert isinstance(answer, LedgerFrozen)
        assert "hk-2" in str(answer)
        with pytest.raises(LedgerFrozen):
            list(intake.ingest(vault, hk, decisions(1, 99), "psp", processes=1))
        with pytest.raises(LedgerFrozen):
            ledgers.create(vault, "hk", ("HK",), ())
    found = reports(site)["hk"]
    assert faults(found) == missing("hk", ANCHORED, WHOLE - 1)
    assert found.beyond == WHOLE - ANCHORED


def test_nobody_appends_even_where_the_events_are_not_asked(site: Installation) -> None:
    cut(site, "hk", ANCHORED)
    recovered(site)
    hk = site.ledger("hk")
    with site.opened() as vault, pytest.raises(LedgerFrozen):
        append(vault.engine, vault.checkpoints, hk, lambda _connection: ())


@pytest.mark.parametrize("choice", ["keep", "lose"])
def test_what_nothing_proves_is_kept_or_lost_as_people_say(site: Installation, choice: Any) -> None:
    cut(site, "hk", 16)
    with pytest.raises(UsageError, match=f"seq {ANCHORED}-15 .* no signature covers them"):
        recovered(site)
    made = recovered(site, unproved=choice)
    good = 16 if choice == "keep" else ANCHORED
    assert (made.recovery.size, made.recovery.proved) == (good, ANCHORED)
    assert faults(reports(site)["hk"]) == missing("hk", good, WHOLE - 1)
    fate = Status.DUPLICATE if choice == "keep" else Status.ACCEPTED
    assert {one.status for one in sent(site, "hk-2", range(11, 16))} == {fate}
    shown = site.run("verify", "--depth", "open")
    assert shown.exit_code == Verdict.MISSING.exit_code
    assert ("unproved" in shown.stdout) is (choice == "keep")


def test_rewritten_rows_are_never_good(site: Installation) -> None:
    """Whole, chained, with a head that agrees: but the signed root is another."""
    crime = Crime.against(site)
    crime.rewrite("hk", 14, lambda leaf: leaf.update(producer="psp-9"))
    assert recovered(site).recovery.size == ANCHORED
    crime = Crime.against(site)
    assert faults(reports(site)["hk"]) == missing("hk", ANCHORED, WHOLE - 1)


def test_an_edited_row_ends_the_good_part(site: Installation) -> None:
    crime = Crime.against(site)
    crime.put_leaf("hk", 5, crime.leaves("hk")[6])
    made = recovered(site, unproved="lose")
    assert (made.recovery.size, made.recovery.lost) == (1, WHOLE - 1)
    assert {one.status for one in sent(site, "hk-2", range(1, 21))} == {Status.ACCEPTED}


def test_a_ledger_that_vanished_is_recovered(site: Installation) -> None:
    crime = Crime.against(site)
    crime.drop("hk")
    made = recovered(site)
    assert (made.recovery.size, made.recovery.lost) == (0, WHOLE)
    assert {one.status for one in sent(site, "hk-2", range(1, 4))} == {Status.ACCEPTED}
    listed = site.run("ledger", "list")
    assert f"FROZEN, seq 0-{WHOLE - 1} lost, hk-2 goes on" in listed.stdout
    found = reports(site)
    assert faults(found["hk"]) == missing("hk", 0, WHOLE - 1)
    assert not found["hk-2"].faults


def test_a_ledger_that_holds_has_no_successor(site: Installation) -> None:
    with pytest.raises(UsageError, match="nothing to recover"):
        recovered(site)
    with pytest.raises(UsageError, match="no ledger named tw"):
        recovered(site, "tw")
    with pytest.raises(UsageError, match="events ledger has no successor"):
        recovered(site, "events")
    assert "FROZEN" not in site.run("ledger", "list").stdout


def test_nothing_is_recovered_while_the_events_are_behind(site: Installation) -> None:
    """A dump of everything, restored: the events that would tell of the freeze are the first to be wrong."""
    cut(site, "hk", ANCHORED)
    cut(site, "events", site.size("events") - 1)
    with pytest.raises(Forked, match="restore a dump that holds all of it"):
        recovered(site)


def test_jobs_and_disposals_go_on_beside_a_frozen_ledger(site: Installation) -> None:
    crime = cut(site, "hk", 16)
    recovered(site, unproved="lose")
    with site.retaining() as vault:
        assert signing.sign_all(vault) == 0
        assert anchoring.anchor(vault, every=0) == 1  # the successor
        dating.date_all(vault)
        assert holding.inherit_all(vault)["holds"] == 0
        after = later(vault, 12 * 365 * 86_400_000_000)
        with pytest.raises(Missing, match="behind the good head of a frozen ledger"):
            disposal.plan_due(after)
        crime.delete("hk", ANCHORED, 16)
        plans = disposal.plan_due(after)
        assert sum(one.entries for one in plans if one.ledger == crime.uuid("hk")) == ANCHORED - 1


def test_without_its_checkpoint_nobody_can_say_what_is_lost(site: Installation) -> None:
    cut(site, "hk", ANCHORED)
    (site.checkpoints("hk") / "checkpoint").unlink()
    with pytest.raises(Forked, match="restore it first"):
        recovered(site)


def test_a_successor_has_a_successor(site: Installation) -> None:
    cut(site, "hk", ANCHORED)
    recovered(site)
    sent(site, "hk-2", range(11, 21))
    crime = cut(site, "hk-2", 5)
    made = recovered(site, "hk-2", unproved="keep")
    assert made.successor_name == "hk-3"
    again = sent(site, "hk-3", range(8, 18))
    assert [one.status for one in again] == [Status.DUPLICATE] * 7 + [Status.ACCEPTED] * 3
    assert [one.before for one in again[:7]] == [crime.uuid("hk")] * 3 + [crime.uuid("hk-2")] * 4
    found = reports(site)
    assert faults(found["hk-2"]) == missing("hk-2", 5, 10)
    assert not found["hk-3"].faults


def test_every_step_broken_is_finished_by_the_same_command(whole: Installation, tmp_path: Path) -> None:
    """At any step either nothing happened, or the ledger is frozen and takes nothing; never two successors."""
    with whole.copied(tmp_path / "base") as base:
        cut(base, "hk", ANCHORED)
        with base.opened() as vault:  # today's keys of the events, so that their making is not tried again here
            events.record(vault, "grants.listed", {"count": 0}, {"a": "b"})
        base.remember()
        for number in range(40):
            with broken(number, "killed") as steps, suppress(Killed, VaultError):
                recovered(base)
            found = reports(base, Depth.LEAVES)["hk"]
            allowed = {Found(Verdict.FORKED, "hk", ANCHORED), *missing("hk", ANCHORED, WHOLE - 1)}
            assert faults(found) <= allowed
            assert found.faults
            _finished(base)
            base.restore()
            if not steps.broke:
                break
        else:
            pytest.fail("it never ends")
        assert steps.done.count("commit") >= 4  # frozen, the successor, created, succeeded


def _finished(site: Installation) -> None:
    """Run the same command again, and see that it came to one successor that knows the good part."""
    with site.opened() as vault:
        assert succession.succeed(vault, "hk", WHY).successor_name == "hk-2"
        assert len(happened(vault, "ledger.frozen")) == len(happened(vault, "ledger.succeeded")) == 1
        lines = [(at, spelled(decision(at))) for at in (10, 11)]
        (batch,) = intake.ingest(vault, ledgers.get(vault, "hk-2"), lines, "psp-1", processes=1)
    assert [one.status for one in batch.results] == [Status.DUPLICATE, Status.ACCEPTED]
    found = reports(site, Depth.LEAVES)
    assert faults(found["hk"]) == missing("hk", ANCHORED, WHOLE - 1)
    assert set(found) == {"events", "hk", "hk-2"}
    assert not found["hk-2"].faults


def test_two_officers_where_grants_are_required(site: Installation) -> None:
    cut(site, "hk", ANCHORED)
    with site.opened() as vault:
        olaf, petra = hire(vault, "olaf", "officer"), hire(vault, "petra", "officer")
        anna = hire(vault, "anna", "auditor")
        grants.require(vault)

        def does(vault: Vault, who: Any, **more: Any) -> succession.Step:
            return succession.succeed(vault.acting(who) if who else vault, "hk", WHY, **more)

        for who in (None, anna):  # the passphrase alone recovers nothing here, either
            with pytest.raises(Denied, match="two of them"):
                does(vault, who)
        assert does(vault, olaf).done == "requested"
        with pytest.raises(Denied, match="another officer"):
            does(vault, olaf)
        assert does(vault, petra, new_name="hk-late").done == "requested"  # another request, so not the second step
        assert does(vault, olaf, new_name="hk-late").done == "succeeded"
        told = happened(vault, "ledger.frozen")[0]
        assert (told.actor, told.facts["requested_by"]) == (olaf.name, petra.name)
        assert [one.facts["code"] for one in happened(vault, "access.denied")] == ["role", "role", "four_eyes"]
        assert WHY not in site.everything_stored()
        with pytest.raises(Denied):
            does(vault, anna)


def test_what_an_officer_asked_for_ends_with_their_account(site: Installation) -> None:
    cut(site, "hk", ANCHORED)
    with site.opened() as vault:
        olaf, petra = hire(vault, "olaf", "officer"), hire(vault, "petra", "officer")
        grants.require(vault)
        assert succession.succeed(vault.acting(olaf), "hk", WHY).done == "requested"
        people.disable(vault, "olaf")
        assert succession.succeed(vault.acting(petra), "hk", WHY).done == "requested"


def test_keys_and_holds_go_on_and_grants_do_not(site: Installation) -> None:
    with site.opened() as vault:
        key = keyed(vault, "psp", "hk")
        anna, olaf = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
        granted(vault, anna, olaf, ["hk"])
        placed = holding.place(
            vault, case="4711", reason="a court asks", ledgers=[ledgers.get(vault, "hk")], random=lambda n: bytes(n)
        )
    cut(site, "hk", ANCHORED)
    recovered(site)
    with site.opened() as vault:
        old, new = ledgers.get(vault, "hk"), ledgers.get(vault, "hk-2")
        (answer,) = RecordLine(vault, new, lambda _group: None).take([(1, spelled(decision(15)))], key)
        assert not isinstance(answer, Exception)
        assert answer.result.status is Status.ACCEPTED
        assert str(new.id) in vault.register.standing().governance.holds[placed.hold.id].scope.ledgers
        assert holding.inherit_all(vault)["records"] == 1
        assert reading.read(vault.acting(anna), old, "dec-3", "").seq == 3
        with pytest.raises(Denied, match="grant"):
            reading.read(vault.acting(anna), new, "dec-15", "")


def test_the_command_and_the_list_say_what_is_lost(site: Installation) -> None:
    cut(site, "hk", ANCHORED)
    done = site.run("ledger", "succeed", "hk", "--reason", WHY)
    assert done.exit_code == 0, done.output
    assert f"frozen at {ANCHORED} entries, seq {ANCHORED}-{WHOLE - 1} lost (10 entries)" in done.stdout
    listed = site.run("ledger", "list").stdout
    assert f"FROZEN, seq {ANCHORED}-{WHOLE - 1} lost, hk-2 goes on" in listed
    assert f"goes on for {site.ledger('hk')}" in listed
    verified = site.run("verify", "--json")
    assert verified.exit_code == Verdict.MISSING.exit_code
    (told,) = (one for one in json.loads(verified.stdout)["ledgers"] if one["name"] == "hk")
    assert (told["frozen"]["lost_first"], told["frozen"]["lost_end"]) == (ANCHORED, WHOLE)
    assert json.loads(verified.stdout)["besides_recorded_losses"] == "OK"
    assert "besides the losses that are recorded: OK" in site.run("verify").stdout
    assert site.run("ledger", "succeed", "hk", "--reason", WHY, "--new-name", "hk-9").exit_code == 2
    with site.opened() as vault:  # the worker's alarm is not deafened by what is known
        assert incremental.verify(vault).worst is None
