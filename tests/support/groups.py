"""What stands in the database of groups, sealed rows and events, for tests of moving and destroying."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

import psycopg

from tests.support.acting import happened
from tests.support.vault import Installation
from vault import selections
from vault.context import Vault
from vault.core.selection import Selection
from vault.surveying import Opened

Target = Callable[[Opened], str | None]


class Row(NamedTuple):
    """A sealed row: the group its key is in, what moves with the key, and everything else."""

    group: str
    movable: tuple[object, ...]
    fixed: tuple[object, ...]


def rows(site: Installation, ledger: str) -> dict[int, Row]:
    """Return a ledger's sealed rows by position."""
    with psycopg.connect(site.database.superuser_dsn) as connection:
        found = connection.execute(
            """SELECT s.seq, e.group_name, s.epoch_id, s.wrapped_key, s.conversation_tag, s.transaction_tag,
                      s.customer_tag, s.envelope, s.salt, s.record_id, s.occurred_at, s.flags, s.model
               FROM vault.sealed s JOIN vault.epoch e USING (ledger_id, epoch_id) WHERE s.ledger_id = %s""",
            [site.ledger(ledger)],
        )
        return {row[0]: Row(row[1], row[2:7], row[7:]) for row in found}


def states(site: Installation, ledger: str) -> dict[str, str]:
    """Return a ledger's groups and their states."""
    with psycopg.connect(site.database.superuser_dsn) as connection:
        found = connection.execute(
            "SELECT name, state FROM vault.key_group WHERE ledger_id = %s ORDER BY name", [site.ledger(ledger)]
        )
        return dict(found.fetchall())


def announced(vault: Vault, ledger: UUID) -> list[tuple[str, str, Selection]]:
    """Return (from, to, positions) of every ``keys.moved``."""
    return [
        (told.facts["from"], told.facts["to"], selections.load(vault, ledger, told.facts["selection"]))
        for told in happened(vault, "keys.moved")
        if told.facts["ledger"] == str(ledger)
    ]


def thirds(opened: Opened) -> str | None:
    """Every third entry stays behind, one goes to ``held``, one to a later month."""
    return (None, "held", "2040-01")[opened.seq % 3]
