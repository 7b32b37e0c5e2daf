"""``report verify``: whether a report's file is what was signed, and by whom."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

import click

from service import home as homes
from service import wiring
from service.terminal import say
from vault.core.errors import Modified, UsageError


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--certificate",
    type=click.Path(path_type=Path),
    help="PEM of who must have signed, or of a root; without it, the vault here and the roots in its settings.",
)
def verify(file: Path, certificate: Path | None) -> None:
    """Verify the signature of a report: every byte of the file, the time-stamp, the certificate. Needs no passphrase.

    Exits 10 where a byte was changed or added, or somebody else signed. That the vault issued it is not checked:
    compare the SHA-256 that this prints with the event report.issued.
    """
    from reports.trust import Trust, read_certificates  # here: pyHanko takes half a second to load
    from reports.validating import check
    from service import signers

    home = homes.default_path()
    if certificate is None:
        wiring.identity(home)
    trust = signers.trusted(home) if certificate is None else Trust(read_certificates(certificate))
    found = check(file, trust)
    if not found.trusted:
        whom = "this vault's, nor leads to a root in its settings" if certificate is None else f"in {certificate}"
        raise Modified(f"{file} is whole, but signed by {found.subject}, which is not {whom}")
    stamp = "no time-stamp"
    if found.stamped_at is not None:
        known = "" if found.stamp_trusted else ", whom no root in the settings vouches for"
        stamp = f"time-stamped {_said(found.stamped_at)} by {found.authority}{known}"
    document = {
        "file": str(file),
        "verdict": "OK",
        "sha256": _digest(file),
        "subject": found.subject,
        "fingerprint": found.fingerprint.hex(),
        "signed_at": found.claimed_at and found.claimed_at.isoformat(),
        "stamped_at": found.stamped_at and found.stamped_at.isoformat(),
        "authority": found.authority,
        "stamp_trusted": found.stamp_trusted,
    }
    signed = f"signed {_said(found.claimed_at)} by {found.subject} ({found.fingerprint.hex()})"
    say(f"OK {file}: {signed}, {stamp}; SHA-256 {document['sha256']}", document)


def _said(at: datetime | None) -> str:
    return "at no time it says" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
