"""Jobs dispose of what is due, once people have signed for it, and prove afterwards that it is gone."""

from __future__ import annotations

import pytest

from retention import disposal
from service.jobs import bodies
from service.worker import ACTOR
from tests.support.board import Board
from tests.support.vault import Installation
from vault import incremental
from vault.jobs import Interrupted, Steps


def approved(board: Board) -> int:
    """Have two people sign everything that is planned, and return how much that was."""
    waiting = [one for one in disposal.listing(board.due) if one.state == "planned"]
    for one in waiting:
        for at in (1, 2):
            disposal.approve(board.acting(at), one.id, board.key(at))
    return len(waiting)


def forget_marks(installation: Installation) -> None:
    for mark in installation.home.glob("checkpoints/*/verified"):
        mark.unlink()


def test_jobs_plan_and_run_but_people_approve(installation: Installation) -> None:
    with installation.retaining() as vault:
        board = Board.of(vault)
        due, cooled = board.due.acting(ACTOR), board.cooled.acting(ACTOR)
        first = bodies.plan_disposals(installation.home, due, Steps())
        assert first["planned"] >= 2
        assert first["entries"] > 200
        assert bodies.plan_disposals(installation.home, due, Steps()) == {"planned": 0, "entries": 0}
        assert bodies.run_disposals(cooled, Steps()) == {"disposed": 0, "entries": 0, "excepted": 0}
        assert bodies.prove_erasure(due, Steps())["due_groups"] != 0

        assert approved(board) == first["planned"]
        assert bodies.run_disposals(due, Steps())["disposed"] == 0  # cooling off
        ran = bodies.run_disposals(cooled, Steps())
        assert (ran["disposed"], ran["entries"]) == (first["planned"], first["entries"])
        assert bodies.run_disposals(cooled, Steps())["disposed"] == 0

        proved = bodies.prove_erasure(cooled, Steps())
        assert proved["destroyed_groups"] != 0
        assert proved["epochs_tried"] != 0
        forget_marks(installation)
        found = incremental.verify(vault)
        assert found.worst is None, found.first
        assert found.entries == sum(installation.size(name) for name in ("events", "cn", "sg"))
        with installation.tampering() as connection:  # what no disposal explains is missed as ever
            connection.execute("DELETE FROM vault.sealed WHERE seq = (SELECT max(seq) FROM vault.sealed)")
        forget_marks(installation)
        assert incremental.verify(vault).worst is not None


def test_a_job_that_is_to_stop_stops_in_the_middle_of_its_verb(installation: Installation) -> None:
    """Not only at its end: a plan may open millions of records."""
    with installation.retaining() as vault:
        due = Board.of(vault).due.acting(ACTOR)
        asked: list[int] = []

        def may_go_on() -> bool:
            asked.append(1)
            return len(asked) < 2

        with pytest.raises(Interrupted):
            bodies.plan_disposals(installation.home, due, Steps(may_go_on))
