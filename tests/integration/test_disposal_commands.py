"""Disposals on the command line: three people, their keys, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from service import wiring
from tests.support.board import COOLING, YEARS
from tests.support.vault import Installation

SG = 45
REAL = wiring.clock


class Desk:
    """Runs commands with passwords and passphrases in files, at a time of its own."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        for name, text in (("password", "a password of some length 1"), ("passphrase", "an approver's passphrase\n")):
            (folder / name).write_text(text)
        self._installation = installation
        self._environment = installation.environment() | {
            "REASONVAULT_PASSWORD_FILE": str(folder / "password"),
            "REASONVAULT_APPROVER_PASSPHRASE_FILE": str(folder / "passphrase"),
        }
        self.folder = folder

    def run(self, *words: str) -> Result:
        return self._installation.run(*words, environment=self._environment)

    def told(self, *words: str) -> Any:
        ran = self.run(*words, "--json")
        assert ran.exit_code == 0, ran.output
        return json.loads(ran.stdout)

    def refused(self, code: int, *words: str) -> str:
        ran = self.run(*words)
        assert ran.exit_code == code, ran.output
        return ran.stderr

    def key(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture
def desk(installation: Installation, tmp_path: Path) -> Desk:
    desk = Desk(installation, tmp_path)
    for name in ("olaf", "petra", "rita"):
        desk.told("user", "add", name, "--role", "officer")
        made = desk.told("approver", "key", desk.key(name))
        told = desk.told("approver", "register", made["public_file"], "--user", name)
        assert told["fingerprint"] == made["fingerprint"]
    return desk


def at(monkeypatch: pytest.MonkeyPatch, microseconds: int) -> None:
    """Let every command from here on run so much later."""
    monkeypatch.setattr(wiring, "clock", lambda: REAL() + microseconds)


def test_from_the_plan_to_the_certificate(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(desk.told("approver", "list")) == 3
    assert desk.told("disposal", "list") == []
    assert desk.run("disposal", "list").stdout == "there are no disposals\n"
    nothing = desk.told("disposal", "plan", "--ledger", "sg", "--user", "olaf")
    assert (nothing["disposal"], nothing["entries"]) == (None, 0)

    at(monkeypatch, YEARS)
    made = desk.told("disposal", "plan", "--ledger", "sg", "--user", "olaf")
    name = made["disposal"]
    assert (made["entries"], made["kind"], made["groups"]) == (SG, "expiry", ["2029-11.0"])
    assert desk.run("disposal", "plan", "--ledger", "sg").stdout == "nothing is due; left behind: 45 planned\n"
    seen = desk.told("disposal", "show", name, "--user", "petra")
    assert {one["rule"]: (one["count"], one["status"]) for one in seen["rules"]} == {
        "PROD-3Y": (SG, "verified"),
        "SG-PDPA-25": (SG, "verified"),
    }
    assert (seen["ledger_name"], seen["approvals_missing"], seen["holds"], seen["reason"]) == ("sg", 2, {}, "")
    shown = desk.run("disposal", "show", name, "--user", "petra").stdout
    assert "ledger sg (" in shown
    assert f"planned by {seen['planned_by']} at {seen['planned_at']}" in shown
    assert f"the last of them due {seen['due']}" in shown
    assert "approvals missing: 2" in shown
    approve = ("disposal", "approve", name, "--key")
    assert "planned" in desk.refused(4, *approve, desk.key("olaf"), "--user", "olaf")
    assert "registered" in desk.refused(4, *approve, desk.key("petra"), "--user", "rita")
    assert "no private key" in desk.refused(2, *approve, desk.key("petra.pub"), "--user", "petra")
    assert desk.told(*approve, desk.key("petra"), "--user", "petra")["waits_for"].endswith("1 more approval")
    assert desk.told(*approve, desk.key("rita"), "--user", "rita")["state"] == "intended"
    assert "cooling-off lasts until" in desk.refused(4, "disposal", "run", name)
    assert "only one that is done" in desk.refused(2, "disposal", "certificate", name)

    at(monkeypatch, YEARS + COOLING)
    assert "waits for: its run" in desk.run("disposal", "show", name).stdout
    done = desk.told("disposal", "run", name)
    assert (done["destroyed"], done["left_behind"], done["state"]) == (SG, 0, "done")
    assert desk.run("disposal", "run", name).stdout.startswith(f"{name} is done: {SG} entries destroyed")
    shown = desk.told("disposal", "show", name)
    assert (shown["destroyed"], shown["waits_for"]) == (SG, None)
    assert all(one["counts"] for one in shown["approvals"])
    assert "ERASED" in desk.run("verify").stdout.upper()

    dated = ("records", "date", "dec-7", "--ledger", "sg", "--trigger", "relationship_ended", "--at", "2026-02-01")
    gone = desk.refused(6, *dated, "--reason", "a letter", "--user", "rita")
    assert f"disposal {name}" in gone

    facts = desk.told("disposal", "certificate", name)
    words = desk.run("disposal", "certificate", name).stdout
    assert (facts["destroyed"], facts["planned"], facts["ranges"]) == (SG, SG, [[1, SG]])
    assert {rule["id"] for rule in facts["rules"]} == {"PROD-3Y", "SG-PDPA-25"}
    assert all(rule["status"] == "verified" and rule["instrument"] for rule in facts["rules"])
    assert facts["rules"][0]["first_trigger"].startswith("2026-01-0")
    assert [key["state"] for key in facts["keys"]] == ["destroyed"]
    assert len(facts["approvers"]) == 2
    assert all(one["counts"] and one["registered"] for one in facts["approvers"])
    assert facts["before"] == facts["after"]
    assert facts["cooling_off_seconds"] == 72 * 3600
    assert {copy["kind"] for copy in facts["copies"]} == {"key_store_copy", "open_keys", "database_dump"}
    assert f"destroyed {SG} of {SG} planned" in words
    assert "outstanding: copies of the key store" in words
    file = tmp_path / "certificate.pdf"
    issued = desk.told("disposal", "certificate", name, "-o", str(file))
    assert (issued["pages"], issued["destroyed"], issued["bytes"]) == (2, SG, file.stat().st_size)
    assert (
        "outstanding copies that may still show text"
        in desk.run("disposal", "certificate", name, "-o", str(file)).stdout
    )
    assert desk.told("disposal", "show", name)["certified"] is True


def test_one_record_early(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    shred = ("keys", "shred", "dec-7", "--ledger", "sg", "--user", "olaf")
    desk.refused(2, "keys", "shred", "dec-none", "--ledger", "sg", "--reason", "none", "--user", "olaf")
    dated = ("records", "date", "dec-8", "--ledger", "sg", "--trigger", "relationship_ended", "--at", "2026-02-01")
    assert "changes nothing now: it keeps until 20" in desk.run(*dated, "--reason", "a letter", "--user", "rita").stdout
    ran = desk.run(*shred, "--reason", "sent by mistake")
    assert "EARLY, before it is due: 1 entry" in ran.stdout
    (listed,) = desk.told("disposal", "list")
    assert (listed["kind"], listed["state"], listed["entries"]) == ("early", "planned", 1)
    for name, role in (("anna", "auditor"), ("otto", "operator")):
        desk.told("user", "add", name, "--role", role)
    show = ("disposal", "show", listed["disposal"])
    assert "only auditors and compliance officers" in desk.refused(4, *show, "--user", "otto")
    assert "only auditors and compliance officers" in desk.refused(4, "disposal", "list", "--user", "otto")
    assert len(desk.told("disposal", "list", "--user", "anna")) == 1
    reasons = {user: desk.told(*show, *(("--user", user) if user else ()))["reason"] for user in ("", "petra", "anna")}
    assert reasons == {"": "sent by mistake", "petra": "sent by mistake", "anna": ""}
    assert "  planned  EARLY  ledger sg" in desk.run(*show).stdout
    assert "reason: sealed\n" in desk.run(*show, "--user", "anna").stdout
    assert desk.told("disposal", "cancel", listed["disposal"], "--user", "rita")["state"] == "cancelled"
    assert "cancelled" in desk.refused(4, "disposal", "run", listed["disposal"])
    removed = desk.told("approver", "list")[0]["person"]
    assert desk.told("approver", "remove", removed, "--user", "rita")["removed"]
    assert len(desk.told("approver", "list")) == 2
