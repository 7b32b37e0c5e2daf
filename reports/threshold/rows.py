"""What the threshold report keeps of each record: numbers, ids, relations; no text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from reports.figures import Money
from reports.opened import Extraction, Item, api_of, money_of, outcome_of, score_of, threshold_of
from reports.told import Told
from vault.core.flags import Flag
from vault.core.leaf import RecordLeaf
from vault.core.record import AI_APIS, Confidence
from vault.core.tree import leaf_hash

_DEFAULTED = int(Flag.THRESHOLD_DEFAULTED)
_UNUSABLE = int(Flag.SCORE_UNUSABLE)


class Decided(msgspec.Struct, frozen=True, gc=False):
    """One record.

    Attributes:
        score, threshold: from 0 (worst) to 1 (best), as ``reports.rows.confidence_position`` has it; None where there
            is none, or it has no place on its own scale.
        strict: a score that equals its threshold lies below it.
        below: as the vault judged it when the record came in; a facet, so the leaf vouches for it.
        defaulted: the record names no threshold, and the ledger's counted.
        agreed: what the review in the record itself says; None where there is none.
        reviews: (id of the reviewed record, agreed) of a record that reviews others.
    """

    seq: int
    record_id: str
    occurred_at: datetime
    jurisdictions: tuple[str, ...]
    api: str
    outcome: str
    model: str | None
    moved: bool
    below: bool
    unusable: bool
    defaulted: bool
    opened: bool
    score: float | None = None
    threshold: float | None = None
    strict: bool = False
    policy: str | None = None
    executed: Money | None = None
    agreed: bool | None = None
    reviews: tuple[tuple[str, bool], ...] = ()

    @property
    def is_ai(self) -> bool:
        return self.api in AI_APIS

    def at(self, threshold: float) -> bool:
        """Say whether a usable score would lie below another threshold of the same scale, by the same comparator."""
        assert self.score is not None
        return self.score <= threshold if self.strict else self.score < threshold


def _row(item: Item, _place: RecordLeaf, record: Told | None) -> Decided:
    facets = item.sealed.facets
    assert facets is not None
    told: dict[str, Any] = {} if record is None else _told(record)
    return Decided(
        seq=item.seq,
        record_id=facets[0],
        occurred_at=facets[1],
        jurisdictions=tuple(facets[2].split(",")),
        api=api_of(facets[4]),
        outcome=outcome_of(facets[5]),
        moved=bool(facets[7]),
        below=bool(facets[8]),
        model=facets[12] or None,
        unusable=bool(facets[11] & _UNUSABLE),
        defaulted=bool(facets[11] & _DEFAULTED),
        opened=record is not None,
        **told,
    )


def _told(record: Told) -> dict[str, Any]:
    """What only the opened record says."""
    said: dict[str, Any] = {"executed": money_of(record.decision.executed), "reviews": reviews_of(record)}
    said["agreed"] = None if record.review is None else record.review.agreed
    if record.is_ai:
        confidence = record.confidence
        said |= {
            "score": _digits(score_of(confidence)),
            "threshold": _digits(threshold_of(confidence)),
            "strict": _is_strict(confidence),
            "policy": None if confidence is None else confidence.policy,
        }
    return said


def reviews_of(record: Told) -> tuple[tuple[str, bool], ...]:
    """Return what a record says about the records that it reviews."""
    review = record.review
    if review is None or review.agreed is None:
        return ()
    return tuple((one.id, review.agreed) for one in record.relates_to or () if one.kind == "review_of")


def _digits(value: float | None) -> float | None:
    """Twelve digits: the way from one scale to another leaves a trace in the last ones, and 1 - 0.2 must be 0.8."""
    return None if value is None else round(value, 12)


def _is_strict(confidence: Confidence | None) -> bool:
    return confidence is not None and confidence.comparator in ("<", ">")


def _line(item: Item, data: bytes, row: Decided) -> bytes:
    document = {
        "seq": row.seq,
        "leaf_hash": leaf_hash(data).hex(),
        "record_id": row.record_id,
        "occurred_at": row.occurred_at.astimezone(UTC),
        "api": row.api,
        "outcome": row.outcome,
        "model": row.model,
        "jurisdictions": row.jurisdictions,
        "score": row.score,
        "threshold": row.threshold,
        "threshold_stated": not row.defaulted if row.is_ai else None,
        "below_threshold": row.below,
        "money_moved": row.moved,
        "executed": row.executed,
    }
    return msgspec.json.encode(document) + b"\n"


EXTRACTION: Final = Extraction(Decided, _row, _row, _line)
