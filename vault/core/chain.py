"""Chains: which groups' keys ever wrapped the keys of some records.

A record's key is wrapped by its group's at write, as its leaf says, and by each group that it was moved to since, as
the events say. The events come before the moves, so a chain may name a group that a record never reached, and never
misses one that it did. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vault.core.selection import Selection


class Move(NamedTuple):
    """Records of one ledger that went, or were about to go, to a group."""

    to: str
    selection: Selection


def reached(wanted: Selection, written: Mapping[str, Selection], moves: Iterable[Move]) -> frozenset[str]:
    """Return every group that any of these records was ever in.

    Args:
        written: group -> the records that were written under it, as their leaves say.
        moves: all of the ledger.
    """
    first = {group for group, selection in written.items() if (wanted & selection).ranges}
    return frozenset(first | {move.to for move in moves if (wanted & move.selection).ranges})
