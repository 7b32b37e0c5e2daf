"""``keys``: the keys of this vault, where they lie, and recovery files for those in the key directory."""

from __future__ import annotations

from pathlib import Path

import click

from service import home as homes
from service import keystore
from service.terminal import Commands, opened_vault, say
from vault import custody
from vault.custody import GroupCustody


@click.group(cls=Commands)
def keys() -> None:
    """The keys of this vault."""


@keys.command("status")
def status() -> None:
    """Say of every key in which state it is, asking its provider now. Prints no key."""
    home = homes.default_path()
    with opened_vault() as vault:
        found = custody.status(vault)
    custodians = keystore.custodians(home, homes.passphrase())
    words = [
        f"provider {found.provider}, tenant key {found.tenant_state}",
        f"recovery files with: {', '.join(custodians) or 'nobody'}",
        *(_line(group) for group in found.groups),
    ]
    document = {
        "provider": found.provider,
        "tenant_key": {"key": found.tenant_key, "state": found.tenant_state},
        "custodians": list(custodians),
        "groups": [
            group._asdict() | {"ledger": str(group.ledger), "expected": custody.is_expected(group)}
            for group in found.groups
        ],
    }
    say("\n".join(words), document)


@keys.command("rotate")
def rotate() -> None:
    """Give the key directory a new root, and keys in OpenBao a new version.

    Copies of the key directory from before open nothing that is written from here on. Records need no rewriting.
    """
    done = keystore.rotate(homes.default_path(), homes.passphrase())
    say(f"rotated: {', '.join(done)}", {"rotated": done})


@keys.group()
def recovery() -> None:
    """Recovery files: what opens the keys when the passphrase is lost."""


@recovery.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--custodian", required=True, help="Who will keep the file, apart from this machine and its backups.")
def export(file: Path, custodian: str) -> None:
    """Write a recovery file. Whoever holds it and a copy of the key store reads everything."""
    keystore.export_recovery(homes.default_path(), homes.passphrase(), file, custodian)
    say(f"{file}: hand it to {custodian}, then delete it here", {"file": str(file), "custodian": custodian})


@recovery.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def use(file: Path) -> None:
    """Open the key store with a recovery file and give it a new passphrase (from where init takes it)."""
    keystore.use_recovery(homes.default_path(), file, homes.passphrase(confirm=True))
    say("the key store has a new passphrase; the recovery file goes on working", {"recovered": True})


def _line(group: GroupCustody) -> str:
    at = "" if group.destroy_at is None else f" {group.destroy_at.isoformat(timespec='seconds')}"
    mark = "" if custody.is_expected(group) else "  NOT AS EXPECTED"
    key = f"key {group.key_state}{at}, {group.epochs} epochs"
    return f"{group.ledger_name:<24} {group.group:<14} {group.state:<10} {key}{mark}"
