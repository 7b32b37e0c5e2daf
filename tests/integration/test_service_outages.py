"""What the service stands on goes away, and it is told to go itself.

It lives on, says what it lacks, takes what it can, and needs no restart; what was acknowledged is there.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.support.decisions import decision, spelled
from tests.support.load import Load
from tests.support.postgres import Database
from tests.support.serving import Service, bearer, family, serving
from tests.support.slow import Wire
from tests.support.vault import Installation, prepare
from vault import ledgers
from vault.db.embedded import EmbeddedServer
from vault.verdict import Depth, worst

RECORDS, BATCH = "/v1/ledgers/cn/records", "/v1/ledgers/cn/records/batch"
NUMBERS = count(10_000)
NDJSON = {"Content-Type": "application/x-ndjson"}


def test_the_database_goes_away_and_comes_back(own_server: EmbeddedServer, tmp_path: Path) -> None:
    own_server.ensure_running()
    dsns = (own_server.dsn(role) for role in ("owner", "app", "superuser"))
    installation = prepare(tmp_path / "vault", Database("reasonvault", *dsns))
    installation.initialise()
    with installation.opened() as vault:
        ledgers.create(vault, "cn", ("CN",), ())
    with serving(installation, logins_per_minute=100_000) as service:
        key = service.producer("psp-1", "cn")
        auditor, officer = service.people()
        service.granted(auditor, officer, "cn")
        workers = family(service.process.pid)
        first, second = _raw(), _raw()
        assert service.append("cn", key, first).status_code == 201
        own_server.stop("immediate")
        assert service.client.get("/healthz").status_code == 200
        _until(lambda: _ready(service) == (503, False, True))
        for answer in (
            service.append("cn", key, second),
            service.append("cn", "rvk_abcdefghij_" + "x" * 43, second),
            service.client.get(f"{RECORDS}/dec-1", headers=bearer(auditor)),
            service.client.get("/v1/events", headers=bearer(officer)),
            service.client.post("/v1/login", json={"user": "anna", "password": "a long enough password"}),
        ):
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) >= 1
            assert "host" not in answer.text
            assert "reasonvault_app" not in answer.text
        own_server.ensure_running()
        assert service.append("cn", key, second).status_code == 201
        assert service.append("cn", key, first).status_code == 200
        _until(lambda: _ready(service) == (200, True, True))
        # So quickly that nobody noticed: every connection that waits is dead, and whoever gets one must not hear of it.
        own_server.stop("immediate")
        own_server.ensure_running()
        assert service.append("cn", key, _raw()).status_code == 201
        assert service.client.get("/v1/events", headers=bearer(officer)).status_code == 200
        assert family(service.process.pid) == workers
    assert worst(installation.audit(Depth.OPEN)) is None


def test_the_keys_are_out_of_reach(installation: Installation) -> None:
    """Appends go on under the keys of the day; whatever needs the store itself is told to come back."""
    keys = installation.home / "keys"
    away = installation.home / "keys.away"
    with serving(installation, logins_per_minute=100_000) as service:
        key = service.producer("psp-1", "cn")
        assert service.append("cn", key, _raw()).status_code == 201
        assert _batch(service, key, [_raw()]) == [201]
        keys.rename(away)
        try:
            _until(lambda: _ready(service) == (200, True, False))  # told, and no reason to send records elsewhere
            assert service.client.get("/healthz").status_code == 200
            assert "reasonvault_key_provider_up 0.0" in service.client.get("/metrics").text
            assert [service.append("cn", key, _raw()).status_code for _ in range(3)] == [201, 201, 201]
            assert _batch(service, key, [_raw(), _raw()]) == [201, 201]
        finally:
            away.rename(keys)
        _until(lambda: _ready(service) == (200, True, True))
    assert worst(installation.audit(Depth.OPEN)) is None


def test_told_to_stop_under_load(installation: Installation) -> None:
    """What was begun is finished, what was acknowledged is there, and the exit code says that all is well."""
    with serving(installation, workers=2) as service:
        load = Load(service.url, "cn", installation.ledger("cn"))
        key = service.producer("psp-1", "cn")
        lines = [_raw() for _ in range(10)]
        try:
            for number in range(3):
                load.start(load.one_by_one, key, 100_000 * (number + 1))
            load.start(load.in_batches, key, 900_000)
            load.wait_for(50)
            with Wire(service.url) as wire:
                wire.begin("POST", BATCH, **bearer(key), **NDJSON, **{"Transfer-Encoding": "chunked"})
                wire.chunk(b"\n".join(lines[:5]) + b"\n")
                reader = wire.reader()
                begun = [json.loads(reader.readline())["status"] for _ in range(5)]
                service.process.terminate()
                _until(lambda: not _takes_connections(service))
                wire.chunk(b"\n".join(lines[5:]) + b"\n")
                wire.chunk(b"")
                finished = [json.loads(line)["status"] for line in reader.read().splitlines()]
            assert service.process.wait(60) == 0, service.lines()[-2000:]
        finally:
            load.abandon()
    assert begun + finished == [201] * 10
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        kept = {row[0] for row in connection.execute("SELECT record_id FROM vault.sealed").fetchall()}
    assert {promise.id for promise in load.held} | {json.loads(raw)["id"] for raw in lines} <= kept
    assert not [fault for fault in load.faults if "abandoned" not in fault]
    reports = installation.audit(Depth.OPEN)
    assert worst(reports) is None
    assert sum(report.unsealed for report in reports) == 0


def _raw(**changes: Any) -> bytes:
    return spelled(decision(next(NUMBERS), producer_seq=None, **changes))


def _batch(service: Service, key: str, lines: list[bytes], *, busy: bool = False) -> list[int]:
    """Send a batch and return its lines' statuses; that of the whole where it was not taken and may be."""
    answer = service.client.post(BATCH, content=b"\n".join(lines), headers={**bearer(key), **NDJSON})
    if busy and answer.status_code == 429:
        return [429]
    assert answer.status_code == 200, answer.text
    return [json.loads(line)["status"] for line in answer.text.splitlines()]


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def _ready(service: Service) -> tuple[int, bool, bool]:
    """Return the status, and whether database and keys are there; the service may look once a second only."""
    answer = service.client.get("/readyz")
    return answer.status_code, answer.json()["database"], answer.json()["keys"]


def _takes_connections(service: Service) -> bool:
    place = urlsplit(service.url)
    try:
        socket.create_connection((place.hostname, place.port)).close()
    except ConnectionRefusedError:
        return False
    return True
