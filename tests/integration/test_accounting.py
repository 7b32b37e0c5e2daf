"""Accounting: no key dies while an entry that it ever wrapped is not where rows say, whoever edited or lost them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from retention import dating, destroying, disposal, holding
from retention import plan as retention_plan
from tests.support.acting import happened
from tests.support.board import Board, standing
from tests.support.decisions import decisions
from tests.support.groups import rows
from tests.support.vault import Installation
from vault import generations, ledgers, moving, reading, rekeying, replaying, shred
from vault.core.errors import Forked, KeyUnavailable, Missing, Unavailable
from vault.core.selection import Selection
from vault.keys.provider import KeyState
from vault.keys.ring import group_ref
from vault.verdict import Depth, worst

SG = 45
GROUP = "2029-11.0"
HELD = sorted(seq for seq in range(1, SG + 1) if seq % 7 == 3)
HIDINGS = {
    "to no epoch": "UPDATE vault.sealed SET epoch_id = epoch_id + 1000000 WHERE ledger_id = %s AND seq = ANY(%s)",
    "lost": "DELETE FROM vault.sealed WHERE ledger_id = %s AND seq = ANY(%s)",
}


@pytest.fixture
def board(installation: Installation) -> Iterator[Board]:
    with installation.retaining() as vault:
        yield Board.of(vault)


def hold(board: Board) -> str:
    place = [ledgers.get(board.due, "sg")]
    return holding.place(
        board.due, case="c", reason="a test", ledgers=place, customers=["cus-3"], random=os.urandom
    ).hold.id


def hide(installation: Installation, how: str, seqs: list[int]) -> None:
    with installation.tampering() as connection:
        connection.execute(HIDINGS[how], [installation.ledger("sg"), seqs])


def alive(installation: Installation, board: Board, group: str = GROUP) -> bool:
    return board.due.provider.describe(group_ref(installation.ledger("sg"), group)).state is KeyState.ENABLED


@pytest.mark.parametrize("how", HIDINGS)
def test_what_rows_do_not_show_stops_a_disposal_before_its_commit_point(
    installation: Installation, board: Board, how: str
) -> None:
    """Held entries, hidden between the approval and the run."""
    hold(board)
    made = board.intended("sg")
    hide(installation, how, HELD)
    for _ in range(2):
        with pytest.raises(Missing, match=f"{installation.ledger('sg')} seq {HELD[0]}$"):
            destroying.run(board.cooled, made.id)
    assert disposal.find(board.due, made.id).state == "intended"
    assert alive(installation, board)


@pytest.mark.parametrize("group", ["of another month", "that died"])
def test_a_row_that_was_pointed_at_another_group_stops_it(installation: Installation, board: Board, group: str) -> None:
    """A group that lives counts only for what was written under it, or moved there; one that died for nothing."""
    ledger = installation.ledger("sg")
    if group == "that died":  # everything moves on to the next generation, and is pointed back
        rekeying.rekey(board.today, ledger, GROUP)
        name, dying = GROUP, "2029-11.1"
    else:
        with installation.tampering() as connection:
            connection.execute(
                "INSERT INTO vault.key_group (ledger_id, name, key_ref, index_key) VALUES (%s, '2060-01.0', %s, 'x')",
                [ledger, group_ref(ledger, "2060-01.0")],
            )
            connection.execute(
                "INSERT INTO vault.epoch (ledger_id, epoch_id, group_name, key_ref, writer, day, wrapped)"
                " SELECT ledger_id, 999, '2060-01.0', key_ref, 'x', day, wrapped FROM vault.epoch"
                " WHERE ledger_id = %s LIMIT 1",
                [ledger],
            )
        name, dying = "2060-01.0", GROUP
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.sealed SET epoch_id = (SELECT max(epoch_id) FROM vault.epoch WHERE ledger_id = %s"
            " AND group_name = %s) WHERE ledger_id = %s AND seq = 3",
            [ledger, name, ledger],
        )
    made = board.intended("sg")
    with pytest.raises(Missing, match=r"seq 3$"):
        destroying.run(board.cooled, made.id)
    assert alive(installation, board, dying)


def test_what_moved_is_where_the_journal_has_it_to_the_byte(installation: Installation, board: Board) -> None:
    hold(board)
    made = board.intended("sg")
    ledger = installation.ledger("sg")
    real = moving.move_surveyed

    def edited(*given: Any, **named: Any) -> Any:
        found = real(*given, **named)
        with installation.tampering() as connection:
            connection.execute(
                "UPDATE vault.sealed SET wrapped_key = overlay(wrapped_key PLACING '\\x00'::bytea FROM 20)"
                " WHERE ledger_id = %s AND seq = 10",
                [ledger],
            )
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(moving, "move_surveyed", edited)
        with pytest.raises(Forked, match=r"journal at .* seq 10$"):
            destroying.run(board.cooled, made.id)
    assert disposal.find(board.due, made.id).state == "intended"
    assert alive(installation, board)


def test_a_damaged_journal_stops_it_before_its_commit_point(installation: Installation, board: Board) -> None:
    hold(board)
    made = board.intended("sg")
    real = moving.move_surveyed

    def lost(*given: Any, **named: Any) -> Any:
        found = real(*given, **named)
        for path in (installation.home / "rewraps" / str(installation.ledger("sg"))).glob("*.journal"):
            path.unlink()
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(moving, "move_surveyed", lost)
        with pytest.raises(Forked, match="journal"):
            destroying.run(board.cooled, made.id)
    assert disposal.find(board.due, made.id).state == "intended"
    assert alive(installation, board)


def test_announced_and_left_where_it_was_written(installation: Installation, board: Board) -> None:
    """A move that was told of and never happened: the entry opens where it is, so the other group may die."""
    ledger = installation.ledger("sg")
    vault = board.due

    def dies(*_: Any, **__: Any) -> Any:
        raise Unavailable("the process ends here")

    generations.close(vault, ledger, [GROUP])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(moving, "_carry", dies)
        with pytest.raises(Unavailable):
            moving.move(vault, ledger, [GROUP], lambda _one: "held", reason="d-1")
    generations.close(vault, ledger, ["held.0"])
    assert shred.destroy(vault, ledger, ["held.0"], reason="d-2", expect=None).deleted == 0
    assert {row.group for row in rows(installation, "sg").values()} == {GROUP}
    assert alive(installation, board)


@pytest.mark.parametrize("how", HIDINGS)
def test_rekeying_asks_the_same(installation: Installation, board: Board, how: str) -> None:
    hide(installation, how, [3])
    with pytest.raises(Missing, match=r"seq 3$"):
        rekeying.rekey(board.today, installation.ledger("sg"), GROUP)
    assert alive(installation, board)
    assert not happened(board.today, "key.destroyed")


def out_once(patched: pytest.MonkeyPatch, board: Board) -> None:
    """Have the provider fail at the first destruction."""
    kind = type(board.today.provider)
    real = kind.destroy_due
    calls: list[int] = []

    def destroy_due(self: Any, now: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise KeyUnavailable("the provider is out")
        return real(self, now)

    patched.setattr(kind, "destroy_due", destroy_due)


def overlapping(board: Board) -> tuple[str, str]:
    """Return two disposals over one group: what a hold kept from the first is the second's."""
    name = hold(board)
    first = board.intended("sg")
    holding.request_release(board.acting(0), name)
    holding.release(board.acting(1), name)
    return first.id, board.intended("sg").id


def test_one_that_has_begun_goes_first(
    installation: Installation, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = overlapping(board)
    out_once(monkeypatch, board)
    with pytest.raises(KeyUnavailable):
        destroying.run(board.cooled, first)
    with pytest.raises(Unavailable, match=first):
        destroying.run(board.cooled, second)
    assert {disposal.find(board.due, one).state for one in (first, second)} == {"destroying", "intended"}
    assert len(happened(board.due, "keys.moved")) == 1  # of what the first left: nothing was moved for the second
    assert [one.id for one in disposal.run_ready(board.cooled)] == [first, second]
    assert standing(installation, board.due, "sg") == set()
    assert worst(installation.audit(Depth.OPEN)) is None


def test_a_run_of_all_ends_the_begun_before_others_and_skips_a_ledger_that_is_stuck(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = overlapping(board)
    out_once(monkeypatch, board)
    with pytest.raises(KeyUnavailable, match="the provider is out"):
        destroying.run(board.cooled, second)  # the younger one has begun
    ran: list[str] = []
    real = destroying.run

    def run(vault: Any, name: str, *more: Any) -> Any:
        ran.append(name)
        return real(vault, name, *more)

    monkeypatch.setattr(disposal, "run", run)
    with monkeypatch.context() as patched:
        out_once(patched, board)
        with pytest.raises(KeyUnavailable):
            disposal.run_ready(board.cooled)
    assert ran == [second]
    assert [one.id for one in disposal.run_ready(board.cooled)] == [second, first]


@pytest.mark.parametrize("again", [False, True], ids=["at once", "interrupted again"])
def test_doomed_that_were_moved_on_die_where_they_are(
    installation: Installation, board: Board, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """A re-keying that did not ask, past the commit point; what is beside them in the new group survives."""
    hold(board)
    made = board.intended("sg")
    ledger = installation.ledger("sg")
    with monkeypatch.context() as patched:
        out_once(patched, board)
        with pytest.raises(KeyUnavailable):
            destroying.run(board.cooled, made.id)
    moving.move(board.cooled, ledger, [GROUP], lambda _one: "held", reason="rekey:by-hand")
    assert {row.group for row in rows(installation, "sg").values()} == {"held.0"}
    if again:
        with monkeypatch.context() as patched:
            patched.setattr(shred, "_prove", lambda *_: (_ for _ in ()).throw(KeyUnavailable("out")))
            with pytest.raises(KeyUnavailable, match="out"):
                destroying.run(board.cooled, made.id)
    assert destroying.run(board.cooled, made.id).entries == SG - len(HELD)
    assert standing(installation, board.due, "sg") == set(HELD)
    assert not alive(installation, board)
    assert not alive(installation, board, "held.0")
    assert {row.group for row in rows(installation, "sg").values()} == {"held.1"}
    assert worst(installation.audit(Depth.OPEN)) is None
    assert reading.read(board.due, ledgers.get(board.due, "sg"), "dec-3", "a test").seq == 3


def test_rekeying_waits_for_a_disposal_that_has_begun(
    installation: Installation, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = board.intended("sg")
    ledger = installation.ledger("sg")
    with monkeypatch.context() as patched:
        out_once(patched, board)
        with pytest.raises(KeyUnavailable):
            destroying.run(board.cooled, made.id)
    with pytest.raises(Unavailable, match=f"{made.id} .* begun to destroy"):
        rekeying.rekey(board.cooled, ledger, GROUP)
    assert destroying.run(board.cooled, made.id).entries == SG


@pytest.mark.parametrize("act", ["rekey", "replay"])
def test_nobody_moves_keys_between_the_look_and_the_commit_point(
    installation: Installation, board: Board, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    made = board.intended("sg")
    ledger = installation.ledger("sg")
    real = destroying._commit
    tried: list[int] = []

    def racing(*given: Any) -> Any:
        with pytest.raises(Unavailable, match="somebody else"):
            rekeying.rekey(board.cooled, ledger, GROUP) if act == "rekey" else replaying.replay(board.cooled, ledger)
        tried.append(1)
        return real(*given)

    monkeypatch.setattr(destroying, "_commit", racing)
    assert destroying.run(board.cooled, made.id).entries == SG
    assert tried == [1]


def test_more_groups_than_an_event_can_tell_of_are_not_closed(
    installation: Installation, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = board.intended("sg")
    monkeypatch.setattr(destroying, "MOST_AT_ONCE", 0)
    with monkeypatch.context() as patched:
        patched.setattr(generations, "close", lambda *_: pytest.fail("a group was closed"))
        with pytest.raises(Exception, match="1 groups would have to die together"):
            destroying.run(board.cooled, made.id)


def test_deleted_is_what_was_deleted(installation: Installation, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on after the rows went counts none of them."""
    made = board.intended("sg")
    with monkeypatch.context() as patched:
        patched.setattr(destroying, "_end", lambda *_: (_ for _ in ()).throw(Unavailable("the process ends here")))
        with pytest.raises(Unavailable):
            destroying.run(board.cooled, made.id)
    destroying.run(board.cooled, made.id)
    (told,) = happened(board.due, "disposal.done")
    assert (told.facts["count"], told.facts["deleted"]) == (SG, 0)
    assert Selection.of(standing(installation, board.due, "sg")) == Selection()


def test_a_plan_takes_what_fits_and_the_next_one_the_rest(
    installation: Installation, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One group, whose entries are said to have been in three: a plan that must end no more than two is not stuck."""
    ledger = installation.ledger("sg")
    generations.close(board.due, ledger, [GROUP])
    with monkeypatch.context() as patched:
        patched.setattr(moving, "_carry", lambda *_: (_ for _ in ()).throw(Unavailable("the process ends here")))
        stems = {0: None, 1: "held", 2: "2060-01"}
        with pytest.raises(Unavailable):
            moving.move(board.due, ledger, [GROUP], lambda one: stems[min(one.seq // 20, 2)], reason="d-1")
    monkeypatch.setattr(retention_plan, "MOST_GROUPS", 2)
    made = [one for one in disposal.plan_due(board.due) if one.ledger == ledger]
    assert [(one.entries, one.groups) for one in made] == [(39, (GROUP, "held.0")), (6, ("2029-11.0", "2060-01.0"))]


def test_what_is_reported_during_the_look_counts(
    installation: Installation, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Follow-ups are read once more before the commit point, with the ledger as it is by then."""
    made = board.intended("sg")
    size = installation.size("sg")
    real, order = dating.date_all, list[str]()

    def date_all(vault: Any, only: Any = None) -> Any:
        assert only is not None
        order.append(f"dated at {only.size}")
        return real(vault, only)

    def look(*given: Any) -> Any:
        order.append("looked")
        if len(order) == 2:
            installation.ingest("sg", decisions(1, first=900))
        return real_look(*given)

    real_look = destroying._look
    monkeypatch.setattr(dating, "date_all", date_all)
    monkeypatch.setattr(destroying, "_look", look)
    assert destroying.run(board.cooled, made.id).entries == SG
    assert order == [f"dated at {size}", "looked", f"dated at {size + 1}"]
