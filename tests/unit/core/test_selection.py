from __future__ import annotations

import hashlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.core import selection
from vault.core.errors import Modified
from vault.core.selection import Selection

LEDGER = UUID("11111111-2222-4333-8444-555555555555")
OTHER = UUID("99999999-2222-4333-8444-555555555555")
SETS = st.sets(st.integers(0, 60))


def test_a_set_has_exactly_this_text() -> None:
    made = Selection.of([11, 7, 9, 10, 9])
    assert selection.text(LEDGER, made) == f"reasonvault selection/1\n{LEDGER}\n7\n9-11\n".encode()


@given(SETS, SETS)
def test_it_behaves_as_a_set(one: set[int], other: set[int]) -> None:
    left, right = Selection.of(one), Selection.of(other)
    assert list(left) == sorted(one)
    assert len(left) == len(one)
    assert left | right == Selection.of(one | other)
    assert left - right == Selection.of(one - other)
    assert left & right == Selection.of(one & other)
    assert [seq for seq in range(-1, 62) if seq in left] == sorted(one)


@given(SETS)
def test_what_is_stored_comes_back_under_its_digest_alone(seqs: set[int]) -> None:
    made = Selection.of(seqs)
    stored = selection.text(LEDGER, made)
    assert selection.read(LEDGER, selection.digest(LEDGER, made), stored) == made
    with pytest.raises(Modified):
        selection.read(LEDGER, selection.digest(LEDGER, Selection.of({*seqs, 61})), stored)
    with pytest.raises(Modified):
        selection.read(OTHER, selection.digest(LEDGER, made), stored)


@pytest.mark.parametrize(
    "lines",
    ["9\n7\n", "7\n7\n", "7\n8\n", "7-7\n", "9-7\n", "7-9\n9-12\n", "07\n", "-7\n", "7 \n", "7", "\n", "7\n\n", "x\n"],
)
def test_another_text_of_a_set_is_refused(lines: str) -> None:
    content = f"reasonvault selection/1\n{LEDGER}\n{lines}".encode()
    with pytest.raises(Modified):
        selection.read(LEDGER, hashlib.sha256(content).digest(), content)


@pytest.mark.parametrize("title", ["reasonvault selection/2", "", "selection/1"])
def test_another_version_is_refused(title: str) -> None:
    content = f"{title}\n{LEDGER}\n7\n".encode()
    with pytest.raises(Modified):
        selection.read(LEDGER, hashlib.sha256(content).digest(), content)


@pytest.mark.parametrize("content", [b"", b"no text", b"\xff\xfe"])
def test_what_is_no_text_at_all_is_refused(content: bytes) -> None:
    for digest in (bytes(32), hashlib.sha256(content).digest()):
        with pytest.raises(Modified):
            selection.read(LEDGER, digest, content)
