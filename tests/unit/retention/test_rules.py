from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from datetime import date
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.rules import RuleBook, load, load_default
from vault.core.errors import UsageError

FLOOR = """
[[rule]]
id = "FLOOR"
jurisdiction = "*"
instrument = "product floor"
minimum = "P3Y"
trigger = "decision_completed"
erase = "no"
applies = "default"
status = "verified"
"""
BOOK = f"""schema = 1
version = "test-1"
{FLOOR}
[[jurisdiction]]
code = "EU"
zone = "Europe/Brussels"
[[jurisdiction]]
code = "DE"
zone = "Europe/Berlin"
parent = "EU"
"""


def test_the_default_book_holds_together() -> None:
    book = load_default()
    assert book.version == "2026-11"
    assert len(book.rules) == 23
    assert len(book.jurisdictions) == 12
    assert book.floor.id == "PROD-3Y"


def test_the_digest_is_of_the_exact_bytes() -> None:
    content = files("retention").joinpath("rulebook", "2026-11.toml").read_bytes()
    assert load_default().digest == hashlib.sha256(content).digest()
    assert load(content + b"\n# a comment\n").digest != load_default().digest


def test_status_and_note_are_kept_as_written() -> None:
    rules = load_default().rules
    assert rules["PROD-3Y"].status == "verified"
    assert rules["SG-PSN-5Y"].status == "secondary"
    assert rules["HK-AMLO-20"].status == "unverified"
    assert rules["HK-AMLO-20"].note == "2011 text says six years; five since 2018 from memory."
    assert rules["US-REGB-12"].minimum == "P25M"


def test_lineage_runs_from_the_code_to_its_parents() -> None:
    book = load_default()
    assert book.lineage("DE") == ("DE", "EU")
    assert book.lineage("CN") == ("CN",)
    assert book.lineage("BR") == ()
    assert book.zone_of("US").key == "Pacific/Honolulu"


def test_a_book_travels_to_a_sealing_process() -> None:
    book = load_default()
    assert pickle.loads(pickle.dumps(book)) == book  # noqa: S301 (our own bytes, made on this line)


def test_the_floor_may_be_raised_by_the_book() -> None:
    assert load(BOOK.replace("P3Y", "P42M").encode()).floor.minimum == "P42M"
    two = BOOK + FLOOR.replace("FLOOR", "HIGHER").replace("P3Y", "P5Y")
    assert load(two.encode()).floor.id == "HIGHER"


def _set(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


def _dated(text: str, lines: str) -> str:
    return text.replace("schema = 1", "schema = 2").replace('id = "FLOOR"', f'id = "FLOOR"\n{lines}')


def test_a_book_of_schema_2_may_say_from_when_a_rule_counts() -> None:
    dates = "effective_from = 2027-07-10\neffective_until = 2031-01-01"
    text = _dated(BOOK, "") + FLOOR.replace('id = "FLOOR"', f'id = "LATER"\n{dates}')
    later = load(text.encode()).rules["LATER"]
    assert (later.effective_from, later.effective_until) == (date(2027, 7, 10), date(2031, 1, 1))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_set("schema = 1", "schema = 3"), "schema"),
        (_set('id = "FLOOR"', 'id = "FLOOR"\neffective_from = 2026-01-01'), "need schema = 2"),
        (lambda text: _dated(text, "effective_from = 2026-01-01"), "keeps P3Y"),
        (lambda text: _dated(text, "effective_until = 2046-01-01"), "keeps P3Y"),
        (lambda text: _dated(text, "effective_from = 2026-01-01\neffective_until = 2026-01-01"), "is not after"),
        (lambda text: _dated(text, "effective_from = 2026-01-01T00:00:00Z"), "effective_from"),
        (_set("schema = 1\n", ""), "schema"),
        (_set('version = "test-1"', 'version = "a b"'), "version"),
        (_set('version = "test-1"', "version = 1"), "version"),
        (_set('status = "verified"', 'status = "sure"'), "status"),
        (_set('status = "verified"\n', ""), "status"),
        (_set('erase = "no"', 'erase = "maybe"'), "erase"),
        (_set('erase = "no"', "erase = false"), "erase"),
        (_set('applies = "default"', 'applies = "always"'), "applies"),
        (_set('trigger = "decision_completed"', 'trigger = "full_moon"'), "trigger"),
        (_set('minimum = "P3Y"', 'minimum = "3 years"'), "FLOOR: a period"),
        (_set('minimum = "P3Y"', 'minimum = "P35M"'), "keeps P3Y"),
        (_set('trigger = "decision_completed"', 'trigger = "record_created"'), "keeps P3Y"),
        (_set('applies = "default"', 'applies = "optional"'), "keeps P3Y"),
        (_set('jurisdiction = "*"', 'jurisdiction = "EU"'), "keeps P3Y"),
        (_set('jurisdiction = "*"', 'jurisdiction = "BR"'), "'BR' is not listed"),
        (_set('id = "FLOOR"', 'id = "ein Gesetz"'), "rule id"),
        (_set('id = "FLOOR"', 'id = ""'), "rule id"),
        (_set('id = "FLOOR"', 'id = "FLOOR"\nweight = 3'), "weight"),
        (_set("[[jurisdiction]]", "[[country]]"), "country"),
        (lambda text: text + FLOOR, "'FLOOR' stands there 2 times"),
        (
            lambda text: text + '[[jurisdiction]]\ncode = "EU"\nzone = "Etc/UTC"\n',
            "'EU' stands there 2 times",
        ),
        (lambda text: text + '[[vector]]\nevent = "now"\n', "vector"),
        (_set("Europe/Berlin", "Europe/Bielefeld"), "DE: the time zone 'Europe/Bielefeld'"),
        (_set('code = "DE"', 'code = "de"'), "'de'"),
        (_set('parent = "EU"', 'parent = "XX"'), "'XX'"),
        (_set('parent = "EU"', 'parent = "DE"'), "circle"),
        (_set('zone = "Europe/Brussels"', 'zone = "Europe/Brussels"\nparent = "DE"'), "circle"),
        (lambda text: text + "version = ", "rule book"),
        (lambda text: text + "x = " + "[" * 5000, "rule book"),
    ],
)
def test_a_faulty_book_is_a_usage_error_that_names_the_fault(change: Callable[[str], str], fault: str) -> None:
    with pytest.raises(UsageError) as error:
        load(change(BOOK).encode())
    assert fault in str(error.value)
    assert "\n" not in str(error.value)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_leak_another_error(content: bytes) -> None:
    with pytest.raises(UsageError):
        load(content)


@given(st.integers(0, len(BOOK) - 1), st.binary(max_size=3))
def test_no_damage_leaks_another_error(place: int, damage: bytes) -> None:
    content = BOOK.encode()
    try:
        book = load(content[:place] + damage + content[place + 1 :])
    except UsageError as fault:
        assert "\n" not in str(fault)  # noqa: PT017 (either a sound book or one clear line)
    else:
        assert isinstance(book, RuleBook)
