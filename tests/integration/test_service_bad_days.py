"""Bad clients of the service, on raw sockets: slow, gone, endless, misspelt, and without a right.

Whatever comes: a clear refusal that reveals nothing, an event where somebody tried to get in, bounded time and memory,
and the next request is answered.
"""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from service import home as homes
from service.identity.tokens import TokenIssuer, issuer_name
from tests.support.decisions import decision, spelled
from tests.support.serving import Service, bearer, family, serving
from tests.support.slow import Footprint, Wire, gzipped, zstandarded
from tests.support.vault import CHEAP, PASSPHRASE, Installation
from vault.keys.keyfile import KeyDirectory

RECORDS, BATCH = "/v1/ledgers/cn/records", "/v1/ledgers/cn/records/batch"
NUMBERS = count(10_000)
MANY = 200 << 20
"""Bytes of a bomb, unpacked."""
BOUND = 96 << 20
"""Bytes that a worker may grow by while it is thrown one: buffers, and what the allocator keeps."""
JSON, NDJSON = {"Content-Type": "application/json"}, {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def service(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker that takes one batch at a time and waits a second for what does not arrive."""
    with (
        built.copied(tmp_path_factory.mktemp("bad") / "home") as copy,
        serving(copy, body_seconds=1, batches=1, logins_per_minute=100_000) as started,
    ):
        yield started


@pytest.fixture(scope="module")
def key(service: Service) -> str:
    return service.producer("psp-1", "cn")


@pytest.fixture(scope="module")
def tokens(service: Service) -> tuple[str, str]:
    return service.people()


@pytest.fixture(autouse=True)
def lives_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test of the shared service the same worker answers a normal request."""
    if "service" not in request.fixturenames:
        yield
        return
    service, key = request.getfixturevalue("service"), request.getfixturevalue("key")
    before = family(service.process.pid)
    yield
    assert service.append("cn", key, _raw()).status_code == 201
    assert family(service.process.pid) == before


def test_heads_that_never_end(service: Service, key: str) -> None:
    """Many who send a head byte by byte hold nobody up, and are let go."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(service.url)) for _ in range(50)]
        for wire in wires:
            wire.send(b"POST /v1/login HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert service.client.get("/healthz").status_code == 200
        assert service.append("cn", key, _raw()).status_code == 201
        assert all(wire.is_closed() for wire in wires)


@pytest.mark.parametrize(
    ("path", "headers"), [(RECORDS, {"Content-Length": "1000"}), ("/v1/login", {"Transfer-Encoding": "chunked"})]
)
def test_a_body_that_stops_half_way(service: Service, key: str, path: str, headers: dict[str, str]) -> None:
    with Wire(service.url) as wire:
        wire.begin("POST", path, **bearer(key), **JSON, **headers)
        wire.chunk(b'{"user": "anna') if "Transfer-Encoding" in headers else wire.send(b'{"id": "dec-')
        answer = wire.answer()
    assert answer is not None
    assert (answer.status, answer.problem()["type"]) == (408, "urn:reasonvault:problem:timeout")


def test_a_body_that_drips(service: Service, key: str) -> None:
    """A byte now and then is no progress: a record as a whole has as long as it has."""
    raw = _raw()
    with Wire(service.url) as wire:
        wire.begin("POST", RECORDS, **bearer(key), **JSON, **{"Content-Length": str(len(raw))})
        wire.drip(raw, 0.1)
        answer = wire.answer()
    assert answer is not None
    assert answer.problem()["status"] == 408


def test_a_batch_that_pauses_is_answered_and_one_that_stops_is_ended(service: Service, key: str) -> None:
    """What arrived is kept and answered; then the stream ends with the reason, and its place is free."""
    lines = [_raw() for _ in range(3)]
    with Wire(service.url) as wire:
        wire.begin("POST", BATCH, **bearer(key), **NDJSON, **{"Transfer-Encoding": "chunked"})
        wire.chunk(lines[0] + b"\n" + lines[1] + b"\n" + lines[2][:40])
        answer = wire.answer()
    assert answer is not None
    told = [json.loads(line) for line in answer.body.splitlines()]
    assert [(one["line"], one["status"]) for one in told] == [(1, 201), (2, 201), (3, 408)]
    assert _batch(service, key, lines) == [200, 200, 201]


def test_who_does_not_read_the_answers_of_a_batch(service: Service, key: str) -> None:
    """Nothing piles up, the place is free again, and what was committed is there."""
    lines = [_raw() for _ in range(4000)]
    worker = Footprint.of(_worker(service))
    with Wire(service.url, buffer=4096) as wire:
        body = b"\n".join(lines)
        wire.begin("POST", BATCH, **bearer(key), **NDJSON, **{"Content-Length": str(len(body))})
        wire.send_meanwhile(body)
        _until(lambda: _batch(service, key, [_raw()], busy=True) == [429])
        _until(lambda: _batch(service, key, [_raw()], busy=True) == [201])
    assert worker.grown() < BOUND


def test_who_vanishes_mid_batch(service: Service, key: str) -> None:
    lines = [_raw() for _ in range(50)]
    with Wire(service.url) as wire:
        wire.begin("POST", BATCH, **bearer(key), **NDJSON, **{"Transfer-Encoding": "chunked"})
        wire.chunk(lines[0] + b"\n")
        first = json.loads(wire.reader().readline())
        wire.chunk(b"\n".join(lines[1:]))
    assert first["status"] == 201
    _until(lambda: _batch(service, key, lines[:1], busy=True) == [200])


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize(
    "part", [bytes(1 << 20), b"\n" * (1 << 20), b"{}\n" * (1 << 18)], ids=["line", "blank", "many"]
)
def test_a_bomb_takes_little_memory_and_ends(service: Service, key: str, encoding: str, part: bytes) -> None:
    """One endless line, blank lines without end, bad lines without end and nobody who waits for what they get."""
    bomb = (gzipped if encoding == "gzip" else zstandarded)(part, MANY // len(part))
    assert len(bomb) < 2 << 20
    worker = Footprint.of(_worker(service))
    with Wire(service.url, buffer=4096) as wire:
        wire.begin(
            "POST", BATCH, **bearer(key), **NDJSON, **{"Content-Length": str(len(bomb)), "Content-Encoding": encoding}
        )
        wire.send(bomb)
        if part[:1] != b"{":
            told = [json.loads(line) for line in wire.reader().read().splitlines()]
            assert len(told) == 1
            assert told[0]["status"] in (413, 422)
    _until(lambda: _batch(service, key, [_raw()], busy=True) == [201])
    assert worker.grown() < BOUND


@pytest.mark.parametrize("path", [RECORDS, BATCH, "/v1/login", "/v1/grants"])
@pytest.mark.parametrize("given", [None, "text/plain", "application/xml", "multipart/form-data; boundary=x", "x" * 300])
def test_other_media_types(service: Service, key: str, path: str, given: str | None) -> None:
    headers = bearer(key) | ({} if given is None else {"Content-Type": given})
    answer = service.client.post(path, content=b'{"user": "anna"}', headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (415, "urn:reasonvault:problem:unsupported-media-type")
    assert "xxx" not in answer.text


@pytest.mark.parametrize(
    "lengths",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: +4",
        "Content-Length: -1",
        "Transfer-Encoding: chunked, identity",
    ],
)
def test_a_length_told_in_two_ways(service: Service, key: str, lengths: str) -> None:
    """Two readers could see two requests: neither is taken, and nothing behind it is read."""
    smuggled = f"GET /v1/grants HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n"
    with Wire(service.url) as wire:
        wire.send(f"POST {RECORDS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{lengths}\r\n\r\n".encode())
        wire.send(f"0\r\n\r\n{smuggled}".encode())
        answer = wire.answer()
        assert answer is None or answer.status in (400, 401)
        assert wire.is_closed()


@pytest.mark.parametrize("given", ["a%0d%0aSet-Cookie: x=1", "a b", "é", "x" * 65, '"><script>', "a\tb", ""])
def test_a_request_id_that_could_do_harm_is_not_repeated(service: Service, key: str, given: str) -> None:
    with Wire(service.url) as wire:
        wire.begin("GET", "/healthz", **{"X-Request-Id": given})
        answer = wire.answer()
    assert answer is not None
    assert len(answer.headers["x-request-id"]) == 16
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/v1/ledgers/cn%00/records",
        "/v1/ledgers/cn%0d%0aX-Injected:%201/records",
        "/v1/ledgers/../../../etc/passwd",
        "/v1/ledgers/%2e%2e%2f%2e%2e/records",
        "/v1/ledgers/cn/records/..%2f..%2fdec-3",
        "/v1/ledgers/cn/records/%ff%fe",
        "/v1/ledgers/cn/records/" + "x" * 10_000,
        "/v1/ledgers/" + "x" * 10_000,
        "/v1/reports/..%2f..%2fvault.json",
        "/v1/reports/r-%2e%2e/file",
        "/v1/grants/%00/approve",
        "/v1/events?start=2026-01-01T00:00:00Z%0d%0a",
        "/v1/events?ledger=" + "x" * 60_000,
        "/" + "x" * 70_000,
        "*",
    ],
)
def test_paths_that_lead_nowhere(service: Service, key: str, tokens: tuple[str, str], path: str) -> None:
    """Nobody gets anything by them, and what comes back does not repeat them."""
    for method in ("GET", "POST"):
        with Wire(service.url) as wire:
            wire.begin(
                method, path, **bearer(tokens[0]), **JSON, **({"Content-Length": "0"} if method == "POST" else {})
            )
            answer = wire.answer()
        if answer is not None:
            assert 400 <= answer.status < 500, (answer.status, answer.body)
            assert "x-injected" not in answer.headers
            assert b"xxxxxxxx" not in answer.body
            assert b"/home" not in answer.body
            if "x-request-id" in answer.headers:
                answer.problem()


def test_heads_that_are_too_large(service: Service, key: str) -> None:
    for headers in ({"X-Large": "x" * 100_000}, {f"X-{number}": "x" * 100 for number in range(2000)}):
        with Wire(service.url) as wire:
            wire.begin("GET", "/healthz", **headers)
            answer = wire.answer()
        assert answer is None or answer.status in (200, 431), answer.status


DEEP = 100_000


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (RECORDS, b"", 422),
        (RECORDS, b"[" * DEEP, 422),
        (RECORDS, b'{"id":' * DEEP, 422),
        (RECORDS, b'{"id": "\xff\xfe"}', 422),
        (RECORDS, b"\xef\xbb\xbf{}", 422),
        (RECORDS, b'{"id": "a", "id": "b"}', 422),
        (RECORDS, b'{"n": NaN}', 422),
        (RECORDS, b'{"n": 1' + b"0" * 5000 + b"}", 422),
        (RECORDS, b'"' + b"x" * (1 << 20) + b'"', 413),
        ("/v1/grants", b"", 422),
        ("/v1/grants", b"[" * 60_000, 400),
        ("/v1/grants", b'{"ledgers": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400),
        ("/v1/grants", b'{"ledgers": [{"a": {"b": []}}]}', 422),
        ("/v1/grants", b'{"purpose": "\xff"}', 400),
        ("/v1/grants", b'{"purpose": "' + b"x" * 70_000 + b'"}', 413),
        ("/v1/login", b'{"user": "anna", "password": "' + b"x" * 2000 + b'"}', 422),
        ("/v1/login", b'{"user": ' + b"9" * 5000 + b"}", 400),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_that_are_none(
    service: Service, key: str, tokens: tuple[str, str], path: str, body: bytes, status: int, chunked: bool
) -> None:
    who = key if path == RECORDS else tokens[0]
    with Wire(service.url) as wire:
        length = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))}
        wire.begin("POST", path, **bearer(who), **JSON, **length)
        if chunked:
            wire.chunk(body) if body else None
            wire.chunk(b"")
        else:
            wire.send(body)
        answer = wire.answer()
    assert answer is not None
    assert answer.problem()["status"] == status, answer.body
    assert len(answer.body) < 1000
    assert b"xxxx" not in answer.body


def test_a_record_without_end(service: Service, key: str) -> None:
    """It is refused once it is too large, not once it is over."""
    with Wire(service.url) as wire:
        wire.begin("POST", RECORDS, **bearer(key), **JSON, **{"Transfer-Encoding": "chunked"})
        wire.chunk(bytes(1 << 20) + b"x")
        answer = wire.answer()
    assert answer is not None
    assert answer.problem()["status"] == 413


def test_who_is_not_let_in(service: Service, key: str, tokens: tuple[str, str], tmp_path: Path) -> None:
    """Every kind of credential that is none: the same answer but for its code, and an event each."""
    auditor, officer = tokens
    head, body, signature = auditor.split(".")
    wrong = {
        "missing": {},
        "basic": {"Authorization": "Basic YW5uYTp4"},
        "empty": {"Authorization": "Bearer"},
        "none": bearer(f"eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{body}."),
        "unsigned": bearer(f"{head}.{body}."),
        "tampered": bearer(f"{head}.{body[:-4]}AAAA.{signature}"),
        "expired": bearer(_token(service.installation, auditor, -10_000)),
        "expired just now": bearer(_token(service.installation, auditor, -62)),
        "of tomorrow": bearer(_token(service.installation, auditor, 10_000)),
        "another vault's": bearer(_foreign(tmp_path, auditor, service.installation)),
        "a producer's": bearer(key),
        "huge": bearer("e" * 9000),
    }
    before = len(service.events(officer, "auth.failed"))
    for name, headers in wrong.items():
        answer = service.client.get("/v1/grants", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), name
        assert answer.json()["detail"] == "a person's access token is needed"
    assert len(service.events(officer, "auth.failed")) == before + len(wrong)
    answer = service.append("cn", auditor, _raw())
    assert (answer.status_code, answer.json()["detail"]) == (401, "a producer key is needed")
    assert len(service.events(officer, "auth.failed")) == before + len(wrong) + 1


def test_methods_that_no_place_knows(service: Service, key: str) -> None:
    for method, path in (("PUT", RECORDS), ("DELETE", "/v1/grants"), ("TRACE", "/healthz"), ("FOO", "/v1/events")):
        answer = service.client.request(method, path, headers=bearer(key))
        assert answer.status_code == 405
        assert answer.headers["allow"]
        assert answer.json()["type"] == "urn:reasonvault:problem:method-not-allowed"


def _raw(**changes: Any) -> bytes:
    return spelled(decision(next(NUMBERS), producer_seq=None, **changes))


def _batch(service: Service, key: str, lines: list[bytes], *, busy: bool = False) -> list[int]:
    """Send a batch and return its lines' statuses; that of the whole where it was not taken and may be."""
    answer = service.client.post(BATCH, content=b"\n".join(lines), headers={**bearer(key), **NDJSON})
    if busy and answer.status_code == 429:
        return [429]
    assert answer.status_code == 200, answer.text
    return [json.loads(line)["status"] for line in answer.text.splitlines()]


def _worker(service: Service) -> int:
    return family(service.process.pid)[1]


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def _token(installation: Installation, like: str, seconds: int) -> str:
    """Return a token like another, issued with the vault's own key at another time."""
    return _issued(installation, installation, like, seconds)


def _foreign(folder: Path, like: str, installation: Installation) -> str:
    """Return a token that another vault's key signed in this vault's name."""
    other = folder / "other"
    other.mkdir(0o700)
    KeyDirectory.create(other / "keys", PASSPHRASE, clock=time.monotonic, cost=CHEAP).close()
    return _issued(Installation(other, installation.database), installation, like, 0)


def _issued(signer: Installation, vault: Installation, like: str, seconds: int) -> str:
    found = homes.read_identity(vault.home)
    assert found is not None
    claims = json.loads(urlsafe_b64decode(like.split(".")[1] + "=="))
    with KeyDirectory.open(signer.home / "keys", PASSPHRASE, clock=time.monotonic) as keys:
        public = keys.create_signing_key("access.1")
        issuer = TokenIssuer(
            issuer_name(found.tenant),
            lambda message: keys.sign("access.1", message),
            public,
            lambda: time.time_ns() // 1000 + seconds * 1_000_000,
        )
        return issuer.issue(claims["sub"], claims["gen"], 60)
