"""A disposal that dies at any of its steps: it never says more than happened, loses nothing, and goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retention import destroying, disposal, evidence_of, holding
from tests.support.acting import happened
from tests.support.board import Board, standing
from tests.support.vault import Installation
from vault import generations, journal, ledgers, moving, shred
from vault.context import Vault
from vault.core.errors import Denied, Unavailable
from vault.db import moving as rows
from vault.keys.keyfile import KeyDirectory
from vault.verdict import Depth, worst

SG = 45
HELD = {seq for seq in range(1, SG + 1) if seq % 7 == 3}


class Crash(BaseException):
    """The process ends here: nothing catches it."""


@pytest.fixture(scope="module")
def ready(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, str, Board]]:
    """A vault with a disposal in its cooling-off, and a hold on some of it."""
    with built.copied(tmp_path_factory.mktemp("ready") / "home") as copy:
        with copy.retaining() as vault:
            board = Board.of(vault)
            made = board.intended("sg")
            place = [ledgers.get(vault, "sg")]
            holding.place(
                board.due, case="case-1", reason="a test", ledgers=place, customers=["cus-3"], random=os.urandom
            )
        yield copy, made.id, board


@pytest.fixture
def waiting(ready: tuple[Installation, str, Board], tmp_path: Path) -> Iterator[tuple[Installation, str, Board]]:
    installation, name, board = ready
    with installation.copied(tmp_path / "home") as copy:
        yield copy, name, board


def before(module: Any, name: str) -> tuple[Any, str, Callable[..., Callable[..., Any]]]:
    def crash(_real: Callable[..., Any]) -> Callable[..., Any]:
        def dies(*_: Any, **__: Any) -> Any:
            raise Crash

        return dies

    return module, name, crash


def after(module: Any, name: str) -> tuple[Any, str, Callable[..., Callable[..., Any]]]:
    def crash(real: Callable[..., Any]) -> Callable[..., Any]:
        def dies(*given: Any, **named: Any) -> Any:
            real(*given, **named)
            raise Crash

        return dies

    return module, name, crash


STEPS = {
    "before the groups close": before(generations, "close"),
    "after they closed": after(generations, "close"),
    "after the look": before(moving, "move_surveyed"),
    "after the move was told": before(moving, "_carry"),
    "after the journal, before the rows": before(rows, "move"),
    "after the move": after(moving, "move_surveyed"),
    "before the commit point": before(destroying, "_commit"),
    "after the commit point": after(destroying, "_commit"),
    "after the destruction was scheduled": before(KeyDirectory, "destroy_due"),
    "after the keys died": after(KeyDirectory, "destroy_due"),
    "before the groups are marked": after(shred, "_tell"),
    "before opening is tried": before(shred, "_prove"),
    "before the rows go": before(rows, "delete"),
    "after the rows went": after(rows, "delete"),
    "before the wrapped keys go": before(rows, "empty"),
    "before it is told": before(destroying, "_end"),
}
COMMITTED = list(STEPS).index("after the commit point")


@pytest.mark.parametrize("step", STEPS)
def test_whatever_it_dies_of_it_goes_on(
    waiting: tuple[Installation, str, Board], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, name, board = waiting
    module, function, crash = STEPS[step]
    committed = list(STEPS).index(step) >= COMMITTED
    with installation.retaining() as vault, monkeypatch.context() as patched:
        patched.setattr(module, function, crash(getattr(module, function)))
        with pytest.raises(Crash):
            destroying.run(board.on(vault).cooled, name)
    with installation.retaining() as vault:
        mine = board.on(vault)
        assert disposal.find(vault, name).state == ("destroying" if committed else "intended")
        assert not happened(vault, "disposal.done")
        assert standing(installation, vault, "sg") >= HELD
        if committed:
            with pytest.raises(Denied):
                disposal.cancel(mine.acting(0), name)
        else:
            assert len(standing(installation, vault, "sg")) == SG
            assert not worst(installation.audit(Depth.OPEN))
        done = destroying.run(mine.cooled, name)
        assert (done.entries, done.excepted) == (SG - len(HELD), len(HELD))
        assert destroying.run(mine.cooled, name) == done
        assert standing(installation, vault, "sg") == HELD
        for event in ("disposal.destroying", "disposal.done"):
            assert len(happened(vault, event)) == 1
        facts = evidence_of.collect(mine.cooled, name)
        assert (facts.destroyed, facts.excepted, len(facts.keys)) == (SG - len(HELD), len(HELD), 1)
    reports = {report.name: report for report in installation.audit(Depth.OPEN)}
    assert not worst(list(reports.values()))
    assert (reports["sg"].erased, reports["sg"].opened) == (SG - len(HELD), len(HELD))


def test_a_cancel_after_the_groups_closed_keeps_everything(
    waiting: tuple[Installation, str, Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, name, board = waiting
    with installation.retaining() as vault:
        mine = board.on(vault)
        module, function, crash = after(moving, "move_surveyed")
        with monkeypatch.context() as patched:
            patched.setattr(module, function, crash(getattr(module, function)))
            with pytest.raises(Crash):
                destroying.run(mine.cooled, name)
        disposal.cancel(mine.acting(1), name)
        assert not worst(installation.audit(Depth.OPEN))
        # The groups stay closed; another plan takes up what is in them.
        again = mine.intended("sg")
        assert again.entries == SG - len(HELD)
        assert destroying.run(mine.cooled, again.id).entries == SG - len(HELD)
    assert not worst(installation.audit(Depth.OPEN))


def test_what_was_moved_to_safety_stays_out_although_its_hold_ended(
    waiting: tuple[Installation, str, Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, name, board = waiting
    with installation.retaining() as vault:
        mine = board.on(vault)
        module, function, crash = after(moving, "move_surveyed")
        with monkeypatch.context() as patched:
            patched.setattr(module, function, crash(getattr(module, function)))
            with pytest.raises(Crash):
                destroying.run(mine.cooled, name)
        (held,) = vault.register.standing().governance.holds
        holding.request_release(mine.acting(0), held)
        holding.release(mine.acting(1), held)
        done = destroying.run(mine.cooled, name)
        assert (done.entries, done.excepted) == (SG - len(HELD), len(HELD))
        assert standing(installation, vault, "sg") == HELD
        assert mine.planned("sg").entries == len(HELD)


def test_one_run_at_a_time(waiting: tuple[Installation, str, Board]) -> None:
    installation, name, board = waiting
    with installation.retaining() as vault:
        mine = board.on(vault)
        with (
            journal.deciding(vault.rewraps, installation.ledger("sg")),
            pytest.raises(Unavailable, match="somebody else disposes of, re-keys or replays"),
        ):
            destroying.run(mine.cooled, name)
        done = destroying.run(mine.cooled, name)
        destroying._end(vault, disposal.find(vault, name), done.entries, done.epochs_tried, done.entries)
        assert len(happened(vault, "disposal.done")) == 1


def test_two_runs_at_once_do_it_once(waiting: tuple[Installation, str, Board]) -> None:
    installation, name, board = waiting
    ended: list[object] = []

    def run(vault: Vault) -> None:
        try:
            ended.append(destroying.run(board.on(vault).cooled, name))
        except Unavailable as error:  # the other one moves or destroys
            ended.append(error)

    with installation.retaining() as one, installation.retaining() as other:
        threads = [threading.Thread(target=run, args=(vault,)) for vault in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ended) == 2
        done = destroying.run(board.on(one).cooled, name)
        assert (done.entries, done.excepted) == (SG - len(HELD), len(HELD))
        for event in ("disposal.destroying", "disposal.done"):
            assert len(happened(one, event)) == 1
    assert not worst(installation.audit(Depth.OPEN))
