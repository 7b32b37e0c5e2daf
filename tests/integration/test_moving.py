"""Moving: what leaves a group is what it was in everything but its key's wrapping, and a move can end anywhere."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support.acting import granted, happened, hire
from tests.support.breaking import Killed, Steps, Way, broken
from tests.support.decisions import decision, decisions, spelled
from tests.support.groups import announced, rows, states, thirds
from tests.support.vault import RECORDS, Installation
from vault import chains, generations, ledgers, moving, reading, search, selections, surveying
from vault.context import Vault
from vault.core import packing
from vault.core.errors import Forked, KeyGone, Missing, Modified, Unavailable, UsageError, VaultError
from vault.core.leaf import EventLeaf, RecordLeaf
from vault.core.selection import Selection
from vault.journal import Journal
from vault.keys.ring import Ring
from vault.search import Wanted
from vault.surveying import Opened
from vault.verdict import Depth, worst

GROUP = "2029-11.0"
LEAVING = {"held.0": range(1, 182, 3), "2040-01.0": range(2, 182, 3)}


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.retaining() as opened:
        yield opened


@pytest.fixture(params=[1, 2], ids=["here", "forked"])
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many processes open; few entries are enough to fork for."""
    for module in (surveying, moving):
        monkeypatch.setattr(module, "SMALL", 1)
        monkeypatch.setattr(module, "BATCH", 25)
    return int(request.param)


def closed(vault: Vault, name: str = "cn") -> Any:
    """Close the only group of a ledger, and return the ledger's id."""
    ledger = ledgers.get(vault, name).id
    generations.close(vault, ledger, [GROUP])
    return ledger


def test_only_the_wrapping_changes(installation: Installation, vault: Vault, processes: int) -> None:
    before = rows(installation, "cn")
    assert {row.group for row in before.values()} == {GROUP}
    told: list[tuple[int, int]] = []
    ledger = closed(vault)
    moved = moving.move(
        vault,
        ledger,
        [GROUP],
        thirds,
        reason="d-1",
        processes=processes,
        progress=lambda done, total: told.append((done, total)),
    )
    after = rows(installation, "cn")
    assert {seq: row.fixed for seq, row in after.items()} == {seq: row.fixed for seq, row in before.items()}
    for seq, row in after.items():
        assert row.group == (GROUP, "held.0", "2040-01.0")[seq % 3]
        assert (row.movable == before[seq].movable) == (seq % 3 == 0)
        if seq % 3:
            assert not set(row.movable) & set(before[seq].movable)
    assert {(one.source, one.target, one.count) for one in moved} == {
        (GROUP, target, len(seqs)) for target, seqs in LEAVING.items()
    }
    assert sorted(announced(vault, ledger)) == sorted(
        (GROUP, target, Selection.of(seqs)) for target, seqs in LEAVING.items()
    )
    assert all(event.facts["for"] == "d-1" for event in happened(vault, "keys.moved"))
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    assert worst(installation.audit(Depth.OPEN)) is None


def test_read_and_found_as_before(installation: Installation, vault: Vault) -> None:
    moving.move(vault, closed(vault), [GROUP], thirds, reason="d-1")
    with installation.opened() as opened:
        ledger = ledgers.get(opened, "cn")
        anna, olaf = hire(opened, "anna", "auditor"), hire(opened, "olaf", "officer")
        granted(opened, anna, olaf, ["cn"])
        for number in (1, 2, 3):
            assert reading.read(opened, ledger, f"dec-{number}", "a test").raw == spelled(decision(number))
            page = search.search(opened.acting(anna), ledger, Wanted(transaction=f"txn-{number}"))
            assert [row.facets.record_id for row in page.rows] == [f"dec-{number}"]


def test_what_the_judge_sees(vault: Vault) -> None:
    """And what it returns comes back in order, whoever asked it."""
    ledger = ledgers.get(vault, "sg").id
    seen: list[Opened] = []

    def judge(opened: Opened) -> int:
        seen.append(opened)
        return opened.seq

    answers = list(surveying.survey(vault, ledger, [GROUP], judge))
    assert answers == [(seq, GROUP, seq) for seq in range(1, RECORDS["sg"] + 1)]
    for opened in seen:
        assert isinstance(opened.leaf, RecordLeaf)
        assert opened.record is not None
        assert opened.facets is not None
        assert opened.record.id == opened.facets.record_id == f"dec-{opened.seq}"
        assert opened.raw == spelled(decision(opened.seq))
        assert "prompt" not in repr(opened)


def test_events_move_too(installation: Installation, vault: Vault) -> None:
    (group,) = {row.group for row in rows(installation, "events").values()}
    before = rows(installation, "events")
    generations.close(vault, vault.events, [group])

    def target(opened: Opened) -> str | None:
        assert isinstance(opened.leaf, EventLeaf)
        assert opened.record is None
        return "held"

    moving.move(vault, vault.events, [group], target, reason="d-1")
    after = rows(installation, "events")
    assert {after[seq].group for seq in before} == {"held.0"}
    assert worst(installation.audit(Depth.OPEN)) is None


def test_again_there_is_nothing_to_do(installation: Installation, vault: Vault) -> None:
    ledger = closed(vault)
    assert len(moving.move(vault, ledger, [GROUP], thirds, reason="d-1")) == 2
    before, told = rows(installation, "cn"), len(happened(vault, "keys.moved"))
    assert moving.move(vault, ledger, [GROUP], thirds, reason="d-1") == []
    assert (rows(installation, "cn"), len(happened(vault, "keys.moved"))) == (before, told)


def test_only_out_of_closed_groups(installation: Installation, vault: Vault) -> None:
    ledger = ledgers.get(vault, "cn").id
    for name in (GROUP, "2031-01.0"):
        with pytest.raises(UsageError, match="only a closed one"):
            moving.move(vault, ledger, [name], thirds, reason="d-1")
    assert not happened(vault, "keys.moved")


DAMAGES: dict[str, tuple[str, type[VaultError]]] = {
    "envelope": ("UPDATE vault.sealed SET envelope = set_byte(envelope, 40, 255 - get_byte(envelope, 40))", Modified),
    "wrapped key": (
        "UPDATE vault.sealed SET wrapped_key = set_byte(wrapped_key, 20, 255 - get_byte(wrapped_key, 20))",
        Modified,
    ),
    "facets": ("UPDATE vault.sealed SET occurred_at = occurred_at - interval '9 years'", Modified),
    "leaf": (
        "UPDATE vault.entry SET leaf = (SELECT leaf FROM vault.entry o WHERE o.ledger_id = entry.ledger_id"
        " AND o.seq = entry.seq + 1)",
        Modified,
    ),
    "no leaf": ("DELETE FROM vault.entry", Missing),
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_one_that_does_not_open_stops_all(
    installation: Installation, vault: Vault, processes: int, damage: str
) -> None:
    """Nothing was moved, nobody was told of a move, and the error names the place."""
    ledger = closed(vault)
    statement, kind = DAMAGES[damage]
    with installation.tampering() as connection:
        connection.execute(f"{statement} WHERE ledger_id = %s AND seq = 140", [ledger])
    before = rows(installation, "cn")
    with pytest.raises((kind, Forked)) as raised:
        moving.move(vault, ledger, [GROUP], thirds, reason="d-1", processes=processes)
    assert "140" in str(raised.value) or isinstance(raised.value, Forked | Missing)
    assert str(ledger) in str(raised.value)
    assert rows(installation, "cn") == before
    assert not happened(vault, "keys.moved")


def test_a_leaf_that_was_never_signed_decides_nothing(installation: Installation, vault: Vault) -> None:
    """A whole leaf, canonical and in its place, that only says another date: its entry opens all the same."""
    ledger = closed(vault)
    with installation.tampering() as connection:
        row = connection.execute("SELECT leaf FROM vault.entry WHERE ledger_id = %s AND seq = 9", [ledger]).fetchone()
        assert row is not None
        edited = packing.unpack(row[0]).replace(b'"keep_until":"2029', b'"keep_until":"2019')
        assert edited != packing.unpack(row[0])
        connection.execute(
            "UPDATE vault.entry SET leaf = %s WHERE ledger_id = %s AND seq = 9", [packing.pack(edited), ledger]
        )
    with pytest.raises(Forked, match="not the tree that was signed"):
        moving.move(vault, ledger, [GROUP], thirds, reason="d-1")
    assert not happened(vault, "keys.moved")


def test_a_key_that_is_out_of_reach_stops_all(vault: Vault) -> None:
    ledger = closed(vault)
    vault.provider.disable(f"group.{ledger}.{GROUP}")  # type: ignore[attr-defined]
    fresh = Ring(vault.provider, clock=lambda: 0.0)
    with pytest.raises(KeyGone, match=r"seq 1 cannot be opened"):
        moving.move(replace(vault, ring=fresh), ledger, [GROUP], thirds, reason="d-1")


EDITS = {
    "its wrapped key": "UPDATE vault.sealed SET wrapped_key = decode(repeat('00', 60), 'hex')",
    "its epoch": "UPDATE vault.sealed SET epoch_id = 1",
    "the row": "DELETE FROM vault.sealed",
}


@pytest.mark.parametrize("edit", sorted(EDITS))
def test_a_row_edited_meanwhile(
    installation: Installation, vault: Vault, monkeypatch: pytest.MonkeyPatch, edit: str
) -> None:
    """Between reading and writing: the whole batch stays where it was."""
    ledger = closed(vault)
    before = rows(installation, "cn")

    def act() -> None:
        with installation.tampering() as connection:
            connection.execute(f"{EDITS[edit]} WHERE ledger_id = %s AND seq = 4", [ledger])

    after_the_journal(monkeypatch, act)
    with pytest.raises(Forked, match="changed while its key was moved"):
        moving.move(vault, ledger, [GROUP], thirds, reason="d-1")
    after = rows(installation, "cn")
    assert {seq: row for seq, row in after.items() if seq != 4} == {seq: row for seq, row in before.items() if seq != 4}


def test_a_target_closed_meanwhile(installation: Installation, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing enters it; the next try takes the next generation."""
    ledger = closed(vault)
    after_the_journal(monkeypatch, lambda: generations.close(vault, ledger, ["held.0"]))
    with pytest.raises(Unavailable, match="changed its state"):
        moving.move(vault, ledger, [GROUP], thirds, reason="d-1")
    monkeypatch.undo()
    moving.move(vault, ledger, [GROUP], thirds, reason="d-1")
    assert {row.group for row in rows(installation, "cn").values()} == {GROUP, "held.1", "2040-01.0"}


def after_the_journal(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    real = Journal.append

    def appended(log: Journal, *arguments: Any) -> None:
        real(log, *arguments)
        act()

    monkeypatch.setattr(Journal, "append", appended)


def test_a_journal_that_cannot_be_synced(
    installation: Installation, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = closed(vault)
    before = rows(installation, "cn")

    def fsync(descriptor: int) -> None:
        if ".journal" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Unavailable, match="re-wrap journal"):
        moving.move(vault, ledger, [GROUP], thirds, reason="d-1")
    assert rows(installation, "cn") == before
    monkeypatch.undo()
    moving.move(vault, ledger, [GROUP], thirds, reason="d-1")
    assert worst(installation.audit(Depth.OPEN)) is None


def test_the_database_owner_puts_the_old_key_back(installation: Installation, vault: Vault) -> None:
    """It opens for as long as the old provider key lives; a row of one group with the indexes of another is found."""
    old = rows(installation, "cn")[1]
    ledger = closed(vault)
    moving.move(vault, ledger, [GROUP], thirds, reason="d-1")
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.sealed SET epoch_id = %s, wrapped_key = %s WHERE ledger_id = %s AND seq = 1",
            [*old.movable[:2], ledger],
        )
    (report,) = [one for one in installation.audit(Depth.OPEN) if one.name == "cn"]
    assert [(one.verdict.name, one.seq) for one in report.faults] == [("MODIFIED", 1)]


@pytest.mark.parametrize("way", ["killed"])
def test_interrupted_anywhere(bare: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Way) -> None:
    """Done again it is complete; and at no time does the chain say less than where a key was."""
    monkeypatch.setattr(moving, "BATCH", 3)
    with bare.copied(tmp_path / "moving") as base:
        base.ingest("hk", decisions(6))
        with base.retaining() as vault:
            ledger = ledgers.get(vault, "hk").id
            generations.close(vault, ledger, [GROUP])
        for number in range(60):
            with base.copied(tmp_path / str(number)) as site:
                moved: list[object] = []
                with breaking(number, way) as steps, site.retaining() as vault:
                    moved += moving.move(vault, ledger, [GROUP], thirds, reason="d-1")
                assert bool(moved) != steps.broke
                with site.retaining() as vault:
                    told_of_all(site, vault, ledger)
                    moving.move(vault, ledger, [GROUP], thirds, reason="d-1")
                placed = {seq: row.group for seq, row in rows(site, "hk").items()}
                assert {seq: group.partition(".")[0] for seq, group in placed.items()} == {
                    seq: (GROUP.partition(".")[0], "held", "2040-01")[seq % 3] for seq in range(1, 7)
                }
                assert worst(site.audit(Depth.OPEN)) is None
                assert set(states(site, "hk")) >= {GROUP, "held.0", "2040-01.0"}
            if not steps.broke:
                break
    assert steps.done.count("commit") >= 8, steps.done  # two groups, two epochs, two selections, events, two batches


@contextmanager
def breaking(number: int, way: Way) -> Iterator[Steps]:
    with broken(number, way) as steps, suppress(Killed, VaultError):
        yield steps


def told_of_all(site: Installation, vault: Vault, ledger: UUID) -> None:
    """Say that the chain of every entry has the group it was written under and the one it is in now."""
    placed = rows(site, "hk")
    for group in {row.group for row in placed.values()}:
        for seq in (seq for seq, row in placed.items() if row.group == group):
            assert chains.chain(vault, ledger, Selection.of([seq])) >= {GROUP, group}


def test_the_chain_of_some(installation: Installation, vault: Vault) -> None:
    ledger = closed(vault)
    moving.move(vault, ledger, [GROUP], thirds, reason="d-1")
    generations.close(vault, ledger, ["held.0"])
    moving.move(vault, ledger, ["held.0"], lambda opened: "2041-01" if opened.seq == 4 else "held", reason="d-2")
    assert chains.chain(vault, ledger, Selection.of([3])) == {GROUP}
    assert chains.chain(vault, ledger, Selection.of([4])) == {GROUP, "held.0", "2041-01.0"}
    assert chains.chain(vault, ledger, Selection.of([2, 7])) == {GROUP, "held.0", "held.1", "2040-01.0"}
    assert chains.chain(vault, ledger, Selection()) == frozenset()
    with pytest.raises(Missing, match="no signed entry"):
        chains.chain(vault, ledger, Selection.of([182]))


def test_a_selection_that_is_gone_understates_nothing(installation: Installation, vault: Vault) -> None:
    ledger = closed(vault)
    moving.move(vault, ledger, [GROUP], thirds, reason="d-1")
    selections._known.clear()
    with installation.tampering() as connection:
        connection.execute("DELETE FROM vault.selection WHERE ledger_id = %s", [ledger])
    with pytest.raises(Missing, match="is not stored"):
        chains.chain(vault, ledger, Selection.of([3]))


def test_events_stay_readable(installation: Installation, vault: Vault) -> None:
    (group,) = {row.group for row in rows(installation, "events").values()}
    generations.close(vault, vault.events, [group])
    moving.move(vault, vault.events, [group], lambda _opened: "held", reason="d-1")
    with installation.opened() as opened:
        ledger = ledgers.get(opened, "cn")
        reading.read(opened, ledger, "dec-4", "told under the next generation")
    assert worst(installation.audit(Depth.OPEN)) is None
