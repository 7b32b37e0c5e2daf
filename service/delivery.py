"""Delivery: where scheduled reports go, beside being kept: ``<home>/delivery.toml``.

[audit-share]
directory = "/srv/audit/reports"          # exists already

[auditor-inbox]
url = "https://reports.example/inbox"     # the file is POSTed; any 2xx means that it arrived
token_file = "inbox.token"                # sent as a bearer token; relative to the home, readable by its owner alone
ca_file = "/etc/ssl/inbox.pem"            # where the system's certificates do not do

Orders name destinations and never addresses, so whoever may order a report cannot choose which hosts are called. A
delivery may happen twice (a crash after the last byte), never half: a file appears whole, a request carries its digest.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tomllib
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx
import msgspec

from service.signing_settings import secret
from vault.core.errors import Unavailable, UsageError

FILE: Final = "delivery.toml"
_SECONDS: Final = 60.0


class Destination(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One section: a directory, or a URL."""

    directory: str = ""
    url: str = ""
    token_file: str = ""
    ca_file: str = ""

    @property
    def way(self) -> str:
        """How it goes there, as the event says."""
        return "directory" if self.directory else "https"


def destinations(home: Path) -> Mapping[str, Destination]:
    """Return the destinations of a home, by name.

    Raises:
        UsageError: the file cannot be read, or a section is neither a directory nor a URL.
    """
    path = home / FILE
    try:
        document = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
        found = msgspec.convert(document, dict[str, Destination])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"cannot use {path}: {str(error).splitlines()[0]}") from None
    for name, one in found.items():
        if bool(one.directory) == bool(one.url):
            raise UsageError(f"{path}, section [{name[:40]}]: give either a directory or a url")
        if one.url:
            _check(one.url, f"{path}, section [{name[:40]}]")
    return found


def destination(home: Path, name: str) -> Destination:
    """Return one destination.

    Raises:
        UsageError: there is none of that name, or the file cannot be used.
    """
    found = destinations(home).get(name)
    if found is None:
        raise UsageError(f"no destination is called {name[:40]!r}: {home / FILE} names them")
    return found


def _check(url: str, where: str) -> None:
    """A report must not travel in clear, but for this machine's own ports."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL("")
    here = parts.scheme == "http" and parts.host in ("127.0.0.1", "::1", "localhost")
    if not parts.host or parts.userinfo or not (parts.scheme == "https" or here):
        raise UsageError(f"{where}: the url is https://HOST/PATH")


def deliver(home: Path, to: Destination, file: Path) -> None:
    """Bring a file to its destination; when this returns it is there.

    Raises:
        Unavailable: it is not, or nobody knows; deliver it again.
        UsageError: a setting cannot be used.
    """
    if to.directory:
        _copy(Path(to.directory), file)
    else:
        _post(home, to, file)


def _copy(folder: Path, file: Path) -> None:
    temporary = folder / f".{file.name}.{secrets.token_hex(4)}"
    try:
        with file.open("rb") as source, open(temporary, "xb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        os.replace(temporary, folder / file.name)
    except OSError as error:
        raise Unavailable(f"cannot deliver to {folder}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _post(home: Path, to: Destination, file: Path) -> None:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
    headers = {
        "Content-Type": "application/pdf",
        "Content-Length": str(file.stat().st_size),
        "Content-Disposition": f'attachment; filename="{file.name}"',
        "Content-Digest": f"sha-256=:{b64encode(digest).decode()}:",  # RFC 9530
    }
    if to.token_file:
        headers["Authorization"] = f"Bearer {secret(home / to.token_file).decode().strip()}"
    trust: str | bool = str(home / to.ca_file) if to.ca_file else True
    try:
        with httpx.Client(verify=trust, timeout=_SECONDS, follow_redirects=False) as client, file.open("rb") as body:
            answer = client.post(to.url, headers=headers, content=iter(lambda: body.read(1 << 20), b""))
    except (httpx.HTTPError, OSError) as error:
        raise Unavailable(f"cannot deliver to {httpx.URL(to.url).host}: {type(error).__name__}") from None
    if not answer.is_success:
        raise Unavailable(f"{httpx.URL(to.url).host} answered {answer.status_code} to a report")
