"""Whoever sends without end, too slowly, too fast or under a wrong name costs others nothing."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.acting import await_
from tests.support.decisions import decision, spelled
from tests.support.serving import Service, bearer, serving
from tests.support.vault import Installation

PATH = "/v1/ledgers/cn/records/batch"
NDJSON = {"Content-Type": "application/x-ndjson"}
NUMBERS = count(5000)
RATE = 200


@pytest.fixture(scope="module")
def service(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    limits = {"records_per_second": RATE, "burst": RATE, "logins_per_minute": 6000, "body_seconds": 2}
    with (
        built.copied(tmp_path_factory.mktemp("limits") / "home") as copy,
        serving(copy, batches=3, batch_seconds=20, **limits) as started,
    ):
        yield started


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.producer("psp-1", "cn")


def _raw(**changes: Any) -> bytes:
    return spelled(decision(next(NUMBERS), producer_seq=None, **changes))


def _send(service: Service, key: str, body: bytes, **headers: str) -> list[dict[str, Any]]:
    answer = service.client.post(PATH, content=body, headers={**bearer(key), **NDJSON, **headers})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def _open(service: Service, key: str, length: str = "Transfer-Encoding: chunked", buffer: int = 0) -> socket.socket:
    """Begin a batch, and send its head."""
    found = socket.socket()
    if buffer:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    found.settimeout(30)
    found.connect(("127.0.0.1", int(service.url.rpartition(":")[2])))
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/x-ndjson\r\n"
    found.sendall(f"{head}{length}\r\n\r\n".encode())
    return found


def _answer(connection: socket.socket) -> http.client.HTTPResponse:
    found = http.client.HTTPResponse(connection)
    found.begin()
    return found


def _has_room(service: Service, key: str) -> bool:
    answer = service.client.post(PATH, content=b"", headers={**bearer(key), **NDJSON})
    return answer.status_code == 200


def test_a_bomb_of_blank_lines_ends(service: Service, key: str) -> None:
    raw = _raw()
    bomb = gzip.compress(raw + b"\n" + b"\n" * (256 << 20), 1)
    answers = _send(service, key, bomb, **{"Content-Encoding": "gzip"})
    assert [(one["line"], one["status"]) for one in answers] == [(1, 201), (2, 422)]
    assert "blank lines" in answers[1]["problem"]["detail"]


def test_one_producer_does_not_take_every_place(service: Service, key: str) -> None:
    other = service.producer("psp-2", "cn")
    with closing(_open(service, key)) as first, closing(_open(service, key)) as second:
        for one in (first, second):
            line = _raw() + b"\n"
            one.sendall(b"%x\r\n%b\r\n" % (len(line), line))
            assert _answer(one).status == 200
        refused = service.client.post(PATH, content=_raw(), headers={**bearer(key), **NDJSON})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        assert [one["status"] for one in _send(service, other, _raw())] == [201]
    await_(lambda: _has_room(service, key))


def test_a_batch_that_trickles_ends(service: Service, key: str) -> None:
    """Each byte comes in time, and all of them together do not."""
    with closing(_open(service, key)) as connection:
        connection.settimeout(0.5)
        sent, told = 0, b""
        while not told:
            assert sent < 60
            with contextlib.suppress(TimeoutError):
                connection.sendall(b"1\r\n \r\n")
                sent += 1
                told = connection.recv(1, socket.MSG_PEEK)
        connection.settimeout(30)
        line = json.loads(_answer(connection).readline())
    assert (line["line"], line["status"], line["problem"]["type"]) == (1, 408, "urn:reasonvault:problem:timeout")


def test_a_batch_is_slowed_down_to_its_producers_rate(service: Service) -> None:
    key = service.producer("psp-3", "cn")
    raws = [_raw() for _ in range(RATE * 3)]
    began = time.monotonic()
    answers = _send(service, key, gzip.compress(b"\n".join(raws)), **{"Content-Encoding": "gzip"})
    assert time.monotonic() - began > 1.9  # a burst at once, two more seconds for the rest
    assert [one["status"] for one in answers] == [201] * len(raws)


def test_a_batch_of_refusals_ends(service: Service) -> None:
    key = service.producer("psp-4", "cn")
    with serving_like(service, records_per_second=100_000, burst=100_000) as fast:
        answers = _send(fast, key, gzip.compress(b"{}\n" * 20_000), **{"Content-Encoding": "gzip"})
        *refused, stopped = answers
        assert {one["status"] for one in refused} == {422}
        assert len(refused) == 1000
        assert (stopped["line"], stopped["status"]) == (1001, 429)
        assert _send(fast, key, b"{}\n" * 3)[-1]["line"] == 3


@contextlib.contextmanager
def serving_like(service: Service, **settings: Any) -> Iterator[Service]:
    """Run a second service for the same vault, with other settings."""
    before = (service.installation.home / "service.toml").read_text()
    try:
        with serving(service.installation, **settings) as started:
            yield started
    finally:
        (service.installation.home / "service.toml").write_text(before)


def test_who_reads_nothing_is_not_read_from(service: Service) -> None:
    key = service.producer("psp-5", "cn")
    number = 20_000
    template = spelled(decision(1, id="ID", producer_seq=None, conversation_id="c"))
    body = b"".join(template.replace(b'"ID"', b'"unread-%d"' % at) + b"\n" for at in range(number))
    with serving_like(service, records_per_second=1e6, burst=1e6, producer_batches=1, body_seconds=2) as fast:
        before = fast.installation.size("cn")
        with closing(_open(fast, key, f"Content-Length: {len(body)}", buffer=4096)) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(body)
            await_(lambda: _has_room(fast, key))
            taken = fast.installation.size("cn") - before
    assert 0 < taken < number * 3 // 4  # 8 MiB of receipts, and what the network holds


@pytest.mark.parametrize("status", [200, 409, 422])
def test_a_record_that_is_not_new_costs_more(service: Service, status: int) -> None:
    raw = _raw()
    body = {200: raw, 409: spelled({**json.loads(raw), "language": "de"}), 422: b"{}"}[status]
    with serving_like(service, records_per_second=1, burst=40) as slow:
        key = slow.producer(f"psp-6-{status}", "cn")
        assert slow.append("cn", key, raw).status_code == 201
        statuses = []
        while 429 not in statuses:
            statuses.append(slow.append("cn", key, body).status_code)
            assert len(statuses) < 35
        assert set(statuses) == {status, 429}


def test_a_small_body_has_one_deadline_for_all_of_it(service: Service) -> None:
    with closing(
        socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), timeout=30)
    ) as connection:
        connection.sendall(
            b"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n"
        )
        connection.settimeout(0.5)
        told = b""
        for _ in range(30):
            with contextlib.suppress(TimeoutError):
                connection.sendall(b" ")
                told = connection.recv(4096)
                break
        assert told.startswith(b"HTTP/1.1 408 ")


def test_a_ledger_has_its_name_and_its_uuid_and_no_other_spelling(service: Service, key: str) -> None:
    ledger = str(service.installation.ledger("cn"))
    good = [ledger, "cn"]
    bad = [ledger.upper(), ledger.replace("-", ""), f"{{{ledger}}}", f"urn:uuid:{ledger}", "CN", "cn%20", "x" * 65]
    for spelling, status in [*((one, 200) for one in good), *((one, 403) for one in bad)]:
        answer = service.client.get(f"/v1/ledgers/{spelling}", headers=bearer(key))
        assert answer.status_code == status, spelling


def test_another_ledger_that_does_not_hold_is_no_reason(installation: Installation) -> None:
    sg, cn = installation.ledger("sg"), installation.ledger("cn")
    with serving(installation) as started:
        key = started.producer("psp-1", "cn")
        with psycopg.connect(installation.database.superuser_dsn, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute("DELETE FROM vault.entry WHERE ledger_id = %s AND seq = 0", [sg])
        assert started.client.get(f"/v1/ledgers/{cn}", headers=bearer(key)).status_code == 200


def test_many_logins_wait_in_a_line_of_their_own(service: Service) -> None:
    def login(number: int) -> int:
        with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as client:
            body = {"user": f"nobody-{number}", "password": "not a password at all"}
            return client.post("/v1/login", json=body).status_code

    with ThreadPoolExecutor(64) as pool:
        statuses = list(pool.map(login, range(128)))
    assert set(statuses) == {401, 429}


def test_one_persons_denials_are_limited(service: Service) -> None:
    with serving_like(service, logins_per_minute=10) as slow:
        slow.person("oscar", "operator")
        slow.person("olga", "officer")
        oscar, olga = slow.login("oscar"), slow.login("olga")
        before = len(slow.events(olga, "access.denied"))
        asked = [slow.client.get("/v1/ledgers/cn/records/dec-1", headers=bearer(oscar)) for _ in range(30)]
        statuses = [one.status_code for one in asked]
        assert set(statuses) == {403, 429}
        assert statuses.count(403) <= 15
        assert len(slow.events(olga, "access.denied")) - before == statuses.count(403)


def test_one_person_asks_so_much_and_no_more(service: Service) -> None:
    with serving_like(service, requests_per_second=5) as slow:
        slow.person("olivia", "officer")
        olivia = slow.login("olivia")
        statuses = []
        while 429 not in statuses:
            statuses.append(slow.client.get("/v1/grants", headers=bearer(olivia)).status_code)
            assert len(statuses) < 500
        assert set(statuses) == {200, 429}
