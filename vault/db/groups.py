"""Groups and their epoch keys: every statement about which keys a ledger has, and which of them may be written under.

Functions take the connection of the caller's transaction and never commit. What may change, and in which direction,
the database itself decides (migration r0003): a group's state only goes forward, and keys vanish only once it is
``destroyed``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from sqlalchemy import Connection, insert, select, text

from vault.db.tables import epoch, key_group


class StoredGroup(NamedTuple):
    """One group. ``index_key`` is wrapped by the group's provider key, and empty once that is destroyed."""

    name: str
    key_ref: str
    index_key: bytes
    state: str


def listing(connection: Connection, ledger_id: UUID) -> list[StoredGroup]:
    """Return every group that a ledger ever had, in no order."""
    columns = (key_group.c.name, key_group.c.key_ref, key_group.c.index_key, key_group.c.state)
    found = connection.execute(select(*columns).where(key_group.c.ledger_id == ledger_id))
    return [StoredGroup(row[0], row[1], bytes(row[2]), row[3]) for row in found]


def live(connection: Connection, ledger_id: UUID, names: Collection[str]) -> set[str]:
    """Return which of these groups may be written under. Asked with every commit, so it goes to the driver."""
    found = _driver(connection).execute(
        "SELECT name FROM vault.key_group WHERE ledger_id = %s AND name = ANY(%s) AND state = 'live'",
        (ledger_id, list(names)),
    )
    return {row[0] for row in found}


def insert_group(connection: Connection, ledger_id: UUID, name: str, key_ref: str, index_key: bytes) -> None:
    """Insert a live group unless another writer was first; the caller reads back which one stands."""
    connection.execute(
        text(
            "INSERT INTO vault.key_group (ledger_id, name, key_ref, index_key)"
            " VALUES (:ledger, :name, :key_ref, :index_key) ON CONFLICT (ledger_id, name) DO NOTHING"
        ),
        {"ledger": ledger_id, "name": name, "key_ref": key_ref, "index_key": index_key},
    )


def move_state(connection: Connection, ledger_id: UUID, names: Collection[str], old: str, new: str) -> set[str]:
    """Move those of these groups that are in one state to the next. Returns all of these that are in it then."""
    parameters = {"ledger": ledger_id, "names": list(names), "old": old, "new": new}
    connection.execute(
        text(
            "UPDATE vault.key_group SET state = :new WHERE ledger_id = :ledger AND name = ANY(:names) AND state = :old"
        ),
        parameters,
    )
    found = connection.execute(
        text("SELECT name FROM vault.key_group WHERE ledger_id = :ledger AND name = ANY(:names) AND state = :new"),
        parameters,
    )
    return {row[0] for row in found}


def insert_epoch(connection: Connection, row: dict[str, Any]) -> None:
    """Insert one epoch key, wrapped."""
    connection.execute(insert(epoch), row)


def epoch_row(connection: Connection, ledger_id: UUID, epoch_id: int) -> tuple[int, str, str, str, str, bytes] | None:
    """Return one epoch key, in the order of ``epochs``."""
    found = _driver(connection).execute(
        "SELECT epoch_id, group_name, key_ref, writer, day, wrapped FROM vault.epoch"
        " WHERE ledger_id = %s AND epoch_id = %s",
        (ledger_id, epoch_id),
        binary=True,
    )
    row: tuple[int, str, str, str, str, bytes] | None = found.fetchone()
    return row


def epochs(connection: Connection, ledger_id: UUID) -> Iterator[tuple[int, str, str, str, str, bytes]]:
    """Return (epoch id, group, key reference, writer, day, wrapped key) of a ledger's epoch keys.

    The wrapped key is empty where the group was destroyed.
    """
    columns = (
        epoch.c.epoch_id,
        epoch.c.group_name,
        epoch.c.key_ref,
        epoch.c.writer,
        epoch.c.day,
        epoch.c.wrapped,
    )
    for row in connection.execute(select(*columns).where(epoch.c.ledger_id == ledger_id)):
        yield (row[0], row[1], row[2], row[3], row[4], bytes(row[5]))


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver
