"""Disposals under a policy of witnesses: no key dies before others have seen that it is to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from retention import destroying, evidence_of
from tests.support.board import Board, standing
from tests.support.outside import configure, go, trusting
from tests.support.tsa import Authority
from tests.support.vault import Installation
from tests.support.witness import Witness
from vault import outside
from vault.context import Vault
from vault.core.errors import Denied, Unavailable
from vault.policy import CLOCKS_APART

SG = 45


@dataclass
class Scene:
    site: Installation
    board: Board
    witness: Witness

    def round(self, vault: Vault, *, behind: int = 0) -> None:
        """Have it witnessed by a clock that is some seconds behind the vault's."""
        self.witness.clock = lambda: vault.clock() // 1_000_000 - behind
        go(vault)

    def left(self) -> int:
        return len(standing(self.site, self.board.today, "sg"))


@pytest.fixture
def scene(installation: Installation) -> Iterator[Scene]:
    with installation.retaining() as vault, Witness.opened(trusting(vault)) as witness:
        yield Scene(installation, Board.of(vault), witness)


def test_no_key_dies_before_a_witness_has_seen_it(scene: Scene) -> None:
    board, vault = scene.board, scene.board.cooled
    plan = board.intended("sg")
    configure(scene.site.home, [scene.witness], fail="closed")
    with pytest.raises(Unavailable, match="the policy of witnesses is not met"):
        destroying.run(vault, plan.id)
    assert destroying.find(vault, plan.id).state == "intended"
    scene.round(vault)
    for _ in range(2):
        with pytest.raises(Unavailable, match="this waits for witnesses: run 'reasonvault witness run'"):
            destroying.run(vault, plan.id)
    assert destroying.find(vault, plan.id).state == "destroying"
    assert scene.left() == SG
    scene.round(vault)
    assert destroying.run(vault, plan.id).entries == SG
    assert scene.left() == 0
    facts = evidence_of.collect(vault, plan.id)
    assert (facts.outside_by, facts.outside_independent) == ((scene.witness.name,), True)
    assert facts.destroying_at <= facts.outside_at <= facts.destroyed_at
    assert "had begun by" in scene.site.run("verify").stdout


def test_an_open_policy_waits_for_nobody(scene: Scene) -> None:
    plan = scene.board.intended("sg")
    configure(scene.site.home, [scene.witness])
    assert destroying.run(scene.board.cooled, plan.id).entries == SG
    assert evidence_of.collect(scene.board.cooled, plan.id).outside_at == ""


def test_a_clock_that_ran_ahead_destroys_nothing(scene: Scene) -> None:
    """The policy was met, and then the clock jumped: the witness sees it begin before anything was due."""
    board, vault = scene.board, scene.board.cooled
    plan = board.intended("sg")
    configure(scene.site.home, [scene.witness], fail="closed")
    scene.round(vault)
    with pytest.raises(Unavailable):
        destroying.run(vault, plan.id)
    years = 20 * 365 * 86_400
    scene.round(vault, behind=years)
    with pytest.raises(Unavailable, match="clock"):
        outside.require_met(vault)
    for _ in range(2):
        with pytest.raises(Denied, match="this clock ran ahead, no key dies"):
            destroying.run(vault, plan.id)
    assert scene.left() == SG


def test_the_stamp_is_waited_for_too(scene: Scene, tmp_path: Path) -> None:
    vault = scene.board.today
    scene.witness.clock = lambda: vault.clock() // 1_000_000
    with Authority.opened(tmp_path / "tsa") as authority:
        configure(scene.site.home, [scene.witness], [authority], fail="closed", stamp_every=20)
        authority.mood = "down"
        go(vault)
        with pytest.raises(Unavailable, match="waits for a time-stamp"):
            outside.require_covered(vault, 0)
        authority.mood = "well"
        go(vault)
        outside.require_covered(vault, 0)


def test_what_was_due_a_moment_ago_waits_for_the_slowest_clock(scene: Scene) -> None:
    board, vault = scene.board, scene.board.cooled
    plan = board.intended("sg")
    found = replace(destroying.find(vault, plan.id), due=vault.clock() // 1_000_000 - 60)
    destroying._require_vouched(vault, found)
    configure(scene.site.home, [scene.witness])
    with pytest.raises(Denied, match="clocks differ"):
        destroying._require_vouched(vault, found)
    destroying._require_vouched(vault, replace(found, due=found.due - int(CLOCKS_APART.total_seconds())))
