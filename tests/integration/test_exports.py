"""Files of access requests: what is restricted stays out of them, and what an export that died leaves behind."""

from __future__ import annotations

import fcntl
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retention import adoption, copies, requests
from retention.requests import Exported
from tests.support.acting import granted, happened, hire
from tests.support.books import book
from tests.support.vault import RECORDS, Installation
from vault import ledgers
from vault.context import Actor, Vault
from vault.core.errors import UsageError
from vault.core.selection import Selection

OF_3 = [n for n in range(1, RECORDS["cn"] + 1) if n % 7 == 3]


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


def _erase(vault: Vault) -> None:
    into = [ledgers.get(vault, "cn")]
    requests.request_erasure(vault, ledgers=into, customer="cus-3", reason="letter of 3 May", random=os.urandom)


def _export(vault: Vault, out: Path) -> Exported:
    return requests.export(vault, ledgers=[ledgers.get(vault, "cn")], customer="cus-3", out=out, random=os.urandom)


def _index(out: Path) -> dict[str, Any]:
    with zipfile.ZipFile(out) as archive:
        found: dict[str, Any] = json.loads(archive.read("index.json"))
    return found


def test_only_a_file_is_replaced(vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path) -> None:
    granted(vault, anna, olaf, ["cn"])
    os.mkfifo(tmp_path / "pipe")
    for out in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UsageError, match="no file"):
            _export(vault.acting(anna), out)
    assert (tmp_path / "pipe").is_fifo()


def test_a_damaged_record_that_is_restricted_is_not_named_without_a_duty(
    installation: Installation, vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    _erase(vault)
    granted(vault, anna, olaf, ["cn"])
    with installation.tampering() as connection:
        connection.execute("UPDATE vault.sealed SET model = 'x' WHERE seq = 3")
    made = _export(vault.acting(anna), tmp_path / "out.zip")
    assert made.unsound == 1
    assert _index(tmp_path / "out.zip")["ledgers"][0]["unsound"] == []


def test_a_conflict_that_a_later_rule_book_brings_stays_closed_without_a_duty(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    erased = {"id": "CN-ERASE", "jurisdiction": "CN", "minimum": "P1Y", "trigger": "decision_completed"}
    content = book("erases", added=[erased | {"applies": "default", "erase": "at_minimum"}])
    adoption.propose(vault.acting(olaf), content)
    adoption.adopt(vault.acting(hire(vault, "olga", "officer")), content)
    granted(vault, anna, olaf, ["cn"])
    cn = str(ledgers.get(vault, "cn").id)
    made = _export(vault.acting(anna), tmp_path / "out.zip")
    assert (made.exported, made.closed) == ({cn: 0}, {cn: len(OF_3)})
    granted(vault, anna, olaf, ["cn"], duty="access-right")
    made = _export(vault.acting(anna), tmp_path / "out.zip")
    assert (made.exported, made.closed) == ({cn: len(OF_3)}, {cn: 0})
    assert _index(tmp_path / "out.zip")["ledgers"][0]["records"][0]["restricted"] is True


def test_what_a_died_export_left_is_swept_away_and_what_one_at_work_uses_is_not(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    granted(vault, anna, olaf, ["cn"])
    died, working = tmp_path / ".reasonvault-export.died", tmp_path / ".reasonvault-export.working"
    for one in (died, working):
        one.mkdir()
        (one / "export.zip").write_bytes(b"text")
    descriptor = os.open(working, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    _export(vault.acting(anna), tmp_path / "out.zip")
    assert sorted(one.name for one in tmp_path.iterdir() if one.name != "home") == [working.name, "out.zip"]
    os.close(descriptor)


def test_an_export_that_died_may_have_left_a_copy(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted(vault, anna, olaf, ["cn"])

    def die(*_: Any) -> Any:
        raise RuntimeError

    _export(vault.acting(anna), tmp_path / "out.zip")
    monkeypatch.setitem(requests.export.__globals__, "write", die)
    with pytest.raises(RuntimeError):
        _export(vault.acting(anna), tmp_path / "other.zip")
    told = happened(vault, *copies.NAMES)
    asked = [one.facts["request"] for one in told if one.event == "access.requested"]
    cn = ledgers.get(vault, "cn").id

    def of(*seqs: int) -> list[str]:
        found = copies.outstanding(vault, cn, Selection.of(seqs), "2029-01-01T00:00:00Z", told)
        return [one.what for one in found if one.kind == "export"]

    assert of(3, 4) == [f"export {asked[0]}", f"what export {asked[1]} left when it died, if anything"]
    assert of(4) == []
