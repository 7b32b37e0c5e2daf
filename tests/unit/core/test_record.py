"""The typed model: its codes are for ever, its defaults the reference's, its code lists the standards'."""

from __future__ import annotations

from importlib import resources
from typing import get_args

import msgspec
import pytest

from vault.core import record as model
from vault.core.iso import COUNTRIES, CURRENCIES, CURRENCIES_WITHDRAWN
from vault.core.record import Confidence, Record
from vault.core.record_rules import below_threshold, score_usable


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


def test_countries_are_those_of_the_time_zone_database() -> None:
    table = resources.files("tzdata").joinpath("zoneinfo", "iso3166.tab").read_text(encoding="utf-8")
    assert {line[:2] for line in table.splitlines() if not line.startswith("#")} == COUNTRIES


def test_currencies() -> None:
    assert len(CURRENCIES - CURRENCIES_WITHDRAWN) == 176
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES)
    assert {"CNY", "SGD", "HKD", "USD", "EUR", "GBP", "JPY", "XCG", "ZWG", "HRK"} <= CURRENCIES
    assert not {"XXX", "XTS", "CNH", "RMB", "DEM"} & CURRENCIES


@pytest.mark.parametrize(
    ("confidence", "below"),
    [
        (None, True),
        (Confidence(), True),
        (Confidence(threshold=0.1), True),
        (Confidence(score=0.75), False),
        (Confidence(score=0.7499), True),
        (Confidence(score=0.75, comparator=">"), True),
        (Confidence(score=0.5, threshold=0.5), False),
        (Confidence(score=0.0, threshold=0.0), False),
        (Confidence(score=1.01, threshold=0.5), True),
        (Confidence(score=-0.01, threshold=0.5), True),
        (Confidence(score=80, threshold=75), True),
        (Confidence(score=80, threshold=75, maximum=100), False),
        (Confidence(score=0.2, threshold=0.3, direction="lower_is_better"), False),
        (Confidence(score=0.3, threshold=0.3, direction="lower_is_better"), False),
        (Confidence(score=0.3, threshold=0.3, direction="lower_is_better", comparator="<"), True),
        (Confidence(score=0.4, threshold=0.3, direction="lower_is_better"), True),
        (Confidence(score=0.4, threshold=0.3, comparator="<="), True),
    ],
)
def test_below_threshold(confidence: Confidence | None, below: bool) -> None:
    assert below_threshold(confidence, 0.75) is below


@pytest.mark.parametrize(
    ("confidence", "default", "below"),
    [
        (Confidence(score=0.6), 0.5, False),
        (Confidence(score=70, minimum=0, maximum=100), 0.75, True),
        (Confidence(score=75, minimum=0, maximum=100), 0.75, False),
        (Confidence(score=0.5, minimum=-1, maximum=1), 0.75, False),
        (Confidence(score=0.4, minimum=-1, maximum=1), 0.75, True),
        (Confidence(score=0.25, direction="lower_is_better"), 0.75, False),
        (Confidence(score=0.26, direction="lower_is_better"), 0.75, True),
        (Confidence(score=0.26, comparator="<="), 0.75, True),
        (Confidence(score=0.2, direction="lower_is_better"), 0.8, False),
    ],
)
def test_the_default_threshold_follows_the_scale(confidence: Confidence, default: float, below: bool) -> None:
    assert below_threshold(confidence, default) is below


def test_a_score_is_usable_on_its_own_scale_only() -> None:
    assert score_usable(Confidence(score=1.0))
    assert score_usable(Confidence(score=3, minimum=1, maximum=5))
    assert not score_usable(Confidence(score=0.5, minimum=1, maximum=5))
    assert not score_usable(Confidence())
    assert not score_usable(None)
