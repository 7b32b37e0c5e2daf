"""Stored subtree roots (vault.core.tree.Node): written with the leaves that complete them, read to give proofs.

They can be recomputed from the leaves at any time and are no evidence: whoever reads one checks what it leads to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import Connection, text

from vault.core.nodes import Span
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


# The spans of one proof in one statement, since a round trip costs more than what it brings. Statements of many spans
# would be too many different ones for the driver to keep prepared.
_AT_ONCE = 8
_SPAN_NODES = (
    "SELECT %d, 0::bigint, coalesce(string_agg(hash, '' ORDER BY place), '') FROM vault.node"
    " WHERE ledger_id = %%s AND level = %%s AND place >= %%s AND place < %%s"
)
_SPAN_LEAVES = "SELECT %d, seq, leaf FROM vault.entry WHERE ledger_id = %%s AND seq >= %%s AND seq < %%s"


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


def fetch_spans(connection: Connection, ledger_id: UUID, spans: Sequence[Span]) -> Iterator[tuple[int, int, bytes]]:
    """Yield (number of a span, seq, bytes), a few spans asked for at once.

    Of level 0 each stored leaf, in no order; of another level one row, its nodes joined as ``fetch_nodes`` does.
    """
    driver = _driver(connection)
    for start in range(0, len(spans), _AT_ONCE):
        parts: list[str] = []
        asked: list[object] = []
        for number, (level, first, end) in enumerate(spans[start : start + _AT_ONCE]):
            parts.append((_SPAN_NODES if level else _SPAN_LEAVES) % number)
            asked += [ledger_id, level, first, end] if level else [ledger_id, first, end]
        for number, seq, found in driver.execute(" UNION ALL ".join(parts), asked, binary=True).fetchall():
            yield start + number, seq, found


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver
