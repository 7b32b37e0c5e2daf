"""Producers, people, grants and the trace from the command line, as a stranger with a shell runs them."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.decisions import decision, spelled
from tests.support.stranger import Ran, Stranger
from tests.support.vault import Installation

PASSWORDS = {"anna": "anna's long password", "olaf": "olaf's long password", "bo": "the password of bo"}


class Desk:
    """A stranger's shell with a password file for each person."""

    def __init__(self, site: Installation, folder: Path) -> None:
        folder.mkdir()
        self.site, self.run = site, Stranger.of(site, folder, apart=False)
        for name, password in PASSWORDS.items():
            (folder / name).write_text(password + "\n")

    def __call__(self, *arguments: str | Path, of: str = "", **variables: str) -> Ran:
        if of:
            variables["REASONVAULT_PASSWORD_FILE"] = str(self.run.folder / of)
        return self.run(*arguments, **variables)

    def hire(self, name: str, *roles: str) -> Ran:
        chosen = [word for role in roles for word in ("--role", role)]
        done = self("user", "add", name, *chosen, "--json", of=name)
        assert done.code == 0, done.err
        return done

    def request(self, name: str, *more: str) -> Ran:
        words = ("--ledger", "cn", "--purpose", "complaint 4711", "--case", "case-7", "--until", "2026-12-31")
        return self("grant", "request", "--user", name, *words, *more, "--json", of=name)


@pytest.fixture
def desk(installation: Installation, tmp_path: Path) -> Desk:
    return Desk(installation, tmp_path / "desk")


def test_a_producers_key_from_first_to_last(desk: Desk) -> None:
    made = desk("producer", "add", "psp-1", "--ledger", "cn", "--ledger", "sg", "--json").document
    assert re.fullmatch(rf"rvk_{made['id']}_[A-Za-z0-9_-]{{43}}", made["key"])
    words = desk("producer", "add", "psp-2", "--ledger", "cn").out.decode()
    assert "only time the key is shown" in words
    listed = {one["producer"]: one for one in desk("producer", "list", "--json").document}
    assert listed["psp-1"]["ledgers"] == ["cn", "sg"]
    assert listed["psp-1"]["revoked_at"] is None
    assert desk("producer", "revoke", made["id"], "--json").document == {
        "producer": "psp-1",
        "id": made["id"],
        "revoked": True,
    }
    again = desk("producer", "revoke", made["id"])
    assert (again.code, "no key of this id is in force" in again.complaint) == (2, True)
    shown = desk("producer", "list").out.decode()
    assert re.search(rf"{made['id']}  revoked", shown)
    assert made["key"][15:] not in shown + desk.site.everything_stored()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("producer", "add", "psp-1"), "Missing option '--ledger'"),
        (("producer", "add", "a b", "--ledger", "cn"), "a producer is a word"),
        (("producer", "add", "psp-1", "--ledger", "nope"), "no ledger is named nope"),
        (("producer", "add", "psp-1", "--ledger", "events"), "and no records"),
        (("user", "add", "x"), "Missing option '--role'"),
        (("user", "add", "x", "--role", "root"), "is not one of"),
        (("user", "disable", "x"), "no account of that name"),
        (("grant", "request"), "Missing"),
        (("grant", "approve", "g-x"), "Missing option '--user'"),
        (("grant", "revoke", "g-x"), "Missing option '--user'"),
        (("events", "--limit", "0"), "--limit"),
        (("events", "--ledger", "nope"), "no ledger is named nope"),
    ],
)
def test_commands_that_cannot_be_end_in_one_line(desk: Desk, arguments: tuple[str, ...], words: str) -> None:
    done = desk(*arguments)
    assert (done.code, done.out) == (2, b"")
    assert words in done.complaint


def test_accounts_from_first_to_last(desk: Desk) -> None:
    made = desk.hire("anna", "auditor").document
    desk.hire("olaf", "officer")
    listed = {one["user"]: one for one in desk("user", "list", "--json").document}
    assert (listed["anna"]["person"], listed["anna"]["roles"], listed["anna"]["disabled"]) == (
        made["person"],
        ["auditor"],
        False,
    )
    both = desk("user", "add", "bo", "--role", "operator", "--role", "officer", of="bo")
    assert (both.code, "an operator reads nothing" in both.complaint) == (2, True)
    assert desk("user", "disable", "anna", "--json").document["disabled"] is True
    assert re.search(r"disabled +anna", desk("user", "list").out.decode())
    denied = desk.request("anna")
    assert (denied.code, denied.err.count("wrong name or password")) == (4, 1)


def test_passwords_come_from_a_file_or_a_terminal_only(desk: Desk) -> None:
    nowhere = desk("user", "add", "anna", "--role", "auditor", stdin=b"anna's long password\n")
    assert (nowhere.code, "set REASONVAULT_PASSWORD_FILE" in nowhere.complaint) == (2, True)
    missing = desk("user", "add", "anna", "--role", "auditor", REASONVAULT_PASSWORD_FILE="nowhere")
    assert (missing.code, "cannot read" in missing.complaint) == (2, True)
    variable = desk("user", "add", "anna", "--role", "auditor", REASONVAULT_PASSWORD="anna's long password")
    assert variable.code == 2
    (desk.run.folder / "short").write_text("short\n")
    short = desk("user", "add", "anna", "--role", "auditor", of="short")
    assert (short.code, "a password has" in short.complaint) == (2, True)
    assert "--password" not in desk("user", "add", "--help").out.decode()


def test_a_password_typed_at_the_terminal_twice(desk: Desk) -> None:
    def typed(*answers: str) -> tuple[int, str]:
        here, there = pty.openpty()
        environment = {
            **{key: os.environ[key] for key in ("PATH",)},
            **desk.run.variables,
            "HOME": str(desk.run.folder),
        }
        command = [*desk.run.command, "user", "add", "anna", "--role", "auditor"]
        process = subprocess.Popen(
            command, env=environment, stdin=there, stdout=there, stderr=there, start_new_session=True, close_fds=True
        )
        os.close(there)
        shown = b""
        for answer in answers:
            while not shown.rstrip().endswith(b":"):
                shown += os.read(here, 1000)
            os.write(here, answer.encode() + b"\n")
            shown += b"|"
        try:
            while chunk := os.read(here, 1000):
                shown += chunk
        except OSError:  # how a terminal says that nobody is left
            pass
        os.close(here)
        return process.wait(60), shown.decode()

    code, shown = typed("anna's long password", "anna's other password")
    assert (code, "the two passwords differ" in shown) == (2, True)
    code, shown = typed("anna's long password", "anna's long password")
    assert (code, "anna is p-" in shown) == (0, True)
    assert "long password" not in shown
    assert desk.request("anna").code == 0


def test_four_eyes_from_asking_to_the_trace(desk: Desk) -> None:
    anna = desk.hire("anna", "auditor").document["person"]
    olaf = desk.hire("olaf", "officer").document["person"]
    desk.hire("bo", "auditor", "officer")
    asked = desk.request("anna").document
    assert (asked["state"], asked["auditor"], asked["purpose"]) == ("requested", anna, "complaint 4711")

    waiting = desk("show", "dec-3", "--ledger", "cn", "--purpose", "now", "--user", "anna", of="anna")
    assert (waiting.code, waiting.out) == (4, b"")
    own = desk("grant", "approve", asked["grant"], "--user", "anna", of="anna")
    assert (own.code, own.complaint) == (4, "only a compliance officer approves a grant")
    bos = desk.request("bo").document["grant"]
    own = desk("grant", "approve", bos, "--user", "bo", of="bo")
    assert (own.code, own.complaint) == (4, "nobody approves their own grant")
    wrong = desk("grant", "approve", asked["grant"], "--user", "olaf", of="anna")
    assert (wrong.code, wrong.complaint) == (4, "wrong name or password")

    approved = desk("grant", "approve", asked["grant"], "--user", "olaf", "--json", of="olaf").document
    assert (approved["state"], approved["approved_by"]) == ("approved", olaf)
    shown = desk("show", "dec-3", "--ledger", "cn", "--purpose", "now", "--user", "anna", of="anna")
    assert shown.code == 0, shown.err
    assert json.loads(shown.out)["prompt"] == "[masked]"
    assert b"was cancelled" not in shown.out

    assert [one["grant"] for one in desk("grant", "list", "--user", "anna", "--json", of="anna").document] == [
        asked["grant"]
    ]
    assert len(desk("grant", "list", "--json").document) == 2
    revoked = desk("grant", "revoke", asked["grant"], "--user", "olaf", "--json", of="olaf").document
    assert revoked["state"] == "revoked"
    ended = desk("show", "dec-3", "--ledger", "cn", "--purpose", "now", "--user", "anna", of="anna")
    assert (ended.code, ended.out) == (4, b"")

    trace = desk("events", "--json", "--limit", "500").document["events"]
    story = [
        one["event"] for one in reversed(trace) if one["actor"] in (anna, olaf) and not one["event"].startswith("lo")
    ]
    assert story == [
        "grant.requested",
        "access.denied",
        "access.denied",
        "grant.approved",
        "record.opened",
        "grants.listed",
        "grant.revoked",
        "access.denied",
    ]
    details = [one["details"] for one in trace if one["event"] == "grant.requested" and one["actor"] == anna]
    assert details == [{"purpose": "complaint 4711", "case": "case-7"}]
    assert [one["facts"]["code"] for one in trace if one["event"] == "login.failed"] == ["password"]


def test_a_full_grant_shows_exactly_the_bytes(desk: Desk) -> None:
    desk.hire("anna", "auditor")
    desk.hire("olaf", "officer")
    grant = desk.request("anna", "--fields", "full").document["grant"]
    assert desk("grant", "approve", grant, "--user", "olaf", of="olaf").code == 0
    shown = desk("show", "dec-3", "--ledger", "cn", "--purpose", "now", "--user", "anna", of="anna")
    assert shown.out == spelled(decision(3))
    unknown = desk("show", "dec-999", "--ledger", "cn", "--purpose", "now", "--user", "anna", of="anna")
    assert (unknown.code, unknown.out) == (4, b"")
    assert unknown.complaint == "no record with this id lies within a grant of yours"


def test_once_grants_are_required_the_passphrase_reads_nothing(desk: Desk) -> None:
    before = desk("show", "dec-3", "--ledger", "cn", "--purpose", "before")
    assert (before.code, before.out) == (0, spelled(decision(3)))
    assert desk("grant", "require").code == 0
    for arguments in (
        ("show", "dec-3", "--ledger", "cn", "--purpose", "after"),
        ("show", "dec-999", "--ledger", "cn", "--purpose", "after"),
        ("report", "evidence", "--ledger", "cn", "--purpose", "after", "-o", "report.pdf"),
    ):
        after = desk(*arguments)
        assert (after.code, after.out) == (4, b"")
        assert after.complaint == "a grant policy is adopted here: log in as an auditor with a grant (--user)"
    assert not (desk.run.folder / "report.pdf").exists()
    denied = [one for one in desk("events", "--json").document["events"] if one["event"] == "access.denied"]
    assert [one["facts"]["break_glass"] for one in denied] == [1, 1, 1]
    desk.hire("anna", "auditor")
    desk.hire("olaf", "officer")
    grant = desk.request("anna", "--fields", "full").document["grant"]
    desk("grant", "approve", grant, "--user", "olaf", of="olaf")
    made = desk(
        "report", "evidence", "--ledger", "cn", "--purpose", "p", "-o", "report.pdf", "--user", "anna", of="anna"
    )
    assert made.code == 0, made.err
    assert (desk.run.folder / "report.pdf").read_bytes().startswith(b"%PDF")
    assert desk("verify").code == 0, "verification needs nobody's grant"


def test_the_trace_page_by_page_and_by_filter(desk: Desk) -> None:
    seen: list[int] = []
    before: tuple[str, ...] = ()
    while True:
        page = desk("events", "--json", "--limit", "3", *before).document
        seen += [one["seq"] for one in page["events"]]
        if page["before"] is None:
            break
        before = ("--before", str(page["before"]))
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 1
    opened = desk("events", "--event", "record.opened", "--ledger", "cn", "--json").document["events"]
    assert [one["facts"]["seq"] for one in opened] == [3]
    assert desk("events", "--from", "2030-01-01", "--json").document["events"] == []
    assert "record.opened" in desk("events").out.decode()
    desk.hire("anna", "auditor")
    own = desk("events", "--user", "anna", "--json", of="anna").document["events"]
    assert all(one["details"] is None for one in own)
