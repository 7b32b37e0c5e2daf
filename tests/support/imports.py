"""Old records, and imports that bring them in, for tests."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from retention import imports
from tests.support.decisions import decision, spelled
from tests.support.vault import Installation
from vault import ledgers
from vault.context import Actor, Vault
from vault.core import leaf, packing
from vault.core.leaf import RecordLeaf

REASON = "the archive of the system that was switched off"


def old(number: int, year: int = 2012, **changes: Any) -> dict[str, Any]:
    return decision(number, occurred_at=f"{year}-{1 + number % 12:02d}-14T08:00:00.25Z", **changes)


def archive(folder: Path, *documents: object) -> Path:
    file = folder / "archive.jsonl"
    file.write_bytes(b"".join(spelled(one) + b"\n" for one in documents))
    return file


def approved(vault: Vault, olaf: Actor, anna: Actor, file: Path, producer: str = "old-core") -> str:
    ledger = ledgers.get(vault, "cn")
    asked = imports.request(vault.acting(olaf), ledger, file, producer, REASON, os.urandom).asked
    imports.approve(vault.acting(anna), asked.id)
    return asked.id


def run_whole(vault: Vault, name: str, file: Path, processes: int = 1) -> tuple[imports.Run, list[Any]]:
    results: list[Any] = []
    for going, batch in imports.run(vault, name, file, processes=processes):
        if batch is None:
            return going, results
        results += batch.results
    raise AssertionError("it ends without saying so")


def kept_since(installation: Installation, first: int) -> dict[str, tuple[RecordLeaf, int, str]]:
    """Return (leaf, flags, group that it is in) of the records from a position on, by id."""
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        rows = connection.execute(
            "SELECT s.record_id, n.leaf, s.flags, e.group_name FROM vault.sealed s JOIN vault.entry n"
            " USING (ledger_id, seq) JOIN vault.epoch e USING (ledger_id, epoch_id)"
            " WHERE s.ledger_id = %s AND s.seq >= %s",
            [installation.ledger("cn"), first],
        ).fetchall()
    found = {}
    for record_id, data, flags, group in rows:
        place = leaf.parse(packing.unpack(data))
        assert isinstance(place, RecordLeaf)
        found[record_id] = (place, flags, group)
    return found


def moment(text: object) -> datetime:
    assert isinstance(text, str)
    return datetime.fromisoformat(text)
