"""A real time-stamping authority: root and signing certificate by OpenSSL, and ``openssl ts -reply`` behind HTTP.

with Authority.opened(folder) as authority:
    authority.url, authority.root            # where it answers, PEM of its root
    authority.mood = "down"                  # and the other bad days below
    authority.verify(tsr, stamped)           # ``openssl ts -verify``
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

_OPENSSL = shutil.which("openssl") or "openssl"
Mood = Literal["well", "down", "other nonce", "other digest", "refuses", "garbage", "huge", "redirects"]

_CONFIG = """
[tsa]
default_tsa = one
[one]
dir = {folder}
serial = $dir/serial
signer_cert = $dir/{name}.pem
certs = $dir/root.pem
signer_key = $dir/{name}.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[v3]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
"""


@dataclass
class Authority:
    """One authority. ``asked`` counts its requests; ``signer`` names the certificate that it signs with."""

    folder: Path
    url: str = ""
    mood: Mood = "well"
    signer: str = "tsa"
    asked: list[bytes] = field(default_factory=list)

    @classmethod
    @contextmanager
    def opened(cls, folder: Path) -> Iterator[Authority]:
        """Make keys and certificates, and answer on a port of 127.0.0.1."""
        folder.mkdir(exist_ok=True)
        made = cls(folder)
        made._make("root", "/CN=Example Root", None)
        made.certify("tsa")
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
        made.url = f"http://127.0.0.1:{server.server_port}/tsr"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    @property
    def root(self) -> bytes:
        return (self.folder / "root.pem").read_bytes()

    def certify(self, name: str, *, days: tuple[str, str] | None = None) -> None:
        """Make a signing certificate; ``days`` are its notBefore and notAfter, ``20200101000000Z``."""
        self._make(name, f"/C=XX/O=Example/CN=Example {name}", days)

    def verify(self, tsr: bytes, stamped: bytes, *, at: int | None = None) -> bool:
        """What OpenSSL says of a response over some bytes, as of now or of a Unix time."""
        (self.folder / "it.tsr").write_bytes(tsr)
        (self.folder / "it").write_bytes(stamped)
        when = [] if at is None else ["-attime", str(at)]
        ran = self._openssl(
            ["ts", "-verify", "-in", "it.tsr", "-data", "it", "-CAfile", "root.pem", *when], check=False
        )
        return ran.returncode == 0 and b"Verification: OK" in ran.stdout

    def reply(self, query: bytes) -> bytes:
        """The DER response to a DER request."""
        (self.folder / "it.tsq").write_bytes(query)
        config = _CONFIG.format(folder=self.folder, name=self.signer)
        (self.folder / "tsa.cnf").write_text(config)
        if not (self.folder / "serial").exists():
            (self.folder / "serial").write_text("01\n")
        self._openssl(["ts", "-reply", "-config", "tsa.cnf", "-queryfile", "it.tsq", "-out", "out.tsr"])
        return (self.folder / "out.tsr").read_bytes()

    def _make(self, name: str, subject: str, days: tuple[str, str] | None) -> None:
        (self.folder / "x.cnf").write_text(_CONFIG.format(folder=self.folder, name=name))
        key = ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key"]
        self._openssl(key)
        if name == "root":
            made = ["req", "-x509", "-new", "-key", "root.key", "-subj", subject, "-days", "36500", "-out", "root.pem"]
            self._openssl([*made, "-config", "/dev/null", "-addext", "keyUsage=critical,keyCertSign,cRLSign"])
            return
        asked = ["req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr", "-config", "/dev/null"]
        self._openssl(asked)
        if days is None:
            signed = ["x509", "-req", "-in", f"{name}.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial"]
            self._openssl([*signed, "-days", "3650", "-extfile", "x.cnf", "-extensions", "v3", "-out", f"{name}.pem"])
            return
        # ``x509`` takes no start date; ``ca`` does.
        (self.folder / "index").write_text("")
        (self.folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca=c\n[c]\ndatabase=index\nserial=caserial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
            "rand_serial=yes\n[p]\nC=optional\nO=optional\nCN=supplied\n" + _CONFIG.format(folder=".", name=name)
        )
        ca = ["ca", "-batch", "-config", "ca.cnf", "-cert", "root.pem", "-keyfile", "root.key", "-in", f"{name}.csr"]
        self._openssl([*ca, "-startdate", days[0], "-enddate", days[1], "-extensions", "v3", "-out", f"{name}.pem"])

    def _openssl(self, arguments: list[str], *, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([_OPENSSL, *arguments], cwd=self.folder, capture_output=True, check=check)


def _handler(authority: Authority) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            authority.asked.append(query)
            assert self.headers["Content-Type"] == "application/timestamp-query"
            status, body = _answer(authority, query)
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", authority.url)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def _answer(authority: Authority, query: bytes) -> tuple[int, bytes]:
    if authority.mood == "down":
        return 503, b""
    if authority.mood == "redirects":
        return 302, b""
    if authority.mood == "garbage":
        return 200, b"\x30\x03\x02\x01\x07"
    if authority.mood == "huge":
        return 200, b"\0" * 1_000_001
    if authority.mood == "other digest":
        return 200, authority.reply(_redigested(query))
    if authority.mood == "other nonce":
        # The nonce is an INTEGER of the request: another number of the same length.
        return 200, authority.reply(_renonced(query))
    if authority.mood == "refuses":
        # Over SHA-1, which this authority does not take: it answers with a rejection.
        (authority.folder / "sha1").write_bytes(b"x")
        authority._openssl(["ts", "-query", "-data", "sha1", "-sha1", "-out", "sha1.tsq"])
        return 200, authority.reply((authority.folder / "sha1.tsq").read_bytes())
    return 200, authority.reply(query)


def _renonced(query: bytes) -> bytes:
    """Change the last byte of the nonce, which stands before certReq (01 01 FF) at the request's end."""
    assert query.endswith(b"\x01\x01\xff")
    return query[:-4] + bytes([query[-4] ^ 1]) + query[-3:]


def _redigested(query: bytes) -> bytes:
    """Change the last byte of the digest, the request's only OCTET STRING of 32 bytes."""
    at = query.index(b"\x04\x20") + 2 + 31
    return query[:at] + bytes([query[at] ^ 1]) + query[at + 1 :]
