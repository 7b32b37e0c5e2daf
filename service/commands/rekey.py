"""``keys rekey`` and ``keys replay``: give a group another key; make an older database readable again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import click

from service import home as homes
from service import wiring
from service.accounts import Accounts
from service.commands.access import password
from service.terminal import progress, say
from vault import ledgers, rekeying, replaying
from vault.context import Vault
from vault.core.errors import UsageError
from vault.db import store
from vault.db.engine import transact


@click.command("rekey")
@click.argument("ledger")
@click.argument("group")
@click.option("--user", "user", help="Your local account; without it, the passphrase's holder acts.")
def rekey(ledger: str, group: str, user: str | None) -> None:
    """Move what is in a GROUP of a LEDGER under a new key and destroy the old one. Nothing becomes unreadable.

    Run again after an interruption, it goes on.
    """
    with _retaining(user) as vault, progress("moving") as told:
        found = ledgers.find(vault, ledger)
        if found is None:
            raise UsageError(f"no ledger is named {ledger}: see 'reasonvault ledger list'")
        done = rekeying.rekey(vault, found.id, group, progress=told)
    words = f"{done.moved} entries moved to {done.target}" if done.target else "no entry was in it"
    document = {
        "ledger": str(found.id),
        "group": group,
        "moved": done.moved,
        "target": done.target or None,
        "key": done.destroyed.keys[0],
        "destroyed_at": f"{done.destroyed.destroyed_at:%Y-%m-%dT%H:%M:%SZ}",
        "epochs_tried": done.destroyed.epochs_tried,
    }
    say(f"{words}; key {document['key']} is destroyed", document)


@click.command("replay")
@click.option("--ledger", "name", help="Only this ledger, by name or uuid.")
def replay(name: str | None) -> None:
    """After an older database was restored: bring record keys to where the journal last had them.

    What was moved before its old key died can be read again. What was destroyed cannot.
    """
    with _retaining(None) as vault:
        # By the rows alone: an older database is behind its checkpoint, and nothing that asks for more would open it.
        rows = transact(vault.engine, store.ledgers)
        wanted = {row.ledger_id: row.name for row in rows if name in (None, row.name, str(row.ledger_id))}
        if not wanted:
            raise UsageError(f"the database has no ledger named {name}")
        done = {ledger: replaying.replay(vault, ledger) for ledger in wanted}
    words = [
        f"{wanted[ledger]}: {one.moved} entries can be read again, {one.unreadable} cannot"
        f"{f', {one.failed} of them against the journal' if one.failed else ''}"
        f"{'' if one.told else '; the events ledger takes no entry now'}"
        for ledger, one in done.items()
    ]
    say("\n".join(words), [_document(ledger, wanted[ledger], one) for ledger, one in done.items()])


def _document(ledger: UUID, name: str, done: replaying.Replayed) -> dict[str, object]:
    return {
        "ledger": str(ledger),
        "name": name,
        "groups": done.groups,
        "epochs": done.epochs,
        "moved": done.moved,
        "failed": done.failed,
        "unreadable": done.unreadable,
        "told": done.told,
    }


@contextmanager
def _retaining(user: str | None) -> Iterator[Vault]:
    home = homes.default_path()
    wiring.identity(home)
    with wiring.open_for_retention(home, homes.passphrase()) as vault:
        if user is not None:
            vault = vault.acting(Accounts(home).login(vault, user, password(f"Password of {user}")))
        yield vault
