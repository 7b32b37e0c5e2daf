from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from vault.core import dictionary
from vault.core.errors import Modified

FORMAT = (Path(dictionary.__file__).parent / "FORMAT.md").read_text("utf-8")


def test_released_dictionaries_are_those_the_format_names() -> None:
    """A dictionary that changes makes every envelope that used it unreadable."""
    for kind, numbers, content in [
        ("record", dictionary.RECORD_DICTIONARIES, dictionary.content),
        ("leaf", dictionary.LEAF_DICTIONARIES, dictionary.leaf_content),
    ]:
        for number, name in numbers.items():
            digest = hashlib.sha256(content(number)).hexdigest()
            assert f"| {kind} | {number} | `{name}` | `{digest}` |" in FORMAT


def test_number_zero_is_no_dictionary() -> None:
    assert (dictionary.content(0), dictionary.digest(0)) == (b"", bytes(32))


def test_an_unknown_number_is_refused() -> None:
    assert not dictionary.known(200)
    with pytest.raises(Modified):
        dictionary.content(200)
