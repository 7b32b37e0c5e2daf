from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from vault.core import note
from vault.core.checkpoint import MAX_SIZE, Checkpoint, open_checkpoint, sign_checkpoint
from vault.core.errors import Modified, RefusedInput
from vault.core.note import VerifierKey
from vault.core.tree import EMPTY_ROOT

ORIGIN = "vault.example/0b8f6e0a-54a1-4a9a-9d1c-3f0f3c1f7d11"
OTHER = "vault.example/7c1b8a44-98f3-4a53-8a3e-b0c4f3b2a900"
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = KEY.public_key().public_bytes_raw()
CHECKPOINT = Checkpoint(ORIGIN, 7, b"r" * 32)
KEYS = [VerifierKey.from_public(ORIGIN, PUBLIC)]


def test_a_checkpoint_is_three_lines() -> None:
    assert CHECKPOINT.text() == f"{ORIGIN}\n7\ncnJycnJycnJycnJycnJycnJycnJycnJycnJycnJycnI=\n"


def test_the_published_example_is_read() -> None:
    vectors = json.loads((Path(__file__).parents[2] / "vectors" / "signed-notes.json").read_text(encoding="utf-8"))
    text, _ = note.split_unverified(vectors["unverifiable_example_shapes"]["checkpoint"])
    checkpoint = Checkpoint.parse(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == text


@given(size=st.integers(1, MAX_SIZE), root=st.binary(min_size=32, max_size=32))
def test_what_is_signed_opens_as_it_was(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(ORIGIN, size, root)
    assert open_checkpoint(sign_checkpoint(checkpoint, KEY.sign, PUBLIC), KEYS, ORIGIN) == checkpoint


GOOD = CHECKPOINT.text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n",
        GOOD[:-1],
        GOOD + "\n",
        GOOD + "extension line\n",
        GOOD + "without end",
        "\n" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n7\n", "\n07\n"),
        GOOD.replace("\n7\n", "\n+7\n"),
        GOOD.replace("\n7\n", "\n-7\n"),
        GOOD.replace("\n7\n", "\n 7\n"),
        GOOD.replace("\n7\n", "\n7_0\n"),
        GOOD.replace("\n7\n", "\n\u0667\n"),
        GOOD.replace("\n7\n", "\n\n"),
        GOOD.replace("\n7\n", "\n9223372036854775808\n"),
        GOOD.replace("\n7\n", "\n" + "9" * 5000 + "\n"),
        GOOD.replace("\n7\n", "\n0\n"),
        GOOD.replace("I=\n", "J=\n"),
        GOOD.replace("I=\n", "I\n"),
        GOOD.replace("cnJy", "", 1),
        GOOD.replace("cnJy", "cnJycnJy", 1),
        GOOD.replace("cnJy", "cn-_", 1),
        GOOD.replace("vault.example", "vault example"),
        GOOD.replace("vault.example", "vault+example"),
        GOOD.replace("vault.example", "\ud800"),
    ],
)
def test_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(RefusedInput):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    ("origin", "size", "root"),
    [
        ("", 7, bytes(32)),
        ("a b", 7, bytes(32)),
        ("a\nb", 7, bytes(32)),
        (ORIGIN, -1, bytes(32)),
        (ORIGIN, 2**63, bytes(32)),
        (ORIGIN, 7, bytes(31)),
        (ORIGIN, 0, bytes(32)),
    ],
)
def test_a_checkpoint_that_could_not_be_read_is_not_made(origin: str, size: int, root: bytes) -> None:
    with pytest.raises(RefusedInput):
        Checkpoint(origin, size, root)


def test_the_empty_ledger_has_the_empty_root() -> None:
    assert Checkpoint.parse(Checkpoint(ORIGIN, 0, EMPTY_ROOT).text()).size == 0


def test_a_signed_text_that_is_no_checkpoint_is_found() -> None:
    extended = note.sign(GOOD + "extension line\n", ORIGIN, KEY.sign, PUBLIC)
    with pytest.raises(Modified, match="three lines"):
        open_checkpoint(extended, KEYS, ORIGIN)


def test_a_checkpoint_under_another_ledger_s_key_is_found() -> None:
    """Even where that key is trusted, for its own ledger."""
    other = Ed25519PrivateKey.from_private_bytes(b"x" * 32)
    other_public = other.public_key().public_bytes_raw()
    forged = note.sign(GOOD, OTHER, other.sign, other_public)
    with pytest.raises(Modified, match="no trusted key"):
        open_checkpoint(forged, [*KEYS, VerifierKey.from_public(OTHER, other_public)], ORIGIN)


def test_another_ledger_s_checkpoint_is_found_even_under_this_ledger_s_key() -> None:
    swapped = note.sign(GOOD.replace(ORIGIN, OTHER), ORIGIN, KEY.sign, PUBLIC)
    with pytest.raises(Modified, match="another ledger"):
        open_checkpoint(swapped, KEYS, ORIGIN)


def test_a_rotated_checkpoint_opens_with_either_key() -> None:
    new = Ed25519PrivateKey.from_private_bytes(b"n" * 32)
    new_public = new.public_key().public_bytes_raw()
    both = note.add_signature(sign_checkpoint(CHECKPOINT, KEY.sign, PUBLIC), ORIGIN, new.sign, new_public)
    assert open_checkpoint(both, KEYS, ORIGIN) == CHECKPOINT
    assert open_checkpoint(both, [VerifierKey.from_public(ORIGIN, new_public)], ORIGIN) == CHECKPOINT
