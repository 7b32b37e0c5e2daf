from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.limits import RateLimiter, Slots, address_key, retry_after, shared

RATES = st.floats(0.01, 10_000)
BURSTS = st.floats(1, 1000)
ASKED = st.lists(st.tuples(st.floats(0, 5), st.floats(0.01, 1000)), max_size=60)  # (seconds since the last, tokens)


@given(RATES, BURSTS, ASKED)
def test_no_window_lets_more_through_than_rate_and_burst(
    rate: float, burst: float, asked: list[tuple[float, float]]
) -> None:
    limiter = RateLimiter(rate, burst)
    now = 1000.0
    taken: list[tuple[float, float]] = []
    for pause, tokens in asked:
        now += pause
        tokens = min(tokens, burst)
        if limiter.take("someone", now, tokens) == 0:
            taken.append((now, tokens))
    for first, (start, _) in enumerate(taken):
        total = 0.0
        for moment, tokens in taken[first:]:
            total += tokens
            assert total <= (burst + rate * (moment - start)) * (1 + 1e-6) + 1e-6


@given(RATES, BURSTS, ASKED)
def test_who_waits_as_told_is_let_through(rate: float, burst: float, asked: list[tuple[float, float]]) -> None:
    limiter = RateLimiter(rate, burst)
    now = 1000.0
    for pause, tokens in asked:
        now += pause
        tokens = min(tokens, burst)
        wait = limiter.take("someone", now, tokens)
        if wait:
            now += wait * (1 + 1e-9) + 1e-6
            assert limiter.take("someone", now, tokens) == 0


def test_a_bucket_is_full_at_first_and_fills_at_the_rate() -> None:
    limiter = RateLimiter(rate=2, burst=4)
    assert [limiter.take("a", 0.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert limiter.take("a", 0.25) == 0.25
    assert limiter.take("a", 0.5) == 0
    assert limiter.take("a", 100.0, 4) == 0
    assert limiter.take("a", 100.0, 4) == 2


def test_refused_tokens_are_not_taken() -> None:
    limiter = RateLimiter(rate=1, burst=2)
    assert limiter.take("a", 0.0, 2) == 0
    assert {limiter.take("a", 0.0, 2) for _ in range(10)} == {2}


def test_everybody_has_a_bucket() -> None:
    limiter = RateLimiter(rate=1, burst=1)
    assert limiter.take("a", 0.0) == 0
    assert limiter.take("b", 0.0) == 0
    assert limiter.take("a", 0.0) == 1


def test_memory_is_bounded_and_the_oldest_is_forgotten() -> None:
    limiter = RateLimiter(rate=1, burst=1, most=3)
    for name in "abcd":
        assert limiter.take(name, 0.0) == 0
    assert len(limiter) == 3
    assert limiter.take("a", 0.0) == 0  # forgotten, so full again
    assert limiter.take("d", 0.0) == 1


@pytest.mark.parametrize("tokens", [0, -1, 5, float("nan")])
def test_what_no_bucket_can_give_is_a_mistake(tokens: float) -> None:
    with pytest.raises(ValueError, match="bucket"):
        RateLimiter(rate=1, burst=4).take("a", 0.0, tokens)


@pytest.mark.parametrize(("rate", "burst", "most"), [(0, 1, 1), (-1, 1, 1), (1, 0.5, 1), (1, 1, 0)])
def test_a_limiter_that_lets_nothing_through_is_a_mistake(rate: float, burst: float, most: int) -> None:
    with pytest.raises(ValueError, match="rate"):
        RateLimiter(rate, burst, most=most)


def test_processes_share_a_rate() -> None:
    limiters = [shared(rate=10, burst=8, processes=2) for _ in range(2)]
    taken = sum(limiter.take("a", 0.0) == 0 for limiter in limiters for _ in range(20))
    assert taken == 8


@pytest.mark.parametrize(("wait", "header"), [(0.001, 1), (1.0, 1), (1.2, 2), (59.5, 60)])
def test_seconds_to_wait_are_whole_and_never_too_few(wait: float, header: int) -> None:
    assert retry_after(wait) == header


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "local"),
        ("/run/reasonvault.sock", "local"),
    ],
)
def test_a_network_shares_a_bucket(address: str, key: str) -> None:
    assert address_key(address) == key


def test_what_is_owed_keeps_others_waiting_but_not_for_ever() -> None:
    limiter = RateLimiter(rate=10, burst=10)
    assert limiter.owe("a", 0.0, 10) == 0
    assert limiter.wait("a", 0.0) == pytest.approx(0.1)
    assert limiter.owe("a", 0.0, 20) == pytest.approx(2)
    assert limiter.take("a", 0.0) == pytest.approx(2.1)
    assert limiter.take("a", 2.2) == 0
    assert limiter.owe("a", 2.2, 1_000_000) == pytest.approx(10)
    assert limiter.wait("a", 2.2) == pytest.approx(10.1)
    assert limiter.take("b", 2.2) == 0


def test_looking_takes_nothing() -> None:
    limiter = RateLimiter(rate=1, burst=1)
    assert [limiter.wait("a", 0.0) for _ in range(5)] == [0] * 5
    assert len(limiter) == 0
    assert limiter.take("a", 0.0) == 0
    assert limiter.wait("a", 0.0) == 1


def test_slots_in_all_and_for_each() -> None:
    slots = Slots(3, 2)
    assert [slots.take("a"), slots.take("a"), slots.take("a"), slots.take("b"), slots.take("c")] == [
        True,
        True,
        False,
        True,
        False,
    ]
    slots.give("a")
    assert slots.free("c")
    assert slots.take("a")
    assert not slots.free("b")
