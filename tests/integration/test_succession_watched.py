"""A recovery drops nothing quietly: whatever an operator has its events, checkpoints or genesis leaf say, it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support.acting import happened
from tests.support.losing import ANCHORED, WHOLE, anchored, cut, faults, recovered, reports
from tests.support.tampering import Crime, Found, missing
from tests.support.vault import Installation
from vault import anchoring, events, ledgers
from vault.context import Vault
from vault.core import canonical
from vault.core.leaf import EventLeaf
from vault.core.tree import Frontier, leaf_hash
from vault.verdict import Verdict


@pytest.fixture(scope="module")
def whole(bare: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Nobody changes it."""
    with anchored(bare, tmp_path_factory.mktemp("whole") / "home") as site:
        yield site


@pytest.fixture
def site(whole: Installation, tmp_path: Path) -> Iterator[Installation]:
    with whole.copied(tmp_path / "home") as copy:
        yield copy


def _frozen_as(vault: Vault, **changes: Any) -> EventLeaf:
    """Have the event of a recovery say something else, as a dishonest operator's own program would."""
    facts = {
        "ledger": str(next(one.id for one in ledgers.listing(vault) if one.row.name == "hk")),
        "name": "hk",
        "size": ANCHORED,
        "root": changes.pop("root"),
        "proved": ANCHORED,
        "end": WHOLE,
        "end_root": canonical.b64(bytes(32)),
        "successor_name": "hk-2",
        "successor": "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634",
        **changes,
    }
    events.record(vault, "ledger.frozen", facts)
    return happened(vault, "ledger.frozen")[-1]


def test_a_loss_cannot_be_made_to_look_smaller(site: Installation) -> None:
    """The event says the ledger ended where it was cut: the checkpoint from before, and the anchor, say otherwise."""
    with site.opened() as vault:
        anchoring.anchor(vault, every=0)
        outside = vault.checkpoints.read(site.ledger("hk"))
    assert outside is not None
    assert outside.size == WHOLE
    crime = cut(site, "hk", ANCHORED)
    root = _root(crime, ANCHORED)
    with site.opened() as vault:
        _frozen_as(vault, root=root, end=ANCHORED, end_root=root)
        vault.checkpoints.freeze(crime.uuid("hk"), ANCHORED, canonical.unb64(root, 32))
    told = {one.what for one in reports(site)["hk"].faults if one.verdict is Verdict.FORKED}
    assert any("from before" in what for what in told), told
    assert any("anchor" in what for what in told), told


def test_a_false_good_root_shows(site: Installation) -> None:
    crime = cut(site, "hk", ANCHORED)
    outside = canonical.b64(bytes(32))
    with site.opened() as vault:
        before = vault.checkpoints.read(crime.uuid("hk"))
        assert before is not None
        _frozen_as(vault, root=outside, end_root=canonical.b64(before.root))
        vault.checkpoints.freeze(crime.uuid("hk"), ANCHORED, bytes(32))
    assert Verdict.FORKED in reports(site)["hk"].counts


def test_a_genesis_that_names_another_recovery_shows(site: Installation) -> None:
    crime = cut(site, "hk", ANCHORED)
    root = _root(crime, ANCHORED)
    with site.opened() as vault:
        before = vault.checkpoints.read(crime.uuid("hk"))
        assert before is not None
        told = _frozen_as(vault, root=root, end_root=canonical.b64(before.root))
        false = f"{crime.uuid('hk')}:{ANCHORED}:{root}:{ANCHORED}"
        ledgers.make(vault, UUID(told.facts["successor"]), "hk-2", "decisions", ("HK",), (), false)
        ledgers.announce(vault, ledgers.get(vault, "hk-2"))
        ledgers.make(vault, UUID(int=7, version=4), "tw", "decisions", ("TW",), (), false)
        ledgers.announce(vault, ledgers.get(vault, "tw"))
    found = reports(site)
    assert faults(found["hk-2"]) == {Found(Verdict.FORKED, "hk-2", 0)}
    assert faults(found["tw"]) == {Found(Verdict.FORKED, "tw", 0)}


def test_the_checkpoint_from_before_is_evidence(site: Installation) -> None:
    cut(site, "hk", ANCHORED)
    recovered(site)
    (site.checkpoints("hk") / "lost").unlink()
    found = faults(reports(site)["hk"])
    assert Found(Verdict.FORKED, "hk", None) in found
    assert missing("hk", ANCHORED, WHOLE - 1) <= found


def test_what_is_left_of_a_frozen_ledger_is_still_watched(site: Installation) -> None:
    crime = cut(site, "hk", ANCHORED)
    recovered(site)
    crime.delete("hk", 4, 5)
    assert missing("hk", 4, 4) <= faults(reports(site)["hk"])


def _root(crime: Crime, size: int) -> str:
    frontier = Frontier()
    frontier.extend(leaf_hash(one) for one in crime.leaves("hk")[:size])
    return canonical.b64(frontier.root())


def test_the_checkpoint_from_before_put_back_shows(site: Installation) -> None:
    cut(site, "hk", ANCHORED)
    recovered(site)
    place = site.checkpoints("hk")
    (place / "checkpoint").write_bytes((place / "lost").read_bytes())
    assert Found(Verdict.FORKED, "hk", None) in faults(reports(site)["hk"])
