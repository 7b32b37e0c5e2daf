"""What moving and destroying record keys asks of the database: rows by group, compare-and-swap, deleting.

Functions take the connection of the caller's transaction and never commit. All of them need the role for retention.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from sqlalchemy import Connection, text


class Place(NamedTuple):
    """Where one record's key is: under which epoch, how it is wrapped there, and the blind indexes that go with it."""

    seq: int
    epoch_id: int
    wrapped: bytes
    conversation: int | None
    transaction: int | None
    customer: int | None


class Step(NamedTuple):
    """One record's way from a place to another. ``old_*`` must still stand there when it goes."""

    old_epoch: int
    old_wrapped: bytes
    place: Place


_GROUPED = """epoch_id = ANY(ARRAY(
    SELECT epoch_id FROM vault.epoch WHERE ledger_id = %s AND group_name = ANY(%s)))"""
_SEQS = f"SELECT seq FROM vault.sealed WHERE ledger_id = %s AND {_GROUPED}"  # noqa: S608 - constants
_MOVE = """UPDATE vault.sealed s
    SET epoch_id = m.epoch_id, wrapped_key = m.wrapped,
        conversation_tag = m.conversation, transaction_tag = m.transaction, customer_tag = m.customer
    FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s::bigint[], %s::bytea[],
                %s::bigint[], %s::bigint[], %s::bigint[])
        AS m(seq, old_epoch, old_wrapped, epoch_id, wrapped, conversation, transaction, customer)
    WHERE s.ledger_id = %s AND s.seq = m.seq AND s.epoch_id = m.old_epoch AND s.wrapped_key = m.old_wrapped"""


def seqs_in(connection: Connection, ledger_id: UUID, names: Collection[str]) -> array[int]:
    """Return the positions whose keys are in these groups now, ascending."""
    found = _driver(connection).execute(_SEQS, (ledger_id, ledger_id, list(names)), binary=True)
    return array("q", sorted(row[0] for row in found))


def places(connection: Connection, ledger_id: UUID, seqs: Sequence[int]) -> dict[int, Place]:
    """Return where the keys of these positions are now; positions without a sealed row are left out."""
    found = _driver(connection).execute(
        "SELECT seq, epoch_id, wrapped_key, conversation_tag, transaction_tag, customer_tag FROM vault.sealed"
        " WHERE ledger_id = %s AND seq = ANY(%s)",
        (ledger_id, list(seqs)),
        binary=True,
    )
    return {row[0]: Place(*row) for row in found}


def epoch_groups(connection: Connection, ledger_id: UUID) -> dict[int, str]:
    """Return the group of every epoch that a ledger ever had."""
    found = connection.execute(
        text("SELECT epoch_id, group_name FROM vault.epoch WHERE ledger_id = :ledger"), {"ledger": ledger_id}
    )
    return {row[0]: row[1] for row in found}


def states_for_share(connection: Connection, ledger_id: UUID, names: Collection[str]) -> dict[str, str]:
    """Return the states of groups, which stay as they are until this transaction ends."""
    found = connection.execute(
        text("SELECT name, state FROM vault.key_group WHERE ledger_id = :ledger AND name = ANY(:names) FOR SHARE"),
        {"ledger": ledger_id, "names": list(names)},
    )
    return {row[0]: row[1] for row in found}


def move(connection: Connection, ledger_id: UUID, steps: Sequence[Step]) -> int:
    """Move rows that still stand where they were seen; return how many did."""
    to = [step.place for step in steps]
    moved = _driver(connection).execute(
        _MOVE,
        (
            [place.seq for place in to],
            [step.old_epoch for step in steps],
            _spelled([step.old_wrapped for step in steps]),
            [place.epoch_id for place in to],
            _spelled([place.wrapped for place in to]),
            [place.conversation for place in to],
            [place.transaction for place in to],
            [place.customer for place in to],
            ledger_id,
        ),
    )
    return moved.rowcount


def insert_missing(connection: Connection, ledger_id: UUID, rows: Collection[dict[str, Any]]) -> int:
    """Insert epoch keys that are not there; return how many were not."""
    inserted = 0
    for row in rows:
        made = connection.execute(
            text(
                """INSERT INTO vault.epoch (ledger_id, epoch_id, group_name, key_ref, writer, day, wrapped)
                   VALUES (:ledger, :epoch_id, :group_name, :key_ref, :writer, :day, :wrapped)
                   ON CONFLICT (ledger_id, epoch_id) DO NOTHING"""
            ),
            {"ledger": ledger_id, **row},
        )
        inserted += made.rowcount
    return inserted


def delete(connection: Connection, ledger_id: UUID, seqs: Sequence[int]) -> int:
    """Delete sealed rows. The database refuses one whose group is not destroyed."""
    gone = _driver(connection).execute(
        "DELETE FROM vault.sealed WHERE ledger_id = %s AND seq = ANY(%s)", (ledger_id, list(seqs))
    )
    return gone.rowcount


def empty(connection: Connection, ledger_id: UUID, names: Collection[str]) -> None:
    """Take the wrapped epoch keys and index keys of destroyed groups away."""
    parameters = {"ledger": ledger_id, "names": list(names)}
    for statement in (
        "UPDATE vault.epoch SET wrapped = '' WHERE ledger_id = :ledger AND group_name = ANY(:names) AND wrapped <> ''",
        "UPDATE vault.key_group SET index_key = ''"
        " WHERE ledger_id = :ledger AND name = ANY(:names) AND index_key <> '' AND state = 'destroyed'",
    ):
        connection.execute(text(statement), parameters)


def _spelled(values: Sequence[bytes]) -> str:
    """Spelled here: the driver's own spelling of a bytea array takes 15 us an element."""
    return '{"\\\\x' + '","\\\\x'.join([value.hex() for value in values]) + '"}' if values else "{}"


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver
