"""What others say about the time of a destruction: verified, condemned, or self-asserted as before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tests.support.disposing import DISPOSAL, Staged, delete_rows
from tests.support.outside import configure, go, stir, trusting
from tests.support.tampering import Crime
from tests.support.vault import Installation
from tests.support.witness import Witness
from vault import erasure
from vault.context import Vault
from vault.core import leaf
from vault.core.errors import Missing
from vault.core.leaf import RecordLeaf
from vault.verdict import LedgerReport, Verdict

SEQS = range(3, 9)
DAY = 86_400_000_000


@dataclass
class Scene:
    """A staged disposal, twenty years on; ``witness`` has a clock of its own, at first the same."""

    site: Installation
    staged: Staged
    witness: Witness

    @property
    def vault(self) -> Vault:
        return self.staged.vault

    def destroy(self, own: Sequence[str] = ()) -> None:
        self.staged.run()
        delete_rows(self.site, self.staged.ledger, SEQS)
        configure(self.site.home, [self.witness], own=own)

    def witnessed(self, us: int) -> str:
        """Have what there is witnessed at a moment, and return the moment."""
        self.witness.clock = lambda: us // 1_000_000
        assert go(self.vault).witnesses == (self.witness.name,)
        return leaf.instant(us // 1_000_000)

    def report(self, name: str = "cn") -> LedgerReport:
        return next(one for one in self.site.audit() if one.name == name)

    def reasons(self) -> set[str]:
        faults = self.report().faults
        assert {fault.verdict for fault in faults} <= {Verdict.MISSING}
        return {fault.what.rpartition(f"disposal {DISPOSAL}: ")[2] for fault in faults}


@pytest.fixture
def scene(crime: Crime) -> Iterator[Scene]:
    with crime.site.opened() as vault, Witness.opened(trusting(vault)) as witness:
        yield Scene(crime.site, Staged.begin(vault, "cn", SEQS), witness)


def keep_until(scene: Scene) -> int:
    """The latest of the doomed, microseconds."""
    leaves = [scene.staged.leaves[seq][0] for seq in SEQS]
    return max(leaf.microseconds(str(one.keep_until)) for one in leaves)


def test_a_time_from_outside_is_printed_and_is_no_longer_self_asserted(scene: Scene) -> None:
    scene.destroy()
    at = scene.witnessed(scene.vault.clock() + DAY)
    report = scene.report()
    assert report.faults == []
    (erased,) = report.erasures
    assert (erased.outside, erased.outside_by, erased.independent) == (at, (scene.witness.name,), True)
    assert erased.at < at
    run = scene.site.run("verify")
    assert run.exit_code == 0
    assert f"disposal {DISPOSAL} had begun by {at}, say {scene.witness.name}" in run.stdout
    assert "self-asserted" not in run.stdout
    ledgers = json.loads(scene.site.run("verify", "--json").stdout)["ledgers"]
    (cn,) = [one for one in ledgers if one["name"] == "cn"]
    assert [(one["time"], one["outside_at"]) for one in cn["disposals"]] == [("outside", at)]


def test_a_clock_that_ran_ahead_is_found_out(scene: Scene) -> None:
    """The vault says that twenty years have passed; a witness saw it today. Nothing was due."""
    scene.destroy()
    told = scene.staged.leaves[SEQS[0]][0]
    assert isinstance(told, RecordLeaf)
    # Who takes records in asks this as well, and does not stop for a setting that cannot work.
    (scene.site.home / "witness.toml").write_text("quorom = 1")
    assert erasure.explain(scene.vault, scene.staged.ledger, told).outside == ""
    configure(scene.site.home, [scene.witness])
    at = scene.witnessed(scene.staged.today.clock())
    seen = f", and others saw by {at} that its key was to die"
    expected = {f"it was to be kept until {scene.staged.leaves[seq][0].keep_until}{seen}" for seq in SEQS}
    assert scene.reasons() == expected
    assert scene.site.run("verify").exit_code == 11
    with pytest.raises(Missing, match="others saw by"):
        erasure.explain(scene.vault, scene.staged.ledger, told)


@pytest.mark.parametrize(("seconds", "kept"), [(-1, True), (0, False), (1, False)])
def test_the_last_second_decides(scene: Scene, seconds: int, kept: bool) -> None:
    scene.destroy()
    scene.witnessed(keep_until(scene) + seconds * 1_000_000)
    assert bool(scene.reasons()) is kept


def test_a_move_to_a_later_month_is_judged_by_the_outside_time(scene: Scene) -> None:
    """Kept longer by order: the group that they were moved to was due in 2044, says the move, and not in 2041."""
    scene.staged.move([4, 5], "2044-01.0")
    scene.destroy()
    scene.staged.kill("2044-01.0")
    # Everything was over by the vault's clock; for what was moved, not yet by that of the witness.
    assert scene.reasons() == set()
    scene.witnessed(int(datetime(2041, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000)
    assert scene.reasons() == {"it was moved to group 2044-01.0, whose month was not over"}


def test_an_early_disposal_needs_no_due_date(scene: Scene) -> None:
    scene.staged.kind = "early"
    scene.staged.vault = scene.staged.today
    scene.destroy()
    at = scene.witnessed(scene.vault.clock())
    (erased,) = scene.report().erasures
    assert (erased.outside, erased.early, scene.report().faults) == (at, True, [])


def test_a_witness_of_ones_own_neither_proves_nor_condemns(scene: Scene) -> None:
    scene.destroy(own=[scene.witness.name])
    at = scene.witnessed(scene.staged.today.clock())
    report = scene.report()
    assert report.faults == []
    (erased,) = report.erasures
    assert (erased.outside, erased.independent) == (at, False)
    run = scene.site.run("verify")
    assert f"had begun by {at}, say the vault's own {scene.witness.name}" in run.stdout
    assert "the times of their destruction are self-asserted" in run.stdout


def test_what_was_witnessed_before_it_began_says_nothing_about_it(scene: Scene) -> None:
    configure(scene.site.home, [scene.witness])
    scene.witnessed(scene.staged.today.clock())
    scene.destroy()
    (erased,) = scene.report().erasures
    assert (erased.outside, scene.report().faults) == ("", [])


def test_evidence_that_is_gone_is_missed_and_the_time_is_self_asserted_again(scene: Scene) -> None:
    scene.destroy()
    scene.witnessed(scene.vault.clock())
    events = scene.report("events")
    assert (events.faults, events.problems) == ([], [])
    for path in scene.vault.checkpoints.outside(scene.vault.events).glob("*.note"):
        size = int(path.stem)
        path.unlink()
    words = f"the checkpoint of {size} entries was cosigned, and its file is gone"
    assert scene.report("events").problems == [words]
    (erased,) = scene.report().erasures
    assert (erased.outside, scene.report().faults) == ("", [])
    run = scene.site.run("verify")
    assert (run.exit_code, f"  problem: {words}" in run.stdout, "self-asserted" in run.stdout) == (0, True, True)


def test_a_history_that_others_did_not_see_is_forked(scene: Scene) -> None:
    """A note that bears our signature and another root: somebody with the keys told two stories."""
    configure(scene.site.home, [scene.witness])
    scene.witnessed(scene.vault.clock())
    checkpoints, events = scene.vault.checkpoints, scene.vault.events
    (path,) = checkpoints.outside(events).glob("*.note")
    size = int(path.stem)
    _, forged = checkpoints._signed(events, f"{checkpoints.origin(events)}\n{size}\n{'A' * 43}=\n")
    path.write_text(forged)
    report = scene.report("events")
    assert [(one.verdict, one.what) for one in report.faults] == [
        (Verdict.FORKED, "others saw another tree of these entries")
    ]
    assert scene.site.run("verify").exit_code == 12
    path.write_text(forged.replace("A", "B"))  # a note that we did not sign proves nothing about us
    assert scene.report("events").faults == []


def test_a_vault_that_was_set_back_whole_is_forked(scene: Scene) -> None:
    """Home and database of yesterday, which agree with each other; but a witness has seen today."""
    configure(scene.site.home, [scene.witness])
    stir(scene.vault)
    scene.witnessed(scene.vault.clock())
    folder = scene.vault.checkpoints.outside(scene.vault.events)
    kept = scene.site.home.with_name("kept")
    shutil.copytree(folder, kept)
    scene.site.restore()
    folder.mkdir(exist_ok=True)
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    shutil.rmtree(kept)
    report = scene.report("events")
    (fault,) = report.faults
    assert fault.verdict is Verdict.FORKED
    assert "it was set back" in fault.what
