"""A small vault for clients: real sockets, real receipts, and behaviour that a test writes down beforehand.

It seals nothing and keeps records in memory, but what it hands out is made by the vault's own code: leaves in a tree,
checkpoints signed by a key, openings that prove the bytes. A test gives it a script: a list of steps, one for each
request that brings records, in order; requests beyond the script are served.
"""

from __future__ import annotations

import gzip
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault.core import envelope, leaf, receipt, tree
from vault.core.checkpoint import Checkpoint, sign_checkpoint
from vault.core.note import VerifierKey
from vault.core.proof import Proof

KEY = "rvk_abcdefghij_0123456789012345678901234567890123456789012"
SECRET = "the customer asked for her money back"
"""Content of every record: where it shows up in clear, something leaked."""
LEDGER = UUID("3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634")
ORIGIN = f"vault.example/{LEDGER}"

Step = Callable[["Exchange"], None]
"""Answers one request, or breaks it off."""


@dataclass
class Held:
    """A record of the vault: its bytes and what its receipt is made of."""

    record: bytes
    leaf: bytes
    opening: bytes
    seq: int


class FakeLedger:
    """One ledger in memory, under a signing key; same id and bytes give the same receipt."""

    def __init__(self, seed: bytes = bytes(32), origin: str = ORIGIN) -> None:
        self.origin = origin
        self.signer = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self.signer.public_key().public_bytes_raw()
        self.verifier = str(VerifierKey.from_public(origin, self.public))
        self.hashes = [bytes(32)]
        self.held: dict[str, Held] = {}
        self.refuse: Callable[[bytes], dict[str, Any] | None] = lambda record: None
        self.mutex = threading.Lock()

    @property
    def records(self) -> list[bytes]:
        """Every record, once, in the order in which it came."""
        return [held.record for held in sorted(self.held.values(), key=lambda held: held.seq)]

    def take(self, record: bytes) -> tuple[int, dict[str, Any]]:
        """Return the status, and the receipt or problem, for one record."""
        with self.mutex:
            refused = self.refuse(record)
            if refused is not None:
                return refused["status"], refused
            try:
                document = json.loads(record)
                known = self.held.get(document["id"])
            except (ValueError, KeyError, TypeError):
                return 422, problem("record-refused", 422, code="not_json", path="$")
            if known is None:
                known = self.held[document["id"]] = self._append(record, document.get("producer_seq"))
                return 201, self.receipt(known)
            if known.record != record:
                return 409, problem("record-conflict", 409)
            return 200, self.receipt(known)

    def receipt(self, held: Held) -> dict[str, Any]:
        """Return the receipt of a record under the newest checkpoint."""
        note = sign_checkpoint(
            Checkpoint(self.origin, len(self.hashes), tree.root(self.hashes)), self.signer.sign, self.public
        )
        path = tuple(tree.inclusion_path(held.seq, self.hashes))
        made: dict[str, Any] = json.loads(receipt.issue(held.leaf, held.opening, Proof(held.seq, path, note)))
        return made

    def _append(self, record: bytes, producer_seq: int | None) -> Held:
        key = os.urandom(32)
        opening = envelope.opening(key)
        seq = len(self.hashes)
        made = leaf.record_draft(
            facets=bytes(32),
            group="2029-01.0",
            id_tag=os.urandom(16),
            keep_until=0,
            key=envelope.key_commitment(key),
            ledger=LEDGER,
            parts=(bytes(32),),
            plaintext=envelope.plaintext_commitment(opening, record),
            producer="shop-1",
            producer_seq=producer_seq,
            received_at="2026-01-05T08:01:12.111Z",
            rulebook=bytes(32),
            rules=("PROD-3Y",),
        ).at(seq, self.hashes[-1])
        self.hashes.append(tree.leaf_hash(made))
        return Held(record, made, opening, seq)


def problem(kind: str, status: int, **more: str) -> dict[str, Any]:
    """Return a problem+json body."""
    return {"type": f"urn:reasonvault:problem:{kind}", "title": kind, "status": status, "detail": "told", **more}


@dataclass
class Request:
    """What a client sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def lines(self) -> list[bytes]:
        """The records of a batch."""
        body = gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body
        return [line for line in body.split(b"\n") if line.strip()]


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    vault: FakeVault
    request_made: Request

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests read what matters."""

    def answer(self, status: int, body: bytes, content_type: str, **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def complain(self, kind: str, status: int, headers: dict[str, str] | None = None, **more: str) -> None:
        """Send a problem."""
        body = json.dumps(problem(kind, status, **more)).encode()
        self.answer(status, body, "application/problem+json", **(headers or {}))

    def serve(self) -> None:
        """Answer as the vault does."""
        request, ledger = self.request_made, self.vault.ledger
        if request.headers.get("authorization") != f"Bearer {KEY}":
            self.complain("unauthenticated", 401)
        elif request.method == "GET" and request.path == "/v1/ledgers/payments":
            described = {
                "ledger": str(LEDGER),
                "name": "payments",
                "origin": ledger.origin,
                "verifier": ledger.verifier,
                "jurisdictions": ["CN"],
            }
            self.answer(200, json.dumps(described).encode(), "application/json")
        elif request.path == "/v1/ledgers/payments/records":
            status, body = ledger.take(request.body)
            kind = "application/json" if status in (200, 201) else "application/problem+json"
            self.answer(status, json.dumps(body).encode(), kind)
        elif request.path == "/v1/ledgers/payments/records/batch":
            self.answer(200, b"".join(self.answer_lines()), "application/x-ndjson")
        else:
            self.complain("not-found", 404)

    def answer_lines(self) -> Iterator[bytes]:
        """Yield the lines that answer a batch."""
        for number, line in enumerate(self.request_made.lines, 1):
            status, body = self.vault.ledger.take(line)
            part = "receipt" if status in (200, 201) else "problem"
            yield json.dumps({"line": number, "status": status, part: body}).encode() + b"\n"

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.request_made = Request(self.command, self.path, headers, self.rfile.read(length))
        step = self.vault.next_step(self.request_made)
        try:
            step(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client gave up, as some tests have it do


@dataclass
class FakeVault:
    """The server: its ledger, its script, and the requests so far."""

    url: str = ""
    ledger: FakeLedger = field(default_factory=FakeLedger)
    script: list[Step] = field(default_factory=list)
    always: Step | None = None
    descriptions: list[Step] = field(default_factory=list)
    """The script of requests for the ledger's description."""
    requests: list[Request] = field(default_factory=list)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def next_step(self, request: Request) -> Step:
        """Note a request and return what to do with it. Descriptions of the ledger are outside the script."""
        with self.mutex:
            self.requests.append(request)
            if request.method == "GET":
                return self.descriptions.pop(0) if self.descriptions else Exchange.serve
            if self.script:
                return self.script.pop(0)
            return self.always or Exchange.serve

    @property
    def posts(self) -> list[Request]:
        """The requests that brought records."""
        return [request for request in self.requests if request.method == "POST"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: clients break off on purpose."""


@contextmanager
def running() -> Iterator[FakeVault]:
    """Run a server on a free port of the loopback."""
    vault = FakeVault()
    handler = type("BoundExchange", (Exchange,), {"vault": vault})
    with _Server(("127.0.0.1", 0), handler) as server:
        vault.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield vault
        finally:
            server.shutdown()
            thread.join()


def record(number: int | str, **more: Any) -> dict[str, Any]:
    """Return a record that this vault takes."""
    return {"schema": "reasoning-log/1", "id": f"dec-{number}", "prompt": SECRET, **more}


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)


def unavailable(retry_after: str | None = None) -> Step:
    """Answer 503."""
    headers = None if retry_after is None else {"Retry_After": retry_after}
    return lambda exchange: exchange.complain("unavailable", 503, headers)


def refuse(kind: str, status: int, **more: str) -> Step:
    """Answer with a problem about the request."""
    return lambda exchange: exchange.complain(kind, status, None, **more)


def drop_before(exchange: Exchange) -> None:
    """Close the connection without having taken anything."""
    exchange.close_connection = True


def drop_after(exchange: Exchange) -> None:
    """Take the records, and close the connection without an answer."""
    if exchange.request_made.path.endswith("/batch"):
        list(exchange.answer_lines())
    else:
        exchange.vault.ledger.take(exchange.request_made.body)
    exchange.close_connection = True


def half_answer(lines: int) -> Step:
    """Take a whole batch, answer so many lines and half of the next one, and close the connection."""

    def step(exchange: Exchange) -> None:
        answers = list(exchange.answer_lines())
        body = b"".join(answers[:lines]) + answers[lines][: len(answers[lines]) // 2]
        exchange.send_response(200)
        exchange.send_header("Content-Type", "application/x-ndjson")
        exchange.send_header("Content-Length", str(sum(map(len, answers))))
        exchange.end_headers()
        exchange.wfile.write(body)
        exchange.wfile.flush()
        exchange.close_connection = True

    return step
