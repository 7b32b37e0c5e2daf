"""A small identity provider for tests of bad days: a real web server that publishes what a test tells it.

It signs whatever it is asked to, well-behaved or not, with keys made for the run.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from vault.core.canonical import b64

AUDIENCE = "reasonvault"
NOW = 1_780_000_000  # 2026-05-28; seconds
DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/keys"


@cache
def key(kind: str, kid: str) -> Key:
    """A private key: ``RSA``, ``EC``, ``OKP`` or ``oct``; the same one for the same name."""
    parameters: Any = {"kid": kid}
    match kind:
        case "RSA":
            return RSAKey.generate_key(2048, parameters)
        case "EC":
            return ECKey.generate_key("P-256", parameters)
        case "OKP":
            return OKPKey.generate_key("Ed25519", parameters)
    return OctKey.generate_key(256, parameters)


def claims(issuer: str, **changed: Any) -> dict[str, Any]:
    """The claims of a good token; what is changed to None is left out."""
    good = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": "person-1",
        "iat": NOW - 10,
        "exp": NOW + 300,
        "realm_access": {"roles": ["vault-auditors", "staff"]},
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


def compact(header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes, signer: Key | None) -> str:
    """A token put together by hand, so that it may be anything; signed as its header says, where there is a signer."""
    parts = [b64(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, payload)]
    message = ".".join(parts)
    if signer is None:
        return f"{message}."
    named = (json.loads(header) if isinstance(header, bytes) else header)["alg"]
    model = JWSRegistry.algorithms["Ed25519" if named == "EdDSA" else named]
    return f"{message}.{b64(model.sign(message.encode(), signer))}"


@dataclass
class Answer:
    """What the server says under one path."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drips: bool = False
    """Send the body a byte at a time, until the server stops."""


class Publisher:
    """The server, as a test sees it. ``asked`` lists the paths of all requests."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.asked: list[str] = []
        self.special: dict[str, Answer] = {}
        self.discovery: dict[str, Any] = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}{KEYS}"}
        self.keys: list[dict[str, Any]] = []
        self.stopping = threading.Event()

    def publish(self, *keys: Key, **members: Any) -> None:
        """Publish the public halves of these keys and nothing else."""
        self.keys = [{**one.as_dict(private=False), "use": "sig", **members} for one in keys]

    def go_down(self) -> None:
        """Answer 503 to everything."""
        self.special = {path: Answer(b"", 503) for path in (DISCOVERY, KEYS)}

    def come_back(self) -> None:
        """Answer again."""
        self.special = {}

    def token(self, signer: Key, algorithm: str, *, header: dict[str, Any] | None = None, **changed: Any) -> str:
        """A token of this issuer: a good one but for what is changed."""
        head = {"alg": algorithm, "kid": signer.kid, "typ": "at+jwt"} | (header or {})
        return compact(head, claims(self.issuer, **changed), signer)

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        if path in self.special:
            return self.special[path]
        if path == DISCOVERY:
            return Answer(json.dumps(self.discovery).encode())
        if path == KEYS:
            return Answer(json.dumps({"keys": self.keys}).encode())
        return Answer(b"", 404)


@contextmanager
def publishing() -> Iterator[Publisher]:
    """Run the server on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = publisher.answer(self.path)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            try:
                for piece in _pieces(answer):
                    self.wfile.write(piece)
                    if answer.drips and publisher.stopping.wait(0.02):
                        return
            except OSError:
                return  # the reader had enough

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    publisher = Publisher(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield publisher
    finally:
        publisher.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _pieces(answer: Answer) -> Iterator[bytes]:
    return (bytes([byte]) for byte in answer.body) if answer.drips else iter([answer.body])
