"""What reconciliation keeps of each record: ids, amounts and times; no text."""

from __future__ import annotations

from datetime import datetime

import msgspec

from reports.figures import Money
from reports.opened import Extraction, Item, money_of, outcome_of
from reports.told import Told
from vault.core.leaf import RecordLeaf
from vault.core.tree import leaf_hash


class Logged(msgspec.Struct, frozen=True, gc=False):
    """One record. ``at`` is when it says that money moved, else when it occurred."""

    seq: int
    record_id: str
    occurred_at: datetime
    at: datetime
    producer: str
    outcome: str
    moved: bool
    opened: bool
    transaction_id: str | None = None
    conversation_id: str = ""
    step: int | None = None
    executed: Money | None = None


def _row(item: Item, place: RecordLeaf, record: Told | None) -> Logged:
    facets = item.sealed.facets
    assert facets is not None
    if record is None:
        return Logged(
            item.seq, facets[0], facets[1], facets[1], place.producer, outcome_of(facets[5]), bool(facets[7]), False
        )
    decision = record.decision
    return Logged(
        item.seq,
        facets[0],
        facets[1],
        decision.executed_at or facets[1],
        place.producer,
        outcome_of(facets[5]),
        bool(facets[7]),
        True,
        decision.transaction_id,
        record.conversation_id,
        record.step,
        money_of(decision.executed),
    )


def _line(item: Item, data: bytes, row: Logged) -> bytes:
    document = {
        "seq": row.seq,
        "leaf_hash": leaf_hash(data).hex(),
        "record_id": row.record_id,
        "occurred_at": row.occurred_at,
        "outcome": row.outcome,
        "money_moved": row.moved,
        "transaction_id": row.transaction_id,
        "executed": None if row.executed is None else [str(row.executed.amount), row.executed.currency],
    }
    return msgspec.json.encode(document) + b"\n"


EXTRACTION = Extraction(Logged, _row, _row, _line)
