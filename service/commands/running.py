"""``serve`` and ``up``: the service, and the service with everything it needs."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from service import home as homes
from service import serve as serving
from service import settings, wiring
from service.accounts import Accounts
from service.terminal import say
from vault import people

_FIRST_USER = "officer"


def _listening(command: click.decorators.FC) -> click.decorators.FC:
    options = (
        click.option("--listen", metavar="ADDRESS:PORT", help="Default: service.toml's, else 127.0.0.1:8420."),
        click.option(
            "--workers", type=click.IntRange(1, 64), help="Processes that answer; default: one for two cores."
        ),
        click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), help="PEM certificate chain."),
        click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="PEM private key."),
        click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"])),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@_listening
def serve(
    listen: str | None, workers: int | None, tls_cert: str | None, tls_key: str | None, log_level: str | None
) -> None:
    """Serve HTTP until told to stop (SIGTERM, Ctrl-C): what was begun is finished."""
    home = homes.default_path()
    wiring.identity(home)
    wanted = settings.load(
        home, listen=listen, workers=workers, tls_cert=tls_cert, tls_key=tls_key, log_level=log_level
    )
    serving.serve(home, homes.passphrase(), wanted, lambda: _say_address(wanted))


@click.command()
@_listening
def up(
    listen: str | None, workers: int | None, tls_cert: str | None, tls_key: str | None, log_level: str | None
) -> None:
    """Make the vault where there is none, start its database, and serve.

    The first time an account for a compliance officer is made, and its password printed once.
    """
    home = homes.default_path()
    phrase = homes.passphrase(confirm=not (home / "keys").exists())
    wanted = settings.load(
        home, listen=listen, workers=workers, tls_cert=tls_cert, tls_key=tls_key, log_level=log_level
    )
    serving.require_free(wanted.service.address)  # first: a password must not be made and then never shown
    new = wiring.initialise(home, phrase)
    if new:
        click.echo(f"made a vault in {home}", err=True)
        click.echo("make a recovery file soon: 'reasonvault keys recovery export FILE --custodian NAME'", err=True)
    first = _first_login(home, phrase)
    serving.serve(home, phrase, wanted, lambda: _say_address(wanted, first))


def _first_login(home: Path, phrase: bytes) -> str | None:
    """Make the first account where there is none, and return its password."""
    with wiring.open_vault(home, phrase) as vault:
        if people.listing(vault):
            return None
        password = secrets.token_urlsafe(15)
        Accounts(home).add(vault, _FIRST_USER, ("officer",), password)
    return password


def _say_address(wanted: settings.Settings, password: str | None = None) -> None:
    scheme = "https" if wanted.service.tls_cert else "http"
    address = f"{scheme}://{wanted.service.listen}"
    words = f"reasonvault listens on {address}"
    document = {"address": address}
    if password is not None:
        words += f"\nfirst login: user {_FIRST_USER}, password {password} (shown this once)"
        document |= {"user": _FIRST_USER, "password": password}
    say(words, document)
