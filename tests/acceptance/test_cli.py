"""Every command as a stranger runs it: words, documents, files, exit codes; errors are one line."""

from __future__ import annotations

import gzip
import hashlib
import json
import stat
from pathlib import Path

import psycopg
import pytest
import zstandard

from tests.support.decisions import as_file, decision, decisions, spelled
from tests.support.evidence import attachments, lines, told
from tests.support.stranger import Stranger
from tests.support.tampering import Crime
from tests.support.vault import RECORDS, Installation
from vault.core import receipt
from vault.core.errors import Modified

CN = RECORDS["cn"]
_ONE_DAY_SHORT = ("--from", "2026-01-02", "--to", "2026-01-02")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty directory."""
    made = tmp_path / "elsewhere"
    made.mkdir()
    return made


@pytest.fixture
def run(installation: Installation, folder: Path) -> Stranger:
    """A stranger beside a vault in use, whose commands run in this process."""
    return Stranger.of(installation, folder, apart=False)


@pytest.fixture
def apart(installation: Installation, folder: Path) -> Stranger:
    """A stranger whose commands are processes of their own."""
    return Stranger.of(installation, folder, apart=True)


def _file(run: Stranger, data: bytes, name: str = "in.jsonl") -> Path:
    path = run.folder / name
    path.write_bytes(data)
    return path


def test_init_can_be_run_again_and_again(fresh: Installation, tmp_path: Path) -> None:
    run = Stranger.of(fresh, tmp_path, apart=False)
    first, second = run("init", "--json"), run("init", "--json")
    assert (first.code, first.document["new"]) == (0, True)
    assert (second.code, second.document["new"]) == (0, False)
    assert first.document["tenant"] == second.document["tenant"]
    assert "the vault is in order" in run("init").out.decode()


def test_a_ledger_is_made_with_its_rules_printed(run: Stranger) -> None:
    made = run("ledger", "create", "eu", "--jurisdiction", "DE", "--rule", "EU-AIA-19")
    assert made.code == 0
    assert "EU-AIA-19" in made.out.decode().partition("Not adopted")[0]
    assert "SG-PDPA-25" in made.out.decode().partition("Not adopted")[2]
    again = run("ledger", "create", "eu", "--jurisdiction", "DE", "--rule", "EU-AIA-19", "--json").document
    assert {rule["id"] for rule in again["rules"]} >= {"PROD-3Y", "EU-AIA-19"}
    assert all(rule["status"] in {"verified", "secondary", "unverified"} for rule in again["rules"])
    listed = run("ledger", "list", "--json").document
    assert {(one["name"], one["entries"]) for one in listed} >= {("eu", 1), ("cn", CN + 1)}
    assert "cn" in run("ledger", "list").out.decode()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ledger", "create", "eu"], "Missing option '--jurisdiction'"),
        (["ledger", "create", "EU", "--jurisdiction", "DE"], "a ledger's name is"),
        (["ledger", "create", "eu", "--jurisdiction", "Germany"], "no ISO 3166-1 code"),
        (["ledger", "create", "eu", "--jurisdiction", "DE", "--rule", "X"], "has no rule 'X'"),
        (["ledger", "create", "cn", "--jurisdiction", "DE"], "exists with other jurisdictions"),
        (["ingest", "nowhere.jsonl", "--ledger", "cn"], "cannot read nowhere.jsonl"),
        (["ingest", "-", "--ledger", "nope"], "no ledger is named nope"),
        (["ingest", "-", "--ledger", "events"], "and no records"),
        (["ingest", "-", "--ledger", "cn", "--producer", "a b"], "--producer is a word"),
        (["show", "dec-1", "--ledger", "cn"], "Missing option '--purpose'"),
        (["show", "dec-1", "--ledger", "cn", "--purpose", " "], "--purpose must say why"),
        (["show", "nope", "--ledger", "cn", "--purpose", "x"], "has no record with this id"),
        (["verify", "--depth", "deep"], "'deep' is not one of"),
        (["report", "evidence", "--ledger", "cn", "--purpose", "x"], "Missing option '-o'"),
        (["report", "evidence", "--ledger", "events", "--purpose", "x", "-o", "x.pdf"], "and no records"),
        (["report", "evidence", "--ledger", "cn", "--purpose", "x", "-o", "no/x.pdf"], "cannot write a report"),
        (
            ["report", "evidence", "--ledger", "cn", "--purpose", "x", "-o", "x.pdf", "--from", "2026-13-01"],
            "'2026-13-01' does not match",
        ),
        (
            ["report", "evidence", "--ledger", "cn", "--purpose", "x", "-o", "x.pdf", *_ONE_DAY_SHORT],
            "the period is empty",
        ),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["db", "status"], "DATABASE_URL names the database"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_errors_are_one_line_and_exit_2(installation: Installation, arguments: list[str], words: str) -> None:
    ran = installation.run(*arguments)
    assert ran.exit_code == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith("reasonvault: ")
    assert words in line
    assert ran.stdout == ""


def test_errors_have_a_document_too(apart: Stranger) -> None:
    for arguments in (["show", "nope", "--ledger", "cn", "--purpose", "x"], ["ledger", "create", "eu"]):
        ran = apart(*arguments, "--json")
        assert (ran.code, ran.document["exit_code"]) == (2, 2)
        assert ran.document["error"] == ran.complaint


def test_ingest_counts_and_sets_refused_lines_aside(run: Stranger) -> None:
    card = decision(903, customer_ref="4111 1111 1111 1111")
    data = as_file([*decisions(2, 900), (3, spelled(decision(3, customer_ref="other"))), (4, spelled(card)), (5, b"{")])
    file = _file(run, data)
    ran = run("ingest", file, "--ledger", "cn", "--json")
    assert ran.code == 3
    assert ran.document == {"accepted": 2, "duplicate": 0, "conflicting": 1, "refused": 2}
    refused = run.folder / "in.jsonl.refused.jsonl"
    conflict, number, cut = lines(refused)
    assert (conflict["line"], conflict["path"], conflict["code"]) == (3, "$.id", "conflict")
    assert (number["line"], number["path"], number["code"]) == (4, "$.customer_ref", "card_number")
    assert cut["line"] == 5
    assert "4111" not in refused.read_text()
    assert stat.S_IMODE(refused.stat().st_mode) == 0o600


def test_ingesting_again_finds_duplicates_only_and_exits_0(run: Stranger) -> None:
    file = _file(run, as_file(decisions(4, 900)))
    assert run("ingest", file, "--ledger", "cn").out == b"cn: 4 accepted, 0 duplicate, 0 conflicting, 0 refused\n"
    again = run("ingest", file, "--ledger", "cn")
    assert (again.code, again.out) == (0, b"cn: 0 accepted, 4 duplicate, 0 conflicting, 0 refused\n")
    assert not (run.folder / "in.jsonl.refused.jsonl").exists()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gz", "zst"])
def test_packed_files(run: Stranger, pack: object) -> None:
    assert callable(pack)
    file = _file(run, pack(as_file(decisions(3, 900))), "in.jsonl.packed")
    assert run("ingest", file, "--ledger", "cn", "--json").document["accepted"] == 3
    cut = _file(run, file.read_bytes()[:-9], "cut.packed")
    ran = run("ingest", cut, "--ledger", "cn", "--json")
    assert (ran.code, ran.document["exit_code"]) == (3, 3)
    assert "damaged or cut off" in ran.document["error"]


def test_standard_input(apart: Stranger) -> None:
    ran = apart("ingest", "-", "--ledger", "cn", stdin=as_file([*decisions(3, 900), (4, b"no json")]))
    assert (ran.code, ran.out) == (3, b"cn: 3 accepted, 0 duplicate, 0 conflicting, 1 refused\n")
    (refused,) = ran.err.splitlines()
    assert json.loads(refused)["line"] == 4
    packed = gzip.compress(as_file(decisions(3, 903)))
    assert apart("ingest", "-", "--ledger", "cn", "--json", stdin=packed).document["accepted"] == 3
    named = apart("ingest", "-", "--ledger", "cn", "--refused", "set-aside.jsonl", stdin=b"no json\n")
    assert (named.code, named.err) == (3, "")
    assert lines(apart.folder / "set-aside.jsonl")[0]["line"] == 1


def test_receipts_verify(run: Stranger, installation: Installation) -> None:
    sent = dict(decisions(3, 900))
    file = _file(run, as_file(list(sent.items())))
    for name in ("first.jsonl", "again.jsonl"):
        assert run("ingest", file, "--ledger", "cn", "--receipts", name).code == 0
        given = {line["line"]: line["receipt"] for line in lines(run.folder / name)}
        assert sorted(given) == [1, 2, 3]
        with installation.opened() as vault:
            ledger = installation.ledger("cn")
            key, origin = vault.checkpoints.verifier(ledger), vault.checkpoints.origin(ledger)
        for line, raw in enumerate(sent.values(), 1):
            held = json.dumps(given[line]).encode()
            assert receipt.verify(held, raw, [key], origin).size > CN
            with pytest.raises(Modified):
                receipt.verify(held, raw + b" ", [key], origin)
        assert stat.S_IMODE((run.folder / name).stat().st_mode) == 0o600


def test_show_gives_the_bytes_and_tells_the_facts_beside_them(apart: Stranger, installation: Installation) -> None:
    raw = b'  {"id" : "odd",' + spelled(decision(1, id=None))[1:] + b"\t"
    assert apart("ingest", "-", "--ledger", "cn", stdin=raw).code == 0
    ran = apart("show", "odd", "--ledger", "cn", "--purpose", "complaint 7")
    assert (ran.code, ran.out) == (0, raw)
    assert "keep_until" in ran.err
    as_document = apart("show", "odd", "--ledger", "cn", "--purpose", "complaint 7", "--json")
    assert as_document.out == raw
    facts = json.loads(as_document.err)
    assert facts["seq"] == CN + 1
    assert told(installation, "record.opened")[-1].seq == facts["access_event"]


def test_verify_needs_no_passphrase_but_for_opening(run: Stranger) -> None:
    for depth in ("leaves", "envelopes"):
        ran = run("verify", "--depth", depth, "--json", REASONVAULT_PASSPHRASE="")
        assert (ran.code, ran.document["verdict"], ran.document["depth"]) == (0, "OK", depth)
    assert "a passphrase is needed" in run("verify", "--depth", "open", REASONVAULT_PASSPHRASE="").complaint
    opened = run("verify", "--depth", "open", "--ledger", "cn", "--json")
    assert opened.code == 0
    assert [(one["name"], one["opened"] > 0) for one in opened.document["ledgers"]] == [("events", True), ("cn", True)]
    assert run("verify").out.decode().splitlines()[-1] == "OK"


def test_verdicts_have_exit_codes(run: Stranger, installation: Installation) -> None:
    crime = Crime.against(installation)
    crime.delete("cn", 60, 61)
    missing = run("verify")
    assert missing.code == 11
    assert f"MISSING ledger {crime.uuid('cn')} seq 60" in missing.out.decode()
    crime.edit("sealed", "cn", 70, "score = 0.99")
    modified = run("verify", "--ledger", "cn", "--json")
    assert (modified.code, modified.document["verdict"]) == (10, "MODIFIED")
    assert {fault["seq"] for fault in modified.document["ledgers"][1]["faults"]} >= {60, 70}
    (crime.place("sg") / "checkpoint").write_text("nonsense\n")
    assert run("verify").code == 12


def test_wrong_passphrase_is_denied(run: Stranger) -> None:
    ran = run("ledger", "list", REASONVAULT_PASSPHRASE="wrong")
    assert (ran.code, ran.out) == (4, b"")
    assert "passphrase" in ran.complaint


def test_a_passphrase_can_come_from_a_file(run: Stranger) -> None:
    file = _file(run, run.variables["REASONVAULT_PASSPHRASE"].encode() + b"\n", "passphrase")
    assert run("ledger", "list", REASONVAULT_PASSPHRASE="", REASONVAULT_PASSPHRASE_FILE=str(file)).code == 0
    absent = run("ledger", "list", REASONVAULT_PASSPHRASE="", REASONVAULT_PASSPHRASE_FILE="nowhere")
    assert (absent.code, "cannot read REASONVAULT_PASSPHRASE_FILE" in absent.complaint) == (2, True)


def test_a_home_without_a_vault(run: Stranger) -> None:
    ran = run("verify", REASONVAULT_HOME=str(run.folder / "empty"))
    assert (ran.code, "run 'reasonvault init' first" in ran.complaint) == (2, True)
    assert not (run.folder / "empty").exists()


def test_a_database_that_does_not_answer_is_unavailable(run: Stranger) -> None:
    ran = run("verify", DATABASE_URL=f"postgresql://nobody@/nothing?host={run.folder}")
    assert ran.code == 5
    assert "database" in ran.complaint


def test_a_database_behind_its_checkpoint_stops_ingest(run: Stranger, installation: Installation) -> None:
    with installation.tampering() as connection:
        connection.execute("UPDATE vault.head SET size = size - 1 WHERE ledger_id = %s", [installation.ledger("cn")])
    file = _file(run, as_file(decisions(2, 900)))
    ran = run("ingest", file, "--ledger", "cn", "--json")
    assert (ran.code, ran.document["exit_code"]) == (12, 12)
    # Standard output is the error's alone; what was counted until then stands beside it.
    assert json.loads(ran.err.splitlines()[0])["accepted"] == 0


def test_evidence(run: Stranger, installation: Installation) -> None:
    ran = run("report", "evidence", "--ledger", "cn", "--purpose", "年度审计 audit", "-o", "evidence.pdf", "--json")
    assert ran.code == 0, ran.err
    made = run.folder / "evidence.pdf"
    document = ran.document
    assert document["sha256"] == hashlib.sha256(made.read_bytes()).hexdigest()
    assert (document["records"], document["opened"], document["verdict"]) == (CN, CN, "OK")
    assert document["exceptions"]["low_confidence"] > 0
    assert made.read_bytes().startswith(b"%PDF-1.7")
    assert len(lines(attachments(made)["population.jsonl"])) == CN
    assert told(installation, "report.issued")[-1].seq == document["event"]


def test_evidence_of_a_period(run: Stranger) -> None:
    options = ["--from", "2026-01-05", "--to", "2026-01-07", "-o", "january.pdf"]
    ran = run("report", "evidence", "--ledger", "cn", "--purpose", "x", *options)
    assert ran.code == 0, ran.err
    days = {
        line["facets"]["occurred_at"][:10]
        for line in lines(attachments(run.folder / "january.pdf")["population.jsonl"])
    }
    assert days == {"2026-01-05", "2026-01-06"}  # 08:00 in Shanghai is midnight in UTC
    assert "january.pdf" in ran.out.decode()


def test_the_schema_must_be_current(fresh: Installation, tmp_path: Path) -> None:
    run = Stranger.of(fresh, tmp_path, apart=False)
    assert run("init").code == 0
    with psycopg.connect(fresh.database.superuser_dsn) as connection:
        connection.execute("UPDATE vault.alembic_version SET version_num = '0000'")
    ran = run("verify")
    assert ran.code == 2
    assert ran.complaint


def test_dsn_and_migrate(run: Stranger) -> None:
    assert run("db", "migrate", "--json").document["revision"]
    assert run("db", "dsn").out.decode().strip() == run.variables["DATABASE_URL"]
    assert run("db", "dsn", "--role", "owner", "--json").document["role"] == "owner"


def test_help_without_arguments(apart: Stranger) -> None:
    assert b"Usage:" in apart("--help").out
    bare = apart()
    assert (bare.code, "Usage:" in bare.err) == (2, True)


@pytest.mark.parametrize("option", ["--receipts", "--refused"])
def test_an_output_never_takes_the_place_of_the_input(run: Stranger, folder: Path, option: str) -> None:
    sent = folder / "sent.jsonl"
    sent.write_bytes(as_file(decisions(2, 970)))
    (folder / "link.jsonl").symlink_to(sent)
    for named in (sent, folder / "link.jsonl"):
        ran = run("ingest", sent, "--ledger", "cn", option, named)
        assert (ran.code, "different files" in ran.complaint) == (2, True)
    assert sent.read_bytes() == as_file(decisions(2, 970))


def test_receipts_and_refusals_go_to_two_files(run: Stranger, folder: Path) -> None:
    both = folder / "both"
    ran = run("ingest", "-", "--ledger", "cn", "--receipts", both, "--refused", both)
    assert (ran.code, both.exists()) == (2, False)
