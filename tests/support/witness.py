"""A real witness, written from C2SP tlog-witness, tlog-cosignature and RFC 6962 alone: nothing of ours is imported.

with Witness.opened({origin: [verifier key, ...]}) as witness:
    witness.url, witness.vkey                # submission prefix, and the key to trust
    witness.known[origin]                    # (size, root) that it cosigned last
    witness.mood = "refuses"                 # and the other bad days below
"""

from __future__ import annotations

import base64
import hashlib
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, body: bytes = b"", kind: str = "text/plain") -> None:
        super().__init__(status)
        self.status, self.body, self.kind = status, body, kind


Answer = tuple[int, str, bytes]


@dataclass
class Witness:
    """One witness.

    Attributes:
        logs: by origin, the verifier keys that it trusts.
        known: by origin, what it cosigned last.
        instead: answers in its place, where it is set; gets the honest answer's maker.
        clock: Unix seconds.
        asked: bodies of the requests, the oldest first.
    """

    logs: dict[str, list[str]]
    name: str = "witness.example/w1"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    known: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    instead: Callable[[Callable[[], Answer]], Answer] | None = None
    clock: Callable[[], float] = time.time
    asked: list[bytes] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    @contextmanager
    def opened(cls, logs: Mapping[str, Sequence[str]], name: str = "witness.example/w1") -> Iterator[Witness]:
        """Answer on a port of 127.0.0.1."""
        made = cls({origin: list(keys) for origin, keys in logs.items()}, name)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
        server.daemon_threads = True
        made.url = f"http://127.0.0.1:{server.server_port}/prefix"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    @property
    def public(self) -> bytes:
        return b"\x04" + self.key.public_key().public_bytes_raw()

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self.public).decode()}"

    def add_checkpoint(self, body: bytes) -> Answer:
        """What the protocol demands, in its order."""
        try:
            with self.lock:
                return 200, "text/plain", self._added(body)
        except Refused as refused:
            return refused.status, refused.kind, refused.body

    def _added(self, body: bytes) -> bytes:
        head, blank, note = body.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        if not blank or not first.startswith(b"old ") or len(lines) > 63:
            raise Refused(400)
        old, proof = _number(first[4:]), [_hash(line) for line in lines]
        text, _, signatures = note.rpartition(b"\n\n")
        text += b"\n"
        origin, size, root = _checkpoint(text)
        if origin not in self.logs:
            raise Refused(404)
        if not any(_signed(key, text, signatures) for key in self.logs[origin]):
            raise Refused(403)
        if old > size:
            raise Refused(400)
        known, known_root = self.known.get(origin, (0, hashlib.sha256().digest()))
        if old != known or (old == size and root != known_root):
            raise Refused(409, b"%d\n" % known, "text/x.tlog.size")
        if not _consistent(old, size, known_root, root, proof):
            raise Refused(422)
        self.known[origin] = size, root
        return self.line(text)

    def line(self, text: bytes, at: int | None = None, key: Ed25519PrivateKey | None = None) -> bytes:
        """The cosignature over a checkpoint's text."""
        now = int(self.clock()) if at is None else at
        said = b"cosignature/v1\ntime %d\n" % now + text
        signature = self.key_id + struct.pack(">Q", now) + (key or self.key).sign(said)
        return "\u2014 ".encode() + self.name.encode() + b" " + base64.b64encode(signature) + b"\n"


def _handler(witness: Witness) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            witness.asked.append(body)
            assert self.path == "/prefix/add-checkpoint"

            def honest() -> Answer:
                return witness.add_checkpoint(body)

            status, kind, answer = honest() if witness.instead is None else witness.instead(honest)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            if status == 302:
                self.send_header("Location", witness.url)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _number(text: bytes) -> int:
    if not text.isdigit() or (text[:1] == b"0" and text != b"0"):
        raise Refused(400)
    return int(text)


def _hash(line: bytes) -> bytes:
    found = base64.b64decode(line, validate=True)
    if len(found) != 32:
        raise Refused(400)
    return found


def _checkpoint(text: bytes) -> tuple[str, int, bytes]:
    lines = text.split(b"\n")
    if len(lines) < 4:
        raise Refused(400)
    return lines[0].decode(), _number(lines[1]), _hash(lines[2])


def _signed(vkey: str, text: bytes, signatures: bytes) -> bool:
    name, key_id, encoded = vkey.split("+", 2)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded)[1:])
    for line in signatures.decode().splitlines():
        _, signer, signature = line.split(" ")
        data = base64.b64decode(signature)
        if (signer, data[:4].hex()) == (name, key_id):
            try:
                public.verify(data[4:], text)
                return True
            except InvalidSignature:
                pass
    return False


def _consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    """RFC 6962 2.1.2, by taking the proof apart from its end, as its recursion puts it together."""
    if old == 0:
        return not proof
    if old == new:
        return not proof and old_root == new_root
    left = list(proof)
    try:
        found = _subproof(old, new, True, old_root, left)
    except IndexError:
        return False
    return not left and found == (old_root, new_root)


def _subproof(m: int, n: int, whole: bool, old_root: bytes, left: list[bytes]) -> tuple[bytes, bytes]:
    """Return both roots of the subtree of n leaves, of which m are old."""
    if m == n:
        root = old_root if whole else left.pop()
        return root, root
    k = 1 << ((n - 1).bit_length() - 1)
    last = left.pop()
    if m <= k:
        old, new = _subproof(m, k, whole, old_root, left)
        return old, _node(new, last)
    old, new = _subproof(m - k, n - k, False, old_root, left)
    return _node(last, old), _node(last, new)


def _node(one: bytes, two: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + one + two).digest()
