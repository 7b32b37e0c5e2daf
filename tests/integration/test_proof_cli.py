"""``proof``: a leaf's proof for people without a vault, and who may have one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from service.accounts import Accounts
from tests.support.acting import granted, happened, hire, last
from tests.support.disposing import Staged, delete_rows
from tests.support.serving import PASSWORD
from tests.support.tlog_client import TlogClient, leaf_hash, root_from_inclusion
from tests.support.vault import Installation
from vault import ledgers, locating
from vault.context import Actor, Vault
from vault.core.errors import Denied, Missing, Modified, Unknown, UsageError
from vault.core.leaf import RecordLeaf

GONE = range(3, 9)


def made(site: Installation, folder: Path, *arguments: str) -> tuple[Path, Path, Any]:
    """Make a proof and return proof, leaf and what was printed."""
    out, leaf = folder / "a.tlog-proof", folder / "a.leaf"
    ran = site.run("proof", *arguments, "-o", str(out), "--leaf", str(leaf), "--json")
    assert ran.exit_code == 0, ran.output
    return out, leaf, json.loads(ran.stdout)


def test_a_proof_is_one_for_somebody_elses_reader(installation: Installation, tmp_path: Path) -> None:
    out, leaf, told = made(installation, tmp_path, "dec-3", "--ledger", "cn")
    head, note = out.read_text().split("\n\n", 1)
    header, index, *hashes = head.splitlines()
    assert (header, index) == ("c2sp.org/tlog-proof@v1", f"index {told['seq']}")
    reader = TlogClient(lambda _path: b"", told["verifier"].partition("+")[0], told["verifier"])
    size, root = reader.opened(note)
    path = [base64.b64decode(one) for one in hashes]
    assert root_from_inclusion(told["seq"], size, leaf_hash(leaf.read_bytes()), path) == root
    assert size == told["checkpoint_size"]
    assert b"dec-3" not in out.read_bytes() + leaf.read_bytes()


def test_looking_an_id_up_is_an_event_first(installation: Installation, tmp_path: Path) -> None:
    _, _, told = made(installation, tmp_path, "dec-3", "--ledger", "cn")
    with installation.opened() as vault:
        event = last(vault, "record.proved")
    assert (event.seq, event.facts["seq"], event.facts["ledger"]) == (told["access_event"], told["seq"], told["ledger"])
    assert event.facts["break_glass"]
    nothing = installation.run("proof", "dec-none", "--ledger", "cn", "-o", str(tmp_path / "no"))
    assert (nothing.exit_code, (tmp_path / "no").exists()) == (2, False)
    assert "no record with this id" in nothing.stderr
    with installation.opened() as vault:
        assert last(vault, "record.not_found").facts["ledger"] == told["ledger"]


def test_an_id_need_not_stand_on_the_command_line(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "id").write_text("dec-3\n")
    assert made(installation, tmp_path, f"@{tmp_path / 'id'}", "--ledger", "cn")[2]["kind"] == "record"


def test_an_entry_by_its_position_is_no_look_up(installation: Installation, tmp_path: Path) -> None:
    before = installation.size("events")
    _, _, told = made(installation, tmp_path, "--seq", "0", "--ledger", "cn")
    assert (told["kind"], told["seq"], told["access_event"]) == ("genesis", 0, None)
    assert installation.size("events") == before
    _, _, told = made(installation, tmp_path, "--seq", "1", "--ledger", "events")
    assert told["kind"] == "event"
    assert installation.size("events") == before + 1  # its leaf is a part of the trace
    beyond = installation.run("proof", "--seq", "9999", "--ledger", "cn", "-o", str(tmp_path / "no"))
    assert "has no such entry" in beyond.stderr


@pytest.mark.parametrize("arguments", [["dec-3", "--seq", "3"], [], ["dec-3"], ["--seq", "-1"], ["--seq", "3"]])
def test_what_is_not_clear_is_asked_back(installation: Installation, tmp_path: Path, arguments: list[str]) -> None:
    """There are two ledgers, and a record or a position is wanted."""
    assert installation.run("proof", *arguments, "-o", str(tmp_path / "no")).exit_code == 2


def test_a_proof_verifies_without_a_vault(installation: Installation, tmp_path: Path) -> None:
    out, leaf, told = made(installation, tmp_path, "dec-3", "--ledger", "cn")

    def verified(*, key: str = told["verifier"]) -> int:
        nowhere = {"REASONVAULT_HOME": str(tmp_path / "nowhere")}
        arguments = ("proof", "verify", str(out), "--leaf", str(leaf), "--key", key)
        return installation.run(*arguments, environment=nowhere).exit_code

    assert verified() == 0
    other = made(installation, tmp_path, "--seq", "1", "--ledger", "sg")[2]["verifier"]
    right = made(installation, tmp_path, "dec-3", "--ledger", "cn")
    assert verified(key=other) == 10
    whole, data = out.read_text(), leaf.read_bytes()
    leaf.write_bytes(data.replace(b'"seq":3', b'"seq":4'))
    assert verified() == 10
    leaf.write_bytes(data + b"\n")
    assert verified() == 10
    leaf.write_bytes(data)
    out.write_text(whole.replace("index 3\n", "index 4\n"))
    assert verified() == 10
    out.write_text("no proof")
    assert verified() == 3
    assert right[0] == out


@pytest.fixture
def gone(installation: Installation) -> Iterator[Vault]:
    """A vault in which some records of "cn" were destroyed, and one row deleted by hand."""
    with installation.opened() as vault:
        staged = Staged.begin(vault, "cn", GONE)
        staged.run()
        delete_rows(installation, staged.ledger, [*GONE, 20])
        yield vault


def test_a_destroyed_records_leaf_is_proved_still(gone: Vault) -> None:
    cn = ledgers.get(gone, "cn")
    found = locating.of(gone, cn, "dec-4")
    assert (found.destroyed, found.seq, isinstance(found.leaf, RecordLeaf)) == (True, 4, True)
    with pytest.raises(Missing):
        locating.of(gone, cn, "dec-20")  # no disposal explains it
    assert last(gone, "record.unsound").facts["verdict"] == "missing"
    anna, alma, olaf = hire(gone, "anna", "auditor"), hire(gone, "alma", "auditor"), hire(gone, "olaf", "officer")
    granted(gone, anna, olaf, ["cn"])
    granted(gone, alma, olaf, ["cn"], start=0)
    assert locating.of(gone.acting(anna), cn, "dec-4").destroyed
    with pytest.raises(Unknown):  # nobody can say any more whether it lay within
        locating.of(gone.acting(alma), cn, "dec-4")


def test_a_grant_is_needed_and_bounds_what_is_found(installation: Installation) -> None:
    with installation.opened() as vault:
        cn, sg = ledgers.get(vault, "cn"), ledgers.get(vault, "sg")
        anna, alma, olaf = (
            hire(vault, "anna", "auditor"),
            hire(vault, "alma", "auditor"),
            hire(vault, "olaf", "officer"),
        )
        granted(vault, anna, olaf, ["cn"])
        granted(vault, alma, olaf, ["cn"], end=1)

        def proved(actor: Actor, ledger: ledgers.Ledger = cn, record: str = "dec-3") -> int:
            return locating.of(vault.acting(actor), ledger, record).seq

        assert proved(anna) == 3
        event = last(vault, "record.proved")
        assert (event.actor, "grant" in event.facts) == (anna.name, True)
        for actor, ledger in ((anna, sg), (olaf, cn)):
            with pytest.raises(Denied):
                proved(actor, ledger)
        before = len(happened(vault, "access.denied"))
        with pytest.raises(Unknown) as outside:
            proved(alma)
        with pytest.raises(Unknown) as nowhere:
            proved(alma, record="dec-none")
        assert str(outside.value) == str(nowhere.value)
        assert len(happened(vault, "access.denied")) == before + 1
        with pytest.raises(UsageError):
            proved(anna, record="\ud800")


def test_a_login_proves_under_its_grant(installation: Installation, tmp_path: Path) -> None:
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with installation.opened() as vault:
        Accounts(installation.home, cheap).add(vault, "otto", ("operator",), PASSWORD)
    word = tmp_path / "password"
    word.write_text(PASSWORD)
    environment = installation.environment() | {"REASONVAULT_PASSWORD_FILE": str(word)}
    arguments = ("--ledger", "cn", "-o", str(tmp_path / "p"), "--user", "otto")
    assert installation.run("proof", "dec-3", *arguments, environment=environment).exit_code == 4
    assert not (tmp_path / "p").exists()
    assert installation.run("proof", "--seq", "3", *arguments, environment=environment).exit_code == 0


def test_a_leaf_that_was_changed_is_proved_by_nobody(installation: Installation) -> None:
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.sealed SET flags = flags # 1 WHERE ledger_id = %s AND seq = 3", [installation.ledger("cn")]
        )
    with installation.opened() as vault:
        with pytest.raises(Modified):
            locating.of(vault, ledgers.get(vault, "cn"), "dec-3")
        assert last(vault, "record.unsound").facts["verdict"] == "modified"
