"""``signer``: the certificate that signs reports."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from service import home as homes
from service import local_signer, wiring
from service.terminal import Commands, opened_vault, say
from vault.core.errors import UsageError


@click.group(cls=Commands)
def signer() -> None:
    """The certificate that signs reports."""


@signer.command("show")
def show() -> None:
    """Say who signs reports, until when, and which signature is wanted. Needs no passphrase."""
    from reports.signing import validity  # here: pyHanko takes half a second to load, which only signing needs
    from service import signers
    from service.signing_settings import read_signing

    home = homes.default_path()
    wiring.identity(home)
    found = signers.facts(home)
    if found is None:
        say("no certificate yet: the next signed report makes one", {"signer": None})
        return
    kind, wrong = read_signing(home).kind, list(validity(found, datetime.now(UTC)))
    document = {
        "signer": kind,
        "subject": found.subject,
        "fingerprint": found.fingerprint.hex(),
        "not_before": found.not_before.isoformat(),
        "not_after": found.not_after.isoformat(),
        "level": found.level_wanted,
        "self_signed": found.self_signed,
        "problems": wrong,
    }
    shown = document | {"self_signed": "yes" if found.self_signed else "no", "problems": " ".join(wrong) or "none"}
    say("\n".join(f"{key:<12} {value}" for key, value in shown.items()), document)


@signer.command("export-certificate")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--number", type=click.IntRange(min=1), help="An earlier certificate of the vault's own, by its number.")
def export_certificate(file: Path, number: int | None) -> None:
    """Write the vault's own certificate as PEM, for whoever verifies its reports. No secret is in it."""
    home = homes.default_path()
    wiring.identity(home)
    known = local_signer.all_of(home)
    wanted = [one for one in known if number in (None, one.number)][-1:]
    if not wanted:
        raise UsageError("there is no such certificate of this vault's own: see 'reasonvault signer show'")
    local_signer.write_certificate(wanted[0].certificate, file)
    document = {"file": str(file), "number": wanted[0].number, "fingerprint": wanted[0].fingerprint.hex()}
    say(f"{file}: certificate {wanted[0].number}, SHA-256 {wanted[0].fingerprint.hex()}", document)


@signer.command("renew")
def renew() -> None:
    """Make a new certificate of the vault's own, for ten years, and forget the key before.

    Reports that are signed already stay valid under their own certificate.
    """
    from service import signers  # here: as above

    with opened_vault() as vault:
        made = signers.renew(homes.default_path(), vault)
    until = made.certificate.not_valid_after_utc
    document = {"number": made.number, "fingerprint": made.fingerprint.hex(), "not_after": until.isoformat()}
    say(f"certificate {made.number} until {until:%Y-%m-%d}, SHA-256 {made.fingerprint.hex()}", document)
