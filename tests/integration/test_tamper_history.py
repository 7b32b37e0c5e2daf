"""A ledger's history tampered with: entries removed, invented, moved, rewritten; heads rewound; old dumps restored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.decisions import decisions
from tests.support.tampering import Crime, changed, forked, missing, modified
from tests.support.vault import Installation
from vault.core.note import VerifierKey
from vault.verdict import Depth, Verdict

SIZE = 182  # of "cn": the genesis leaf and 181 records
EVENTS = 10


def test_a_deleted_tail(crime: Crime) -> None:
    crime.delete("cn", SIZE - 5, SIZE)
    crime.expect(Depth.LEAVES, missing("cn", SIZE - 5, SIZE - 1))


def test_a_deleted_tail_with_the_head_rewound(crime: Crime) -> None:
    leaves = crime.leaves("cn")
    crime.delete("cn", SIZE - 5, SIZE)
    crime.set_head("cn", leaves[: SIZE - 5])
    crime.expect(Depth.LEAVES, forked("cn", SIZE - 5) | missing("cn", SIZE - 5, SIZE - 1))
    crime.refused_append()


def test_a_tail_cut_off_and_grown_again(crime: Crime) -> None:
    """The length is the signed one, every hash is right, only the tree is another (CVE-2023-31438)."""
    leaves = crime.leaves("cn")
    crime.delete("cn", SIZE - 5, SIZE)
    crime.set_head("cn", leaves[: SIZE - 5])
    for at in range(5):
        crime.append("cn", SIZE - 6 - at, id_tag=f"{at}" * 21 + "A")
    crime.expect(Depth.LEAVES, forked("cn", SIZE, None))
    crime.refused_append()


@pytest.mark.parametrize("seq", [0, 1, 60, SIZE - 2, SIZE - 1])
def test_a_deleted_entry(crime: Crime, seq: int) -> None:
    crime.delete("cn", seq, seq + 1)
    crime.expect(Depth.ENVELOPES, missing("cn", seq, seq))


def test_a_deleted_leaf_whose_envelope_is_still_there(crime: Crime) -> None:
    crime.delete("cn", 60, 61, tables=("entry",))
    crime.expect(Depth.LEAVES, missing("cn", 60, 60))
    crime.expect(Depth.ENVELOPES, missing("cn", 60, 60) | modified("cn", 60))


def test_two_deleted_neighbours(crime: Crime) -> None:
    """Two gaps in a chain of digests must not close over each other (aws-cli #7054)."""
    crime.delete("cn", 60, 62)
    crime.expect(Depth.LEAVES, missing("cn", 60, 61))


def test_two_deleted_neighbours_with_the_gap_closed(crime: Crime) -> None:
    leaves = crime.leaves("sg")
    crime.delete("sg", 20, 22)
    for seq in range(22, len(leaves)):
        crime.edit("entry", "sg", seq, "seq = %s", seq - 2)
        crime.edit("sealed", "sg", seq, "seq = %s", seq - 2)
    crime.set_head("sg", leaves[:20] + leaves[22:])
    size = len(leaves)
    told = forked("sg", size - 2) | missing("sg", size - 2, size - 1) | modified("sg", *range(20, size - 2))
    crime.expect(Depth.LEAVES, told)


def test_a_row_beyond_the_head(crime: Crime) -> None:
    crime.insert_leaf("cn", SIZE, changed(crime.leaves("cn")[60], lambda leaf: leaf.update(id_tag="A" * 22)))
    crime.expect(Depth.LEAVES, modified("cn", SIZE) | _range(Verdict.FORKED, "cn", SIZE, SIZE))


def test_a_well_formed_row_beyond_the_head(crime: Crime) -> None:
    head = crime.leaves("cn")
    crime.append("cn", 60, id_tag="A" * 22)
    crime.set_head("cn", head)
    crime.expect(Depth.LEAVES, _range(Verdict.FORKED, "cn", SIZE, SIZE) | forked("cn", None))
    refusal = crime.refused_append()
    assert "two writers took the same place" in refusal.stderr


@pytest.mark.parametrize(
    ("ledger", "template", "size"), [("cn", 60, SIZE), ("events", 1, EVENTS)], ids=["record", "event"]
)
def test_a_well_formed_row_with_the_head_moved_over_it(crime: Crime, ledger: str, template: int, size: int) -> None:
    """Nothing inside the database is wrong; only the memory outside it knows (an unsealed stretch, systemd #15425)."""
    crime.append(ledger, template, **({"id_tag": "A" * 22} if ledger == "cn" else {"event": "hold.released"}))
    crime.expect(Depth.LEAVES, forked(ledger, size))
    if ledger == "cn":
        crime.refused_append()
    else:
        crime.refused_reading()


def test_an_entry_moved_to_another_ledger(crime: Crime) -> None:
    sg, end = crime.uuid("sg"), 46
    for table in ("entry", "sealed"):
        crime.edit(table, "cn", 60, "ledger_id = %s, seq = %s", sg, end)
    told = missing("cn", 60, 60) | modified("sg", end) | _range(Verdict.FORKED, "sg", end, end)
    crime.expect(Depth.ENVELOPES, told)


def test_an_entry_put_in_the_place_of_another_ledgers(crime: Crime) -> None:
    crime.delete("sg", 30, 31)
    for table in ("entry", "sealed"):
        crime.edit(table, "cn", 30, "ledger_id = %s", crime.uuid("sg"))
    crime.expect(Depth.ENVELOPES, missing("cn", 30, 30) | modified("sg", 30))


def test_two_neighbours_swapped(crime: Crime) -> None:
    for table in ("entry", "sealed"):
        crime.edit(table, "cn", 60, "seq = -60")
        crime.edit(table, "cn", 61, "seq = 60")
        crime.edit(table, "cn", -60, "seq = 61")
    crime.expect(Depth.LEAVES, modified("cn", 60, 61))


def test_a_rewound_head(crime: Crime) -> None:
    crime.set_head("cn", crime.leaves("cn")[:170])
    crime.expect(Depth.LEAVES, forked("cn", 170, None) | _range(Verdict.FORKED, "cn", 170, SIZE - 1))
    crime.refused_append()


@pytest.mark.parametrize("size", [-1, SIZE - 2, SIZE + 1, 2**60])
def test_a_head_that_only_counts_otherwise(crime: Crime, size: int) -> None:
    crime.sql("UPDATE vault.head SET size = %s WHERE ledger_id = %s", size, crime.uuid("cn"))
    assert Verdict.FORKED in crime.verdicts(Depth.LEAVES, "cn")
    crime.refused_append()


def test_an_edited_hash_in_the_head(crime: Crime) -> None:
    crime.sql("UPDATE vault.head SET last_hash = sha256(last_hash) WHERE ledger_id = %s", crime.uuid("cn"))
    crime.expect(Depth.LEAVES, modified("cn", SIZE - 1) | forked("cn", SIZE))
    crime.refused_append()


@pytest.mark.parametrize("frontier", ["sha256(frontier)", "overlay(frontier placing sha256('') from 1)", "''"])
def test_an_edited_frontier(crime: Crime, frontier: str) -> None:
    crime.sql(f"UPDATE vault.head SET frontier = {frontier} WHERE ledger_id = %s", crime.uuid("cn"))
    assert crime.verdicts(Depth.LEAVES, "cn") == {Verdict.FORKED}
    crime.refused_append()


def test_a_deleted_head(crime: Crime) -> None:
    crime.sql("DELETE FROM vault.head WHERE ledger_id = %s", crime.uuid("cn"))
    crime.expect(Depth.LEAVES, missing("cn", None))
    crime.refused_append(exit_code=Verdict.MISSING.exit_code)


@pytest.mark.parametrize("first", [1, 90, SIZE - 1])
def test_a_history_rewritten_from_some_entry_on(crime: Crime, first: int) -> None:
    """All hashes and the head agree with each other; the signed tree is another."""
    crime.rewrite("cn", first, lambda leaf: leaf.update(keep_until="2026-12-01T00:00:00Z"))
    crime.expect(Depth.OPEN, forked("cn", SIZE, None))
    crime.refused_append()


def test_a_small_fault_does_not_hide_a_rewritten_history(crime: Crime) -> None:
    """An edited facet explains no other tree: the worse verdict stands beside it."""
    crime.rewrite("cn", 3, lambda leaf: leaf.update(keep_until="2026-12-01T00:00:00Z"))
    crime.edit("sealed", "cn", 2, "ai_ms = 1")
    crime.expect(Depth.ENVELOPES, forked("cn", SIZE, None) | modified("cn", 2))


def test_a_history_rewritten_under_another_identity(crime: Crime) -> None:
    """The genesis leaf names the attacker's key: it is not the one that the events ledger announced."""
    mallory = VerifierKey.from_public(f"mallory.example/{crime.uuid('cn')}", bytes(range(32)))
    crime.rewrite("cn", 0, lambda leaf: leaf.update(verifiers=[str(mallory)]))
    crime.expect(Depth.LEAVES, forked("cn", SIZE, None, 0))


def test_a_restored_dump(site: Installation, crime: Crime) -> None:
    """Restored, it would sign a second history with the same sizes; the checkpoint outside forbids it."""
    with _dump_before_later_work(site) as old:
        # Two events told of the line that was refused meanwhile: its group's key for the day, and the refusal.
        now = site.size("events")
        behind = forked("cn", SIZE) | missing("cn", SIZE, SIZE + 29)
        behind |= forked("events", EVENTS) | missing("events", EVENTS, now - 1)
        restored = Crime(old, crime.names)
        restored.expect(Depth.LEAVES, behind)
        assert "is behind its checkpoint" in restored.refused_append().stderr
        restored.refused_reading()
        restored.expect(Depth.LEAVES, behind)


def test_a_restored_dump_that_was_written_to_by_others(site: Installation, crime: Crime) -> None:
    """Grown past the checkpoint by somebody who has the database but not the vault."""
    with _dump_before_later_work(site) as old:
        restored = Crime(old, crime.names)
        for at in range(40):
            restored.append("cn", 60, id_tag=f"{at:02d}" * 10 + "AA")
        assert restored.verdicts(Depth.LEAVES, "cn") == {Verdict.FORKED}
        restored.refused_append()


@contextmanager
def _dump_before_later_work(site: Installation) -> Iterator[Installation]:
    """Yield the vault of a moment ago: its database as it was before 30 records more, its home as it is now."""
    with site.dumped() as database:
        site.ingest("cn", [*decisions(30, first=500), (1, b"{}")])
        yield Installation(site.home, database)


def test_every_row_of_every_table_gone(crime: Crime) -> None:
    for name in ("cn", "sg", "events"):
        crime.drop(name)
    told: set[Any] = set()
    for name, size in (("cn", SIZE), ("sg", 46), ("events", EVENTS)):
        told |= missing(name, None) | missing(name, 0, size - 1)
    crime.expect(Depth.LEAVES, told)


def test_an_edited_event(crime: Crime) -> None:
    at = _created(crime, "sg")
    crime.put_leaf("events", at, changed(crime.leaves("events")[at], lambda leaf: leaf.update(actor="local:mallory")))
    crime.expect(Depth.LEAVES, modified("events", at))


def test_a_deleted_event(crime: Crime) -> None:
    at = _created(crime, "sg")
    crime.delete("events", at, at + 1)
    crime.expect(Depth.LEAVES, missing("events", at, at) | missing("sg", 0))


def test_events_cut_off_with_the_ledger_they_tell_of(crime: Crime) -> None:
    """Nothing in the database remembers the ledger any more."""
    at = _created(crime, "sg")
    crime.drop("sg")
    leaves = crime.leaves("events")
    crime.delete("events", at, EVENTS)
    crime.set_head("events", leaves[:at])
    told = forked("events", at) | missing("events", at, EVENTS - 1)
    crime.expect(Depth.LEAVES, told | missing("sg", None) | missing("sg", 0, 45))


@pytest.mark.parametrize("facts", [{"ledger": "no-uuid", "genesis": "x"}, {"ledger": 7}, {}])
def test_a_forged_event_that_makes_no_sense(crime: Crime, facts: dict[str, Any]) -> None:
    crime.append("events", _created(crime, "sg"), facts=facts)
    crime.expect(Depth.LEAVES, forked("events", EVENTS))


def _created(crime: Crime, name: str) -> int:
    """Return where the events ledger tells of a ledger's creation."""
    events = [json.loads(leaf) for leaf in crime.leaves("events")]
    (at,) = (
        leaf["seq"]
        for leaf in events
        if leaf.get("event") == "ledger.created" and leaf["facts"]["ledger"] == str(crime.uuid(name))
    )
    assert isinstance(at, int)
    return at


def _range(verdict: Verdict, ledger: str, first: int, last: int) -> set[Any]:
    return {found._replace(verdict=verdict) for found in missing(ledger, first, last)}
