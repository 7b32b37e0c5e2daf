"""Catalogues: every message of ours is translated, and says what it is translated from."""

from __future__ import annotations

import re
import string
from collections import Counter
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from reports.catalog import LANGUAGES, catalog
from reports.phrase import phrase
from tests.support import messages
from vault.core.errors import UsageError

LOCALES = messages.REPORTS / "locales"
OTHERS = [language for language in LANGUAGES if language != "en"]
_MARKUP = re.compile(r"</?[a-z]+[^>]*>")
_WRITTEN = messages.written()


def entries(language: str) -> list[tuple[str, str, str]]:
    """Return (file, message, translation) of a catalogue's files."""
    found = []
    for path in sorted((LOCALES / language.replace("-", "_")).glob("*.po")):
        with path.open("rb") as file:
            found += [(path.name, str(one.id), str(one.string)) for one in read_po(file, abort_invalid=True) if one.id]
    return found


def places(message: str) -> Counter[str]:
    """Return the places of a message, and how often each stands there."""
    return Counter(name for _, name, _, _ in string.Formatter().parse(message) if name)


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_is_translated(language: str) -> None:
    said = catalog(language).messages
    assert [f"{where}: {message}" for message, where in _WRITTEN.items() if message not in said] == []


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_translated_that_nobody_says(language: str) -> None:
    assert [f"{name}: {message}" for name, message, _ in entries(language) if message not in _WRITTEN] == []


@pytest.mark.parametrize("language", OTHERS)
def test_a_message_has_one_translation(language: str) -> None:
    said: dict[str, set[str]] = {}
    for _, message, translated in entries(language):
        said.setdefault(message, set()).add(translated)
    assert {message: found for message, found in said.items() if len(found) > 1} == {}


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_places_and_the_markup_of_its_message(language: str) -> None:
    for name, message, translated in entries(language):
        assert set(places(translated)) == set(places(message)), (name, message)
        assert Counter(_MARKUP.findall(translated)) == Counter(_MARKUP.findall(message)), (name, message)
        assert translated.strip() == translated or message.strip() != message, (name, message)


def test_messages_are_found_where_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('x = phrase(\n    "one "\n    "sentence {n:,}", n=1)\ny = phrase(name)\n', "utf-8")
    (tmp_path / "a.html.j2").write_text(
        '{{ t("first", a=t("inside")) }}{{ tn(n, "{count} one", "{count} many") }}'
        '{{ t("yes" if n else "no") }}{{ m.row(t("in a macro"), n | text) }}{{ t(n) }}',
        "utf-8",
    )
    assert [message for _, message in messages.of_python(tmp_path)] == ["one sentence {n:,}"]
    found = {message for _, message in messages.of_templates(tmp_path)}
    assert found == {"first", "inside", "{count} one", "{count} many", "yes", "no", "in a macro"}


def test_a_phrase_is_said_in_the_readers_language_and_a_name_is_not() -> None:
    chinese = catalog("zh-Hans")
    assert chinese.of(phrase("events ledger, seq {seq}", seq=1234)) == "事件账本，序号 1234"
    assert chinese.of("none") == "none"
    assert chinese.of(phrase("A sentence {name} that nobody translated", name="x")) == (
        "A sentence x that nobody translated"
    )


def test_no_report_speaks_another_language() -> None:
    with pytest.raises(UsageError, match="reports speak en and zh-Hans, not 'de'"):
        catalog("de")
