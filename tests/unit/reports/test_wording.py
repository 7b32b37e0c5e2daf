"""What a producer can put into a string, and what stands on the page instead."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from html import unescape
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import wording
from reports.figures import Money
from reports.fonts import BASE, FontBook, coverage


@pytest.fixture(scope="module")
def words() -> wording.Wording:
    return wording.Wording(FontBook())


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        ("plain-id_01", "plain-id_01"),
        ("杭州云帆 株式会社ひかり 주식회사 Ω Ж", "杭州云帆 株式会社ひかり 주식회사 Ω Ж"),
        ("<b>&\"'", "<b>&\"'"),
        ("a\u202egpj.exe", "a\\u{202E}gpj.exe"),
        ("tab\tline\nnul\0", "tab\\u{0009}line\\u{000A}nul\\u{0000}"),
        ("no\u00a0break zero\u200bwidth", "no\\u{00A0}break zero\\u{200B}width"),
        ("\U0001f600 \ue000 \u3164", "\\u{1F600} \\u{E000} \\u{3164}"),
        ("x" + "\u0301" * 4, "x\u0301\u0301\\u{0301}\\u{0301}"),
    ],
)
def test_what_cannot_be_shown_is_shown_as_its_code_point(words: wording.Wording, given: str, printed: str) -> None:
    assert words.plain(given) == printed


def test_markup_is_text_and_escapes_are_set_apart(words: wording.Wording) -> None:
    assert words.text("<script>") == "&lt;script&gt;"
    assert words.text("é\u202e") == 'é<span class="escape">\\u{202E}</span>'
    assert words.text("\\u{202E}") == "\\u{202E}", "typed by somebody: no escape of ours"


def test_a_long_string_is_cut_and_says_how_long_it_was(words: wording.Wording) -> None:
    assert words.plain("ab" * 500_000, 10) == "ab" * 5 + "\u2026 (1,000,000 characters)"
    assert words.plain("i" * 128) == "i" * 128, "the longest record id stands in full"


@given(st.text(max_size=400))
def test_nothing_invisible_is_ever_printed(words: wording.Wording, value: str) -> None:
    printed = words.plain(value)
    assert all(unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn") for character in printed)
    fonts = FontBook()
    assert all(fonts.covers(character) for character in printed if not character.isspace())


def test_every_character_of_the_templates_has_a_glyph() -> None:
    sans = coverage(BASE[1])
    for template in files("reports").joinpath("templates").iterdir():
        text = unescape(template.read_text(encoding="utf-8"))
        assert not {character for character in text if ord(character) not in sans and character not in "\n\r"}


@pytest.mark.parametrize(
    ("part", "whole", "printed"),
    [
        (0, 0, "–"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 10**6, "0.1 %"),
        (10**6 - 1, 10**6, "99.9 %"),
        (1, 3, "33.3 %"),
    ],
)
def test_a_share_never_rounds_a_remainder_away(part: int, whole: int, printed: str) -> None:
    assert wording.share(part, whole) == printed


def test_completeness_is_rounded_down() -> None:
    assert wording.completeness(Fraction(999_999, 1_000_000)) == "99.99 %"
    assert wording.completeness(Fraction(1)) == "100 %"
    assert wording.completeness(None) == "–"


def test_numbers_keep_their_digits() -> None:
    assert wording.money(Money(Decimal("123456789012345678.000001"), "CNY")) == "CNY 123,456,789,012,345,678.000001"
    assert wording.decimal(Decimal("1E+3")) == "1,000"
    assert wording.score(0.74999) == "0.7499"
    assert [wording.score(i / 10_000) for i in range(10_001)] == [f"{i / 10_000:.4f}" for i in range(10_001)]
    assert (wording.threshold(0.75), wording.threshold(0.8125), wording.threshold(None)) == (
        "0.75",
        "0.8125",
        "–",
    )


def test_instants_are_utc_and_days_are_local() -> None:
    midnight = datetime(2025, 12, 31, 16, tzinfo=UTC)
    assert wording.instant(midnight) == "2025-12-31 16:00:00 UTC"
    assert wording.local_day(midnight, "Asia/Shanghai") == "2026-01-01"
    assert wording.local_day(midnight, "UTC") == "2025-12-31 16:00:00"
    assert (wording.size(999), wording.size(1500), wording.size(703_085_703)) == (
        "999 bytes",
        "1.5 kB",
        "703.1 MB",
    )


@pytest.mark.parametrize(
    "message",
    ["{x.__class__}", "{x.__init__.__globals__}", "{x[0]}", "{n:{x.real}}", "{0.real}", "a {n} b {x.__self__}"],
)
def test_a_message_of_an_operators_template_does_not_reach_into_its_parts(words: wording.Wording, message: str) -> None:
    """Messages are filled in by ``str.format``, which Jinja's sandbox does not see."""
    with pytest.raises(ValueError, match="a place in a message is a name"):
        words.say(message, x=words.say, n=1)
    assert words.say("{n} of {x}", n=1000, x="<b>") == "1,000 of &lt;b&gt;"
