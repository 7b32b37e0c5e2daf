"""The sample: sizes from the textbook, a draw that a second program repeats."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.sampling import draw, sample_size
from vault.core.errors import UsageError


@pytest.mark.parametrize(
    ("confidence", "rate", "size"), [(95, 5, 59), (90, 5, 45), (95, 1, 299), (99, 1, 459), (90, 10, 22)]
)
def test_discovery_sample_sizes(confidence: int, rate: int, size: int) -> None:
    assert sample_size(Fraction(confidence, 100), Fraction(rate, 100)) == size


@pytest.mark.parametrize("share", [Fraction(0), Fraction(1), Fraction(-1, 2)])
def test_shares_lie_between_none_and_all(share: Fraction) -> None:
    with pytest.raises(UsageError):
        sample_size(share, Fraction(1, 20))
    with pytest.raises(UsageError):
        sample_size(Fraction(1, 2), share)


def test_the_draw_is_what_its_description_says() -> None:
    seed, population, numbers, block = b"seed", 1000, [], 0
    while len(set(numbers)) < 59:
        digest = hashlib.sha256(seed + block.to_bytes(8, "big")).digest()
        for at in range(0, 32, 8):
            number = int.from_bytes(digest[at : at + 8], "big")
            if number < 2**64 // population * population and len(set(numbers)) < 59:
                numbers.append(number % population)
        block += 1
    assert draw(seed, population, 59) == tuple(sorted(set(numbers)))


@given(st.binary(max_size=40), st.integers(0, 300), st.integers(0, 80))
def test_a_draw_is_ascending_distinct_and_in_range(seed: bytes, population: int, size: int) -> None:
    drawn = draw(seed, population, size)
    assert len(drawn) == min(size, population)
    assert list(drawn) == sorted(set(drawn))
    assert all(0 <= position < population for position in drawn)


def test_another_seed_draws_another_sample() -> None:
    assert draw(b"a", 10**6, 59) != draw(b"b", 10**6, 59)
