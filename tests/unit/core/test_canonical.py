from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.core import canonical
from vault.core.errors import Modified

WORDS = st.text("ABCxyz0189._:/+-", max_size=12)
VALUES = st.recursive(
    st.one_of(WORDS, st.integers(0, 2**53 - 1)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(WORDS, VALUES, max_size=5)


@given(DOCUMENTS)
def test_another_library_spells_the_same(document: dict[str, object]) -> None:
    spelled = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert canonical.encode(document) == spelled
    assert canonical.decode(spelled) == document


@pytest.mark.parametrize(
    "document",
    [
        {"a": 1.5},
        {"a": True},
        {"a": None},
        {"a": -1},
        {"a": 2**53},
        {"a": "é"},
        {"a": "x y"},
        {"a b": 1},
        {"a": {1}},
    ],
)
def test_refuses_what_is_outside_the_subset(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"subset|range|only|string"):
        canonical.encode(document)


@pytest.mark.parametrize(
    "data",
    [
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":01}',
        b'{"a":"\\u0041"}',
        b'{"a":null}',
        b"[]",
        b"",
        b'{"a":1}\n',
        b'{"a":"' + b"x" * 4096 + b'"}',
        b"{" * 2000,
    ],
)
def test_decoding_accepts_only_the_one_spelling(data: bytes) -> None:
    with pytest.raises(Modified):
        canonical.decode(data)


@given(st.binary(max_size=60))
def test_decoding_any_bytes_answers_or_says_modified(data: bytes) -> None:
    try:
        document = canonical.decode(data)
    except Modified:
        return
    assert canonical.encode(document) == data


@given(st.binary(min_size=16, max_size=40))
def test_base64_has_one_spelling(data: bytes) -> None:
    text = canonical.b64(data)
    assert canonical.unb64(text, len(data)) == data
    with pytest.raises(Modified):
        canonical.unb64(text + "=", len(data))
    with pytest.raises(Modified):
        canonical.unb64(text, len(data) + 1)


def test_base64_with_unused_bits_set_is_another_spelling() -> None:
    assert canonical.b64(b"\0") == "AA"
    with pytest.raises(Modified):
        canonical.unb64("AB", 1)
