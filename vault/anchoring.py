"""Anchoring: every ledger's newest checkpoint becomes an entry of the tenant's events ledger.

    1. read the checkpoints outside the database, each with its signature verified
    2. under the lock of the events ledger: keep those that moved since their last anchor, which must be old enough
    3. COMMIT one event ``checkpoint.anchored`` for each, all in one transaction; the events' own checkpoint covers them

So one origin per tenant needs a witness, and it vouches for all ledgers. A ledger that goes back behind its last
anchor is FORKED, whatever its own checkpoint and database agree on. Nothing is anchored where nothing moved: a quiet
vault grows no events.

A crash before 3 leaves nothing; after it, everything. What was committed and not yet signed is anchored once it is
(vault.signing).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final
from uuid import UUID

from sqlalchemy import Engine

from vault import events
from vault.context import Vault
from vault.core import anchor as facts
from vault.core import leaf, packing
from vault.core.anchor import Anchor as Anchor
from vault.core.anchor import anchor_of
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Forked
from vault.core.leaf import EventLeaf, microseconds
from vault.core.standing import Standing
from vault.db import store
from vault.db.engine import translated
from vault.events import Event, Ruling

EVERY: Final = 60
"""Seconds between two anchors of a ledger, at the least."""
_MARK: Final = b'"event":"checkpoint.anchored"'


def anchor(vault: Vault, *, every: int = EVERY) -> int:
    """Anchor what moved, and return how many ledgers did.

    Args:
        every: seconds since a ledger's last anchor before which it gets no other one; 0 anchors at once.

    Raises:
        Forked: a ledger's checkpoint is not one of ours, or is behind what was anchored; the others are anchored.
        Unavailable, UnknownOutcome: nothing may be taken for anchored; the next call looks again.
    """
    fault: Forked | None = None
    read: dict[UUID, Checkpoint] = {}
    # The events first: whatever they anchored was signed before we read it.
    last = vault.register.standing().anchored
    for ledger in vault.checkpoints.ledgers():
        try:
            found = vault.checkpoints.read(ledger)
        except Forked as error:
            fault = fault or error
            continue
        if ledger != vault.events and found is not None and found.size:
            fault = fault or _behind(vault, ledger, found, last.get(str(ledger)))
            read[ledger] = found
    done = _commit(vault, read, every) if _due(read, last, vault.clock(), every) else 0
    if fault is not None:
        raise fault
    return done


def _commit(vault: Vault, read: Mapping[UUID, Checkpoint], every: int) -> int:
    """Steps 2 and 3. Another process may have anchored the same meanwhile: the standing under the lock tells."""

    def decide(standing: Standing) -> Ruling[int]:
        due = _due(read, standing.anchored, vault.clock(), every)
        return Ruling([Event("checkpoint.anchored", facts.facts(ledger, read[ledger])) for ledger in due], len(due))

    return events.rule(vault, decide, plain=True)[1]


def _due(read: Mapping[UUID, Checkpoint], last: Mapping[str, Anchor], now: int, every: int) -> list[UUID]:
    found = []
    for ledger, checkpoint in read.items():
        told = last.get(str(ledger))
        if told is None:
            found.append(ledger)
        elif checkpoint.size > told.size:
            waited = now - microseconds(told.at)
            if not 0 <= waited < every * 1_000_000:  # a clock that was put back must not stop anchoring
                found.append(ledger)
    return found


def _behind(vault: Vault, ledger: UUID, found: Checkpoint, told: Anchor | None) -> Forked | None:
    """Return what is wrong with a ledger whose checkpoint does not come after its last anchor."""
    if told is None or found.size > told.size or (found.size, found.root) == (told.size, told.root):
        return None
    frozen = vault.register.standing().frozen.get(str(ledger))  # as of now: it goes back after the event is told
    if frozen is not None and found.size == frozen.recovery.size:
        return None  # it went back, by order of two people, to its last good head
    what = "is another tree than" if found.size == told.size else "is behind"
    return Forked(f"its checkpoint {what} the one of size {told.size} that event {told.seq} anchored", str(ledger))


def anchors(vault: Vault, ledger: UUID) -> Iterator[Anchor]:
    """Yield a ledger's anchors, oldest first.

    NOT checked: that the events are what was signed, nor the ledger's tree; ``vault.audit`` does both.
    """
    return stream(vault.engine, vault.events, ledger)


def stream(engine: Engine, tenant_events: UUID, ledger: UUID) -> Iterator[Anchor]:
    """Yield the same without an opened vault."""
    named = str(ledger)
    with translated(), engine.connect() as connection:
        for _, stored in store.stream_leaves(connection, tenant_events, 0, None):
            data = packing.unpack(stored)
            if _MARK not in data or named.encode() not in data:
                continue  # most events are others: their leaves need not be parsed
            told = leaf.parse(data)
            if isinstance(told, EventLeaf) and told.event == facts.EVENT:
                with suppress(KeyError, TypeError, ValueError):  # the verifier says so
                    found, one = anchor_of(told.facts, told.seq, told.at)
                    if found == named:
                        yield one
