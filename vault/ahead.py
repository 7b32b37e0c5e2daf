"""Ahead: groups get their keys before anybody writes to them.

A record that comes in a month from now falls into a group one month later than today's, so what was written to lately
says which groups come next. They are made while there is time: when a month turns, no record waits for a key to be
made, and a provider that cannot make one is noticed days before it is needed.

Made are provider keys and the groups' rows. Epoch keys belong to the process that writes, which makes them itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from vault import events
from vault.context import Vault
from vault.core.groups import due_at, months_later, stem_of
from vault.db import groups, store
from vault.db.engine import transact, translated
from vault.provision import Provisioner

LATELY: Final = timedelta(days=35)
"""What was written to within so long is written to again, a month later."""


def provision(vault: Vault, months: int = 1, step: Callable[[], None] = lambda: None) -> int:
    """Make the groups that will be written to within so many months, and return how many were missing.

    Raises:
        KeyUnavailable: the provider cannot make one; those before it are made.
    """
    made = 0
    now = vault.clock() // 1_000_000
    since = (datetime.fromtimestamp(now, UTC) - LATELY).strftime("%Y-%m-%d")
    for row in transact(vault.engine, store.ledgers):
        step()
        if vault.checkpoints.is_frozen(row.ledger_id):
            continue  # nothing is written to it any more
        with translated(), vault.engine.connect() as connection:
            lately = {stem_of(one[1]) for one in groups.epochs(connection, row.ledger_id) if one[4] >= since}
        # Imports write to months that are over, which nothing follows.
        dated = {stem for stem in lately if (due_at(stem) or 0) > now}
        wanted = {months_later(stem, later) for stem in dated for later in range(1, months + 1)}
        made += Provisioner(vault, row.ledger_id, events.key_created(vault)).prepare(wanted)
    return made
