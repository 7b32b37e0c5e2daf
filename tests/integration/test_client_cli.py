"""The spool by hand: what the commands print, deliver, and put back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reasonvault_client import Client
from reasonvault_client.cli import main

from tests.support.client_server import KEY, SECRET, FakeVault, problem, record, running, unavailable


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    with running() as started:
        yield started


@pytest.fixture
def spool(vault: FakeVault, tmp_path: Path) -> Path:
    """A spool that holds three records."""
    with Client(vault.url, "payments", KEY, spool=tmp_path / "spool", deliver=False) as client:
        for number in range(3):
            client.log(record(number), mode="spool")
    return tmp_path / "spool"


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """What was printed as JSON."""
    return json.loads(capsys.readouterr().out)


def drain(vault: FakeVault, spool: Path, *more: str) -> int:
    return main(["spool", "drain", str(spool), "--url", vault.url, "--ledger", "payments", "--json", *more])


def refuse_one(text: bytes) -> dict[str, Any] | None:
    return problem("record-refused", 422, code="card_number", path="$.prompt") if b'"dec-1"' in text else None


def test_show(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spool", "show", str(spool), "--json"]) == 0
    shown = said(capsys)
    assert (shown["pending"], shown["parked"], shown["producer_seq"]) == (3, 0, 3)
    assert shown["oldest"].endswith("Z")
    assert main(["spool", "show", str(spool)]) == 0
    assert "pending: 3\n" in capsys.readouterr().out


def test_drain_parked_and_retry(
    vault: FakeVault, spool: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REASONVAULT_KEY", KEY)
    vault.ledger.refuse = refuse_one
    assert drain(vault, spool) == 0
    assert said(capsys) == {"sent": 2, "pending": 0, "parked": 1}

    assert main(["spool", "parked", str(spool)]) == 0
    name, _, why, code, path = capsys.readouterr().out.split()
    assert (why, code, path) == ("refused", "card_number", "$.prompt")
    assert main(["spool", "parked", str(spool), "--json"]) == 0
    listed = capsys.readouterr().out
    assert json.loads(listed)["name"] == name
    assert SECRET not in listed

    vault.ledger.refuse = lambda text: None
    assert main(["spool", "retry", str(spool), name]) == 0
    assert "retried: 1" in capsys.readouterr().out
    assert main(["spool", "drain", str(spool), "--url", vault.url, "--json"]) == 0
    assert said(capsys) == {"sent": 1, "pending": 0, "parked": 0}
    assert len(vault.ledger.records) == 3


def test_retry_all(vault: FakeVault, spool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "producer.key").write_text(KEY + "\n")
    vault.ledger.refuse = lambda text: problem("record-refused", 422)
    assert drain(vault, spool, "--key-file", str(tmp_path / "producer.key")) == 0
    assert said(capsys)["parked"] == 3
    assert main(["spool", "retry", str(spool), "--all", "--json"]) == 0
    assert said(capsys) == {"retried": 3}


def test_what_is_left_is_told(
    vault: FakeVault, spool: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.always = unavailable()
    monkeypatch.setenv("REASONVAULT_KEY", KEY)
    assert drain(vault, spool, "--timeout", "0.1") == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"sent": 0, "pending": 3, "parked": 0}
    assert "answered 503" in printed.err
    monkeypatch.setenv("REASONVAULT_KEY", "rvk_another")
    vault.always = None
    assert drain(vault, spool) == 1
    printed = capsys.readouterr()
    assert "denies" in printed.err
    assert "rvk_another" not in printed.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["spool", "show", "{missing}"],
        ["spool", "retry", "{spool}"],
        ["spool", "retry", "{spool}", "../x"],
        ["spool", "drain", "{spool}", "--url", "http://127.0.0.1:1", "--ledger", "payments"],
        ["spool", "drain", "{spool}", "--url", "http://vault.example", "--ledger", "payments"],
        ["spool", "drain", "{spool}", "--url", "{url}", "--ledger", "payments", "--key-file", "{missing}"],
        ["spool", "show", "{spool}", "--spool-key", "{missing}"],
    ],
)
def test_commands_that_cannot_work(
    vault: FakeVault,
    spool: Path,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REASONVAULT_KEY", raising=False)
    places = {"missing": spool.parent / "missing", "spool": spool, "url": vault.url}
    assert main([argument.format(**places) for argument in arguments]) == 2
    assert capsys.readouterr().err


def test_a_parked_record_that_is_not_there(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spool", "retry", str(spool), "0000000000000001-1-1.parcel"]) == 1
    assert "cannot move" in capsys.readouterr().err


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["spool"], ["spool", "lose"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    assert "spool" in capsys.readouterr().err
