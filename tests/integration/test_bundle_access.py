"""Who gets a bundle: grants, masks, duties; the access first, the event before the file; what is left of a dead run."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports.bundle import make as bundle
from reports.bundle import records as bundle_records
from reports.bundle.scope import Scope
from retention import copies, requests
from tests.support import bundles, standalone
from tests.support.acting import granted, happened, hire, last
from tests.support.bundles import named, packed, resigned, unpacked
from tests.support.disposing import Staged, delete_rows
from tests.support.generations import bury, move, only_stem
from tests.support.vault import RECORDS, Installation
from vault import events, grants, ledgers
from vault.context import Actor, Vault
from vault.core import canonical
from vault.core.errors import Denied, EvidenceError, Missing, Modified, Unavailable, Unknown, UsageError
from vault.core.selection import Selection
from vault.opening import Opener
from vault.provision import Provisioner

SOME = Scope("positions", positions=(3, 4, 90))


@pytest.fixture
def vault(installation: Installation) -> Iterator[Vault]:
    with installation.opened() as opened:
        yield opened


@pytest.fixture
def anna(vault: Vault) -> Actor:
    return hire(vault, "anna", "auditor")


@pytest.fixture
def olaf(vault: Vault) -> Actor:
    return hire(vault, "olaf", "officer")


def test_the_access_and_the_bundle_are_events(vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path) -> None:
    grant = granted(vault, anna, olaf, ["cn"])
    made = bundles.make(vault.acting(anna), tmp_path / "x.zip", SOME)
    opened, issued = last(vault, "records.opened"), last(vault, "bundle.issued")
    assert (opened.seq, issued.seq) == (made.access, made.event)
    assert opened.seq < issued.seq
    assert {**opened.facts, "root": ""} == {
        "ledger": str(ledgers.get(vault, "cn").id),
        "bundle": made.bundle,
        "first": 3,
        "last": 90,
        "count": 3,
        "selection": opened.facts["selection"],
        "size": RECORDS["cn"] + 1,
        "root": "",
        "fields": "full",
        "grant": grant.id,
        "break_glass": 0,
    }
    assert issued.facts["sha256"] == canonical.b64(made.sha256)
    assert (issued.facts["recipient"], issued.facts["bundle"]) == (anna.name, made.bundle)
    assert bundles.PURPOSE not in str(opened.facts) + str(issued.facts)
    files = unpacked(made.path)
    assert bundles.PURPOSE.encode() not in b"".join(files.values())
    assert bundles.manifest(files)["grant"] == grant.id
    assert standalone.verdict(made.path, "--key", made.fingerprint) == "OK"


def test_it_holds_the_log_of_who_opened_exactly_these(vault: Vault, tmp_path: Path) -> None:
    """The fixture read dec-3."""
    bundles.make(vault, tmp_path / "a.zip", Scope("positions", positions=(90,)))
    for positions, more in (((90,), ["records.opened"]), ((3,), ["record.opened"]), ((5,), [])):
        made = bundles.make(vault, tmp_path / "x.zip", Scope("positions", positions=positions))
        files = unpacked(made.path)
        told = bundles.lines(files, f"ledgers/{vault.events}/leaves.jsonl")
        found = [one["event"] for one in told if one.get("event") in ("record.opened", "records.opened")]
        assert found == [*more, "records.opened"], positions


def test_the_log_has_what_was_opened_beside_a_range_and_by_jobs(vault: Vault, tmp_path: Path) -> None:
    """A report opens later records for what they say about those of its period, and names none of them."""
    place = str(ledgers.get(vault, "cn").id)
    told = [
        events.Event("records.opened", {"ledger": place, "first": 90, "last": 99, "count": 10, "related": 2}),
        events.Event("followups.opened", {"ledger": place, "first": 2, "last": 4, "count": 2}),
        events.Event("followups.opened", {"ledger": place, "first": 8, "last": 9, "count": 2}),
    ]
    first = events.record_all(vault, told).seq
    made = bundles.make(vault, tmp_path / "x.zip", Scope("positions", positions=(4,)))
    files = unpacked(made.path)
    held = {one["seq"] for one in bundles.lines(files, f"ledgers/{vault.events}/leaves.jsonl")}
    assert [seq in held for seq in range(first, first + 3)] == [True, True, False]
    assert standalone.verdict(made.path) == "OK"


@pytest.mark.parametrize(
    ("scope", "seqs"),
    [
        (Scope("record", record="dec-7"), [7]),
        (Scope("conversation", conversation="conv-3"), [6, 7]),
        (Scope("period", 1_767_312_000_000_000, 1_767_312_300_000_000), None),
        (Scope(), list(range(1, RECORDS["cn"] + 1))),
    ],
    ids=["record", "conversation", "period", "whole"],
)
def test_scopes(vault: Vault, tmp_path: Path, scope: Scope, seqs: list[int] | None) -> None:
    made = bundles.make(vault, tmp_path / "x.zip", scope)
    files = unpacked(made.path)
    rows = bundles.lines(files, named(files, "records.jsonl"))
    if seqs is not None:
        assert set(seqs) <= {row["seq"] for row in rows}
    if scope.kind == "period":
        assert scope.start is not None
        assert scope.end is not None
        assert 0 < len(rows) < RECORDS["cn"]
        assert all(scope.start <= row["facets"]["occurred_at"] < scope.end for row in rows)
    if scope.kind == "conversation":
        assert {json.loads(row["record"])["conversation_id"] for row in rows} == {"conv-3"}
    assert standalone.verdict(made.path) == "OK"


def test_nothing_is_opened_before_the_access_is_written_down(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Opener, "open", lambda *_: pytest.fail("opened"))
    _fails_to_record(monkeypatch, "records.opened")
    with pytest.raises(Unavailable):
        bundles.make(vault, tmp_path / "x.zip")
    assert list(tmp_path.glob("*x.zip*")) == []


def test_there_is_no_bundle_without_its_event(vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.zip").write_text("an earlier bundle")
    _fails_to_record(monkeypatch, "bundle.issued")
    with pytest.raises(Unavailable):
        bundles.make(vault, tmp_path / "x.zip")
    assert (tmp_path / "x.zip").read_text() == "an earlier bundle"
    assert [path.name for path in tmp_path.glob("*x.zip*")] == ["x.zip"]


def test_a_grant_that_ends_while_it_is_made_hands_nothing_out(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = granted(vault, anna, olaf, ["cn"])
    write = bundle.write

    def revoking(*arguments: Any) -> Any:
        made = write(*arguments)
        grants.revoke(vault.acting(olaf), grant.id)
        return made

    monkeypatch.setattr(bundle, "write", revoking)
    with pytest.raises(Denied):
        bundles.make(vault.acting(anna), tmp_path / "x.zip", SOME)
    assert not (tmp_path / "x.zip").exists()
    assert happened(vault, "bundle.issued") == []


def test_what_a_grant_does_not_cover_is_denied(vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path) -> None:
    auditor, out = vault.acting(anna), tmp_path / "x.zip"
    with pytest.raises(Denied, match="grant"):
        bundles.make(auditor, out, SOME)
    granted(vault, anna, olaf, ["cn"], fields="masked")
    with pytest.raises(Denied, match="--full"):
        bundles.make(auditor, out, SOME)
    with pytest.raises(Denied, match="grant"):
        bundles.make(auditor, out, Scope("positions", positions=(1,)), name="sg")
    with pytest.raises(Unknown):
        bundles.make(auditor, out, Scope("record", record="no such"), full=False)
    assert {one.facts["code"] for one in happened(vault, "access.denied")} == {"grant", "fields", "scope"}
    assert happened(vault, "bundle.issued") == []
    made = bundles.make(auditor, out, full=False)  # masked, all of it
    assert made.states == {"masked": RECORDS["cn"]}
    assert standalone.verdict(made.path) == "OK"


def test_a_grant_of_a_period_opens_that_period_alone(vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path) -> None:
    start, end = 1_767_312_000_000_000, 1_767_312_300_000_000
    granted(vault, anna, olaf, ["cn"], start=start, end=end)
    auditor, out = vault.acting(anna), tmp_path / "x.zip"
    inside = bundles.make(auditor, out, Scope("period", start, end))
    assert inside.states["full"] > 0
    for scope in (Scope(), Scope("period", start, end + 3_600_000_000), SOME):
        with pytest.raises(Denied, match="scope"):
            bundles.make(auditor, out, scope)


def test_what_lies_outside_a_grant_is_told_as_what_does_not_exist(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    """Record and conversation; the words, the kind of error and the event are the same."""
    granted(vault, anna, olaf, ["cn"], start=1_767_312_000_000_000, end=1_767_312_300_000_000)
    auditor = vault.acting(anna)
    told: set[tuple[type[Exception], str, str]] = set()
    for scope in (
        Scope("record", record="dec-100"),
        Scope("record", record="no such"),
        Scope("conversation", conversation="conv-50"),
        Scope("conversation", conversation="no such"),
    ):
        with pytest.raises((Denied, Unknown)) as refused:
            bundles.make(auditor, tmp_path / "x.zip", scope)
        told.add((refused.type, str(refused.value), json.dumps(last(vault, "access.denied").facts)))
    assert len(told) == 1


@pytest.mark.parametrize("full", [False, True])
def test_a_masked_grant_confirms_no_conversation_that_it_masks(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = "this grant masks such a conversation id"
    monkeypatch.setattr(bundle, "why_masked", lambda scope: masks if scope.conversation else None)
    auditor = vault.acting(anna)

    def told(conversation: str) -> tuple[type[Exception], str]:
        with pytest.raises((Denied, Unknown)) as refused:
            bundles.make(auditor, tmp_path / "x.zip", Scope("conversation", conversation=conversation), full=full)
        return refused.type, str(refused.value)

    granted(vault, anna, olaf, ["cn"], fields="masked")
    assert told("conv-50") == told("no such") == (Denied, masks)
    granted(vault, anna, olaf, ["cn"], start=0, end=1_000_000)  # a full one as well, of another time
    assert told("conv-50") == told("no such")


def test_an_erasure_that_is_asked_for_meanwhile_hands_nothing_out(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = bundle.write

    def asking(*arguments: Any) -> Any:
        made = write(*arguments)
        named = [ledgers.get(vault, "cn")]
        requests.request_erasure(vault, ledgers=named, customer="cus-3", reason="a letter", random=os.urandom)
        return made

    with monkeypatch.context() as patched:
        patched.setattr(bundle, "write", asking)
        with pytest.raises(Denied, match="erasure"):
            bundles.make(vault, tmp_path / "x.zip", SOME)
    assert not (tmp_path / "x.zip").exists()
    assert happened(vault, "bundle.issued") == []
    assert bundles.make(vault, tmp_path / "x.zip", SOME).states == {"full": 2, "closed": 1}


def test_the_passphrase_opens_nothing_once_grants_are_required(vault: Vault, tmp_path: Path) -> None:
    hire(vault, "otto", "officer")
    grants.require(vault)
    with pytest.raises(Denied):
        bundles.make(vault, tmp_path / "x.zip", SOME)


def test_a_restricted_record_stays_closed_without_a_duty(vault: Vault, tmp_path: Path) -> None:
    requests.request_erasure(
        vault, ledgers=[ledgers.get(vault, "cn")], customer="cus-3", reason="a letter", random=os.urandom
    )
    made = bundles.make(vault, tmp_path / "x.zip", SOME)
    assert made.states == {"full": 2, "closed": 1}
    report = standalone.check(made.path)
    assert report.verdict == "OK"
    assert any("stay closed" in note for note in report.notes)
    rows = bundles.lines(files := unpacked(made.path), named(files, "records.jsonl"))
    assert rows[0] == {"seq": 3, "state": "closed"}
    assert bundles.make(vault, tmp_path / "y.zip", SOME, duty="court-order").states == {"full": 3}
    assert last(vault, "records.opened").facts["duty"] == "court-order"


def test_what_does_not_hold_makes_no_bundle(installation: Installation, vault: Vault, tmp_path: Path) -> None:
    place = installation.ledger("cn")
    edits = {
        "UPDATE vault.sealed SET model = 'x' WHERE ledger_id = %s AND seq = %s": Modified,
        "UPDATE vault.sealed SET envelope = set_byte(envelope, 30, 7) WHERE ledger_id = %s AND seq = %s": Modified,
        "DELETE FROM vault.sealed WHERE ledger_id = %s AND seq = %s": Missing,
    }
    for seq, (statement, error) in enumerate(edits.items(), 3):
        with installation.tampering() as connection:
            connection.execute(statement, (place, seq))
        with pytest.raises(EvidenceError) as caught:
            bundles.make(vault, tmp_path / "x.zip", Scope("positions", positions=(seq,)))
        assert isinstance(caught.value, error), statement
        assert not (tmp_path / "x.zip").exists()
    unsound = last(vault, "record.unsound")
    assert (unsound.facts["seq"], unsound.facts["verdict"]) == (3, "modified")


def test_records_that_move_to_another_key_meanwhile_are_opened_where_they_went(
    installation: Installation, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, stem, read = ledgers.get(vault, "cn"), only_stem(installation), bundle_records._Reader.read
    everything = [f"dec-{number}" for number in range(1, RECORDS["cn"] + 1)]

    def moving(reader: Any, items: Any) -> Any:
        monkeypatch.undo()
        with installation.retaining() as retaining:
            provisioner = Provisioner(retaining, ledger.id, events.key_created(retaining))
            move(retaining, ledger, provisioner.provide(["held"], retaining.clock())[0], everything)
            bury(retaining, ledger.id, f"{stem}.0")
        vault.ring.forget(ledger.id, f"{stem}.0")
        return read(reader, items)

    monkeypatch.setattr(bundle_records._Reader, "read", moving)
    made = bundles.make(vault, tmp_path / "x.zip", SOME)
    assert made.states == {"full": 3}
    assert standalone.verdict(made.path) == "OK"


def test_stored_roots_that_are_wrong_cost_time_and_no_proof(
    installation: Installation, vault: Vault, tmp_path: Path
) -> None:
    with installation.tampering() as connection:
        connection.execute("UPDATE vault.node SET hash = decode(repeat('00', 32), 'hex')")
    assert standalone.verdict(bundles.make(vault, tmp_path / "x.zip", SOME).path) == "OK"


def test_records_that_were_destroyed_are_told_with_their_disposal(
    installation: Installation, vault: Vault, tmp_path: Path
) -> None:
    staged = Staged.begin(vault, "cn", range(3, 9))
    staged.hold([90, 91])
    staged.run()
    delete_rows(installation, staged.ledger, staged.final)
    made = bundles.make(staged.vault, tmp_path / "x.zip", Scope("positions", positions=(3, 4, 90)))
    assert made.states == {"full": 1, "erased": 2}
    report = standalone.check(made.path, "--key", made.fingerprint)
    assert (report.verdict, report.about["records"]["erased"]) == ("OK", 2), report.findings
    assert any("self-asserted" in note for note in report.notes)
    files = unpacked(made.path)
    events_file = f"ledgers/{vault.events}/leaves.jsonl"
    manifest = next(name for name in files if "/manifests/" in name)
    selection = canonical.b64(bytes(32))

    def found(changed: bundles.Files) -> str:
        return standalone.verdict(packed(resigned(vault, changed), tmp_path / "y.zip"))

    assert found({**files, manifest: files[manifest].replace(b"\n4 ", b"\n5 ", 1)}) == "MISSING"
    assert found({name: one for name, one in files.items() if name != manifest}) == "MISSING"
    without = {name: one for name, one in files.items() if "/selections/" not in name}
    assert found({**without, f"ledgers/{staged.ledger}/selections/{selection}.txt": b""}) == "MISSING"
    assert b'"disposal.approved"' in files[events_file]


UNLAWFUL = {
    "held": lambda staged: staged.hold([3]),
    "one approval": lambda staged: staged.officers.pop(),
    "the planner approves": lambda staged: (
        (staged.register(staged.planner), staged.officers.insert(0, staged.planner)) and staged.officers.pop()
    ),
    "early": lambda staged: setattr(staged, "vault", staged.today),
    "moved on": lambda staged: staged.move([3], "2099-01.0"),
}


REASONS = {
    "held": "the hold h-1 was open",
    "one approval": "1 of 2 approvals hold",
    "the planner approves": "1 of 2 approvals hold",
    "early": "it was to be kept until",
    "moved on": "the key of group 2099-01.0 is not destroyed",
}


@pytest.mark.parametrize("what", UNLAWFUL)
def test_an_erasure_whose_evidence_does_not_hold_is_missing(
    installation: Installation, vault: Vault, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vault refuses to make such a bundle; one that lies makes it, and the verifier says so."""
    staged = Staged.begin(vault, "cn", range(3, 9))
    UNLAWFUL[what](staged)
    staged.run()
    delete_rows(installation, staged.ledger, staged.final)
    with pytest.raises(EvidenceError):
        bundles.make(staged.vault, tmp_path / "x.zip", SOME)

    class Lying:
        disposal = staged.id

    monkeypatch.setattr(bundle_records.Explainer, "of", lambda *_: Lying)
    made = bundles.make(staged.vault, tmp_path / "x.zip", SOME)
    report = standalone.check(made.path)
    assert report.verdict == "MISSING", what
    assert "its erasure does not hold" in report.findings[0].what
    assert REASONS[what] in report.findings[0].what


def test_bundles_and_what_dead_runs_left_are_outstanding(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bundles.make(vault, tmp_path / "x.zip", SOME)
    masked = bundles.make(vault, tmp_path / "y.zip", SOME, full=False)

    def die(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(bundle, "write", die)
    with pytest.raises(RuntimeError):
        bundles.make(vault, tmp_path / "z.zip", SOME)
    told = happened(vault, *copies.NAMES)
    died = last(vault, "records.opened").facts["bundle"]
    cn = ledgers.get(vault, "cn").id

    def of(*seqs: int) -> list[tuple[str, str]]:
        listed = copies.outstanding(vault, cn, Selection.of(seqs), "2029-01-01T00:00:00Z", told)
        return [(one.what, one.shows) for one in listed if one.kind == "bundle"]

    assert of(4, 5) == [
        (f"full evidence bundle {made.bundle}", "text"),
        (f"masked evidence bundle {masked.bundle}", "facets"),
        (f"what full evidence bundle {died} left when it died, if anything", "text"),
    ]
    assert of(5) == []


def test_bad_asks_are_refused_before_anything_is_opened(
    installation: Installation, vault: Vault, tmp_path: Path
) -> None:
    before = installation.size("events")
    os.mkfifo(tmp_path / "pipe")
    for out in (tmp_path, tmp_path / "nowhere" / "x.zip", tmp_path / "pipe"):
        with pytest.raises(UsageError):
            bundles.make(vault, out)
    for scope in (
        Scope("positions", positions=(0,)),
        Scope("positions", positions=(10**6,)),
        Scope("record", record="?"),
    ):
        with pytest.raises(UsageError):
            bundles.make(vault, tmp_path / "x.zip", scope)
    with pytest.raises(UsageError, match="--purpose"):
        bundle.make_bundle(vault, ledgers.get(vault, "cn"), Scope(), " ", tmp_path / "x.zip")
    assert installation.size("events") == before
    assert (tmp_path / "pipe").is_fifo()


def test_the_command_makes_one_and_says_which_key_to_tell(installation: Installation, tmp_path: Path) -> None:
    out, purpose = tmp_path / "x.zip", ("--purpose", bundles.PURPOSE)
    ran = installation.run("bundle", "-o", str(out), "--ledger", "cn", "--record", "dec-3", "--full", *purpose)
    assert ran.exit_code == 0, ran.output
    fingerprint = ran.stdout.partition("--key ")[2].strip()
    assert standalone.verdict(out, "--key", fingerprint) == "OK"
    told = json.loads(installation.run("bundle", "-o", str(out), "--ledger", "cn", *purpose, "--json").stdout)
    assert (told["records"], told["fingerprint"]) == ({"masked": RECORDS["cn"]}, fingerprint)
    for words in (("--record", "x", "--seq", "3"), ("--record", "none of ours"), ("--seq", "100000")):
        assert installation.run("bundle", "-o", str(out), "--ledger", "cn", *purpose, *words).exit_code == 2
    assert installation.run("bundle", "-o", str(out), "--ledger", "events", *purpose).exit_code == 2


def test_two_processes_make_what_one_makes(vault: Vault, tmp_path: Path) -> None:
    one = bundles.make(vault, tmp_path / "x.zip")
    two = bundle.make_bundle(
        vault, ledgers.get(vault, "cn"), Scope(), bundles.PURPOSE, tmp_path / "y.zip", full=True, processes=2
    )
    name = named(files := unpacked(one.path), "records.jsonl")
    assert files[name] == unpacked(two.path)[name]
    with zipfile.ZipFile(two.path) as archive:
        assert archive.testzip() is None


def _fails_to_record(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    item = events._item

    def fails(vault: Vault, event: events.Event, *rest: Any) -> Any:
        if event.name == name:
            raise Unavailable("the database went away")
        return item(vault, event, *rest)

    monkeypatch.setattr(events, "_item", fails)
