"""The typed model: its codes are for ever, its defaults are those of the reference."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from vault.core import record as model
from vault.core.record import Record


def _record(**fields: object) -> Record:
    document = {
        "schema": "reasoning-log/1",
        "id": "dec-1",
        "conversation_id": "conv-1",
        "occurred_at": "2026-01-05T08:01:12Z",
        "jurisdictions": ["CN"],
        "api": "risk_compliance",
        "source": {"adapter": "native", "fidelity": "wire"},
        "decision": {"action": "none", "outcome": "rejected", "money_moved": False},
    }
    return msgspec.json.decode(msgspec.json.encode(document | fields), type=Record)


def test_codes_are_frozen_for_ever() -> None:
    # Written out by hand: these numbers stand in every facet digest that was ever sealed.
    assert dict(model.API_CODES) == {
        "payment_intelligence": 1,
        "risk_compliance": 2,
        "customer_interaction": 3,
        "non_ai_bypass": 4,
        "human_review": 5,
    }
    assert dict(model.OUTCOME_CODES) == {
        "accepted": 1,
        "human_review": 2,
        "deterministic_rule": 3,
        "rejected": 4,
        "failed": 5,
        "outcome_unknown": 6,
    }
    assert dict(model.FIDELITY_CODES) == {"wire": 1, "reconstructed": 2, "truncated": 3, "redacted": 4}
    assert dict(model.RELATION_CODES) == {
        "retry_of": 1,
        "review_of": 2,
        "correction_of": 3,
        "cached_from": 4,
        "refund_of": 5,
        "settles": 6,
        "dates": 7,
    }


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        (model.Api, model.API_CODES),
        (model.Outcome, model.OUTCOME_CODES),
        (model.Fidelity, model.FIDELITY_CODES),
        (model.RelationKind, model.RELATION_CODES),
    ],
)
def test_every_word_has_its_code(words: object, codes: dict[str, int]) -> None:
    assert get_args(words) == tuple(codes)
    assert sorted(codes.values()) == list(range(1, len(codes) + 1))


def test_an_ai_api_is_an_api() -> None:
    assert set(model.API_CODES) - {"non_ai_bypass", "human_review"} == model.AI_APIS


@pytest.mark.parametrize("absent", [{}, {"step": None, "attempt": None, "record_class": None}])
def test_defaults_of_the_reference(absent: dict[str, None]) -> None:
    record = _record(**absent)
    assert (record.step, record.attempt, record.record_class) == (0, 1, "payment")


def test_values_given_by_the_producer() -> None:
    record = _record(step=4, attempt=2, record_class="aml")
    assert (record.step, record.attempt, record.record_class) == (4, 2, "aml")


def test_a_record_cannot_be_edited() -> None:
    record = _record()
    with pytest.raises(AttributeError):
        record.id = "dec-2"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        record.decision.money_moved = True  # type: ignore[misc]
