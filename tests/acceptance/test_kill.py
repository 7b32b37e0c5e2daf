"""Workers, the whole service, the database, or both, killed with -9 under load, twenty times.

Whatever dies: every receipt that anybody holds is in the vault and verifies, every spooled record arrived once, nobody
read unseen, nothing was refused without an event, and no client was ever told that the evidence does not hold.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psycopg
import pytest
from reasonvault_client import note, proof, receipts

from tests.support.load import SPOOL_FIRST, Load, spool_receipts
from tests.support.postgres import Database
from tests.support.serving import Service, family, free_port, serving
from tests.support.vault import Installation, prepare
from vault import ledgers
from vault.core import leaf, packing
from vault.core.leaf import EventLeaf
from vault.core.tree import Frontier, leaf_hash
from vault.db.embedded import EmbeddedServer
from vault.verdict import Depth, worst

SEED: Final = 20260301
WORKERS: Final = 2
VICTIMS: Final = ["worker"] * 7 + ["workers"] * 2 + ["database"] * 5 + ["service"] * 3 + ["both"] * 3
_LIMITS: Final = {"requests_per_second": 100_000, "records_per_second": 100_000, "burst": 100_000}
_BETWEEN: Final = (1, 60)
"""How many receipts are given out between two kills, at least and at most."""


class Site:
    """A vault, its database server and its service, each of which may be killed and comes back."""

    def __init__(self, installation: Installation, server: EmbeddedServer) -> None:
        self.installation = installation
        self._server = server
        self._port = free_port()
        self._running = ExitStack()
        self.service = self._serve()

    def kill(self, victim: str, dice: random.Random) -> None:
        """Kill something with all that belongs to it, and start it again where nobody else does."""
        if victim in ("worker", "workers"):
            workers = family(self.service.process.pid)[1:]
            _kill(dice.sample(workers, 1) if victim == "worker" else workers)
            return
        database = family(self._server.status().pid or 0) if victim in ("database", "both") else []
        _kill(database + (family(self.service.process.pid) if victim in ("service", "both") else []))
        if database:
            self._server.ensure_running()
        if victim in ("service", "both"):
            self.service.process.wait()
            self._running.close()
            self.service = self._serve()

    def revive(self) -> None:
        """Do what systemd does: a supervisor whose worker died twice within seconds gives up with exit code 1."""
        if (ended := self.service.process.poll()) is not None:
            assert ended == 1, self.service.lines()[-2000:]
            self._running.close()
            self.service = self._serve()

    def stop(self) -> None:
        """End the service as its operator does."""
        self._running.close()

    def _serve(self) -> Service:
        self._running = ExitStack()
        return self._running.enter_context(serving(self.installation, workers=WORKERS, port=self._port, **_LIMITS))


@pytest.fixture
def site(own_server: EmbeddedServer, tmp_path: Path) -> Iterator[Site]:
    own_server.ensure_running()
    dsns = (own_server.dsn(role) for role in ("owner", "app", "superuser"))
    installation = prepare(tmp_path / "vault", Database("reasonvault", *dsns))
    installation.initialise()
    with installation.opened() as vault:
        ledgers.create(vault, "cn", ("CN",), ())
    site = Site(installation, own_server)
    yield site
    if site.service.process.poll() is None:
        site.service.kill()


@pytest.mark.durable
def test_killed_twenty_times_under_load(site: Site, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    service, installation = site.service, site.installation
    auditor, officer = service.people()
    service.granted(auditor, officer, "cn")
    verifier = service.client.get("/v1/ledgers/cn", headers={"Authorization": f"Bearer {auditor}"}).json()["verifier"]
    load = Load(service.url, "cn", installation.ledger("cn"))
    folder = tmp_path / "shop"
    folder.mkdir(0o700)
    try:
        load.start(load.one_by_one, service.producer("single-1", "cn"), 1_000)
        load.start(load.one_by_one, service.producer("single-2", "cn"), 200_000)
        load.start(load.in_batches, service.producer("batch-1", "cn"), 400_000)
        load.start(load.reader, auditor, SEED)
        load.start_process(service.producer("shop-1", "cn"), folder)
        for victim in dice.sample(VICTIMS, len(VICTIMS)):
            load.wait_for(len(load.held) + dice.randint(*_BETWEEN), site.revive)
            site.kill(victim, dice)
        load.wait_for(len(load.held) + _BETWEEN[1], site.revive)
        load.finish(site.revive)
    except BaseException:
        load.abandon()
        raise
    site.stop()
    _nothing_promised_is_lost(installation, load, folder, verifier)
    _nobody_was_unseen(installation, load)
    reports = installation.audit(Depth.OPEN)
    assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]
    assert {report.name: report.unsealed for report in reports} == {"events": 0, "cn": 0}


def _nothing_promised_is_lost(installation: Installation, load: Load, folder: Path, verifier: str) -> None:
    """Recompute every tree that was ever signed to anybody from the entries, with the client's own reader."""
    stored = _leaves(installation, "cn")
    roots, frontier = [b""], Frontier()
    for data in stored:
        frontier.append(leaf_hash(data))
        roots.append(frontier.root())
    key = note.parse_verifier(verifier)
    spooled = spool_receipts(folder)
    assert {int(one.id.removeprefix("dec-")) for one in spooled} == load.spooled
    assert min(load.spooled) == SPOOL_FIRST
    seen: dict[str, int] = {}
    for promise in (*load.held, *spooled):
        receipt = receipts.check(promise.receipt, promise.raw, [key], key.name)
        assert stored[receipt.seq] == json.loads(promise.receipt)["leaf"].encode()
        assert seen.setdefault(promise.id, receipt.seq) == receipt.seq, "a record has two places"
        signed = note.open_checkpoint(proof.parse(json.loads(promise.receipt)["proof"]).checkpoint, [key], key.name)
        assert signed.root == roots[signed.size], "a tree was signed that is no beginning of the one that stands"
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        found = connection.execute(
            "SELECT record_id, seq FROM vault.sealed WHERE ledger_id = %s", [installation.ledger("cn")]
        ).fetchall()
    assert len(found) == len(stored) - 1
    assert dict(found) == seen, "a record is there twice, or nobody was promised it"


def _nobody_was_unseen(installation: Installation, load: Load) -> None:
    told = [leaf.parse(data) for data in _leaves(installation, "events")]
    names = [one.event for one in told if isinstance(one, EventLeaf)]
    assert load.opened
    for access, _ in load.opened:
        event = told[access]
        assert isinstance(event, EventLeaf)
        assert event.event == "record.opened"
    assert len({access for access, _ in load.opened}) == len(load.opened)
    assert names.count("record.conflict") >= load.conflicts > 0


def _leaves(installation: Installation, ledger: str) -> list[bytes]:
    query = "SELECT seq, leaf FROM vault.entry JOIN vault.ledger USING (ledger_id) WHERE name = %s ORDER BY seq"
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        rows = connection.execute(query, [ledger]).fetchall()
    assert [seq for seq, _ in rows] == list(range(len(rows)))
    return [packing.unpack(data) for _, data in rows]


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
