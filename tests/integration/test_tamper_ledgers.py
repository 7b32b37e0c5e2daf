"""Whole ledgers tampered with: dropped, made anew, exchanged, renamed; and what the command line answers."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support.tampering import Crime, changed, forked, missing, modified
from vault.core import packing
from vault.verdict import Depth, Verdict

SG = 46  # entries of "sg"


def test_a_dropped_ledger(crime: Crime) -> None:
    crime.drop("sg")
    crime.expect(Depth.LEAVES, missing("sg", None) | missing("sg", 0, SG - 1))


def test_a_ledger_dropped_together_with_its_checkpoints(crime: Crime) -> None:
    """Its creation is an entry of the events ledger, so somebody still asks for it."""
    crime.drop("sg")
    shutil.rmtree(crime.place("sg"))
    crime.expect(Depth.LEAVES, missing("sg", None) | forked("sg", None))


def test_a_ledger_dropped_and_made_anew_under_its_name(crime: Crime) -> None:
    crime.drop("sg")
    assert crime.site.run("ledger", "create", "sg", "--jurisdiction", "SG").exit_code == 0
    assert crime.site.ledger("sg") != crime.uuid("sg")
    crime.expect(Depth.LEAVES, missing("sg", None) | missing("sg", 0, SG - 1))


def test_a_ledger_dropped_and_made_anew_under_its_uuid(crime: Crime) -> None:
    """Every table has rows for it, every hash is right, and the genesis leaf is another."""
    (row,) = crime.rows("SELECT * FROM vault.ledger WHERE ledger_id = %s", crime.uuid("sg"))
    genesis = changed(crime.leaves("sg")[0], lambda leaf: leaf.update(created_at="2026-11-01T00:00:00.000Z"))
    crime.drop("sg")
    crime.sql("INSERT INTO vault.ledger VALUES (%s, %s, %s, %s, %s)", *row)
    crime.sql("INSERT INTO vault.head VALUES (%s, 0, '', '')", crime.uuid("sg"))
    crime.sql("INSERT INTO vault.entry VALUES (%s, 0, NULL, %s)", crime.uuid("sg"), packing.pack(genesis))
    crime.set_head("sg", [genesis])
    crime.expect(Depth.LEAVES, forked("sg", 1, 0) | missing("sg", 1, SG - 1))
    crime.refused_append("sg")


def test_a_dropped_events_ledger(crime: Crime) -> None:
    crime.drop("events")
    told = missing("events", None) | missing("events", 0, 9)
    crime.expect(Depth.LEAVES, told | missing("cn", 0) | missing("sg", 0))
    assert crime.site.run("init").exit_code == Verdict.FORKED.exit_code


def test_a_dropped_events_ledger_and_its_checkpoints(crime: Crime) -> None:
    crime.drop("events")
    shutil.rmtree(crime.place("events"))
    told = missing("events", None) | forked("events", None)
    crime.expect(Depth.LEAVES, told | missing("cn", 0) | missing("sg", 0))


def test_a_ledger_nobody_told_of(crime: Crime) -> None:
    """Made behind the vault's back by somebody who has the database: no checkpoint, no event."""
    stranger = "00000000-0000-4000-8000-000000000000"
    for table in ("ledger", "head", "entry", "key_group", "epoch", "sealed"):
        columns = ", ".join(
            name
            for (name,) in crime.rows(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 1 ORDER BY attnum",
                f"vault.{table}",
            )
        )
        crime.sql(
            f"INSERT INTO vault.{table} (ledger_id, {columns}) SELECT %s, {columns} FROM vault.{table}"
            " WHERE ledger_id = %s",
            *(stranger, crime.uuid("sg")),
        )
    told = modified(stranger, *range(SG)) | forked(stranger, None, 0) | missing(stranger, 0)
    crime.expect(Depth.LEAVES, told)


@pytest.mark.parametrize("column", ["name", "kind", "tenant"])
def test_an_edited_ledger_row(crime: Crime, column: str) -> None:
    crime.sql(f"UPDATE vault.ledger SET {column} = 'other' WHERE ledger_id = %s", crime.uuid("sg"))
    crime.expect(Depth.LEAVES, modified("sg", 0))


def test_two_ledgers_that_exchanged_names(crime: Crime) -> None:
    crime.sql("UPDATE vault.ledger SET name = CASE name WHEN 'cn' THEN 'sg' ELSE 'cn' END WHERE kind = 'decisions'")
    crime.expect(Depth.LEAVES, modified("sg", 0) | modified("cn", 0))


def test_two_ledgers_of_one_name(crime: Crime) -> None:
    crime.sql("UPDATE vault.ledger SET name = 'cn' WHERE name = 'sg'")
    crime.expect(Depth.LEAVES, modified("sg", 0))
    assert crime.refused_append("cn").stderr == "reasonvault: 2 ledgers are named cn\n"


def test_two_ledgers_that_exchanged_all_rows(crime: Crime) -> None:
    cn, sg, nobody = crime.uuid("cn"), crime.uuid("sg"), "00000000-0000-4000-8000-000000000000"
    for table in ("ledger", "head", "entry", "key_group", "epoch", "sealed"):
        for old, new in ((cn, nobody), (sg, cn), (nobody, sg)):
            crime.sql(f"UPDATE vault.{table} SET ledger_id = %s WHERE ledger_id = %s", new, old)
    # What was "sg" is shorter than what "cn" signed, and the other way round.
    told = forked("cn", SG, 0) | missing("cn", SG, 181) | modified("cn", *range(SG))
    told |= forked("sg", SG, 0) | modified("sg", *range(182))
    crime.expect(Depth.LEAVES, told)


@pytest.mark.parametrize(
    ("statement", "verdict", "place"),
    [
        ("UPDATE vault.sealed SET model = 'x' WHERE seq = 17", Verdict.MODIFIED, {"seq": 17, "last": None}),
        ("DELETE FROM vault.entry WHERE seq = 17", Verdict.MISSING, {"seq": 17, "last": 17}),
        ("UPDATE vault.head SET size = size - 2", Verdict.FORKED, {"seq": None, "last": None}),
    ],
    ids=["MODIFIED", "MISSING", "FORKED"],
)
def test_the_command_line_ends_with_the_verdict(
    crime: Crime, statement: str, verdict: Verdict, place: dict[str, int | None]
) -> None:
    where = " AND" if "WHERE" in statement else " WHERE"
    crime.sql(f"{statement}{where} ledger_id = %s", crime.uuid("cn"))
    depth = "leaves" if verdict is Verdict.MISSING else "envelopes"
    result = crime.site.run("verify", "--depth", depth, "--json")
    assert result.exit_code == verdict.exit_code, result.output
    document = json.loads(result.stdout)
    assert document["verdict"] == verdict.name
    (told,) = (ledger for ledger in document["ledgers"] if ledger["ledger"] == str(crime.uuid("cn")))
    first = told["faults"][0]
    assert first["verdict"] == verdict.name
    assert {name: first[name] for name in place} == place
    spoken = crime.site.run("verify", "--depth", depth, "--ledger", "cn")
    assert spoken.exit_code == verdict.exit_code
    assert f"{verdict.name} ledger {crime.uuid('cn')}" in spoken.stdout
    assert crime.site.run("verify", "--depth", depth, "--ledger", "sg").exit_code == 0


def test_the_worst_verdict_decides(crime: Crime) -> None:
    crime.delete("cn", 17, 18)
    assert crime.site.run("verify").exit_code == Verdict.MISSING.exit_code
    crime.edit("sealed", "sg", 17, "model = 'x'")
    assert crime.site.run("verify").exit_code == Verdict.MODIFIED.exit_code
    (crime.place("events") / "checkpoint").unlink()
    assert crime.site.run("verify").exit_code == Verdict.FORKED.exit_code


def test_reading_does_not_show_what_was_tampered_with(crime: Crime) -> None:
    crime.swap("cn", "envelope", 3, 4)
    result = crime.site.run("show", "dec-3", "--ledger", "cn", "--purpose", "a test")
    assert (result.exit_code, result.stdout) == (Verdict.MODIFIED.exit_code, "")
    assert f"at ledger {crime.uuid('cn')} seq 3" in result.stderr
