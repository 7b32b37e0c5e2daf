from __future__ import annotations

import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from vault.core import mac


@given(st.binary(max_size=64), st.binary(max_size=300))
def test_it_is_the_standard_librarys_hmac(key: bytes, message: bytes) -> None:
    assert mac.hmac_sha256(key, message) == hmac.digest(key, message, "sha256")


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=60))
def test_it_is_hkdf_expand(key: bytes, label: bytes) -> None:
    assert mac.hkdf_expand(key, label) == HKDFExpand(hashes.SHA256(), 32, label).derive(key)


def test_rfc_4231_case_1() -> None:
    made = mac.hmac_sha256(b"\x0b" * 20, b"Hi There")
    assert made.hex() == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"


def test_a_long_key_is_refused() -> None:
    with pytest.raises(ValueError, match="64"):
        mac.hmac_sha256(b"k" * 65, b"")
