"""Signing: checkpoints for what was committed and never signed.

A writer that died between its commit and its signature leaves entries that were announced and stand under no
checkpoint. The next append signs them; where none comes, this does.
"""

from __future__ import annotations

from collections.abc import Callable

from vault.context import Vault
from vault.core.errors import Forked
from vault.db import store
from vault.db.engine import transact, translated
from vault.linking import append


def sign_all(vault: Vault, step: Callable[[], None] = lambda: None) -> int:
    """Sign every ledger's head that is ahead of its checkpoint, but for frozen ones, and return how many there were.

    Raises:
        Forked: a ledger's head is none that this vault announced; those after it are signed all the same.
    """
    signed = 0
    fault: Forked | None = None
    for row in transact(vault.engine, store.ledgers):
        step()
        if vault.checkpoints.is_frozen(row.ledger_id):
            continue
        with translated(), vault.engine.connect() as connection:
            head = store.read_head(connection, row.ledger_id)
        try:
            checkpoint = vault.checkpoints.read(row.ledger_id)
            if head is not None and (checkpoint is None or checkpoint.size < head.size):
                append(vault.engine, vault.checkpoints, row.ledger_id, lambda _connection: ())
                signed += 1
        except Forked as error:
            fault = fault or error
    if fault is not None:
        raise fault
    return signed
