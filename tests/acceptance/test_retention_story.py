"""Ten years of history come in, one case is held, what is due is destroyed and certified, and an old dump brings
nothing back: by the command line alone, with keys in a real OpenBao.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pikepdf
import psycopg
import pytest

from tests.support.acting import await_
from tests.support.decisions import as_file, decision, spelled
from tests.support.openbao import Bao
from tests.support.postgres import Database
from tests.support.stranger import ROOT, Ran, Stranger
from tests.support.vault import PASSPHRASE
from vault.db import pgbinaries

PEOPLE = ("olaf", "petra", "rita")
# One record every nine months, from the spring of 2016 to the beginning of 2026.
MOMENTS = [datetime(2016 + month // 12, 1 + month % 12, 17, 9, tzinfo=UTC) for month in range(3, 121, 9)]
RULES = {"cn": (), "sg": ("SG-PSN-5Y",), "de": ("DE-HGB-257",)}
# Of every 7 records one is customer cus-4's, who is in court in China.
HELD = "cus-4"


def kept(ledger: str, occurred: datetime, today: datetime) -> bool:
    """Say whether a record must still be there: until the month is over in which its years are."""
    if ledger == "de":  # eight years from the end of the year: until the end of another December, German time
        return occurred.year + 8 >= today.year
    years = 3 if ledger == "cn" else 5
    return (occurred.year + years, occurred.month) >= (today.year, today.month)


def history(ledger: str) -> list[dict[str, Any]]:
    return [
        decision(number, id=f"{ledger}-{number}", occurred_at=occurred.isoformat(), jurisdictions=[ledger.upper()])
        | {"decision": {"action": "refund", "outcome": "rejected", "money_moved": False}}
        for number, occurred in enumerate(MOMENTS, 1)
    ]


class Office:
    """A desk with a vault, passwords and approvers' keys of three officers."""

    def __init__(self, folder: Path, database: Database, bao: Bao) -> None:
        self.home, self.folder = folder / "home", folder / "desk"
        self.folder.mkdir()
        variables = {
            "REASONVAULT_HOME": str(self.home),
            "REASONVAULT_PASSPHRASE": PASSPHRASE.decode(),
            "DATABASE_URL": database.app_dsn,
            "DATABASE_OWNER_URL": database.owner_dsn,
            "PYTHONPATH": str(ROOT),
        }
        self._run = Stranger(self.folder, variables | bao.environment(), apart=False)
        for name in PEOPLE:
            (self.folder / f"{name}.password").write_text(f"the long password of {name}\n")

    def __call__(self, *arguments: str | Path, of: str = "", code: int = 0) -> Ran:
        variables = {}
        if of:
            variables["REASONVAULT_PASSWORD_FILE"] = str(self.folder / f"{of}.password")
            variables["REASONVAULT_APPROVER_PASSPHRASE_FILE"] = str(self.folder / f"{of}.password")
        words = (*arguments, "--user", of) if of and "--no-user" not in arguments else arguments
        ran = self._run(*(word for word in words if word != "--no-user"), **variables)
        assert ran.code == code, (arguments, ran.out, ran.err)
        return ran

    def told(self, *arguments: str | Path, of: str = "", code: int = 0) -> Any:
        return self(*arguments, "--json", of=of, code=code).document

    def hire(self, name: str) -> None:
        variables = {"REASONVAULT_PASSWORD_FILE": str(self.folder / f"{name}.password")}
        assert self._run("user", "add", name, "--role", "officer", **variables).code == 0
        key = self.folder / f"{name}.key"
        self("approver", "key", key, "--no-user", of=name)
        self("approver", "register", key, of=name)

    def take_history(self, ledger: str) -> None:
        file = self.folder / f"{ledger}.jsonl"
        file.write_bytes(as_file([(number, spelled(one)) for number, one in enumerate(history(ledger), 1)]))
        words = ("--ledger", ledger, "--producer", "psp-1", "--reason", "moved from the system before")
        asked = self.told("import", "request", file, *words, of="olaf")["import"]
        self("import", "run", asked, file, of="olaf", code=4)  # nobody approved it yet
        self("import", "approve", asked, of="olaf", code=4)  # nor does whoever asked
        self("import", "approve", asked, of="petra")
        self("import", "run", asked, file, of="olaf")

    def dispose(self, ledger: str) -> Iterator[str]:
        """Plan, sign and run until nothing is due."""
        while name := self.told("disposal", "plan", "--ledger", ledger, of="olaf")["disposal"]:
            self("disposal", "run", name, code=4)
            for person in ("petra", "rita"):
                self("disposal", "approve", name, "--key", self.folder / f"{person}.key", of=person)
            # Cooling-off of no length ends with the second in which it began.
            await_(lambda: self._run("disposal", "run", name).code == 0)
            yield name

    def alive(self, ledger: str) -> set[str]:
        """Return the ids of the records that can be opened."""
        found = set()
        for one in history(ledger):
            ran = self._run("show", one["id"], "--ledger", ledger, "--purpose", "the story")
            if ran.code == 0:
                assert json.loads(ran.out) == one
                found.add(one["id"])
            else:
                assert ran.code in (5, 6), ran.err
                assert one["response"] not in ran.out.decode() + ran.err
        return found


def postgres(program: str, *arguments: str) -> None:
    subprocess.run([pgbinaries.find().folder / program, *arguments], check=True, capture_output=True)


@pytest.fixture
def office(tmp_path: Path, database: Database) -> Iterator[Office]:
    bao = Bao(tmp_path / "bao").made()
    try:
        made = Office(tmp_path, database, bao)
        made("init", "--keys", "openbao", "--openbao-address", bao.address)
        (made.home / "retention.toml").write_text("[disposal]\ncooling_off_hours = 0\n")
        yield made
    finally:
        bao.let_go()
        bao.stop()


def test_ten_years(office: Office, database: Database, tmp_path: Path) -> None:
    today = datetime.now(UTC)
    for ledger, rules in RULES.items():
        chosen = [word for rule in rules for word in ("--rule", rule)]
        office("ledger", "create", ledger, "--jurisdiction", ledger.upper(), *chosen)
    for name in PEOPLE:
        office.hire(name)
    for ledger in RULES:
        office.take_history(ledger)
    placed = office.told(
        "hold", "place", "--case", "4711/2026", "--reason", "in court", "--ledger", "cn", "--customer", HELD, of="olaf"
    )
    dump, old = tmp_path / "vault.dump", tmp_path / "old"
    postgres("pg_dump", "--format=custom", f"--file={dump}", database.owner_dsn)
    shutil.copytree(office.home / "checkpoints", old)

    disposals = {ledger: list(office.dispose(ledger)) for ledger in RULES}
    expected = {}
    for ledger in RULES:
        due = {one["id"] for one, at in zip(history(ledger), MOMENTS, strict=True) if not kept(ledger, at, today)}
        held = {one["id"] for one in history(ledger) if one["customer_ref"] == HELD} if ledger == "cn" else set()
        expected[ledger] = {one["id"] for one in history(ledger)} - (due - held)
        assert due - held
    assert office.alive("cn") == expected["cn"]
    verified = {one["name"]: one for one in office.told("verify", "--depth", "open")["ledgers"]}
    assert {ledger: verified[ledger]["erased_by_policy"] for ledger in RULES} == {
        ledger: len(MOMENTS) - len(expected[ledger]) for ledger in RULES
    }

    # The certificate names what it certifies, and whoever reads it finds it signed.
    certified = 0
    for ledger, made in disposals.items():
        for name in made:
            paper = tmp_path / f"{name}.pdf"
            office("disposal", "certificate", name, "-o", paper)
            facts = office.told("disposal", "certificate", name)
            certified += facts["destroyed"]
            with pikepdf.open(paper) as pdf:
                assert pdf.Root.Names.EmbeddedFiles
        assert ledger in RULES
    assert certified == sum(len(MOMENTS) - len(expected[ledger]) for ledger in RULES)

    # The old dump comes back beside today's keys; first as it is, then with the checkpoints of its day.
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA vault CASCADE")
    postgres("pg_restore", "--exit-on-error", f"--dbname={database.owner_dsn}", str(dump))
    assert office.told("verify", code=12)["verdict"] == "FORKED"
    office("show", "cn-14", "--ledger", "cn", "--purpose", "the story", code=12)
    shutil.rmtree(office.home / "checkpoints")
    shutil.copytree(old, office.home / "checkpoints")
    office("keys", "replay")
    assert office.told("verify", "--depth", "envelopes")["verdict"] == "OK"
    for ledger in RULES:
        assert office.alive(ledger) == expected[ledger]
    assert placed["hold"]
