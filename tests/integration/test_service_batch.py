"""Batches over HTTP: a line for each line, in order; whatever stops the stream, 2xx means kept."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import httpx
import psycopg
import pytest
import zstandard

from tests.support.acting import await_, happened, last
from tests.support.decisions import decision, spelled
from tests.support.serving import Service, bearer, serving
from tests.support.vault import Installation
from vault.core import canonical, packing, receipt
from vault.core.checkpoint import open_checkpoint
from vault.core.note import VerifierKey
from vault.core.tree import Frontier, leaf_hash
from vault.verdict import Depth, worst

PATH = "/v1/ledgers/cn/records/batch"
NUMBERS = count(1000)
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def service(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with (
        built.copied(tmp_path_factory.mktemp("batch") / "home") as copy,
        serving(copy, workers=2, logins_per_minute=100_000) as started,
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
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def _verifier(service: Service, key: str) -> tuple[VerifierKey, str]:
    view = service.client.get("/v1/ledgers/cn", headers=bearer(key)).json()
    return VerifierKey.parse(view["verifier"]), view["origin"]


def _proved(service: Service, key: str, lines: dict[int, bytes], answers: list[dict[str, Any]]) -> None:
    """Check the receipts of lines that were answered 2xx."""
    verifier, origin = _verifier(service, key)
    for one in answers:
        if one["status"] < 300:
            receipt.verify(json.dumps(one["receipt"]).encode(), lines[one["line"]], [verifier], origin)


def _kept(service: Service) -> set[str]:
    with psycopg.connect(service.installation.database.superuser_dsn) as connection:
        rows = connection.execute("SELECT record_id FROM vault.sealed WHERE record_id IS NOT NULL").fetchall()
    return {row[0] for row in rows}


def test_every_line_is_answered_in_order(service: Service, key: str) -> None:
    good, known, other = [_raw() for _ in range(5)], _raw(), _raw()
    assert service.append("cn", key, known).status_code == 201
    body = [
        good[0],
        b"",
        b"{}",
        known,
        good[1],
        b"   \t",
        known + b" ",
        good[1],
        good[2] + b"\r",
        spelled({**json.loads(good[1]), "language": "de"}),
        _raw(prompt="My card is 4111 1111 1111 1111"),
        b"no JSON",
        b"\xff\xfe",
        good[3],
        other,
    ]
    answers = _send(service, key, b"\n".join(body))
    expected = {1: 201, 3: 422, 4: 200, 5: 201, 7: 409, 8: 200, 9: 201, 10: 409, 11: 422, 12: 422, 13: 422, 14: 201}
    assert [(one["line"], one["status"]) for one in answers] == [*expected.items(), (15, 201)]
    for one in answers:
        if one["status"] >= 300:
            problem = one["problem"]
            assert problem["status"] == one["status"]
            assert problem["code"]
            assert problem["path"].startswith("$")
            assert "4111" not in json.dumps(problem)
    _proved(service, key, {**dict(enumerate(body, 1)), 9: good[2]}, answers)
    first, again = answers[3]["receipt"], answers[5]["receipt"]
    assert (first["leaf"], first["opening"]) == (again["leaf"], again["opening"])


@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd", "two gzip members", "two zstd frames"])
def test_encodings(service: Service, key: str, encoding: str) -> None:
    raws = [_raw() for _ in range(30)]
    halves = [b"".join(raw + b"\n" for raw in part) for part in (raws[:13], raws[13:])]
    compress = gzip.compress if "gzip" in encoding else zstandard.ZstdCompressor().compress
    whole = compress(halves[0] + halves[1])
    body = {"identity": halves[0] + halves[1]}.get(encoding, whole)
    if encoding.startswith("two"):
        body = b"".join(compress(half) for half in halves)
    named = {"identity": "identity"}.get(encoding, "gzip" if "gzip" in encoding else "zstd")
    answers = _send(service, key, body, **{"Content-Encoding": named})
    assert [one["status"] for one in answers] == [201] * 30
    _proved(service, key, dict(enumerate(raws, 1)), answers)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_stream_that_is_cut_off_or_damaged(service: Service, key: str, encoding: str) -> None:
    """What came before the damage is kept and answered; then one line says where it stopped."""
    raws = [_raw(prompt=f"{number} " * 400) for number in range(300)]
    data = b"".join(raw + b"\n" for raw in raws)
    body = gzip.compress(data) if encoding == "gzip" else zstandard.ZstdCompressor().compress(data)
    for broken in (
        body[: len(body) // 2],
        body[: len(body) // 2] + b"\x00" * 64 + body[len(body) // 2 + 64 :],
        body[:-2],
    ):
        answers = _send(service, key, broken, **{"Content-Encoding": encoding})
        *taken, stopped = answers
        assert (stopped["status"], stopped["problem"]["type"]) == (422, "urn:reasonvault:problem:record-refused")
        assert stopped["line"] == len(taken) + 1
        assert {one["status"] for one in taken} <= {200, 201}
        assert {json.loads(raws[one["line"] - 1])["id"] for one in taken} <= _kept(service)
        _proved(service, key, dict(enumerate(raws, 1)), taken)


def test_a_wrong_encoding_does_no_harm(service: Service, key: str) -> None:
    raw = _raw()
    for encoding in ("br", "deflate", "gzip, gzip", "x"):
        answer = service.client.post(PATH, content=raw, headers={**bearer(key), **NDJSON, "Content-Encoding": encoding})
        assert answer.status_code == 415
    # Declared compressed and not: nothing of it can be taken for something else.
    for encoding in ("gzip", "zstd"):
        answers = _send(service, key, raw, **{"Content-Encoding": encoding})
        assert answers[0]["status"] in (200, 201, 422)
    answers = _send(service, key, zlib.compress(raw), **{"Content-Encoding": "gzip"})
    assert {one["status"] for one in answers} == {422}
    for media in ("application/json", "text/plain", ""):
        answer = service.client.post(PATH, content=raw, headers={**bearer(key), "Content-Type": media})
        assert answer.status_code == 415


def test_a_compression_bomb_is_one_refused_line(service: Service, key: str) -> None:
    bomb = gzip.compress(b"x" * (200 << 20) + b"\n" + _raw() + b"\n", 1)
    assert len(bomb) < 2 << 20
    answers = _send(service, key, bomb, **{"Content-Encoding": "gzip"})
    assert [(one["line"], one["status"]) for one in answers] == [(1, 413), (2, 201)]


def test_huge_and_blank_lines(service: Service, key: str) -> None:
    huge, nearly = b"x" * (5 << 20), _raw(prompt="y" * 900_000)
    answers = _send(service, key, b"\n\n" + huge + b"\n\n" + nearly + b"\n\n\n" + huge)
    assert [(one["line"], one["status"]) for one in answers] == [(3, 413), (5, 201), (8, 413)]
    assert _send(service, key, b"") == []
    assert _send(service, key, b"\n \n\r\n") == []


def test_minimal_answers_prove_as_much(service: Service, key: str) -> None:
    raws = [_raw() for _ in range(40)]
    body = b"\n".join([*raws[:20], b"{}", *raws[20:]])
    answers = _send(service, key, body, Prefer="return=minimal")
    checkpoints = [one["checkpoint"] for one in answers if "checkpoint" in one]
    taken = [one for one in answers if one.get("status") == 201]
    assert len(taken) == 40
    assert all(set(one) == {"line", "status", "seq", "leaf_hash"} for one in taken)
    verifier, origin = _verifier(service, key)
    ledger = service.installation.ledger("cn")
    with psycopg.connect(service.installation.database.superuser_dsn) as connection:
        stored = connection.execute("SELECT leaf FROM vault.entry WHERE ledger_id = %s ORDER BY seq", [ledger])
        hashes = [leaf_hash(packing.unpack(row[0])) for row in stored]
    for note in checkpoints:
        checkpoint = open_checkpoint(note, [verifier], origin)
        frontier = Frontier()
        frontier.extend(hashes[: checkpoint.size])
        assert frontier.root() == checkpoint.root
    assert all(canonical.unb64(one["leaf_hash"], 32) == hashes[one["seq"]] for one in taken)
    last_size = max(open_checkpoint(note, [verifier], origin).size for note in checkpoints)
    assert max(one["seq"] for one in taken) < last_size


class Sender:
    """One connection that sends a batch piece by piece and reads answers meanwhile."""

    def __init__(self, service: Service, key: str) -> None:
        self.port = int(service.url.rpartition(":")[2])
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        head += "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.socket.sendall(head.encode())
        self.response: http.client.HTTPResponse | None = None

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        if self.response is not None:
            self.response.close()
        self.socket.close()

    def send(self, *raws: bytes) -> None:
        data = b"".join(raw + b"\n" for raw in raws)
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self.socket.sendall(b"0\r\n\r\n")

    def status(self) -> int:
        """Return the answer's status."""
        return self._begun().status

    def header(self, name: str) -> str | None:
        """Return one of the answer's headers."""
        return self._begun().getheader(name)

    def _begun(self) -> http.client.HTTPResponse:
        if self.response is None:
            self.response = http.client.HTTPResponse(self.socket)
            self.response.begin()
        return self.response

    def read(self) -> dict[str, Any] | None:
        """Return the next line of the answer, None at its end."""
        assert self.status() == 200
        line = self._begun().readline()
        return json.loads(line) if line else None

    def rest(self) -> list[dict[str, Any]]:
        return list(iter(self.read, None))  # type: ignore[arg-type]


def test_who_waits_for_answers_gets_them(service: Service, key: str) -> None:
    with Sender(service, key) as sender:
        for turn in range(3):
            sender.send(*[_raw() for _ in range(3)])
            assert [sender.read()["line"] for _ in range(3)] == [turn * 3 + at for at in (1, 2, 3)]  # type: ignore[index]
        sender.end()
        assert sender.read() is None


def test_a_line_may_come_in_pieces(service: Service, key: str) -> None:
    raw = _raw()
    with Sender(service, key) as sender:
        for at in range(0, len(raw), 100):
            piece = raw[at : at + 100]
            sender.socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        sender.end()
        assert [one["status"] for one in sender.rest()] == [201]


def test_a_key_that_is_revoked_mid_batch(service: Service) -> None:
    key = service.producer("psp-7", "cn")
    before, after = [_raw() for _ in range(20)], [_raw() for _ in range(20)]
    with Sender(service, key) as sender:
        sender.send(*before)
        assert [sender.read()["status"] for _ in before] == [201] * 20  # type: ignore[index]
        revoked = service.installation.run("producer", "revoke", key.split("_")[1])
        assert revoked.exit_code == 0, revoked.output
        sender.send(*after)
        sender.end()
        answers = sender.rest()
    assert [one["line"] for one in answers] == list(range(21, 21 + len(answers)))
    assert {one["status"] for one in answers} == {403}
    with service.installation.opened() as vault:
        assert last(vault, "auth.failed").facts["code"] == "revoked"
    kept = _kept(service)
    assert {json.loads(raw)["id"] for raw in before} <= kept
    assert not {json.loads(raw)["id"] for raw in after} & kept


def test_who_goes_away_loses_nothing_that_was_answered(service: Service, key: str) -> None:
    raws = [_raw() for _ in range(10)]
    with Sender(service, key) as sender:
        sender.send(*raws)
        assert [sender.read()["status"] for _ in raws] == [201] * 10  # type: ignore[index]
        sender.send(_raw()[:100])
    assert {json.loads(raw)["id"] for raw in raws} <= _kept(service)
    await_(lambda: service.client.get("/readyz").status_code == 200)


def test_many_batches_at_once(service: Service, key: str) -> None:
    """Beyond what a worker takes at a time, somebody is told to come back; nobody hangs, nobody is cut off."""
    with ExitStack() as stack:
        senders = [stack.enter_context(Sender(service, key)) for _ in range(12)]
        raws = [_raw() for _ in senders]
        for one, raw in zip(senders, raws, strict=True):
            one.send(raw)
        taken = [at for at, one in enumerate(senders) if one.status() == 200]
        assert 2 <= len(taken) <= 4
        for at in set(range(12)) - set(taken):
            assert (senders[at].status(), senders[at].header("retry-after")) == (429, "2")
        for at in taken:
            assert senders[at].read()
            senders[at].end()
            assert senders[at].rest() == []
    kept = _kept(service)
    assert [at for at, raw in enumerate(raws) if json.loads(raw)["id"] in kept] == taken
    assert _send(service, key, _raw())[0]["status"] == 201


def test_a_long_batch_with_one_bad_line(service: Service, key: str) -> None:
    template = spelled(decision(1, id="ID", producer_seq=None, conversation_id="c"))
    number, bad = 20_000, 12_345
    lines = [template.replace(b'"ID"', b'"long-%d"' % at) for at in range(number)]
    lines[bad] = lines[bad].replace(b'"accepted"', b'"perhaps"')
    size, refused = service.installation.size("cn"), 0
    body = zstandard.ZstdCompressor().compress(b"\n".join(lines))
    headers = {**bearer(key), **NDJSON, "Content-Encoding": "zstd", "Prefer": "return=minimal"}
    expected = 0
    with service.client.stream("POST", PATH, content=body, headers=headers, timeout=120) as answer:
        for line in answer.iter_lines():
            one = json.loads(line)
            if "checkpoint" in one:
                continue
            expected += 1
            assert one["line"] == expected
            if one["status"] != 201:
                refused += 1
                assert (one["line"], one["status"]) == (bad + 1, 422)
                assert one["problem"]["path"] == "$.decision.outcome"
    assert (expected, refused) == (number, 1)
    assert service.installation.size("cn") == size + number - 1


def test_a_database_that_is_out_of_reach_mid_batch(service: Service, key: str) -> None:
    """No connection is let in any more, and those that are there are ended: what is at hand is answered 503."""
    site = service.installation
    name = site.database.name
    server = psycopg.connect(site.database.superuser_dsn.replace(f"dbname={name}", "dbname=postgres"), autocommit=True)
    before, after = [_raw() for _ in range(10)], [_raw() for _ in range(10)]
    with server, Sender(service, key) as sender:
        sender.send(*before)
        answered = [sender.read() for _ in before]
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            sender.send(*after)
            sender.end()
            rest = sender.rest()
            single = service.append("cn", key, _raw())
            assert single.status_code == 503
            assert "retry-after" in single.headers
            assert service.client.get("/healthz").status_code == 200
            assert service.client.get("/readyz").status_code == 503
        finally:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert [one["status"] for one in answered if one] == [201] * 10
    assert {one["status"] for one in rest} == {503}
    assert rest[0]["line"] == 11
    await_(lambda: service.client.get("/readyz").status_code == 200)
    again = _send(service, key, b"\n".join([*before, *after]))
    assert [one["status"] for one in again[:10]] == [200] * 10
    assert {one["status"] for one in again[10:]} <= {200, 201}


def test_refusals_of_a_batch_are_events_with_their_lines(service: Service, key: str) -> None:
    with service.installation.opened() as vault:
        before = len(happened(vault, "record.refused"))
    _send(service, key, b"\n".join([_raw(), b"{}", _raw(), b"[]"]))
    with service.installation.opened() as vault:
        told = happened(vault, "record.refused")[before:]
    assert [one.facts["line"] for one in told] == [2, 4]
    assert {one.actor for one in told} == {"producer:psp-1"}


def test_who_may_not_sends_nothing(service: Service, key: str) -> None:
    for path, token, status in (
        (PATH.replace("cn", "sg"), key, 403),
        (PATH.replace("cn", "nowhere"), key, 403),
        (PATH, key[:-3] + "AAA", 401),
    ):
        answer = service.client.post(path, content=_raw(), headers={**bearer(token), **NDJSON})
        assert answer.status_code == status
    answer = httpx.post(f"{service.url}{PATH}", content=_raw(), headers=NDJSON, trust_env=False)
    assert answer.status_code == 401


def test_everything_is_one_sound_chain_in_the_end(service: Service) -> None:
    reports = service.installation.audit(Depth.ENVELOPES)
    assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]
