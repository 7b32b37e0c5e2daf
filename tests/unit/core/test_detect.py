"""The detectors one by one: issuer ranges, shapes of card numbers, and each scheme's check character."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn
from stdnum.cn import ric

from vault.core import iin
from vault.core.cards import is_card_number, is_resident_number
from vault.core.detect import detect, detect_whole, payloads
from vault.core.folding import fold, readings

VISA = "4111111111111111"


@pytest.mark.parametrize("issuer", iin.ISSUERS, ids=lambda issuer: f"{issuer.scheme} {issuer.first}")
def test_every_issuer_range_is_recognised_from_end_to_end(issuer: iin.Issuer) -> None:
    for prefix in (issuer.first, issuer.last):
        for length in issuer.lengths:
            body = prefix.ljust(length - 1, "7")
            number = body + luhn.calc_check_digit(body)
            assert is_card_number(number)
            assert not is_card_number(body + str((int(number[-1]) + 1) % 10))


@given(st.integers(0, 10**8 - 1).map("{:08}".format))
def test_lengths_are_those_of_the_ranges_that_contain_the_digits(digits: str) -> None:
    expected: set[int] = set()
    for issuer in iin.ISSUERS:
        if issuer.first <= digits[: len(issuer.first)] <= issuer.last:
            expected |= issuer.lengths
    assert iin.lengths(digits) == tuple(sorted(expected))


@pytest.mark.parametrize("digits", ["", "4", "41111", "1", "0" * 16])
def test_digits_without_an_issuer_have_no_length(digits: str) -> None:
    assert iin.lengths(digits) == ()


@given(st.integers(10**14, 10**15 - 1), st.sampled_from([(4, 4, 4), (8,), (4, 8), (1,) * 15, (2,) * 7, (3, 5), (15,)]))
def test_a_card_alone_is_found_however_it_is_cut(middle: int, cuts: tuple[int, ...]) -> None:
    body = f"4{middle}"[:15]
    number = body + luhn.calc_check_digit(body)
    groups, rest = [], number
    for cut in cuts:
        groups.append(rest[:cut])
        rest = rest[cut:]
    text = "-".join([*groups, rest])
    assert "card_number" in detect(text)
    assert "card_number" in detect(f"卡号{text}，谢谢")
    assert "card_number" in detect(base64.b64encode(f"card: {text}.".encode()).decode())


@pytest.mark.parametrize(
    "text",
    [
        "41 111111111 11111 500",  # cut anywhere, but more numbers follow
        "4111.111111111111",  # a decimal number
        "x4111111111111111" + "0" * 4,
        "4111 (card) 1111 1111 1111",
        "4111,1111,1111,1111,2026,1234",  # a list of numbers
    ],
)
def test_digits_that_do_not_look_like_one_number(text: str) -> None:
    assert detect(text) == frozenset()


RESIDENT_DATES = st.dates().filter(lambda day: 1900 <= day.year <= 2020)


@given(RESIDENT_DATES, st.integers(0, 999), st.sampled_from("0123456789X"))
def test_resident_numbers_agree_with_stdnum_where_it_knows_the_county(day: object, order: int, check: str) -> None:
    number = f"110101{day:%Y%m%d}{order:03}{check}"
    assert is_resident_number(number) == ric.is_valid(number)


@given(RESIDENT_DATES, st.integers(0, 999))
def test_exactly_one_check_character_fits(day: object, order: int) -> None:
    assert sum(is_resident_number(f"330999{day:%Y%m%d}{order:03}{check}") for check in "0123456789X") == 1


@given(st.sampled_from("STFGM"), st.integers(0, 10**7 - 1))
def test_exactly_one_letter_completes_a_singapore_number(series: str, order: int) -> None:
    letters = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if detect(f"{series}{order:07}{c}")]
    assert len(letters) == 1


@given(st.from_regex(r"[A-Z]{1,2}[0-9]{6}", fullmatch=True))
def test_exactly_one_digit_completes_a_hong_kong_number(body: str) -> None:
    assert sum("identity_number:hk_id" in detect(f"{body}({check})") for check in "0123456789A") == 1


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("123", "cvv", {"cvv"}),
        ("123", "card_security_code", {"cvv"}),
        ("１２３", "ＣＶＶ", {"cvv"}),
        ("12345", "cvv", set()),
        ("123", "cvv_check_ms", set()),
        ("536904399", "ssn", {"identity_number:us_ssn"}),
        ("536904399", "session", set()),
        ("A1234563", "hk_id", {"identity_number:hk_id"}),
        ("9710139019902", "rrn", {"identity_number:kr_rrn"}),
        ("770305021234", "nric", {"identity_number:my_nric"}),
    ],
)
def test_the_key_is_context(text: str, key: str, expected: set[str]) -> None:
    assert detect(text, key) == expected


def test_a_card_whose_digits_are_a_resident_number_is_not_a_card() -> None:
    numbers = (f"62010219900101{order:03}{check}" for order in range(1000) for check in "0123456789")
    both = next(n for n in numbers if is_card_number(n) and is_resident_number(n))
    assert detect(both) == {"identity_number:cn_ric"}


@pytest.mark.parametrize("text", ["order " + VISA, VISA + "-0", "536-90-4399", "cvv 123", "", "x"])
def test_whole_means_nothing_beside_it(text: str) -> None:
    assert detect_whole(text) == frozenset()


def test_one_layer_of_base64_and_not_two() -> None:
    once = base64.b64encode(f"my card {VISA}".encode())
    assert detect(once.decode()) == {"card_number"}
    assert detect(base64.b64encode(once).decode()) == frozenset()


@given(st.text("0123456789 abcXYZ", min_size=12).filter(lambda t: sum(map(str.isdigit, t)) >= 6), st.integers(0, 3))
def test_payloads_are_found_at_every_alignment(text: str, glued: int) -> None:
    encoded = "A" * glued + base64.b64encode(text.encode()).decode().rstrip("=")
    assert text in list(payloads(encoded.encode()))


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("４１\u00a0１\u200b１", "41 11"),
        ("a\r\nb\u2028c\x85d\te", "a\nb\nc\nd e"),
        ("1\u20132\u22123\u00b74", "1-2-3.4"),
        ("①⒈", "11."),
        ("\u3164\u1160x\u00ad\x00", "x"),
        ("卡é😀", "卡é😀"),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_readings_give_both_sides_of_what_cannot_be_seen() -> None:
    assert list(readings("1\u200b2")) == ["12", "1 2"]
    assert list(readings("1\n2")) == ["1\n2", "12"]
    assert list(readings("12")) == ["12"]
