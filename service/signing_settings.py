"""Settings of who signs reports: ``<home>/signing.toml``, where there is one.

[pkcs12]                          # or [pem] or [pkcs11]; without one of them, the vault's own certificate signs
file = "reports.p12"
password_file = "reports.p12.password"

[time_stamp]
url = "https://tsa.example/tsr"
roots = ["tsa-root.pem"]

[trust]
roots = ["company-root.pem"]
revocation = ["company.crl"]
fetch = false

Paths are relative to the home. Files with a secret in them must be readable by their owner alone.
"""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any

import msgspec

from vault.core.errors import UsageError

_FILE = "signing.toml"
_Word = Annotated[str, msgspec.Meta(min_length=1)]


class Pkcs12(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[pkcs12]``: key, certificate and chain in one file."""

    file: _Word
    password_file: str = ""


class Pem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[pem]``: key and certificate in files of their own; ``chain`` are the certificates up to a root."""

    key: _Word
    certificate: _Word
    chain: list[str] = []
    password_file: str = ""


class Pkcs11(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[pkcs11]``: a key that never leaves its token. ``certificate`` is a label there, unless it is a file."""

    module: _Word
    token: _Word
    key: _Word
    pin_file: _Word
    certificate: str = ""
    certificate_file: str = ""
    chain: list[str] = []


class TimeStamp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[time_stamp]``: an RFC 3161 authority. Without ``roots`` its tokens are kept, and trusted by nobody here."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/]+")]
    roots: list[str] = []
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=120)] = 10.0


class Roots(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[trust]``: what the signer's chain is compared with, and where its revocation information comes from."""

    roots: list[str] = []
    revocation: list[str] = []
    fetch: bool = False


class SigningSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file; an empty one has nothing set."""

    pkcs12: Pkcs12 | None = None
    pem: Pem | None = None
    pkcs11: Pkcs11 | None = None
    time_stamp: TimeStamp | None = None
    trust: Roots = Roots()

    @property
    def kind(self) -> str:
        """Return what holds the key: ``local``, ``pkcs12``, ``pem`` or ``pkcs11``."""
        return next((name for name in ("pkcs12", "pem", "pkcs11") if getattr(self, name) is not None), "local")

    @property
    def long_term(self) -> bool:
        """Say whether revocation information is to go into the file."""
        has_some = bool(self.trust.revocation) or self.trust.fetch
        return self.time_stamp is not None and bool(self.trust.roots) and has_some


def read_signing(home: Path) -> SigningSettings:
    """Read who signs reports.

    Raises:
        UsageError: the file cannot be read, or holds something that nothing knows, or two signers.
    """
    path = home / _FILE
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    try:
        found = msgspec.convert(document, SigningSettings)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}") from None
    if sum(one is not None for one in (found.pkcs12, found.pem, found.pkcs11)) > 1:
        raise UsageError(f"{path} names more than one signer: keep one of [pkcs12], [pem] and [pkcs11]")
    if found.pkcs11 is not None and bool(found.pkcs11.certificate) == bool(found.pkcs11.certificate_file):
        raise UsageError(f"{path}, section [pkcs11]: name the certificate's label or its file, one of both")
    return found


def secret(path: Path) -> bytes:
    """Read a file that holds a password, a PIN or a key.

    Raises:
        UsageError: it cannot be read, or others can read it.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UsageError(f"{path} is open to other users: chmod 600 it first")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
