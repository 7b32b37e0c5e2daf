"""What the cost report keeps of each record: figures and ids; no text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from reports.figures import Money
from reports.opened import Extraction, Item, api_of, money_of, outcome_of
from reports.told import Told
from vault.core.leaf import RecordLeaf
from vault.core.record import AI_APIS, Usage
from vault.core.tree import leaf_hash

CALL, BATCH, CACHE = "call", "batch", "cache"
ORIGINS: Final = (CALL, BATCH, CACHE)
"""Where an answer came from. A cached answer of a batch came from the cache."""


class Used(msgspec.Struct, frozen=True, gc=False):
    """One record. None is what its producer did not record.

    Attributes:
        origin: one of ``ORIGINS``; a record that names neither batch nor cache is taken for a call.
        discount: of the batch, a share of the price.
        reviews: ids of the records that a human reviewed here; ``decided_at`` is when.
        reviewed_inside: a human's review stands in the record itself.
    """

    seq: int
    record_id: str
    occurred_at: datetime
    api: str
    outcome: str
    model: str | None
    moved: bool
    opened: bool
    origin: str = CALL
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    fee: Money | None = None
    discount: float | None = None
    ai_ms: float | None = None
    total_ms: float | None = None
    first_token_ms: float | None = None
    reviews: tuple[str, ...] = ()
    decided_at: datetime | None = None
    reviewed_inside: bool = False

    @property
    def is_ai(self) -> bool:
        return self.api in AI_APIS


def _row(item: Item, _place: RecordLeaf, record: Told | None) -> Used:
    facets = item.sealed.facets
    assert facets is not None
    told: dict[str, Any] = {} if record is None else _told(record)
    return Used(
        seq=item.seq,
        record_id=facets[0],
        occurred_at=facets[1],
        api=api_of(facets[4]),
        outcome=outcome_of(facets[5]),
        moved=bool(facets[7]),
        model=facets[12] or None,
        opened=record is not None,
        **told,
    )


def _told(record: Told) -> dict[str, Any]:
    said: dict[str, Any] = {} if record.usage is None else _usage(record.usage)
    if record.timing is not None:
        timing = record.timing
        said |= {"ai_ms": timing.ai_ms, "total_ms": timing.total_ms, "first_token_ms": timing.first_token_ms}
    review = record.review
    if review is not None and review.reviewer is not None:
        said["reviews"] = tuple(one.id for one in record.relates_to or () if one.kind == "review_of")
        said["decided_at"] = review.decided_at
        said["reviewed_inside"] = record.api != "human_review"
    return said


def _usage(usage: Usage) -> dict[str, Any]:
    cached = usage.cache is not None and usage.cache.hit
    return {
        "origin": CACHE if cached else BATCH if usage.batch is not None else CALL,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "fee": money_of(usage.cost),
        "discount": None if usage.batch is None else usage.batch.discount,
    }


def _line(item: Item, data: bytes, row: Used) -> bytes:
    document = {
        "seq": row.seq,
        "leaf_hash": leaf_hash(data).hex(),
        "record_id": row.record_id,
        "occurred_at": row.occurred_at.astimezone(UTC),
        "api": row.api,
        "outcome": row.outcome,
        "model": row.model,
        "money_moved": row.moved,
        "origin": row.origin if row.is_ai else None,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cached_tokens": row.cached_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "fee": row.fee,
        "batch_discount": row.discount,
        "ai_ms": row.ai_ms,
        "total_ms": row.total_ms,
        "first_token_ms": row.first_token_ms,
    }
    return msgspec.json.encode(document) + b"\n"


EXTRACTION: Final = Extraction(Used, _row, _row, _line)
