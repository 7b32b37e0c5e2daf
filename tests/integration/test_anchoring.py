"""Anchors: when they are made, what the commands show of them, and what the hourly verification makes of them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from service.jobs import bodies, catalogue
from tests.support.acting import happened, later
from tests.support.decisions import as_file, decisions
from tests.support.tampering import Crime
from tests.support.vault import Installation
from vault import anchoring, incremental, jobs, ledgers
from vault.checkpoints import Checkpoints
from vault.context import Vault
from vault.core import note
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Forked, KeyUnavailable
from vault.core.tree import EMPTY_ROOT
from vault.jobs import Steps
from vault.verdict import Depth, Verdict, worst

MINUTE = 60_000_000


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


def sizes(vault: Vault, name: str) -> list[int]:
    return [one.size for one in anchoring.anchors(vault, ledgers.get(vault, name).id)]


def test_once_a_minute_and_when_it_falls_quiet(installation: Installation, vault: Vault) -> None:
    assert anchoring.anchor(vault) == 2
    before = installation.size("events")
    assert anchoring.anchor(later(vault, 5 * MINUTE)) == 0
    assert installation.size("events") == before  # nothing moved: not even an event that says so
    installation.ingest("cn", decisions(3, first=500))
    installation.ingest("sg", decisions(1, first=500))
    assert anchoring.anchor(vault) == 0  # too early
    assert anchoring.anchor(later(vault, MINUTE)) == 2
    installation.ingest("cn", decisions(3, first=600))
    assert anchoring.anchor(vault, every=0) == 1
    assert (sizes(vault, "cn"), sizes(vault, "sg")) == ([182, 185, 188], [46, 47])
    facts = [event.facts for event in happened(vault, "checkpoint.anchored")]
    assert all(one["root"] != EMPTY_ROOT.hex() for one in facts)


def test_a_clock_that_was_put_back_stops_nothing(installation: Installation, vault: Vault) -> None:
    assert anchoring.anchor(later(vault, 500 * MINUTE)) == 2
    installation.ingest("cn", decisions(1, first=500))
    assert anchoring.anchor(vault) == 1


def test_who_looked_earlier_and_comes_later_anchors_nothing_smaller(installation: Installation, vault: Vault) -> None:
    cn = installation.ledger("cn")
    seen = vault.checkpoints.read(cn)
    assert seen is not None
    installation.ingest("cn", decisions(1, first=500))
    assert anchoring.anchor(vault) == 2
    assert anchoring._commit(later(vault, MINUTE), {cn: seen}, 0) == 0
    assert sizes(vault, "cn") == [183]


def test_no_key_provider_is_needed(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: object) -> None:
        raise KeyUnavailable("the key provider does not answer")

    for name in ("wrap", "unwrap", "create_key"):
        monkeypatch.setattr(type(vault.provider), name, down)
    assert anchoring.anchor(vault) == 2


def test_one_bad_checkpoint_keeps_no_other_ledger_from_being_anchored(installation: Installation, vault: Vault) -> None:
    (installation.checkpoints("cn") / "checkpoint").write_text("no note")
    with pytest.raises(Forked, match="not ours"):
        bodies.checkpoints(vault, Steps())
    assert sizes(vault, "sg") == [46]


def test_a_run_of_the_job_that_finds_nothing_to_do_is_no_event(installation: Installation) -> None:
    job, told = catalogue.load(installation.home).job("checkpoints"), []
    with installation.retaining() as vault:
        for minute in range(2):
            due = datetime(2026, 11, 28, 12, minute, tzinfo=UTC)
            jobs.attempt(vault, job.name, due, job.run, lease_seconds=60, stopping=threading.Event(), quiet=job.quiet)
            told.append(len(happened(vault, "job.started", "job.finished")))
        (event,) = happened(vault, "job.finished")
    assert told == [1, 1]
    assert (event.facts["outcome"], event.facts["anchored"], event.facts["signed"]) == ("ok", 2, 0)


def test_the_commands(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_bytes(as_file(decisions(3, first=500)))
    assert installation.run("ingest", str(file), "--ledger", "cn", "--processes", "1").exit_code == 0  # and anchors
    assert json.loads(installation.run("checkpoint", "anchor", "--json").stdout) == {"anchored": 0}
    listed = json.loads(installation.run("checkpoint", "list", "--json").stdout)
    assert sorted((row["name"], row["size"]) for row in listed) == [("cn", 185), ("sg", 46)]
    file.write_bytes(as_file(decisions(3, first=600)))
    assert installation.run("ingest", str(file), "--ledger", "cn", "--processes", "1").exit_code == 0
    assert installation.run("checkpoint", "anchor").stdout == "1 ledgers anchored\n"
    listed = json.loads(installation.run("checkpoint", "list", "cn", "--limit", "1", "--json").stdout)
    assert [row["size"] for row in listed] == [188]
    older = installation.run("checkpoint", "list", "cn", "--before", str(listed[0]["event"]), "--json")
    assert [row["size"] for row in json.loads(older.stdout)] == [185]
    shown = installation.run("checkpoint", "show", "cn")
    stands = (installation.checkpoints("cn") / "checkpoint").read_text()
    assert (shown.stdout, shown.exit_code) == (stands, 0)
    assert "188 entries" in shown.stderr
    assert json.loads(installation.run("checkpoint", "show", "cn", "--json").stdout)["note"] == stands
    out = tmp_path / "note"
    assert installation.run("checkpoint", "show", "-o", str(out)).exit_code == 0
    (row,) = json.loads(installation.run("checkpoint", "keys", "--json").stdout)
    assert (row["key"], row["state"]) == ("checkpoint.1", "current")
    assert note.open_note(out.read_text(), [note.VerifierKey.parse(row["verifier"])]).text.splitlines()[1] == "13"
    assert installation.run("checkpoint", "show", "nobody").exit_code == 2


def test_a_ledger_that_grows_and_is_anchored_while_verification_begins(
    installation: Installation, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two of its looks at checkpoints. What is anchored behind the events that it read says nothing yet."""
    read, looks = Checkpoints.read, 0

    def then_all_grow(self: Checkpoints, ledger: UUID) -> Checkpoint | None:
        nonlocal looks
        found, looks = read(self, ledger), looks + 1
        if looks == 1:
            for name in ("cn", "sg"):
                installation.ingest(name, decisions(1, first=500))
            assert anchoring.anchor(vault) == 2
        return found

    monkeypatch.setattr(Checkpoints, "read", then_all_grow)
    reports = installation.audit(Depth.LEAVES)
    assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]


def test_incremental_verification_compares_the_new_anchors(site: Installation, crime: Crime) -> None:
    """A ledger goes back as a whole between two runs, to where rows and checkpoint agree."""
    place = crime.place("cn")
    with site.opened() as vault:
        assert incremental.verify(vault).worst is None
        older = {path: path.read_bytes() for path in place.iterdir()}
        site.ingest("cn", decisions(5, first=500))
        assert anchoring.anchor(vault) == 2
    crime.clean(Depth.LEAVES)
    crime.delete("cn", 182, 187)
    crime.set_head("cn", crime.leaves("cn"))
    for path, content in older.items():
        path.write_bytes(content)
    with site.opened() as vault:
        found = incremental.verify(vault)
    assert found.worst is Verdict.FORKED
    assert re.search("is behind the one of size 187 that event 1[01] anchored", found.first)
