"""``approver``: the signing keys of those who approve disposals. The private halves never come near the vault's own."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

import click

from retention import approvers
from service.commands.access import logged_in
from service.terminal import Commands, opened_vault, say
from vault.core.errors import UsageError
from vault.core.governance import ApproverKey


@click.group(cls=Commands)
def approver() -> None:
    """Keys that disposals are approved with, one a compliance officer."""


@approver.command("key")
@click.argument("file", type=click.Path(path_type=Path))
def make_key(file: Path) -> None:
    """Make a key pair: FILE under a passphrase of yours, and FILE.pub to register. Needs no vault."""
    public = approvers.make_key(file, passphrase(confirm=True))
    beside, mark = approvers.public_file(file), approvers.fingerprint(public)
    words = f"{mark}\nKeep {file} to yourself. Register {beside} before the next disposal is planned."
    say(words, {"file": str(file), "public_file": str(beside), "fingerprint": mark})


@approver.command("register")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--user", "name", required=True, help="Your local account; its password is asked for.")
def register(file: Path, name: str) -> None:
    """Register the public half as yours. It counts for disposals that are planned from now on."""
    public = approvers.read_public(file, passphrase)
    with logged_in(name) as vault:
        made = approvers.register(vault, public)
    say(f"{made.person}  {approvers.fingerprint(public)}", _view(made))


@approver.command("list")
def list_keys() -> None:
    """List the keys that count."""
    with opened_vault() as vault:
        found = approvers.listing(vault)
    words = [f"{one.person}  {approvers.fingerprint(one.public)}  registered by event {one.seq}" for one in found]
    say("\n".join(words) or "no approver has a key", [_view(one) for one in found])


@approver.command("remove")
@click.argument("person")
@click.option("--user", "name", required=True, help="Your local account; its password is asked for.")
def remove(person: str, name: str) -> None:
    """Remove somebody's key. What it approved does not count any more, unless the keys died already."""
    with logged_in(name) as vault:
        found = approvers.remove(vault, person)
    say(f"the key of {person} is removed", _view(found) | {"removed": True})


def passphrase(*, confirm: bool = False) -> bytes:
    """Return the passphrase of an approver's key from REASONVAULT_APPROVER_PASSPHRASE_FILE, else from the terminal.

    Raises:
        UsageError: neither gives one.
    """
    file = os.environ.get("REASONVAULT_APPROVER_PASSPHRASE_FILE")
    if file:
        try:
            found = Path(file).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise UsageError(f"cannot read REASONVAULT_APPROVER_PASSPHRASE_FILE: {error.strerror}") from None
        if not found:
            raise UsageError("REASONVAULT_APPROVER_PASSPHRASE_FILE is empty")
        return found
    if not sys.stdin.isatty():
        raise UsageError(
            "the passphrase of the approver's key is needed: set REASONVAULT_APPROVER_PASSPHRASE_FILE,"
            " or use a terminal"
        )
    typed = getpass.getpass("Passphrase of the approver's key: ")
    if confirm and typed != getpass.getpass("Again: "):
        raise UsageError("the two passphrases differ")
    return typed.encode()


def _view(one: ApproverKey) -> dict[str, object]:
    return {"person": one.person, "fingerprint": approvers.fingerprint(one.public), "registered": one.seq}
