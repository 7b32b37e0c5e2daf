"""Forebears: the frozen ledgers that a successor goes on for, as intake sees them.

A record that stands in the good part of one of them is not taken again: whoever sends it gets the one receipt that it
has. The successor has an id key of its own, so ids are looked up under the key of each. What was lost is not known, and
comes in as new. Frozen ledgers do not change, so this needs no lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from vault.context import Vault
from vault.core.errors import Missing
from vault.db import store
from vault.db.engine import transact
from vault.sealing import id_tag


class Known(NamedTuple):
    """Where a record stands already: the ledger, its position there, and its id tag there."""

    ledger: UUID
    seq: int
    tag: bytes


class Forebears:
    """Those of one ledger, the nearest first. A ledger that follows no other has none, and costs nothing."""

    def __init__(self, vault: Vault, ledger: UUID) -> None:
        self._vault = vault
        follows = {one.successor: one for one in vault.register.standing().frozen.values()}
        self._chain: list[tuple[UUID, int, bytes]] = []
        place = str(ledger)
        if place not in follows:
            return
        rows = {row.ledger_id: row for row in transact(vault.engine, store.ledgers)}
        while (one := follows.pop(place, None)) is not None:
            before = UUID(one.recovery.ledger)
            if one.recovery.size > 1:  # its genesis leaf alone is no record
                if before not in rows:
                    raise Missing("the ledger that this one goes on for is gone from the database", str(before))
                key = vault.ring.open_ledger_key(vault.tenant_key, before, rows[before].id_key)
                self._chain.append((before, one.recovery.size, key))
            place = one.recovery.ledger

    def known(self, lines: Mapping[int, bytes]) -> dict[int, Known]:
        """Return which of these records stand in a good part already, by the same keys as ``lines``.

        Args:
            lines: records that were parsed before, so each has an id.
        """
        found: dict[int, Known] = {}
        if not self._chain or not lines:
            return found
        ids = {at: msgspec.json.decode(raw, type=_Identified).id for at, raw in lines.items()}
        for ledger, size, key in self._chain:
            tags = {at: id_tag(key, one) for at, one in ids.items() if at not in found}
            seqs = self._seqs(ledger, list(tags.values()))
            for at, tag in tags.items():
                seq = seqs.get(tag)
                if seq is not None and seq < size:
                    found[at] = Known(ledger, seq, tag)
        return found

    def _seqs(self, ledger: UUID, tags: Sequence[bytes]) -> dict[bytes, int]:
        return transact(self._vault.engine, lambda connection: store.find_tags(connection, ledger, tags))


class _Identified(msgspec.Struct):
    id: str
