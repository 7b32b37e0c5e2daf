"""The main job in front of your eyes: decisions in, verified, reported; then a damaged copy that the verifier finds
out.

Everything lies below .demo/ in the clone; each run starts anew. ``scripts/demo`` calls this inside the environment.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402 - the source tree has to be on the path before anything of ours is imported
from psycopg.sql import SQL, Identifier  # noqa: E402

from bench.synthetic import decisions  # noqa: E402
from reports.evidence import KIND  # noqa: E402
from reports.issue import Issued, issue  # noqa: E402
from reports.kind import Wanted  # noqa: E402
from reports.period import period_of  # noqa: E402
from retention.keeping import adopted  # noqa: E402
from service import wiring  # noqa: E402
from service.terminal import progress  # noqa: E402
from vault import audit, intake, ledgers, reading  # noqa: E402
from vault.context import Vault  # noqa: E402
from vault.core import packing  # noqa: E402
from vault.core.errors import VaultError  # noqa: E402
from vault.db.embedded import EmbeddedServer  # noqa: E402
from vault.ledgers import Ledger  # noqa: E402
from vault.settling import Status  # noqa: E402
from vault.verdict import Depth, LedgerReport, worst  # noqa: E402

DEMO = ROOT / ".demo"
HOME, PASSPHRASE, RECORDS = DEMO / "home", DEMO / "passphrase", DEMO / "decisions.jsonl"
REPORT, COPY = DEMO / "evidence.pdf", DEMO / "copy"
COUNT, SEED = 2000, 7
LEDGER, JURISDICTIONS = "payments", ("CN", "SG")
COPY_DATABASE = "reasonvault_copy"


def main() -> None:
    """Tell the story, one numbered line a step."""
    start = time.monotonic()
    print(f"Making a vault below {DEMO}; all of it takes about twenty seconds.", flush=True)
    passphrase = _start_anew()
    lines = list(_lines())
    RECORDS.write_bytes(b"".join(line + b"\n" for line in lines))
    wiring.initialise(HOME, passphrase)
    _tell("A vault was made. Its database is its own; its keys and its signed checkpoints lie outside the database.")
    with wiring.open_vault(HOME, passphrase) as vault:
        ledger = ledgers.create(vault, LEDGER, JURISDICTIONS, ())
        rules = adopted(wiring.rule_book(vault), JURISDICTIONS, ()).adopted
        _tell(
            f"A ledger '{LEDGER}' was opened for {' and '.join(JURISDICTIONS)}. Retention rules "
            f"{' and '.join(rule.id for rule in rules)} decide how long its records stay: three years at least."
        )
        _take_in(vault, lines)
        _read_one(vault, ledger, json.loads(lines[0])["id"])
        _report(vault, ledger)
    _verify()
    _damage_a_copy()
    _end(time.monotonic() - start)


def _start_anew() -> bytes:
    """Remove what an earlier run left, its server included, and choose a passphrase."""
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REASONVAULT_ENV"):
        os.environ.pop(name, None)  # the demo has a database of its own and leaves every other one alone
    if DEMO.exists():
        EmbeddedServer(HOME).discard()
        shutil.rmtree(DEMO)
    DEMO.mkdir(mode=0o700)
    words = secrets.token_urlsafe(24)
    with open(PASSPHRASE, "x", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(words + "\n")
    return words.encode()


def _lines() -> Iterator[bytes]:
    """Made-up decisions of the last weeks, and three lines as they happen: a resend, a conflict, a card number."""
    good = list(decisions(COUNT, SEED, start=datetime.now(UTC) - timedelta(days=32)))
    yield from good
    yield good[-1]
    yield _changed(good[-2], conversation_id="another-conversation")
    yield _changed(good[-3], id="with-a-card-number", producer_seq=COUNT + 1, customer_ref="4111 1111 1111 1111")


def _changed(line: bytes, **fields: Any) -> bytes:
    return json.dumps(json.loads(line) | fields, ensure_ascii=False).encode()


def _take_in(vault: Vault, lines: list[bytes]) -> None:
    counts = dict.fromkeys(Status, 0)
    start = time.monotonic()
    with progress("taking decisions in", len(lines)) as show:
        for batch in intake.ingest(vault, ledgers.get(vault, LEDGER), enumerate(lines, 1), "shop-1"):
            for result in batch.results:
                counts[result.status] += 1
            show(sum(counts.values()), None)
    spent = time.monotonic() - start
    _tell(
        f"{counts[Status.ACCEPTED]:,} made-up AI decisions were sealed, chained and stored in {spent:.1f} s. "
        f"{counts[Status.DUPLICATE]} line came twice and was recognised, {counts[Status.CONFLICTING]} used a known id "
        f"for something else, {counts[Status.REFUSED]} held a card number and was refused: its digits are kept nowhere."
    )


def _read_one(vault: Vault, ledger: Ledger, record_id: str) -> None:
    found = reading.read(vault, ledger, record_id, "demonstration")
    _tell(
        f"One record was opened: {len(found.raw):,} bytes, exactly as they were sent. That it was opened, by whom and "
        f"why, was written down first (events ledger, seq {found.access})."
    )


def _report(vault: Vault, ledger: Ledger) -> None:
    book = wiring.rule_book(vault)
    period = period_of(book, ledger.genesis.jurisdictions, None, None)
    with progress("collecting evidence") as show:
        made = issue(
            vault,
            KIND,
            Wanted(ledger, book, period, "Demonstration of the evidence report"),
            REPORT,
            progress=lambda _name, done, total: show(done, total),
        )
    _tell(_report_words(made))


def _report_words(made: Issued) -> str:
    report = made.collected.model
    found = {check.code: check.count for check in report.exceptions}
    twice, unknown = found["possible_double_charge"], found["outcome_unknown"]
    return (
        f"The evidence report was written: {made.pages} pages, all {report.population.in_period:,} records attached. "
        f"{report.decisions.moved:,} decisions moved money, {report.low_confidence.count} of them below their "
        f"threshold and without anybody's review. Possible double charges: {twice} records; outcomes still unknown: "
        f"{unknown}; logs known to be missing: at most {report.population.known_missing}."
    )


def _verify() -> None:
    start = time.monotonic()
    reports = _audited(HOME)
    entries = sum(report.entries for report in reports)
    verdict = worst(reports)
    _tell(
        f"The verifier read all {entries:,} entries without any key, in {time.monotonic() - start:.1f} s: "
        f"{'nothing was altered, nothing is missing' if verdict is None else verdict.name}."
    )


def _damage_a_copy() -> None:
    """Do to a copy what the owner of its database could do: triggers and grants off, three rows touched."""
    server = EmbeddedServer(HOME)
    COPY.mkdir(mode=0o700)
    shutil.copy(HOME / "vault.json", COPY)
    shutil.copytree(HOME / "checkpoints", COPY / "checkpoints")
    with _copied_database(server):
        edited, rewritten, removed = _crimes(server.dsn("superuser", COPY_DATABASE))
        _tell(
            "Then a copy was made and its database was damaged, the way its administrator could: in entry "
            f"{edited} the column that says whether money moved was turned round, entry {rewritten} was rewritten, "
            f"entry {removed} was deleted. The verifier on that copy:"
        )
        os.environ["DATABASE_URL"] = server.dsn("app", COPY_DATABASE)
        try:
            damaged = _audited(COPY)
        finally:
            del os.environ["DATABASE_URL"]
    for fault in (fault for report in damaged for fault in report.faults):
        print(f"      {fault.verdict.name:<9} {LEDGER}, seq {fault.seq}: {fault.what}")
    shutil.rmtree(COPY)


@contextmanager
def _copied_database(server: EmbeddedServer) -> Iterator[None]:
    copy, source = Identifier(COPY_DATABASE), Identifier("reasonvault")
    with psycopg.connect(server.dsn("superuser", "postgres"), autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(copy, source))
        try:
            yield
        finally:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(copy))


def _crimes(dsn: str) -> tuple[int, int, int]:
    with psycopg.connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")  # no trigger fires
        ledger = _first(connection, "SELECT ledger_id FROM vault.ledger WHERE name = %s", [LEDGER])
        assert isinstance(ledger, UUID)
        edited, rewritten, removed = COUNT // 4, COUNT // 2, 3 * COUNT // 4
        place = "WHERE ledger_id = %s AND seq = %s"
        connection.execute(f"UPDATE vault.sealed SET money_moved = NOT money_moved {place}", [ledger, edited])  # noqa: S608
        stored = _first(connection, f"SELECT leaf FROM vault.entry {place}", [ledger, rewritten])  # noqa: S608
        assert isinstance(stored, bytes)
        leaf = packing.unpack(stored).replace(b'"producer":"shop-1"', b'"producer":"shop-2"')
        connection.execute(f"UPDATE vault.entry SET leaf = %s {place}", [packing.pack(leaf), ledger, rewritten])  # noqa: S608
        for table in ("sealed", "entry"):
            connection.execute(f"DELETE FROM vault.{table} {place}", [ledger, removed])  # noqa: S608
    return edited, rewritten, removed


def _first(connection: psycopg.Connection[Any], query: str, parameters: list[object]) -> object:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


def _audited(home: Path) -> list[LedgerReport]:
    with wiring.open_sealed(home) as sealed, progress("verifying") as show:
        return audit.audit(
            sealed.engine,
            sealed.checkpoints,
            sealed.identity.events,
            Depth.ENVELOPES,
            progress=lambda _name, done, total: show(done, total),
        )


_steps = iter(range(1, 100))


def _tell(what: str) -> None:
    lead = f"{next(_steps):>3}  "
    print(textwrap.fill(what, 110, initial_indent=lead, subsequent_indent=" " * len(lead)), flush=True)


def _end(seconds: float) -> None:
    print(
        f"""
Done in {seconds:.0f} s. The vault itself is untouched and yours to use:

  export REASONVAULT_HOME={HOME}
  export REASONVAULT_PASSPHRASE_FILE={PASSPHRASE}

  {ROOT / ".venv/bin/reasonvault"} verify      the command; without arguments it lists what it can do
  {REPORT}      the report, the population attached to it
  {RECORDS}      the decisions that went in

The next run of scripts/demo starts anew and deletes this vault."""
    )


if __name__ == "__main__":
    try:
        main()
    except VaultError as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
