"""Catalogues: what our messages are in the languages that reports are made in.

``locales/<language>/*.po`` (GNU gettext, read by Babel), one file a kind of report; together they are one catalogue.
A message that a catalogue lacks is said in English: a report with one English sentence is better than none. A test
finds such messages before a reader does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Final

from babel.messages.pofile import read_po

from reports.phrase import Phrase
from vault.core.errors import UsageError

LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "zh-Hans": "简体中文"}
"""By BCP 47 tag, as a PDF's ``/Lang`` and the command line spell them."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The messages of one language; English has none, since its messages are the texts."""

    language: str
    messages: Mapping[str, str]

    def say(self, message: str) -> str:
        """Return a message in this language, its places still open."""
        return self.messages.get(message, message)

    def of(self, text: str) -> str:
        """Return a text in this language; what is no phrase stays as it is."""
        if not isinstance(text, Phrase) or self.language == "en":
            return text
        parts = {name: self.of(part) if isinstance(part, str) else part for name, part in text.parts.items()}
        said = self.say(text.message)
        return said.format(**parts) if parts else said


ENGLISH: Final = Catalog("en", {})


@cache
def catalog(language: str) -> Catalog:
    """Return the catalogue of a language.

    Raises:
        UsageError: no report speaks it.
    """
    if language not in LANGUAGES:
        raise UsageError(f"reports speak {' and '.join(LANGUAGES)}, not {language[:20]!r}")
    if language == "en":
        return ENGLISH
    messages: dict[str, str] = {}
    folder = resources.files("reports").joinpath("locales", language.replace("-", "_"))
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".po"):
            for entry in read_po(BytesIO(file.read_bytes())):
                if isinstance(entry.id, str) and entry.id and isinstance(entry.string, str) and entry.string:
                    messages[entry.id] = entry.string
    return Catalog(language, messages)
