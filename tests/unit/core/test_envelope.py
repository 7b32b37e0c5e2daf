from __future__ import annotations

import os
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from vault.core import dictionary, envelope
from vault.core.envelope import Context, Sealed
from vault.core.errors import KeyGone, Modified

KEY = bytes(range(32))
CONTEXT = Context(UUID(int=7), "id-1", "local", 5, "reasoning-log/1", "payment", "CN,SG")
CODECS = [0, *dictionary.RECORD_DICTIONARIES]


def opened(sealed: Sealed, key: bytes = KEY, context: Context = CONTEXT) -> bytes:
    return envelope.open_part(sealed.envelope, key, sealed.key_commitment, context)


@given(st.binary(max_size=3000), st.binary(min_size=32, max_size=32), st.sampled_from(CODECS))
def test_what_was_sealed_opens(plaintext: bytes, key: bytes, codec: int) -> None:
    sealed = envelope.seal(plaintext, key, CONTEXT, codec=codec)
    assert opened(sealed, key) == plaintext
    assert envelope.part_digest(sealed.envelope, CONTEXT) == sealed.part_digest
    assert envelope.plaintext_commitment(envelope.opening(key), plaintext) == sealed.plaintext_commitment


@given(st.binary(max_size=500), st.data())
def test_any_changed_byte_is_noticed(plaintext: bytes, data: st.DataObject) -> None:
    sealed = envelope.seal(plaintext, KEY, CONTEXT)
    at = data.draw(st.integers(0, len(sealed.envelope) - 1))
    changed = bytearray(sealed.envelope)
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises((Modified, KeyGone)):
        assert envelope.part_digest(bytes(changed), CONTEXT) == sealed.part_digest or opened_raises()
    with pytest.raises((Modified, KeyGone)):
        envelope.open_part(bytes(changed), KEY, sealed.key_commitment, CONTEXT)


def opened_raises() -> bool:
    """Stand in for a digest that differs: as good as an error."""
    raise Modified("the digest differs")


@pytest.mark.parametrize(
    "elsewhere",
    [
        CONTEXT._replace(ledger=UUID(int=8)),
        CONTEXT._replace(record_id="id-2"),
        CONTEXT._replace(producer="other"),
        CONTEXT._replace(producer_seq=None),
        CONTEXT._replace(schema="reasoning-log/2"),
        CONTEXT._replace(record_class="aml"),
        CONTEXT._replace(jurisdictions="CN"),
        CONTEXT._replace(parts=2),
        # The same letters, cut differently: lengths stand in front, so this is another header.
        CONTEXT._replace(record_id="id-1l", producer="ocal"),
    ],
)
def test_it_opens_only_in_its_place(elsewhere: Context) -> None:
    sealed = envelope.seal(b"{}", KEY, CONTEXT)
    with pytest.raises(Modified, match="place"):
        opened(sealed, context=elsewhere)
    assert envelope.part_digest(sealed.envelope, elsewhere) != sealed.part_digest


def test_each_part_has_a_key_of_its_own() -> None:
    first = envelope.seal(b"{}", KEY, CONTEXT._replace(parts=2))
    with pytest.raises(Modified):
        opened(first, context=CONTEXT._replace(part=1, parts=2))


def test_another_key_is_refused_before_anything_is_decrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = envelope.seal(b"{}", KEY, CONTEXT)

    def never(*_: object) -> None:
        raise AssertionError("decrypted")

    monkeypatch.setattr(envelope, "AESGCM", never)
    with pytest.raises(Modified, match="commits"):
        opened(sealed, os.urandom(32))


def test_keys_are_hkdf_expand() -> None:
    def expand(label: bytes) -> bytes:
        return HKDFExpand(hashes.SHA256(), 32, label).derive(KEY)

    assert envelope.key_commitment(KEY) == expand(b"reasonvault/1 key commitment")
    assert envelope.opening(KEY) == expand(b"reasonvault/1 plaintext commitment")
    sealed = envelope.seal(b"{}", KEY, CONTEXT, codec=0)
    cipher = AESGCM(expand(b"reasonvault/1 encryption\0\0"))
    assert cipher.decrypt(sealed.envelope[2:14], sealed.envelope[14:], envelope.header(CONTEXT, 0))


def test_lengths_come_in_steps_of_64() -> None:
    lengths = {len(envelope.seal(os.urandom(size), KEY, CONTEXT).envelope) for size in range(200, 260)}
    assert len(lengths) <= 2
    assert all((length - 30) % 64 == 0 for length in lengths)


@pytest.mark.parametrize("key", [b"", KEY[:31], KEY + b"\0"])
def test_a_record_key_has_32_bytes(key: bytes) -> None:
    with pytest.raises(Modified):
        envelope.seal(b"{}", key, CONTEXT)


def made(padded: bytes) -> Sealed:
    """Seal a padded plaintext of the test's own making."""
    bound = envelope.header(CONTEXT, 0)
    label = b"reasonvault/1 encryption\0\0"
    sealed = AESGCM(HKDFExpand(hashes.SHA256(), 32, label).derive(KEY)).encrypt(b"n" * 12, padded, bound)
    return Sealed(b"\x01\x00" + b"n" * 12 + sealed, b"", envelope.key_commitment(KEY), b"", b"")


@pytest.mark.parametrize(
    "padded",
    [
        b"\0\0\0\x01" + b"x" + b"\0" * 59,
        b"\0\0\xff\xff" + b"x" * 60,
        b"\0\0\0\0" + b"\0" * 60,
        b"\0\0\0\x0a" + dictionary.compressor(0, 3).compress(b"a")[:10] + b"\0" * 49 + b"\x01",
        b"\0\0\0\x0a" + dictionary.compressor(0, 3).compress(b"a").ljust(124, b"\0"),
        b"\0" * 63,
    ],
    ids=[
        "no frame",
        "length beyond the end",
        "empty frame",
        "padding not zero",
        "padding too long",
        "not padded",
    ],
)
def test_a_plaintext_that_sealing_never_makes_is_refused(padded: bytes) -> None:
    with pytest.raises(Modified):
        opened(made(padded))


def test_a_frame_that_blows_up_is_refused() -> None:
    bomb = dictionary.compressor(0, 3).compress(b"\0" * (envelope.MAX_PLAINTEXT + 1))
    padded = len(bomb).to_bytes(4) + bomb
    with pytest.raises(Modified, match="more than"):
        opened(made(padded + bytes(-len(padded) % 64)))
