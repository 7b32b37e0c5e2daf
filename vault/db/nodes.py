"""Stored subtree roots (vault.core.tree.Node): written with the leaves that complete them, read to give proofs.

They can be recomputed from the leaves at any time and are no evidence: whoever reads one checks what it leads to.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import psycopg
from sqlalchemy import Connection, text

from vault.core.tree import Node

_INSERT = text(
    """INSERT INTO vault.node (ledger_id, level, place, hash)
       SELECT CAST(:ledger AS uuid), * FROM unnest(
           CAST(:levels AS smallint[]), CAST(:places AS bigint[]), CAST(:hashes AS bytea[]))
       ON CONFLICT (ledger_id, level, place) DO NOTHING"""
)
_NODES = text(
    """SELECT string_agg(hash, '' ORDER BY place) FROM vault.node
       WHERE ledger_id = :ledger AND level = :level AND place >= :first AND place < :end"""
)
_LEAVES = "SELECT seq, leaf FROM vault.entry WHERE ledger_id = %s AND seq >= %s AND seq < %s"


def insert(connection: Connection, ledger_id: UUID, nodes: Sequence[Node]) -> None:
    """Insert nodes. One that is there already stays: a wrong one must cost time, never an append."""
    if nodes:
        levels, places, hashes = zip(*nodes, strict=True)
        parameters = {"levels": list(levels), "places": list(places), "hashes": list(hashes)}
        connection.execute(_INSERT, {"ledger": ledger_id, **parameters})


def fetch_nodes(connection: Connection, ledger_id: UUID, level: int, first: int, end: int) -> bytes:
    """Return the nodes of a level from ``first`` up to, but without, ``end``, joined; missing ones leave no gap."""
    found = connection.execute(_NODES, {"ledger": ledger_id, "level": level, "first": first, "end": end})
    return bytes(found.scalar_one() or b"")


def fetch_leaves(connection: Connection, ledger_id: UUID, first: int, end: int) -> list[tuple[int, bytes]]:
    """Return (seq, stored leaf) from ``first`` up to, but without, ``end``; in no order."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver.execute(_LEAVES, (ledger_id, first, end), binary=True).fetchall()
