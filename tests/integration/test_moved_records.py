"""Records whose keys are under another group than at write: found, opened and verified where they are now."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.acting import granted, hire
from tests.support.decisions import decision, spelled
from tests.support.generations import bury, destroy_key, move, only_stem, placed, record_of, states_of
from tests.support.vault import RECORDS, Installation
from vault import events, generations, ledgers, opening, reading, search
from vault.context import Vault
from vault.core import leaf, packing
from vault.core.errors import KeyGone
from vault.core.leaf import RecordLeaf
from vault.db import store
from vault.db.engine import transact
from vault.keys.ring import GroupRow, Ring
from vault.provision import Provisioner
from vault.search import Wanted
from vault.verdict import Depth, worst


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def retaining(installation: Installation) -> Iterator[Vault]:
    with installation.retaining() as opened:
        yield opened


def test_a_moved_record_is_found_opened_and_verified_where_it_is_now(
    installation: Installation, retaining: Vault, vault: Vault
) -> None:
    ledger = ledgers.get(vault, "cn")
    stem = only_stem(installation)
    (keys,) = Provisioner(retaining, ledger.id, events.key_created(retaining)).provide(["held"], retaining.clock())
    seqs = move(retaining, ledger, keys, ["dec-3", "dec-4"])
    assert {placed(installation)[seq] for seq in seqs} == {(f"{stem}.0", "held.0")}
    assert worst(installation.audit(Depth.OPEN)) is None
    assert reading.read(vault, ledger, "dec-3", "looking").raw == spelled(decision(3))
    auditor, officer = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    granted(vault, auditor, officer, ["cn"])

    def found(**terms: str) -> set[str]:
        page = search.search(vault.acting(auditor), ledger, Wanted(limit=500, **terms))  # type: ignore[arg-type]
        return {row.facets.record_id for row in page.rows}

    alike = {f"dec-{number}" for number in range(1, RECORDS["cn"] + 1) if number % 7 == 3}
    assert found(customer="cus-3") == alike
    bury(retaining, ledger.id, f"{stem}.0")
    vault.ring.close()
    assert found(customer="cus-3") == {"dec-3"}  # the others are under no key any more
    assert found(transaction="txn-4") == {"dec-4"}
    assert found(transaction="txn-5") == set()
    assert reading.read(vault, ledger, "dec-4", "looking").raw == spelled(decision(4))
    with pytest.raises(KeyGone):
        reading.read(vault, ledger, "dec-5", "looking")


def test_a_record_that_moves_while_it_is_looked_at_is_opened_where_it_went(
    installation: Installation, retaining: Vault, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row was read, then it moved and the old key died, and only then it is opened."""
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
    provisioner = Provisioner(retaining, ledger.id, events.key_created(retaining))
    everything = [f"dec-{number}" for number in range(1, RECORDS["cn"] + 1)]
    rule = reading.rule_restricted

    def moving(*arguments: object) -> object:
        monkeypatch.undo()
        move(retaining, ledger, provisioner.provide(["held"], retaining.clock())[0], everything)
        bury(retaining, ledger.id, f"{stem}.0")
        return rule(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "rule_restricted", moving)
    assert reading.read(vault, ledger, "dec-3", "looking").raw == spelled(decision(3))
    assert states_of(installation) == {f"{stem}.0": "destroyed", "held.0": "live"}


def test_verification_follows_records_that_move_meanwhile(
    installation: Installation, retaining: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, stem = ledgers.get(retaining, "cn"), only_stem(installation)
    provisioner = Provisioner(retaining, ledger.id, events.key_created(retaining))
    everything = [f"dec-{number}" for number in range(1, RECORDS["cn"] + 1)]
    opened, done = opening.Opener.open, list[str]()

    def moving(self: opening.Opener, place: RecordLeaf, row: store.SealedRow) -> bytes:
        if self._ledger == ledger.id and not done:
            done.append("moved")
            move(retaining, ledger, provisioner.provide(["held"], retaining.clock())[0], everything)
            bury(retaining, ledger.id, f"{stem}.0")
        return opened(self, place, row)

    monkeypatch.setattr(opening.Opener, "open", moving)
    (report,) = (one for one in installation.audit(Depth.OPEN) if one.ledger == ledger.id)
    assert done
    assert (report.faults, report.opened) == ([], RECORDS["cn"])


def test_a_search_goes_on_while_a_key_dies(installation: Installation, retaining: Vault, vault: Vault) -> None:
    """Between the key's destruction and the word of it in the database."""
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
    auditor, officer = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    granted(vault, auditor, officer, ["cn"])
    (keys,) = Provisioner(retaining, ledger.id, events.key_created(retaining)).provide(["held"], retaining.clock())
    move(retaining, ledger, keys, ["dec-3"])
    generations.close(retaining, ledger.id, [f"{stem}.0"])
    destroy_key(retaining, ledger.id, f"{stem}.0")
    page = search.search(vault.acting(auditor), ledger, Wanted(transaction="txn-3"))
    assert [row.facets.record_id for row in page.rows] == ["dec-3"]


def test_a_search_hears_of_a_group_that_is_made_while_it_looks(
    installation: Installation, retaining: Vault, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record may move into it after the terms were computed, and must not slip through."""
    ledger = ledgers.get(vault, "cn")
    auditor, officer = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    granted(vault, auditor, officer, ["cn"])
    compute, moved = search._tags, list[int]()

    def computed(*arguments: object) -> object:
        tags = compute(*arguments)  # type: ignore[arg-type]
        if not moved:
            provisioner = Provisioner(retaining, ledger.id, events.key_created(retaining))
            moved.extend(move(retaining, ledger, provisioner.provide(["held"], retaining.clock())[0], ["dec-3"]))
        return tags

    monkeypatch.setattr(search, "_tags", computed)
    page = search.search(vault.acting(auditor), ledger, Wanted(transaction="txn-3"))
    assert [row.seq for row in page.rows] == moved


def test_a_search_asks_nobody_for_a_key_that_is_dead(
    installation: Installation, retaining: Vault, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the database says so: a vault of years has more dead groups than living ones."""
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
    auditor, officer = hire(vault, "anna", "auditor"), hire(vault, "olaf", "officer")
    granted(vault, auditor, officer, ["cn"])
    (keys,) = Provisioner(retaining, ledger.id, events.key_created(retaining)).provide(["held"], retaining.clock())
    move(retaining, ledger, keys, ["dec-3"])
    bury(retaining, ledger.id, f"{stem}.0")
    asked, unwrap = list[str](), Ring.open_index_key

    def noted(self: Ring, row: GroupRow) -> bytes:
        asked.append(row.group)
        return unwrap(self, row)

    monkeypatch.setattr(Ring, "open_index_key", noted)
    page = search.search(vault.acting(auditor), ledger, Wanted(transaction="txn-3"))
    assert [row.facets.record_id for row in page.rows] == ["dec-3"]
    assert asked == ["held.0"]


def test_a_key_that_is_wiped_says_so(installation: Installation, retaining: Vault, vault: Vault) -> None:
    ledger, stem = ledgers.get(vault, "cn"), only_stem(installation)
    row = transact(vault.engine, lambda one: next(iter(store.fetch_entries(one, ledger.id, [1]))))
    assert row.leaf is not None
    assert row.sealed is not None
    place = leaf.parse(packing.unpack(row.leaf))
    assert isinstance(place, RecordLeaf)
    bury(retaining, ledger.id, f"{stem}.0")
    opener = opening.Opener(vault.engine, vault.ring, ledger.id)
    with pytest.raises(KeyGone, match=f"group {stem}.0 is destroyed"):
        opener.open(place, row.sealed)
    with pytest.raises(KeyGone, match=f"group {stem}.0 has no index key"):
        opener.blind_tags(row.sealed, record_of(spelled(decision(1))))
