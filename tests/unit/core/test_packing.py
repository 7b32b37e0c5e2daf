from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from vault.core import canonical, packing
from vault.core.errors import Modified

LEAF = b'{"facets":"' + canonical.b64(bytes(range(32))).encode() + b'","group":"2029-01.0","seq":7,"v":1}'


@given(st.binary(max_size=canonical.MAX_LEAF - 1))
def test_any_leaf_comes_back(rest: bytes) -> None:
    assert packing.unpack(packing.pack(b"{" + rest)) == b"{" + rest


def test_a_leaf_may_be_stored_as_it_is() -> None:
    assert packing.unpack(LEAF) == LEAF


@pytest.mark.parametrize("stored", [b"", b"\x02abc", b"\x01", b"\x01abc", b"[]", packing.pack(LEAF)[:-3]])
def test_other_bytes_are_modified(stored: bytes) -> None:
    with pytest.raises(Modified):
        packing.unpack(stored)


def test_a_stored_leaf_that_blows_up_is_modified() -> None:
    with pytest.raises(Modified):
        packing.unpack(packing.pack(b"{" + b" " * 100_000))


@given(st.binary(max_size=canonical.MAX_LEAF - 1), st.binary(min_size=1, max_size=20))
def test_nothing_can_hide_behind_a_stored_leaf(rest: bytes, hidden: bytes) -> None:
    with pytest.raises(Modified):
        packing.unpack(packing.pack(b"{" + rest) + hidden)


def test_a_frame_that_asks_for_memory_is_modified() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        1, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=True, write_dict_id=False
    )
    bomb = zstandard.ZstdCompressor(compression_params=parameters).compress(b"{" * 50_000_000)
    with pytest.raises(Modified, match="form"):
        packing.unpack(b"\x01" + bomb)
