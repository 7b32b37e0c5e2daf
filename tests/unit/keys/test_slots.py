"""Unlock slots, sealed files and recovery files, byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from vault.core.errors import Denied, Modified, UsageError
from vault.keys import slots
from vault.keys.sealedfile import FileKind, Place, claimed_place, seal, unseal

CHEAP = slots.Argon2Cost(memory_kib=8, passes=1, lanes=1)
STORE, GENERATION, SALT, NONCE = bytes(16), b"g" * 16, b"s" * 16, b"n" * 12
ROOT = bytearray(range(32))


def nonce(length: int) -> bytes:
    return NONCE[:length]


def passphrase_slot(passphrase: bytes = b"horse") -> bytes:
    key = slots.derive_passphrase_key(passphrase, SALT, CHEAP)
    return slots.seal_passphrase_slot(key, ROOT, STORE, GENERATION, nonce)


def test_a_sealed_file_has_the_layout_it_documents() -> None:
    raw = seal(ROOT, Place(STORE, GENERATION, FileKind.WRAPPING_KEY, "group.x"), b"k" * 32, nonce)
    header = b"RVsealed\x01\x02" + STORE + GENERATION + b"\x07group.x"
    assert raw == header + NONCE + AESGCM(bytes(ROOT)).encrypt(NONCE, b"k" * 32, header)


def test_a_passphrase_slot_has_the_layout_it_documents() -> None:
    key = hash_secret_raw(b"horse", SALT, 1, 8, 1, 32, Type.ID)
    header = b"RVpasswd\x01" + STORE + GENERATION + SALT + struct.pack(">IIB", 8, 1, 1)
    assert passphrase_slot() == header + NONCE + AESGCM(key).encrypt(NONCE, bytes(ROOT), header)


@given(
    secret=st.binary(max_size=200),
    ref=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,127}", fullmatch=True),
    data=st.data(),
)
def test_a_sealed_file_opens_only_whole_and_in_its_place(secret: bytes, ref: str, data: st.DataObject) -> None:
    place = Place(STORE, GENERATION, FileKind.WRAPPING_KEY, ref)
    raw = seal(ROOT, place, secret, nonce)
    assert unseal(ROOT, place, raw) == secret
    at = data.draw(st.integers(0, len(raw) - 1))
    edited = raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]
    for foreign in (edited, raw[:at], raw + b"\0"):
        with pytest.raises(Modified):
            unseal(ROOT, place, foreign)


@pytest.mark.parametrize(
    "place",
    [
        Place(b"x" * 16, GENERATION, FileKind.WRAPPING_KEY, "a"),
        Place(STORE, b"x" * 16, FileKind.WRAPPING_KEY, "a"),
        Place(STORE, GENERATION, FileKind.SIGNING_KEY, "a"),
        Place(STORE, GENERATION, FileKind.WRAPPING_KEY, "b"),
        Place(STORE, GENERATION, FileKind.MANIFEST),
    ],
)
def test_a_sealed_file_opens_nowhere_else(place: Place) -> None:
    raw = seal(ROOT, Place(STORE, GENERATION, FileKind.WRAPPING_KEY, "a"), b"k" * 32, nonce)
    with pytest.raises(Modified):
        unseal(ROOT, place, raw)


@pytest.mark.parametrize("raw", [b"", b"RVsealed", b"x" * 100, b"RVsealed\x02\x01" + bytes(60)])
def test_a_manifest_of_another_kind_or_version_is_refused(raw: bytes) -> None:
    with pytest.raises(Modified):
        claimed_place(raw)
    key_file = seal(ROOT, Place(STORE, GENERATION, FileKind.SIGNING_KEY, "a"), b"k" * 32, nonce)
    with pytest.raises(Modified):
        claimed_place(key_file)


def test_a_passphrase_slot_opens_with_its_passphrase_in_its_place_only() -> None:
    raw = passphrase_slot()
    key = slots.derive_passphrase_key(b"horse", *slots.passphrase_slot_terms(raw))
    assert slots.open_passphrase_slot(key, raw, STORE, GENERATION) == ROOT
    with pytest.raises(Denied):
        slots.open_passphrase_slot(slots.derive_passphrase_key(b"hors", SALT, CHEAP), raw, STORE, GENERATION)
    for store, generation in ((b"x" * 16, GENERATION), (STORE, b"x" * 16)):
        with pytest.raises(Modified):
            slots.open_passphrase_slot(key, raw, store, generation)


def test_every_byte_of_a_passphrase_slot_counts() -> None:
    raw = passphrase_slot()
    key = slots.derive_passphrase_key(b"horse", SALT, CHEAP)
    for at in range(len(raw)):
        edited = raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]
        with pytest.raises((Modified, Denied)):
            slots.open_passphrase_slot(key, edited, STORE, GENERATION)


@pytest.mark.parametrize(
    ("memory_kib", "passes", "lanes"),
    [
        (256 * 1024 + 1, 3, 4),
        (0xFFFFFFFF, 1, 1),
        (64, 17, 1),
        (64, 0, 1),
        (64, 1, 0),
        (4096, 1, 17),
        (31, 1, 4),
    ],
)
def test_a_hostile_slot_is_refused_before_argon2_runs(memory_kib: int, passes: int, lanes: int) -> None:
    raw = passphrase_slot()
    hostile = raw[:57] + struct.pack(">IIB", memory_kib, passes, lanes) + raw[66:]
    with pytest.raises(Modified):
        slots.passphrase_slot_terms(hostile)
    with pytest.raises(UsageError):
        slots.derive_passphrase_key(b"horse", SALT, slots.Argon2Cost(memory_kib, passes, lanes))


def test_the_standard_cost_is_rfc_9106s_second_option() -> None:
    cost = slots.STANDARD_COST
    assert (cost.memory_kib, cost.passes, cost.lanes) == (65536, 3, 4)
    with pytest.raises(UsageError):
        slots.derive_passphrase_key(b"", SALT, CHEAP)


def recovery(custodian: str = "Custodian") -> slots.RecoveryFile:
    return slots.RecoveryFile(STORE, custodian, bytearray(b"r" * 32))


def test_a_recovery_slot_opens_with_its_file_in_its_place_only() -> None:
    raw = slots.seal_recovery_slot(recovery().public, ROOT, STORE, GENERATION)
    assert slots.open_recovery_slot(recovery(), raw, STORE, GENERATION) == ROOT
    for at in range(len(raw)):
        edited = raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]
        with pytest.raises(Modified):
            slots.open_recovery_slot(recovery(), edited, STORE, GENERATION)
    for store, generation in ((b"x" * 16, GENERATION), (STORE, b"x" * 16)):
        with pytest.raises(Modified):
            slots.open_recovery_slot(recovery(), raw, store, generation)
    with pytest.raises(Modified):
        slots.open_recovery_slot(slots.RecoveryFile(STORE, "x", bytearray(32)), raw, STORE, GENERATION)


@given(st.text(min_size=1, max_size=200))
def test_a_recovery_file_survives_being_text(custodian: str) -> None:
    try:
        raw = slots.format_recovery_file(recovery(custodian))
    except UsageError:
        return
    read = slots.parse_recovery_file(raw.replace(b"\n", b"\r\n") + b"\n\n")
    assert (read.store, read.custodian, read.secret) == (STORE, custodian, recovery().secret)


EDITS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "not text": lambda raw: b"\xff" + raw,
    "cut": lambda raw: raw[: raw.index(b"check")],
    "a digit": lambda raw: raw.replace(b"72727272", b"72727273", 1),
    "another custodian": lambda raw: raw.replace(b"Custodian", b"Somebody"),
    "no label": lambda raw: raw.replace(b"custodian ", b""),
    "another version": lambda raw: raw.replace(b"recovery/1", b"recovery/2"),
    "short secret": lambda raw: raw.replace(b"72727272", b"", 1),
    "a line too many": lambda raw: raw + b"more\n",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_miscopied_recovery_file_is_refused(edit: Callable[[bytes], bytes]) -> None:
    with pytest.raises(UsageError):
        slots.parse_recovery_file(edit(slots.format_recovery_file(recovery())))


def test_secrets_do_not_show() -> None:
    for holder in (recovery(), slots.derive_passphrase_key(b"horse", SALT, CHEAP)):
        assert "bytearray" not in repr(holder)
