"""Groups in every state of their life, and records that move between them, for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import psycopg
from sqlalchemy import Connection

from tests.support.vault import Installation
from vault import generations, opening
from vault.context import Vault
from vault.core import canonical, leaf, packing
from vault.core.groups import stem_of
from vault.core.leaf import RecordLeaf
from vault.core.parse import parse
from vault.core.record import Record
from vault.db import store
from vault.db.engine import transact
from vault.keys.ring import GroupKeys, GroupRow, Ring, group_ref
from vault.ledgers import Ledger
from vault.sealing import blind_tags


def states_of(installation: Installation, ledger: str = "cn") -> dict[str, str]:
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        rows = connection.execute(
            "SELECT name, state FROM vault.key_group WHERE ledger_id = %s ORDER BY name", [installation.ledger(ledger)]
        )
        return dict(rows.fetchall())


def placed(installation: Installation, ledger: str = "cn") -> dict[int, tuple[str, str]]:
    """Return (group that the leaf names, group that the record is in now) of every sealed entry."""
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        rows = connection.execute(
            "SELECT s.seq, n.leaf, e.group_name FROM vault.sealed s JOIN vault.entry n USING (ledger_id, seq)"
            " JOIN vault.epoch e USING (ledger_id, epoch_id) WHERE s.ledger_id = %s",
            [installation.ledger(ledger)],
        ).fetchall()
    return {row[0]: (str(getattr(leaf.parse(packing.unpack(row[1])), "group", "")), row[2]) for row in rows}


def only_stem(installation: Installation, ledger: str = "cn") -> str:
    (stem,) = {stem_of(name) for name in states_of(installation, ledger)}
    return stem


def destroy_key(vault: Vault, ledger: UUID, name: str) -> None:
    """Destroy a group's provider key, as the last steps of a disposal do."""
    now = datetime.now(UTC)
    vault.provider.schedule_destroy(group_ref(ledger, name), now)
    vault.provider.destroy_due(now)


def bury(vault: Vault, ledger: UUID, name: str) -> None:
    """Close a group, destroy its key, and delete what opened under it."""
    generations.close(vault, ledger, [name])
    destroy_key(vault, ledger, name)
    mark(vault, ledger, name)
    for statement in (
        "UPDATE vault.key_group SET index_key = '' WHERE ledger_id = %s AND name = %s",
        "UPDATE vault.epoch SET wrapped = '' WHERE ledger_id = %s AND group_name = %s",
    ):
        execute(vault, statement, ledger, name)
    vault.ring.forget(ledger, name)


def execute(vault: Vault, statement: str, *values: object) -> None:
    def work(connection: Connection) -> None:
        connection.exec_driver_sql(statement, values)

    transact(vault.engine, work)


def mark(vault: Vault, ledger: UUID, name: str) -> None:
    transact(vault.engine, lambda connection: generations.mark_destroyed(connection, ledger, [name]))


def record_of(raw: bytes) -> Record:
    return parse(raw, now_us=2**51).record


def move(vault: Vault, ledger: Ledger, keys: GroupKeys, ids: list[str]) -> list[int]:
    """Re-wrap records' keys under another group, as survivors of a disposal are; what they are in is closed."""
    ring: Ring = vault.ring
    opener = opening.Opener(vault.engine, ring, ledger.id)
    index_key = ring.open_index_key(GroupRow(ledger.id, keys.group.group, keys.group.key_ref, keys.group.index_key))
    with vault.engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT seq, group_name FROM vault.sealed JOIN vault.epoch USING (ledger_id, epoch_id)"
            " WHERE ledger_id = %s AND record_id = ANY(%s)",
            (ledger.id, ids),
        ).fetchall()
    seqs = sorted(row[0] for row in found)
    generations.close(vault, ledger.id, {row[1] for row in found})
    for row in transact(vault.engine, lambda one: list(store.fetch_entries(one, ledger.id, seqs))):
        assert row.leaf is not None
        assert row.sealed is not None
        place = leaf.parse(packing.unpack(row.leaf))
        assert isinstance(place, RecordLeaf)
        record_key, raw = opener.record_key(place, row.sealed), opener.open(place, row.sealed)
        wrapped = ring.wrap_record_key(keys.epoch, record_key, _commitment(place))
        tags = blind_tags(index_key, record_of(raw))
        execute(
            vault,
            "UPDATE vault.sealed SET epoch_id = %s, wrapped_key = %s, conversation_tag = %s, transaction_tag = %s,"
            " customer_tag = %s WHERE ledger_id = %s AND seq = %s",
            *(keys.epoch.epoch_id, wrapped, *tags, ledger.id, row.seq),
        )
    return seqs


def _commitment(place: RecordLeaf) -> bytes:
    return canonical.unb64(place.key, 32)
