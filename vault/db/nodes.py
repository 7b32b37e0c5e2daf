"""Stored subtree roots (vault.core.tree.Node): written with the leaves that complete them, read to give proofs.

They can be recomputed from the leaves at any time and are no evidence: whoever reads one checks what it leads to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
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
# A proof asks for a handful of spans, so these go to the driver: compiling a statement anew costs as much as its run.
_NODES = (
    "SELECT string_agg(hash, '' ORDER BY place) FROM vault.node"
    " WHERE ledger_id = %s AND level = %s AND place >= %s AND place < %s"
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
    found = _driver(connection).execute(_NODES, (ledger_id, level, first, end), binary=True).fetchone()
    return bytes(found[0] or b"") if found else b""


def fetch_leaves(connection: Connection, ledger_id: UUID, first: int, end: int) -> list[tuple[int, bytes]]:
    """Return (seq, stored leaf) from ``first`` up to, but without, ``end``; in no order."""
    return _driver(connection).execute(_LEAVES, (ledger_id, first, end), binary=True).fetchall()


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver
