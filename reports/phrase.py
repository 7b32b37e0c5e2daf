"""Phrases: sentences of ours that a report can say in more than one language.

A phrase is its English text, wherever a string is wanted; it also remembers the message it was made from and what was
put into it, so that the page can say the same in the reader's language:

    phrase("{count:,} records were opened", count=12)

Messages are what the catalogues below ``locales/`` translate (``reports.catalog``). A string that is no phrase is
somebody's own: an id, a name, a purpose. It is printed as it is in every language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Phrase(str):
    """One sentence.

    Attributes:
        message: the English text with places for the parts, as ``str.format`` knows them.
        parts: what stands in these places; phrases among them are said in the reader's language as well.
    """

    message: str
    parts: Mapping[str, Any]

    def __new__(cls, message: str, parts: Mapping[str, Any]) -> Phrase:
        made = super().__new__(cls, message.format(**parts) if parts else message)
        made.message = message
        made.parts = parts
        return made

    def __reduce__(self) -> tuple[type[Phrase], tuple[str, dict[str, Any]]]:
        return type(self), (self.message, dict(self.parts))


def phrase(message: str, **parts: Any) -> Phrase:
    """Return a phrase. Without parts, braces in the message stand for themselves."""
    return Phrase(message, parts)
