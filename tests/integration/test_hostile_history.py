"""Attacks on rotations, recoveries and witnesses taken together: each was a way in, or a false alarm."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from service import rotation
from tests.support.losing import ANCHORED, WHOLE, anchored, cut, faults, recovered, reports
from tests.support.outside import configure, go, stir, trusting
from tests.support.tampering import Crime, missing
from tests.support.tsa import Authority
from tests.support.vault import PASSPHRASE, Installation
from tests.support.witness import Witness
from vault import outside, outsidefiles, outsideindex, rotating, rounds, witnessing
from vault.context import Vault
from vault.core.errors import Forked, LedgerFrozen, Unavailable
from vault.core.tree import Frontier, leaf_hash
from vault.verdict import Depth


@pytest.fixture(scope="module")
def whole(bare: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Nobody changes it."""
    with anchored(bare, tmp_path_factory.mktemp("whole") / "home") as site:
        yield site


@pytest.fixture
def site(whole: Installation, tmp_path: Path) -> Iterator[Installation]:
    with whole.copied(tmp_path / "home") as copy:
        yield copy


def rotate(site: Installation) -> None:
    with mock.patch.dict("os.environ", site.environment()), rotation.opened(site.home, PASSPHRASE) as (vault, keeper):
        rotating.begin(vault, keeper)
        rotating.finish(vault, keeper)


def test_what_a_frozen_ledger_lost_is_believed_after_a_rotation(site: Installation) -> None:
    """The retired key vouches for the head from before the freeze: it is the evidence of the loss."""
    cut(site, "hk", ANCHORED)
    recovered(site)
    lost = (site.checkpoints("hk") / "lost").read_bytes()
    rotate(site)
    found = reports(site, Depth.LEAVES)
    assert faults(found["hk"]) == missing("hk", ANCHORED, WHOLE - 1)
    with site.opened() as vault:
        assert vault.checkpoints.open(site.ledger("hk"), lost).size == WHOLE


def test_who_slept_through_a_freeze_does_not_move_the_ledger_on(site: Installation) -> None:
    """It had committed to the database that was lost since; its record comes in through the successor."""
    late = Frontier()
    for leaf in Crime.against(site).leaves("hk"):
        late.append(leaf_hash(leaf))
    late.append(bytes(32))
    cut(site, "hk", ANCHORED)
    recovered(site)
    with site.opened() as vault:
        with pytest.raises(LedgerFrozen):
            vault.checkpoints.publish(site.ledger("hk"), late)
        assert vault.checkpoints.read(site.ledger("hk")).size == ANCHORED  # type: ignore[union-attr]
    assert faults(reports(site, Depth.LEAVES)["hk"]) == missing("hk", ANCHORED, WHOLE - 1)


@pytest.fixture
def witness(site: Installation) -> Iterator[tuple[Vault, Witness]]:
    with site.opened() as vault, Witness.opened(trusting(vault)) as one:
        configure(site.home, [one], fail="closed")
        yield vault, one


Seen = tuple[Vault, Witness]


def file_of(vault: Vault, suffix: str = "note") -> Path:
    (path,) = vault.checkpoints.outside(vault.events).glob(f"*.{suffix}")
    return path


def problems(site: Installation) -> list[str]:
    (events,) = [one for one in site.audit(Depth.LEAVES) if one.name == "events"]
    assert events.faults == []
    return events.problems


def test_a_time_that_is_still_to_come_meets_no_policy(site: Installation, witness: Seen) -> None:
    """One lie would have held for centuries, once its witness failed for another reason."""
    vault, one = witness
    one.clock = lambda: time.time() + 10**9
    go(vault)
    one.instead = lambda _honest: (500, "text/plain", b"")
    assert "HTTP 500" in go(vault).problems[0]
    with pytest.raises(Unavailable, match="0 of 1 witnesses cosigned within 60 minutes"):
        outside.require_met(vault)


def test_a_line_that_was_taken_out_is_missed(site: Installation, witness: Seen) -> None:
    vault, _ = witness
    size = go(vault).size
    assert problems(site) == []
    path = file_of(vault)
    ours = path.read_text().splitlines(keepends=True)[:-1]
    path.write_text("".join(ours))
    assert problems(site) == [
        f"the checkpoint of {size} entries was cosigned, and its file does not show that any more"
    ]


def test_a_time_stamp_that_was_exchanged_is_missed(site: Installation, tmp_path: Path) -> None:
    with site.opened() as vault, Authority.opened(tmp_path / "tsa") as authority:
        configure(site.home, authorities=[authority])
        size = go(vault).size
        assert problems(site) == []
        path = file_of(vault, "tsr")
        path.write_bytes(path.read_bytes()[:-1])
        words = f"the checkpoint of {size} entries was stamped, and its file does not show that any more"
        assert problems(site) == [words]


def test_one_ledger_that_was_damaged_does_not_keep_all_from_being_witnessed(site: Installation, witness: Seen) -> None:
    vault, one = witness
    place = site.checkpoints("hk") / "checkpoint"
    place.write_text(place.read_text().replace("A", "B"))
    assert witnessing.is_due(vault)
    with pytest.raises(Forked, match="not ours"):
        go(vault)
    assert outside.assured(vault).witnesses == (one.name,)
    assert not witnessing.is_due(vault)


def test_what_somebody_put_beside_the_rounds_breaks_nothing(site: Installation, witness: Seen) -> None:
    vault, _ = witness
    go(vault)
    place = vault.checkpoints.outside(vault.events)
    (place / f"{10**20 - 1}.note").write_text("x")
    read = rounds.read(place)
    read.sizes = dict.fromkeys(read.sizes, -3)
    rounds.write(place, read)
    stir(vault)
    assert go(vault).problems == ()
    assert problems(site) == []


def test_others_are_found_behind_years_of_rounds_of_ones_own(
    site: Installation, witness: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each round is looked at once by a process, and not for each destruction that somebody asks about."""
    vault, other = witness
    with Witness.opened(trusting(vault), "own.example/w") as own:
        configure(site.home, [own], own=[own.name])
        for _ in range(6):
            go(vault)
            stir(vault)
        configure(site.home, [own, other], own=[own.name])
        monkeypatch.setattr(outsideindex, "_NEAR", 1)
        with mock.patch("vault.outside.load", wraps=outsidefiles.load) as load:
            asked = outside.time_of(vault.checkpoints, vault.events, 0)
            assert asked is not None
            assert not asked.independent
            first = load.call_count
            outside.time_of(vault.checkpoints, vault.events, 1)
            assert load.call_count - first < first / 2
        size = go(vault).size
        for seq in (0, size - 1):
            found = outside.time_of(vault.checkpoints, vault.events, seq)
            assert found is not None
            assert (found.independent, found.by, found.size) == (True, (other.name,), size)
        stir(vault)
        go(vault)
        assert outside.time_of(vault.checkpoints, vault.events, 0) == found


def test_a_witness_with_two_keys_counts_once(site: Installation, witness: Seen) -> None:
    """Its old key was stolen, and it has a new one: whoever has the old one is no second witness."""
    vault, one = witness
    with Witness.opened(trusting(vault), "witness.example/w2") as down:
        down.instead = lambda _honest: (500, "text/plain", b"")
        configure(site.home, [one, down])
        old = Witness({}, one.name)
        settings = site.home / "witness.toml"
        settings.write_text(f'{settings.read_text()}[[witness]]\nkey = "{old.vkey}"\n')
        go(vault)
    path = file_of(vault)
    text = path.read_bytes().partition(b"\n\n")[0] + b"\n"
    path.write_bytes(path.read_bytes() + old.line(text))
    assert len(outside.kept(vault, vault.events)[0].cosignatures) == 2
    assert outside.unmet(vault.checkpoints, vault.events, vault.clock()) == (
        "1 of 2 witnesses cosigned within 60 minutes",
    )
