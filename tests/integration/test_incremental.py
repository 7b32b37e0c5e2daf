"""Incremental verification: what came in since is checked like everything is, and nothing else is claimed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from service.jobs import bodies
from tests.support.decisions import decisions
from tests.support.vault import RECORDS, Installation
from vault import events, incremental
from vault.context import Vault
from vault.core.errors import Missing
from vault.jobs import Steps
from vault.verdict import Verdict, worst

MORE = 7


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as made:
        yield made


def arrive(installation: Installation) -> None:
    """Have some more records come in."""
    lines = [(number, line.replace(b'"dec-', b'"new-')) for number, line in decisions(MORE)]
    assert len(installation.ingest("cn", lines)) == MORE


def seen(found: incremental.Found) -> dict[str, int]:
    return {report.name: report.entries for report in found.reports}


def test_a_run_reads_what_came_in_since_the_last(installation: Installation, vault: Vault) -> None:
    first = incremental.verify(vault)
    assert (first.worst, first.faults) == (None, 0)
    assert seen(first) == {name: installation.size(name) for name in ("events", "cn", "sg")}
    assert first.envelopes > sum(RECORDS.values())
    assert seen(incremental.verify(vault)) == {"events": 0, "cn": 0, "sg": 0}
    before = installation.size("events")
    arrive(installation)
    events.record(vault, "vault.tested", {})
    third = incremental.verify(vault)
    assert third.worst is None
    assert seen(third) == {"events": installation.size("events") - before, "cn": MORE, "sg": 0}


CRIMES: dict[str, tuple[str, Verdict]] = {
    "an envelope is gone": ("DELETE FROM vault.sealed WHERE ledger_id = %(l)s AND seq = %(s)s", Verdict.MISSING),
    "an envelope is another": (
        "UPDATE vault.sealed SET envelope = set_byte(envelope, 90, get_byte(envelope, 90) # 1)"
        " WHERE ledger_id = %(l)s AND seq = %(s)s",
        Verdict.MODIFIED,
    ),
    "a facet is another": (
        "UPDATE vault.sealed SET score = 0.123 WHERE ledger_id = %(l)s AND seq = %(s)s",
        Verdict.MODIFIED,
    ),
    "an entry is gone": (
        "WITH envelope AS (DELETE FROM vault.sealed WHERE ledger_id = %(l)s AND seq = %(s)s)"
        " DELETE FROM vault.entry WHERE ledger_id = %(l)s AND seq = %(s)s",
        Verdict.MISSING,
    ),
    "a leaf is another's": (
        "UPDATE vault.entry SET leaf = (SELECT leaf FROM vault.entry WHERE ledger_id = %(l)s AND seq = %(s)s - 1)"
        " WHERE ledger_id = %(l)s AND seq = %(s)s",
        Verdict.MODIFIED,
    ),
    "the head is behind": (
        "UPDATE vault.head SET size = size - 1 WHERE ledger_id = %(l)s",
        Verdict.FORKED,
    ),
    "an entry stands beyond the head": (
        "INSERT INTO vault.entry SELECT ledger_id, seq + 100, NULL, leaf FROM vault.entry"
        " WHERE ledger_id = %(l)s AND seq = %(s)s",
        Verdict.FORKED,
    ),
    "the ledger is gone": (
        "DELETE FROM vault.ledger WHERE ledger_id = %(l)s AND %(s)s > 0",
        Verdict.MISSING,
    ),
}


@pytest.mark.parametrize("crime", CRIMES)
def test_what_came_in_is_checked_like_everything(installation: Installation, vault: Vault, crime: str) -> None:
    incremental.verify(vault)
    arrive(installation)
    statement, verdict = CRIMES[crime]
    seq = installation.size("cn") - 3
    ledger = installation.ledger("cn")
    with installation.tampering() as connection:
        assert connection.execute(statement, {"l": ledger, "s": seq}).rowcount == 1
    found = incremental.verify(vault)
    assert found.worst is verdict, found.first
    assert all(fault.ledger == ledger for report in found.reports for fault in report.faults)
    again = incremental.verify(vault)  # what has a fault is not passed over the next time
    assert (again.worst, again.faults) == (found.worst, found.faults)


def test_what_an_earlier_run_saw_is_not_looked_at(installation: Installation, vault: Vault) -> None:
    """So there is verify: this is what the page of the job says."""
    incremental.verify(vault)
    with installation.tampering() as connection:
        connection.execute("DELETE FROM vault.sealed WHERE ledger_id = %s AND seq = 5", [installation.ledger("cn")])
    assert incremental.verify(vault).worst is None
    assert worst(installation.audit()) is Verdict.MISSING


def _edited(file: Path) -> None:
    size, rest = file.read_text().split("\n", 2)[2].split(" ", 1)
    file.write_text(file.read_text().replace(f"\n{size} {rest}", f"\n{int(size) + 1} {rest}"))


def _anothers(file: Path) -> None:
    other = next(one for one in file.parents[1].glob("*/verified") if one != file)
    file.write_bytes(other.read_bytes())


@pytest.mark.parametrize("harm", [Path.unlink, _edited, _anothers], ids=["gone", "edited", "another ledger's"])
def test_without_its_mark_a_run_begins_at_the_first_entry(
    installation: Installation, vault: Vault, harm: Callable[[Path], None]
) -> None:
    incremental.verify(vault)
    harm(installation.checkpoints("cn") / "verified")
    assert seen(incremental.verify(vault))["cn"] == installation.size("cn")


def test_a_database_from_before_the_mark_is_another_history(installation: Installation) -> None:
    """Both were put back, database and checkpoint; only the mark remembers."""
    saved = {name: (installation.checkpoints("cn") / name).read_bytes() for name in ("checkpoint", "pending")}
    with installation.dumped() as old:
        arrive(installation)
        with installation.opened() as vault:
            assert incremental.verify(vault).worst is None
        for name, content in saved.items():
            (installation.checkpoints("cn") / name).write_bytes(content)
        with Installation(installation.home, old).opened() as back:
            assert incremental.verify(back).worst is Verdict.FORKED


def test_a_fault_fails_the_job_and_is_left_for_the_figures(installation: Installation, vault: Vault) -> None:
    left = installation.home / "verification.json"
    left.write_text(json.dumps({"verdict": "OK", "depth": "envelopes", "at": 1}))
    counts = bodies.verify_new(installation.home, vault, Steps())
    assert counts["ledgers"] == 3
    assert json.loads(left.read_text())["at"] == 1  # no fault says nothing about what it did not look at
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM vault.ledger WHERE name = 'sg'")
    with pytest.raises(Missing, match="1 faults, the first: MISSING ledger"):
        bodies.verify_new(installation.home, vault, Steps())
    assert json.loads(left.read_text())["verdict"] == "MISSING"


def test_a_ledger_of_which_only_the_events_know_is_missed(installation: Installation, vault: Vault) -> None:
    ledger = installation.ledger("sg")
    shutil.rmtree(installation.checkpoints("sg"))
    with installation.tampering() as connection:
        for table in ("entry", "sealed", "head", "ledger"):
            connection.execute(f"DELETE FROM vault.{table} WHERE ledger_id = %s", [ledger])
    found = incremental.verify(vault)
    assert [(fault.verdict, fault.ledger) for report in found.reports for fault in report.faults] == [
        (Verdict.MISSING, ledger)
    ]


def test_a_ledger_that_was_never_told_of_is_looked_at(installation: Installation, vault: Vault) -> None:
    stranger = uuid4()
    with installation.tampering() as connection:
        connection.execute(
            "INSERT INTO vault.ledger SELECT %s, tenant, kind, 'x', id_key FROM vault.ledger WHERE name = 'cn'",
            [stranger],
        )
    found = incremental.verify(vault)
    assert [str(fault.ledger) for report in found.reports for fault in report.faults] == [str(stranger)]
