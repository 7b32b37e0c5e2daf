from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.core import facets
from vault.core.errors import Modified
from vault.core.facets import Facets

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ANY = st.builds(
    Facets,
    record_id=TEXT,
    occurred_at=st.integers(-(2**60), 2**60),
    jurisdictions=TEXT,
    record_class=TEXT,
    api=st.integers(0, 255),
    outcome=st.integers(0, 255),
    fidelity=st.integers(0, 255),
    money_moved=st.booleans(),
    below_threshold=st.none() | st.booleans(),
    score=st.none() | st.floats(allow_nan=False),
    ai_ms=st.none() | st.integers(0, 2**31 - 1),
    flags=st.integers(0, 2**32 - 1),
    model=TEXT,
)
ONE = Facets("id-1", 1_767_600_072_111_000, "CN,SG", "payment", 3, 1, 1, True, False, 0.9959, 272, 0, "qwen2.5-72b")


def test_layout_is_the_table_of_the_module() -> None:
    data = facets.canonical(ONE)
    assert data[0] == facets.VERSION
    assert struct.unpack(">q", data[1:9]) == (1_767_600_072_111_000,)
    assert tuple(data[9:15]) == (3, 1, 1, 1, 0, 1)
    assert struct.unpack(">d", data[15:23]) == (0.9959,)
    assert struct.unpack(">q", data[23:31]) == (272,)
    assert struct.unpack(">I", data[31:35]) == (0,)
    assert data[35:] == b"\0\x04id-1\0\x07payment\0\x0bqwen2.5-72b\0\x05CN,SG"


@given(ANY, ANY)
def test_different_facets_have_different_bytes(one: Facets, other: Facets) -> None:
    # -0.0 == 0.0 for Python but not for the columns, so compare what is stored.
    same = one == other and (one.score is None or math.copysign(1, one.score) == math.copysign(1, other.score or 0.0))
    assert (facets.canonical(one) == facets.canonical(other)) == same


@given(ANY)
def test_every_field_counts(one: Facets) -> None:
    for name, value in {
        "money_moved": not one.money_moved,
        "model": one.model + "x",
        "api": (one.api + 1) % 256,
    }.items():
        assert facets.digest(one._replace(**{name: value}), b"s" * 16) != facets.digest(one, b"s" * 16)


def test_the_salt_counts() -> None:
    assert facets.digest(ONE, b"a" * 16) != facets.digest(ONE, b"b" * 16)


@pytest.mark.parametrize("salt", [b"", b"s" * 15, b"s" * 17])
def test_a_salt_has_one_length(salt: bytes) -> None:
    """Else bytes could wander between salt and facets, and other columns have the leaf's digest."""
    with pytest.raises(Modified, match="salt"):
        facets.digest(ONE, salt)


@pytest.mark.parametrize(
    "edited",
    [
        ONE._replace(api=256),
        ONE._replace(flags=-1),
        ONE._replace(occurred_at=2**63),
        ONE._replace(record_id="x" * 65536),
        ONE._replace(model="\ud800"),
    ],
)
def test_a_value_that_does_not_fit_was_edited(edited: Facets) -> None:
    with pytest.raises(Modified):
        facets.canonical(edited)
