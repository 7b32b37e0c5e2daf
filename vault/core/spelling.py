"""Strings in byte layouts: u16 length || UTF-8, so that two strings side by side can be read in one way only."""

from __future__ import annotations

import struct
from functools import lru_cache

_U16 = struct.Struct(">H")


def spelled(text: str) -> bytes:
    """Return u16 big-endian length || UTF-8.

    Raises:
        struct.error: longer than 65,535 bytes. UnicodeEncodeError: a lone surrogate.
    """
    data = text.encode()
    return _U16.pack(len(data)) + data


@lru_cache(maxsize=4096)
def spelled_often(text: str) -> bytes:
    """The same for strings that come again and again (classes, models, producers), remembered."""
    return spelled(text)
