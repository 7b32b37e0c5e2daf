"""Imports: old records count from their own dates where two people approved exactly these, and nowhere else."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from retention import imports
from tests.support.acting import happened, hire, keyed, last, stored
from tests.support.decisions import decision, spelled
from tests.support.imports import REASON, approved, archive, kept_since, moment, old, run_whole
from tests.support.vault import Installation
from vault import intake, ledgers
from vault.context import Actor, Vault
from vault.core.errors import Denied, RefusedInput, Unknown, UsageError
from vault.core.flags import Flag
from vault.recordline import RecordLine
from vault.settlement import Answer
from vault.settling import Status
from vault.verdict import Depth, worst

FLOOR = timedelta(days=3 * 365)


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def olaf(vault: Vault) -> Actor:
    return hire(vault, "olaf", "officer")


@pytest.fixture
def anna(vault: Vault) -> Actor:
    return hire(vault, "anna", "officer")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("processes", [1, 2])
def test_an_approved_file_comes_in_with_its_own_dates(
    installation: Installation, vault: Vault, olaf: Actor, anna: Actor, tmp_path: Path, packed: bool, processes: int
) -> None:
    size = installation.size("cn")
    documents = [old(number) for number in range(1000, 1250)]
    file = archive(tmp_path, *documents)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if packed:
        file.write_bytes(gzip.compress(file.read_bytes()))
    asked = imports.request(vault.acting(olaf), ledgers.get(vault, "cn"), file, "old-core", REASON, os.urandom).asked
    assert (asked.count, asked.producer, asked.requested_by) == (250, "old-core", olaf.name)
    assert last(vault, "import.requested").facts["first"] == "2012-01-14T08:00:00Z"
    assert last(vault, "import.requested").facts["last"] == "2012-12-14T08:00:01Z"
    assert installation.size("cn") == size
    told = imports.approve(vault.acting(anna), asked.id)
    assert (told.asked.approved_by, told.reason, told.file) == (anna.name, REASON, "archive.jsonl")
    going, results = run_whole(vault, asked.id, file, processes)
    assert {one.status for one in results} == {Status.ACCEPTED}
    done = last(vault, "import.done")
    assert (done.facts["count"], done.facts["first"], done.facts["last"]) == (250, size, size + 249)
    assert going.event == done.seq
    kept = kept_since(installation, size)
    assert len(kept) == 250
    for document in documents:
        place, flags, group = kept[document["id"]]
        occurred, until = moment(document["occurred_at"]), moment(place.keep_until)
        assert flags & Flag.IMPORTED
        assert FLOOR <= until - occurred < FLOOR + timedelta(days=40)
        assert datetime.now(UTC) - moment(place.received_at) < timedelta(minutes=10)
        assert place.group == group == f"{until:%Y-%m}.0"
        assert place.producer == "old-core"
    assert worst(installation.audit(Depth.OPEN)) is None
    assert digest == bytes.fromhex(digest).hex()
    assert [one.asked.done for one in imports.listing(vault)] == [True]


def test_without_an_import_the_day_of_receipt_counts(installation: Installation, vault: Vault) -> None:
    """Promise 4: whatever a producer says of the past, its record is kept for the floor from today on."""
    size, ancient = installation.size("cn"), [old(number) for number in (1001, 1002)]
    key, line = keyed(vault, "old-core", "cn"), RecordLine(vault, ledgers.get(vault, "cn"), lambda _group: None)
    installation.ingest("cn", [(1, spelled(ancient[0]))], "old-core")
    (taken,) = line.take([(1, spelled(ancient[1]))], key)
    assert isinstance(taken, Answer)
    assert taken.result.status is Status.ACCEPTED
    kept = kept_since(installation, size)
    assert len(kept) == 2
    for place, flags, _ in kept.values():
        assert not flags & Flag.IMPORTED
        assert flags & Flag.OLDER_THAN_FLOOR
        assert moment(place.keep_until) - moment(place.received_at) >= FLOOR


def test_a_duplicate_keeps_the_dates_it_has(
    installation: Installation, vault: Vault, olaf: Actor, anna: Actor, tmp_path: Path
) -> None:
    size = installation.size("cn")
    installation.ingest("cn", [(1, spelled(old(1001)))], "old-core")
    file = archive(tmp_path, old(1001), old(1002))
    _, results = run_whole(vault, approved(vault, olaf, anna, file), file)
    assert [one.status for one in results] == [Status.DUPLICATE, Status.ACCEPTED]
    kept = kept_since(installation, size)
    assert not kept["dec-1001"][1] & Flag.IMPORTED
    assert moment(kept["dec-1001"][0].keep_until) > datetime.now(UTC) + timedelta(days=1000)
    assert kept["dec-1002"][1] & Flag.IMPORTED


def test_what_occurred_outside_the_approved_time_is_refused(
    installation: Installation, vault: Vault, olaf: Actor, anna: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked said less than the file holds: two people approved 2012, and nothing else."""
    size = installation.size("cn")
    file = archive(tmp_path, old(1001, 2011), old(1002, 2012), old(1003, 2013))
    whole = imports._surveyed

    def short(*arguments: Any) -> Any:
        found = whole(*arguments)
        first, end = (round(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1_000_000) for year in (2012, 2013))
        return found._replace(first=first, last=end)

    monkeypatch.setattr(imports, "_surveyed", short)
    _, results = run_whole(vault, approved(vault, olaf, anna, file), file)
    assert [(one.status, one.code, one.path) for one in results] == [
        (Status.REFUSED, "import_period", "$.occurred_at"),
        (Status.ACCEPTED, "", ""),
        (Status.REFUSED, "import_period", "$.occurred_at"),
    ]
    assert kept_since(installation, size).keys() == {"dec-1002"}
    assert last(vault, "import.done").facts["count"] == 1


def test_the_future_stays_refused(vault: Vault, olaf: Actor, anna: Actor, tmp_path: Path) -> None:
    ahead = datetime.now(UTC) + timedelta(days=3)
    file = archive(tmp_path, old(1001), decision(1002, occurred_at=ahead.isoformat()))
    _, results = run_whole(vault, approved(vault, olaf, anna, file), file)
    assert [(one.status, one.code) for one in results] == [(Status.ACCEPTED, ""), (Status.REFUSED, "clock_ahead")]


def test_four_eyes(vault: Vault, olaf: Actor, anna: Actor, tmp_path: Path) -> None:
    file, ledger = archive(tmp_path, old(1001)), ledgers.get(vault, "cn")
    carl = hire(vault, "carl", "auditor")
    with pytest.raises(Denied, match="asks for an import"):
        imports.request(vault.acting(carl), ledger, file, "old-core", REASON, os.urandom)
    asked = imports.request(vault.acting(olaf), ledger, file, "old-core", REASON, os.urandom).asked
    with pytest.raises(Denied, match="nobody approved"):
        run_whole(vault, asked.id, file)
    for who, words in ((olaf, "that they asked for"), (carl, "officer"), (vault.actor, "who logged in")):
        with pytest.raises(Denied, match=words):
            imports.approve(vault.acting(who), asked.id)
    imports.approve(vault.acting(anna), asked.id)
    with pytest.raises(Denied, match="approved already"):
        imports.approve(vault.acting(anna), asked.id)
    with pytest.raises(Denied, match="asks for an import or runs it"):
        run_whole(vault.acting(carl), asked.id, file)
    for act in (imports.approve, lambda vault, name: run_whole(vault, name, file)):
        with pytest.raises(Unknown):
            act(vault.acting(anna), "i-other")
    run_whole(vault.acting(anna), asked.id, file)
    codes = [(one.facts["act"], one.facts["code"]) for one in happened(vault, "access.denied")]
    assert codes == [
        ("import.request", "role"),
        ("import.run", "unfit"),
        ("import.approve", "four_eyes"),
        ("import.approve", "role"),
        ("import.approve", "role"),
        ("import.approve", "unfit"),
        ("import.run", "role"),
        ("import.approve", "unknown"),
        ("import.run", "unknown"),
    ]


def test_the_holder_of_the_passphrase_asks_and_an_officer_approves(vault: Vault, anna: Actor, tmp_path: Path) -> None:
    file = archive(tmp_path, old(1001))
    name = approved(vault, vault.actor, anna, file)
    assert last(vault, "import.requested").facts["break_glass"] == 1
    assert run_whole(vault, name, file)[0].kept == 1


def test_once_done_it_lets_nothing_in(vault: Vault, olaf: Actor, anna: Actor, tmp_path: Path) -> None:
    file = archive(tmp_path, old(1001))
    name = approved(vault, olaf, anna, file)
    run_whole(vault, name, file)
    with pytest.raises(Denied, match="done"):
        run_whole(vault, name, file)
    assert len(happened(vault, "import.done")) == 1


def test_intake_itself_asks_the_events(vault: Vault, olaf: Actor, anna: Actor, tmp_path: Path) -> None:
    """Whatever calls it: only an import that is approved for this ledger and producer changes a date."""
    file, lines_ = archive(tmp_path, old(1001)), [(1, spelled(old(1001)))]
    cn, sg = ledgers.get(vault, "cn"), ledgers.get(vault, "sg")
    asked = imports.request(vault.acting(olaf), cn, file, "old-core", REASON, os.urandom).asked
    for into, producer, name in (
        (cn, "old-core", asked.id),
        (cn, "old-core", "i-other"),
    ):
        with pytest.raises(Denied):
            list(intake.ingest(vault, into, lines_, producer, imported=name))
    imports.approve(vault.acting(anna), asked.id)
    for into, producer in ((sg, "old-core"), (cn, "psp-1")):
        with pytest.raises(Denied, match="another ledger or producer"):
            list(intake.ingest(vault, into, lines_, producer, imported=asked.id))
    (batch,) = intake.ingest(vault, cn, lines_, "old-core", imported=asked.id)
    assert batch.results[0].status is Status.ACCEPTED


def test_what_cannot_be_asked_for(vault: Vault, olaf: Actor, tmp_path: Path) -> None:
    acting, ledger = vault.acting(olaf), ledgers.get(vault, "cn")
    for producer, reason in (("", REASON), ("no word", REASON), ("x" * 65, REASON), ("psp-1", ""), ("psp-1", "a\nb")):
        with pytest.raises(UsageError):
            imports.request(acting, ledger, archive(tmp_path, old(1001)), producer, reason, os.urandom)
    nothing = tmp_path / "nothing.jsonl"
    nothing.write_bytes(b'{"schema": "reasoning-log/1"}\n')
    with pytest.raises(UsageError, match="no line that is a record"):
        imports.request(acting, ledger, nothing, "psp-1", REASON, os.urandom)
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(spelled(old(1001)) * 50)[:-9])
    with pytest.raises(RefusedInput, match="damaged"):
        imports.request(acting, ledger, cut, "psp-1", REASON, os.urandom)
    with pytest.raises(UsageError, match="cannot read"):
        imports.request(acting, ledger, tmp_path / "missing", "psp-1", REASON, os.urandom)
    assert not happened(vault, "import.requested")


def test_lines_that_are_no_records_are_counted_and_refused(
    vault: Vault, olaf: Actor, anna: Actor, tmp_path: Path
) -> None:
    file = archive(tmp_path, {"schema": "reasoning-log/1"}, old(1001))
    name = approved(vault, olaf, anna, file)
    assert last(vault, "import.requested").facts["count"] == 2
    going, results = run_whole(vault, name, file)
    assert [one.status for one in results] == [Status.REFUSED, Status.ACCEPTED]
    assert (going.lines, going.kept) == (2, 1)


def test_reason_and_file_are_sealed(
    installation: Installation, vault: Vault, olaf: Actor, anna: Actor, tmp_path: Path
) -> None:
    file = archive(tmp_path, old(1001))
    approved(vault, olaf, anna, file)
    everything = stored(installation)
    assert "switched off" not in everything
    assert "archive.jsonl" not in everything
    with pytest.raises(Denied):
        imports.listing(vault.acting(hire(vault, "otto", "operator")))
    (seen,) = imports.listing(vault.acting(hire(vault, "carla", "auditor")))
    assert (seen.reason, seen.file) == ("", "")
    for one in (olaf, anna, vault.actor):
        (told,) = imports.listing(vault.acting(one))
        assert (told.reason, told.file) == (REASON, "archive.jsonl")
        assert told.asked == seen.asked


def test_two_runs_at_once_are_told_once(vault: Vault, olaf: Actor, anna: Actor, tmp_path: Path) -> None:
    file = archive(tmp_path, *(old(number) for number in range(1000, 1010)))
    name = approved(vault, olaf, anna, file)
    one, other = imports.run(vault, name, file, processes=1), imports.run(vault, name, file, processes=1)
    list(islice(one, 1)), list(islice(other, 1))
    assert [going.kept for going, _ in [*one, *other]] == [10, 10]
    assert len(happened(vault, "import.done")) == 1


def test_the_command_line(installation: Installation, tmp_path: Path) -> None:
    file, password = archive(tmp_path, old(1001), {"schema": "reasoning-log/1"}), tmp_path / "password"
    password.write_text("a long enough password")
    environment = installation.environment() | {"REASONVAULT_PASSWORD_FILE": str(password)}

    def run(*arguments: str, code: int = 0) -> Any:
        result = installation.run(*arguments, "--json", environment=environment)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    for name in ("olaf", "anna"):
        run("user", "add", name, "--role", "officer")
    request = ("import", "request", str(file), "--ledger", "cn", "--producer", "old-core", "--reason", REASON)
    asked = run(*request, "--user", "olaf")
    assert asked["state"] == "requested"
    assert asked["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (asked["ledger"], asked["count"], asked["first"][:7], asked["reason"]) == ("cn", 2, "2012-06", REASON)
    run("import", "run", asked["import"], str(file), code=4)
    run("import", "approve", asked["import"], "--user", "olaf", code=4)
    assert run("import", "approve", asked["import"], "--user", "anna")["state"] == "approved"
    done = run("import", "run", asked["import"], str(file), code=3)
    assert (done["done"], done["accepted"], done["refused"]) == (True, 1, 1)
    assert json.loads((tmp_path / "archive.jsonl.refused.jsonl").read_text())["line"] == 2
    assert [one["state"] for one in run("import", "list", "--user", "anna")] == ["done"]
    words = installation.run("import", "list", environment=environment).stdout
    assert asked["sha256"] in words
    assert "done" in words
