"""The judgement of a confidence; the other rules are cases of tests/vectors/records/refused.json."""

from __future__ import annotations

import pytest

from vault.core.record import Confidence
from vault.core.record_rules import below_threshold, score_usable


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
