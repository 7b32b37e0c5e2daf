"""Records over HTTP: a receipt only for what is durable, the same one again, and a clear refusal for the rest."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
from reasonvault_client import note, receipts

from tests.support.acting import await_, happened, last
from tests.support.decisions import decision, spelled
from tests.support.serving import Service, bearer, serving
from tests.support.vault import Installation
from vault import producers
from vault.core import receipt
from vault.core.note import VerifierKey
from vault.verdict import Depth, worst

NUMBERS = count(1000)
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing here speaks TLS; without this every client would load all certificates of the system."""
CARD = "4111 1111 1111 1111"


@pytest.fixture(scope="module")
def service(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two workers; attempts with wrong keys are not counted here."""
    with (
        built.copied(tmp_path_factory.mktemp("records") / "home") as copy,
        serving(copy, workers=2, logins_per_minute=100_000) as started,
    ):
        yield started


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.producer("psp-1", "cn")


def _raw(**changes: Any) -> bytes:
    number = next(NUMBERS)
    return spelled(decision(number, producer_seq=None, **changes))


def _ledger(service: Service, key: str, name: str = "cn") -> tuple[VerifierKey, str]:
    view = service.client.get(f"/v1/ledgers/{name}", headers=bearer(key)).json()
    return VerifierKey.parse(view["verifier"]), view["origin"]


def _problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:reasonvault:problem:{kind}"
    assert (found["status"], found["request_id"]) == (status, answer.headers["x-request-id"])
    assert found["detail"]
    return found


def test_a_record_gets_a_receipt_that_verifies(service: Service, key: str) -> None:
    verifier, origin = _ledger(service, key)
    raw = b' {"id" : "dec-odd",' + _raw(id=None)[1:] + b"\n"
    answer = service.append("cn", key, raw)
    assert (answer.status_code, answer.headers["content-type"]) == (201, "application/json")
    checkpoint = receipt.verify(answer.content, raw, [verifier], origin)
    taken_home = receipts.check(answer.content, raw, [note.parse_verifier(str(verifier))], origin, "psp-1")
    assert (taken_home.size, taken_home.producer) == (checkpoint.size, "psp-1")
    place = json.loads(answer.json()["leaf"])
    assert (place["producer"], place["seq"] < checkpoint.size) == ("psp-1", True)
    assert service.installation.ledger("cn").hex in origin.replace("-", "")


def test_a_record_of_ten_years_ago_is_kept_from_its_receipt_on(service: Service, key: str) -> None:
    """Promise 4: no producer makes a fresh record due, whatever it says of the past."""
    answer = service.append("cn", key, _raw(occurred_at="2014-03-01T08:00:00Z"))
    place = json.loads(answer.json()["leaf"])
    kept, received = (datetime.fromisoformat(place[name]) for name in ("keep_until", "received_at"))
    assert kept - received >= timedelta(days=3 * 365)


def test_the_same_record_again_gets_the_same_receipt(service: Service, key: str) -> None:
    raw = _raw()
    first, size = service.append("cn", key, raw), service.installation.size("cn")
    verifier, origin = _ledger(service, key)
    for _ in range(4):  # so that both workers answer
        with httpx.Client(base_url=service.url, trust_env=False, verify=PLAIN) as client:
            headers = {**bearer(key), "Content-Type": "application/json"}
            again = client.post("/v1/ledgers/cn/records", content=raw, headers=headers)
        assert again.status_code == 200
        for part in ("receipt", "leaf", "opening"):
            assert again.json()[part] == first.json()[part]
        receipt.verify(again.content, raw, [verifier], origin)
    assert service.installation.size("cn") == size


def test_the_ledgers_uuid_is_its_name_too(service: Service, key: str) -> None:
    uuid = service.installation.ledger("cn")
    raw = _raw()
    assert service.append(str(uuid), key, raw).status_code == 201
    assert service.append("cn", key, raw).status_code == 200
    assert _ledger(service, key, str(uuid)) == _ledger(service, key)


def test_other_bytes_under_a_known_id_are_a_conflict_and_an_event(service: Service, key: str) -> None:
    raw = _raw()
    assert service.append("cn", key, raw).status_code == 201
    found = _problem(service.append("cn", key, raw + b" "), 409, "record-conflict")
    assert (found["code"], found["path"]) == ("conflict", "$.id")
    other = service.producer("psp-2", "cn")
    _problem(service.append("cn", other, raw.replace(b"refund", b"refuse", 1)), 409, "record-conflict")
    assert service.append("cn", other, raw).status_code == 200
    with service.installation.opened() as vault:
        told = happened(vault, "record.conflict")
    assert [one.actor for one in told[-2:]] == ["producer:psp-1", "producer:psp-2"]


REFUSED: dict[str, tuple[bytes, int, str, str]] = {
    "no JSON": (b"{]", 422, "", "$"),
    "nothing": (b"", 422, "", "$"),
    "no record": (b'{"schema":"reasoning-log/1"}', 422, "", "$"),
    "a duplicate key": (b'{"schema":"reasoning-log/1","id":"a","id":"b"}', 422, "duplicate_key", "$"),
    "another schema": (_raw(schema="reasoning-log/2"), 422, "", "$.schema"),
    "an unknown field": (_raw(surprise=1), 422, "", "$"),
    "a card number": (_raw(prompt=f"My card is {CARD}."), 422, "card_number", "$.prompt"),
    "a wrong outcome": (
        _raw(decision={"action": "a", "outcome": "maybe", "money_moved": False}),
        422,
        "",
        "$.decision",
    ),
    "too large": (_raw(prompt="x" * (1 << 20)), 413, "too_large", ""),
    "far too large": (b"x" * (3 << 20), 413, "too_large", ""),
}


@pytest.mark.parametrize("crime", REFUSED)
def test_a_record_that_cannot_be_kept_is_refused_with_place_and_reason(service: Service, key: str, crime: str) -> None:
    raw, status, code, path = REFUSED[crime]
    size = service.installation.size("cn")
    answer = service.append("cn", key, raw)
    found = _problem(answer, status, "too-large" if status == 413 else "record-refused")
    assert found.get("path", "").startswith(path)
    assert code in found["code"]
    assert CARD not in answer.text
    assert service.installation.size("cn") == size


def test_a_refusal_leaves_an_event_and_no_content(service: Service, key: str) -> None:
    raw = _raw(prompt=f"Pay with {CARD} at once")
    record_id = json.loads(raw)["id"]
    service.append("cn", key, raw)
    with service.installation.opened() as vault:
        told = last(vault, "record.refused")
    assert (told.actor, told.facts["code"], told.facts["producer"]) == ("producer:psp-1", "card_number", "psp-1")
    everything = service.installation.everything_stored() + service.lines()
    for secret in (CARD, CARD.replace(" ", ""), record_id):
        assert secret not in everything
    redacted = json.loads(raw) | {
        "prompt": "Pay with [card] at once",
        "redactions": [{"type": "card_number", "count": 1}],
        "source": {"adapter": "native", "fidelity": "redacted"},
    }
    assert service.append("cn", key, spelled(redacted)).status_code == 201, "a refusal does not take the id"


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        ({"Content-Type": ""}, 415, "unsupported-media-type"),
        ({"Content-Type": "application/x-ndjson"}, 415, "unsupported-media-type"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415, "unsupported-media-type"),
        ({"Content-Type": "application/json", "Content-Encoding": "br"}, 415, "unsupported-media-type"),
    ],
)
def test_media_types_and_encodings(service: Service, key: str, headers: dict[str, str], status: int, kind: str) -> None:
    answer = service.client.post("/v1/ledgers/cn/records", content=_raw(), headers={**bearer(key), **headers})
    _problem(answer, status, kind)


def test_a_large_record_is_kept_too(service: Service, key: str) -> None:
    verifier, origin = _ledger(service, key)
    for size in (70_000, 600_000):
        raw = _raw(prompt="x" * size)
        answer = service.append("cn", key, raw)
        assert answer.status_code == 201, answer.text
        receipt.verify(answer.content, raw, [verifier], origin)


def test_a_body_that_grows_too_large_is_refused_before_its_end(service: Service, key: str) -> None:
    """Three megabytes are sent and the end never is: who waited for it would hold all that anybody sends."""
    with socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])), timeout=20) as connection:
        head = f"POST /v1/ledgers/cn/records HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):  # the answer may be there before all of it was sent
            for _ in range(48):
                connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_charset_does_no_harm(service: Service, key: str) -> None:
    headers = {**bearer(key), "Content-Type": "application/json; charset=utf-8"}
    assert service.client.post("/v1/ledgers/cn/records", content=_raw(), headers=headers).status_code == 201


def test_who_has_no_key_is_refused_and_told(service: Service, key: str) -> None:
    with service.installation.opened() as vault:
        before = len(happened(vault, "auth.failed"))
        wrong = [key[:-1] + ("A" if key[-1] != "A" else "B"), key[:-1], "rvk_", "eyJhbGciOiJub25lIn0.e30.", "x"]
        for one in wrong:
            answer = service.append("cn", one, _raw())
            _problem(answer, 401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Bearer"
        for header in ({}, {"Authorization": f"Basic {key}"}, {"Authorization": "Bearer"}, {"Authorization": key}):
            headers = {"Content-Type": "application/json", **header}
            _problem(
                service.client.post("/v1/ledgers/cn/records", content=_raw(), headers=headers), 401, "unauthenticated"
            )
        told = happened(vault, "auth.failed")[before:]
    assert [one.facts["code"] for one in told] == ["unknown"] + ["malformed"] * 4 + ["missing"] * 4
    assert {one.actor for one in told} == {"stranger"}
    everything = service.installation.everything_stored() + service.lines()
    assert all(one[14:] not in everything for one in wrong if len(one) > 20)


def test_somebody_elses_ledger_is_like_none(service: Service, key: str) -> None:
    """Another producer's ledger, another tenant's, the events, and one that does not exist: one answer."""
    answers = set()
    for ledger in (
        "sg",
        "events",
        "nowhere",
        str(service.installation.ledger("sg")),
        "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634",
    ):
        answer = service.append(ledger, key, _raw())
        found = _problem(answer, 403, "denied")
        answers.add((found["detail"], found["title"], found.get("code")))
        assert service.client.get(f"/v1/ledgers/{ledger}", headers=bearer(key)).status_code == 403
    assert len(answers) == 1


IDS = [
    "a/b",
    "a//b/",
    "/lead",
    "100%",
    "%2F%2e",
    "..",
    "../../etc/passwd",
    "./a/../b",
    "batch",
    "records",
    "a b",
    "a?b#c",
    "王-伟",
    "é",
    "e\u0301",
    "\U0001f4b8",
    "a;b=c",
    "a+b",
    "x" * 128,
]


def test_whatever_an_id_holds_it_is_found_by(service: Service, key: str) -> None:
    auditor, officer = service.people()
    service.granted(auditor, officer, "cn")
    raws = {record_id: _raw(id=record_id) for record_id in IDS}
    for record_id, raw in raws.items():
        assert service.append("cn", key, raw).status_code == 201, record_id
    for record_id, raw in raws.items():
        url = httpx.URL(service.url).copy_with(
            raw_path=f"/v1/ledgers/cn/records/{quote(record_id, safe='').replace('.', '%2E')}".encode()
        )
        answer = service.client.get(url, headers=bearer(auditor))
        assert answer.status_code == 200, (record_id, answer.text)
        assert answer.content.endswith(raw + b"}"), record_id
    literal = httpx.URL(service.url).copy_with(raw_path=b"/v1/ledgers/cn/records/a/b")
    assert service.client.get(literal, headers=bearer(auditor)).content.endswith(raws["a/b"] + b"}")
    bad = httpx.URL(service.url).copy_with(raw_path=b"/v1/ledgers/cn/records/%ff%fe")
    _problem(service.client.get(bad, headers=bearer(auditor)), 422, "invalid")


def test_the_same_id_from_many_at_once_is_kept_once(service: Service, key: str) -> None:
    for _ in range(5):
        raw = _raw()
        barrier = threading.Barrier(8)

        def send(_: int, raw: bytes = raw, barrier: threading.Barrier = barrier) -> httpx.Response:
            with httpx.Client(base_url=service.url, trust_env=False, verify=PLAIN) as client:
                barrier.wait(30)
                headers = {**bearer(key), "Content-Type": "application/json"}
                return client.post("/v1/ledgers/cn/records", content=raw, headers=headers, timeout=60)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(send, range(8)))
        assert sorted(one.status_code for one in answers) == [200] * 7 + [201]
        assert len({(one.json()["leaf"], one.json()["opening"]) for one in answers}) == 1


def _groups(service: Service) -> tuple[float, float]:
    """Return commits and records so far, of all workers."""
    figures = dict(
        line.rsplit(" ", 1) for line in service.client.get("/metrics").text.splitlines() if not line.startswith("#")
    )
    return float(figures["reasonvault_group_records_count"]), float(figures["reasonvault_group_records_sum"])


def _queued(service: Service) -> float:
    """Return how many records wait for a commit, as every worker said when it was last asked."""
    with httpx.Client(base_url=service.url, trust_env=False, verify=PLAIN) as client:
        text = client.get("/metrics").text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("reasonvault_queue_records"))


def _held_up(connection: psycopg.Connection) -> int:
    """Return how many sessions of this database wait for a lock."""
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_many_at_once_share_commits_and_one_alone_waits_for_nobody(service: Service, key: str) -> None:
    """While somebody holds the head, each worker has a group at hand and all others line up behind the two."""
    site, sent = service.installation, []
    size, (commits, records) = site.size("cn"), _groups(service)
    headers = {**bearer(key), "Content-Type": "application/json"}

    def send(raw: bytes) -> httpx.Response:
        with httpx.Client(base_url=service.url, trust_env=False, verify=PLAIN, timeout=60) as client:
            return client.post("/v1/ledgers/cn/records", content=raw, headers=headers)

    with (
        ThreadPoolExecutor(128) as pool,
        psycopg.connect(site.database.superuser_dsn) as holder,
        psycopg.connect(site.database.superuser_dsn, autocommit=True) as watcher,
    ):
        holder.execute("SELECT FROM vault.head WHERE ledger_id = %s FOR UPDATE", [site.ledger("cn")])
        while len(sent) < 64 and _held_up(watcher) < 2:
            raw = _raw()
            sent.append((raw, pool.submit(send, raw)))
            await_(lambda: _held_up(watcher) + _queued(service) >= len(sent))
        sent += [(raw, pool.submit(send, raw)) for raw in [_raw() for _ in range(64)]]
        await_(lambda: _queued(service) == len(sent) - 2)
        holder.rollback()
        answers = [(raw, future.result(60)) for raw, future in sent]
    assert {answer.status_code for _, answer in answers} == {201}
    more_commits, more_records = _groups(service)
    assert (more_commits - commits, more_records - records) == (4, len(sent)), "one at hand and one behind it a worker"
    seqs = sorted(json.loads(answer.json()["leaf"])["seq"] for _, answer in answers)
    assert seqs == list(range(size, size + len(sent)))
    verifier, origin = _ledger(service, key)
    for raw, answer in answers:
        receipt.verify(answer.content, raw, [verifier], origin)
    service.append("cn", key, _raw())
    alone_commits, alone_records = _groups(service)
    assert (alone_commits - more_commits, alone_records - more_records) == (1, 1)


def test_a_revoked_key_ends_at_once_in_every_worker(service: Service) -> None:
    key = service.producer("psp-9", "cn")
    headers = {**bearer(key), "Content-Type": "application/json"}

    def send() -> int:
        """Over a new connection, so that any worker may get it."""
        with httpx.Client(base_url=service.url, trust_env=False, verify=PLAIN) as client:
            return client.post("/v1/ledgers/cn/records", content=_raw(), headers=headers).status_code

    assert {send() for _ in range(8)} == {201}
    size = service.installation.size("cn")
    with service.installation.opened() as vault:
        producers.revoke(vault, key.split("_")[1])
        before = len(happened(vault, "auth.failed"))
        assert {send() for _ in range(12)} == {401}
        told = happened(vault, "auth.failed")[before:]
    assert [one.facts["code"] for one in told] == ["revoked"] * 12
    assert service.installation.size("cn") == size


def test_two_services_and_four_workers_make_one_chain(service: Service, key: str) -> None:
    site = service.installation
    size = site.size("cn")
    with serving(site, workers=2, log=site.home.parent / "second.log") as second:
        raws = [_raw() for _ in range(160)]

        def send(part: tuple[str, list[bytes]]) -> list[int]:
            url, mine = part
            headers = {**bearer(key), "Content-Type": "application/json"}
            seqs = []
            with httpx.Client(base_url=url, trust_env=False, verify=PLAIN, timeout=60) as client:
                for raw in mine:
                    answer = client.post("/v1/ledgers/cn/records", content=raw, headers=headers)
                    assert answer.status_code == 201, answer.text
                    seqs.append(json.loads(answer.json()["leaf"])["seq"])
            return seqs

        parts = [((service.url, second.url)[at % 2], raws[at::8]) for at in range(8)]
        with ThreadPoolExecutor(8) as pool:
            seqs = sorted(seq for found in pool.map(send, parts) for seq in found)
    assert seqs == list(range(size, size + 160))
    reports = site.audit(Depth.OPEN)
    assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]
    assert {report.name: report.unsealed for report in reports}["cn"] == 0


def test_the_id_of_a_record_that_is_gone_is_not_given_again(service: Service, key: str) -> None:
    raw = _raw()
    seq = json.loads(service.append("cn", key, raw).json()["leaf"])["seq"]
    with service.installation.tampering() as connection:
        connection.execute(
            "DELETE FROM vault.sealed WHERE ledger_id = %s AND seq = %s", [service.installation.ledger("cn"), seq]
        )
    for again in (raw, raw + b" "):
        found = _problem(service.append("cn", key, again), 410, "record-gone")
        assert (found["code"], found["path"]) == ("gone", "$.id")


def test_nothing_of_a_record_is_logged(service: Service) -> None:
    with psycopg.connect(service.installation.database.superuser_dsn) as connection:
        rows = connection.execute("SELECT record_id FROM vault.sealed WHERE record_id LIKE 'dec-1___'").fetchall()
    assert len(rows) > 200
    log = service.lines()
    for secret in ("was cancelled", "cus-", "txn-", "conv-", "Bearer", "rvk_", *(row[0] for row in rows)):
        assert secret not in log
