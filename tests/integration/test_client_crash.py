"""The client killed at each step on the disk: what ``spool`` returned for arrives, and arrives once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from reasonvault_client import Client

from tests.support.client_crash import OPTIONS, POISON
from tests.support.client_server import KEY, FakeLedger, FakeVault, problem, record, running

ROOT = Path(__file__).parents[2]


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    with running() as started:
        started.ledger.refuse = refuse_poison
        yield started


def refuse_poison(text: bytes) -> dict[str, object] | None:
    return problem("record-refused", 422, code="card_number", path="$.prompt") if POISON.encode() in text else None


def sweep(job: str, vault: FakeVault, base: Path) -> list[Path]:
    """Run the killer and return the folders that it left, one for each step."""
    base.mkdir()
    subprocess.run(
        [sys.executable, "-m", "tests.support.client_crash", job, vault.url, str(base)],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"},
        check=True,
        timeout=240,
    )
    return sorted(base.iterdir())


def taken(ledger: FakeLedger) -> tuple[list[str], list[int]]:
    """Return the ids and the numbers that a ledger holds, in its order."""
    documents = [json.loads(text) for text in ledger.records]
    return [document["id"] for document in documents], [document["producer_seq"] for document in documents]


def test_killed_while_putting(vault: FakeVault, tmp_path: Path) -> None:
    folders = sweep("put", vault, tmp_path / "sweep")
    assert len(folders) > 60
    for folder in folders:
        vault.ledger = FakeLedger()
        returned = (folder / "returned").read_text().split() if (folder / "returned").exists() else []
        with Client(vault.url, "payments", KEY, spool=folder / "spool", **OPTIONS) as client:
            assert not (folder / "spool" / "writing").exists(), "a torn write is no damage, and does not stay"
            client.log(record(f"{folder.name}-last"), mode="spool")
            client.drain(10)
            assert client.counters()[1:3] == (0, 0), folder.name
        ids, numbers = taken(vault.ledger)
        assert ids[: len(returned)] == returned, folder.name
        assert len(ids) <= len(returned) + 2, folder.name  # the one that was on its way may have made it
        assert numbers == list(range(1, len(ids) + 1)), f"{folder.name}: a gap, or a number twice"


def test_killed_while_delivering(vault: FakeVault, tmp_path: Path) -> None:
    folders = sweep("deliver", vault, tmp_path / "sweep")
    assert len(folders) > 60
    vault.ledger, whole = FakeLedger(), vault.ledger
    vault.ledger.held, vault.ledger.hashes, vault.ledger.refuse = whole.held, whole.hashes, refuse_poison
    for folder in folders:
        with Client(vault.url, "payments", KEY, spool=folder / "spool", **OPTIONS) as client:
            client.drain(10)
            client.log(record(f"{folder.name}-last"), mode="spool")
            client.drain(10)
            assert client.counters()[1:3] == (0, 1), f"{folder.name}: the poison is parked, and nothing else is left"
        kept = [json.loads(line)["id"] for line in (folder / "spool.receipts.jsonl").read_text().splitlines()]
        assert set(kept) == {f"dec-{folder.name}-{number}" for number in (0, 2, "last")}
        mine = [json.loads(text) for text in vault.ledger.records if f"dec-{folder.name}-".encode() in text]
        assert [document["producer_seq"] for document in mine] == [1, 3, 4], folder.name
        assert len(list((folder / "spool" / "parked").glob("*.reason"))) == 1
