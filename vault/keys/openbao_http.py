"""OpenBao's transit engine as one mount of one server offers it: names and bytes in, answers out, no decisions.

    transit = Transit("https://bao.example:8200", "transit", token=from_environment(os.environ), ca_file=None)
    transit.create("group.0b0c....2029-01.0")
    ciphertext = transit.encrypt("group.0b0c....2029-01.0", secret, context)

Every answer that is no clear yes or no is ``KeyUnavailable``: no connection, no answer in time, a seal, a limit, a full
disk, a refused token, a mount that is not there, a proxy's page. A clear no is ``Refused``, and a key that the engine
itself says it does not have is ``None``. Not checked here: that this is the server the keys were made on.

Times: 2 s to connect, 5 s for each read; after one that ran out nobody else waits for the next 5 s. No proxy, no
redirect, since the token would travel along. A call whose connection broke is repeated once where that is harmless.

The token is read when it is first needed and again when the server refuses it. It stands in no message, and neither
does the address, since messages also go to clients of the service.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from vault.core.errors import KeyUnavailable, UsageError
from vault.keys.memory import refuse_pickle

TOKEN = "REASONVAULT_OPENBAO_TOKEN"  # noqa: S105 - the variable's name
TOKEN_FILE = "REASONVAULT_OPENBAO_TOKEN_FILE"  # noqa: S105
_TOKEN_LIMIT = 4096
_TIMES = httpx.Timeout(5.0, connect=2.0)
_PAUSE_SECONDS = 5.0
_MOUNT = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_TYPE = "aes256-gcm96"
# What a status says that is neither yes nor no.
_REASONS = {
    403: "refuses the token: renew it, or compare its policy with the documented one",
    429: "answers that there are too many requests",
    500: "failed (500): see its log; its disk may be full",
    503: "is sealed or stands by (503)",
}


class Refused(KeyUnavailable):
    """A clear no to this request (400). ``words`` are the server's, never shown."""

    def __init__(self, words: str) -> None:
        super().__init__("OpenBao refuses what is asked of it (400): see its log")
        self.words = words


class Forbidden(KeyUnavailable):
    """The token may not do this. Its own type, since a policy without ``create`` says so of a missing key."""


class KeyFacts(msgspec.Struct, frozen=True):
    """What the engine says of a key it has."""

    type: str
    derived: bool
    latest_version: int
    exportable: bool
    allow_plaintext_backup: bool
    deletion_allowed: bool
    convergent_encryption: bool = False
    soft_deleted: bool = False

    @property
    def fit(self) -> bool:
        """Whether it is as ``create`` makes it: nothing that lets the key out of the server."""
        let_out = self.exportable or self.allow_plaintext_backup or self.convergent_encryption
        return self.type == _TYPE and self.derived and not let_out


def from_environment(environ: Mapping[str, str]) -> Callable[[], str]:
    """Return what reads the token: from the file that one variable names, else from the other.

    Calling it raises ``KeyUnavailable`` where neither gives one.
    """

    def read() -> str:
        file = environ.get("REASONVAULT_OPENBAO_TOKEN_FILE")
        if not file:
            found = environ.get("REASONVAULT_OPENBAO_TOKEN", "")
        else:
            try:
                with open(file, "rb") as stream:
                    found = stream.read(_TOKEN_LIMIT).decode("ascii", "replace")
            except OSError as error:
                raise KeyUnavailable(f"cannot read {TOKEN_FILE}: {error.strerror}") from None
        found = found.strip()
        if not found.isascii() or not found.isprintable() or not found:
            raise KeyUnavailable(f"no OpenBao token: set {TOKEN_FILE}, or {TOKEN}")
        return found

    return read


class Transit:
    """One transit mount. Threads may share it; a forked child makes its own connections.

    Args:
        address: ``https://host:port``; ``http`` to this machine only.
        mount: path of the engine, namespaces before it.
        token: reads the token.
        ca_file: certificates to trust instead of the system's.
        clock: seconds that only go forward.

    Raises:
        UsageError: an address, mount or file that cannot work.
    """

    def __init__(
        self,
        address: str,
        mount: str,
        *,
        token: Callable[[], str],
        ca_file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = check_address(address)
        if _MOUNT.fullmatch(mount) is None:
            raise UsageError("an OpenBao mount is a path of A-Z a-z 0-9 _ - such as transit")
        self.mount = mount
        self._read_token = token
        self._token: str | None = None
        self._trust = _trusting(ca_file) if address.startswith("https:") else ssl.create_default_context()
        self._client: tuple[int, httpx.Client] | None = None
        self._clock = clock
        self._hangs_until = float("-inf")

    def read(self, name: str) -> KeyFacts | None:
        """Return what the engine says of a key; None where it says that it has none of this name."""
        document = self._call("GET", f"keys/{name}")
        return None if document is None else self._facts(document)

    def names(self) -> frozenset[str]:
        """Return the names of every key in the mount, soft-deleted ones included."""
        document = self._call("LIST", "keys")
        names = [] if document is None else document.get("keys")
        if not isinstance(names, list):
            raise self._unforeseen()
        return frozenset(str(name) for name in names)

    def create(self, name: str) -> KeyFacts:
        """Make a key that never leaves the server; where there is one already, it stays as it is."""
        wanted = {
            "type": _TYPE,
            "derived": True,
            "exportable": False,
            "allow_plaintext_backup": False,
            "convergent_encryption": False,
        }
        return self._facts(self._known(self._call("POST", f"keys/{name}", wanted)))

    def encrypt(self, name: str, plaintext: bytes, context: bytes) -> str:
        """Return the ciphertext, ``vault:v<version>:<base64>``.

        The engine would make a key that is missing. It is asked for a type that does not exist, which it looks at only
        when it is about to make one, and then refuses.
        """
        body = {"plaintext": _b64(plaintext), "context": _b64(context), "type": "none"}
        return self._text(self._call("POST", f"encrypt/{name}", body), "ciphertext")

    def decrypt(self, name: str, ciphertext: str, context: bytes) -> bytes:
        document = self._call("POST", f"decrypt/{name}", {"ciphertext": ciphertext, "context": _b64(context)})
        try:
            return base64.b64decode(self._text(document, "plaintext"), validate=True)
        except binascii.Error:
            raise self._unforeseen() from None

    def rewrap(self, name: str, ciphertext: str, context: bytes) -> str:
        """Return the same plaintext under the newest version, without its leaving the server."""
        body = {"ciphertext": ciphertext, "context": _b64(context)}
        return self._text(self._call("POST", f"rewrap/{name}", body), "ciphertext")

    def rotate(self, name: str) -> None:
        """Add a version; the older ones go on opening what they sealed."""
        self._call("POST", f"keys/{name}/rotate", {}, repeat=False)

    def soft_delete(self, name: str) -> None:
        """Make a key unusable, with nothing lost."""
        self._call("DELETE", f"keys/{name}/soft-delete")

    def restore(self, name: str) -> None:
        """Undo ``soft_delete``."""
        self._call("POST", f"keys/{name}/soft-delete-restore", {})

    def delete(self, name: str) -> None:
        """Destroy a key for ever. Raises ``Refused`` where there is none, also when an earlier try did it."""
        self._call("POST", f"keys/{name}/config", {"deletion_allowed": True})
        self._call("DELETE", f"keys/{name}")

    def close(self) -> None:
        """Close this process's connections and forget the token."""
        self._token = None
        if self._client is not None and self._client[0] == os.getpid():
            self._client[1].close()
        self._client = None

    def __repr__(self) -> str:
        return f"Transit({self.address!r}, {self.mount!r})"

    def __reduce__(self) -> tuple[object, ...]:
        refuse_pickle(self)

    def _call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, repeat: bool = True
    ) -> dict[str, Any] | None:
        token = self._token or self._read_token()
        self._token = token
        answer = self._send(method, path, body, token, repeat)
        if answer.status_code == 403:
            renewed = self._read_token()
            if renewed != token:
                self._token = renewed
                answer = self._send(method, path, body, renewed, repeat)
        return self._judged(answer)

    def _send(
        self, method: str, path: str, body: Mapping[str, object] | None, token: str, repeat: bool
    ) -> httpx.Response:
        if self._clock() < self._hangs_until:
            raise KeyUnavailable("OpenBao did not answer in time a moment ago")
        for left in range(int(repeat), -1, -1):
            try:
                return self._connection().request(
                    method,
                    f"/v1/{self.mount}/{path}",
                    content=None if body is None else msgspec.json.encode(body),
                    headers={"X-Vault-Token": token, "X-Vault-Request": "true"},
                )
            except httpx.TimeoutException:
                self._hangs_until = self._clock() + _PAUSE_SECONDS
                raise KeyUnavailable("OpenBao does not answer in time") from None
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                # One broken connection may only have been idle for too long.
                if not left or isinstance(error, httpx.ConnectError):
                    raise KeyUnavailable("OpenBao cannot be reached") from None
        raise AssertionError

    def _judged(self, answer: httpx.Response) -> dict[str, Any] | None:
        status = answer.status_code
        if status == 204:
            return {}
        if status == 403:
            raise Forbidden(f"OpenBao {_REASONS[403]}")
        if status not in (200, 400, 404):
            raise KeyUnavailable(f"OpenBao {_REASONS.get(status, f'answers {status}')}")
        try:
            document = msgspec.json.decode(answer.content)
        except msgspec.MsgspecError:
            raise self._unforeseen() from None
        if not isinstance(document, dict):
            raise self._unforeseen()
        if status == 200:
            data = document.get("data")
            return data if isinstance(data, dict) else {}
        errors = document.get("errors")
        if status == 400 and isinstance(errors, list):
            raise Refused(" ".join(str(one) for one in errors))
        # The engine says "not here" without a word; anything in the way, such as a missing mount, explains itself.
        if status == 404 and errors == []:
            return None
        raise KeyUnavailable(f"OpenBao has no transit engine at {self.mount}")

    def _connection(self) -> httpx.Client:
        known = self._client
        if known is None or known[0] != os.getpid():  # a child that used its parent's would mix up their answers
            made = httpx.Client(base_url=self.address, timeout=_TIMES, verify=self._trust, trust_env=False)
            known = self._client = (os.getpid(), made)
        return known[1]

    def _facts(self, document: dict[str, Any]) -> KeyFacts:
        try:
            return msgspec.convert(document, KeyFacts)
        except msgspec.ValidationError:
            raise self._unforeseen() from None

    def _known(self, document: dict[str, Any] | None) -> dict[str, Any]:
        if document is None:
            raise self._unforeseen()
        return document

    def _text(self, document: dict[str, Any] | None, field: str) -> str:
        found = self._known(document).get(field)
        if not isinstance(found, str):
            raise self._unforeseen()
        return found

    @staticmethod
    def _unforeseen() -> KeyUnavailable:
        return KeyUnavailable("what answers as OpenBao does not answer like its transit engine")


def check_address(address: str) -> str:
    """Return the address without a slash at its end. Raises ``UsageError``: the token must not travel in clear."""
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    plain = parts.username is None and parts.path in ("", "/") and not parts.query and not parts.fragment
    if parts.scheme not in ("http", "https") or not host or not plain or not address.isascii():
        raise UsageError("an OpenBao address is https://HOST:PORT")
    if parts.scheme == "http" and not _is_here(host):
        raise UsageError("OpenBao is reached over https; plain http is for this machine only")
    return address.rstrip("/")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:  # ssl.SSLError is one
        raise UsageError(f"cannot read the certificates in {ca_file}: {error.strerror or 'no PEM file'}") from None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
