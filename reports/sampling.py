"""Attribute sampling that a stranger can repeat: how many entries to draw, and which ones.

The size is the smallest n for which finding nothing wrong in n draws gives the wanted confidence that
fewer than the tolerable share is wrong: ``(1 - rate) ** n <= 1 - confidence`` (discovery sampling; 59 at
95 % and 5 %).

The draw needs nothing but SHA-256. Block ``i`` is ``SHA-256(seed || u64 big-endian i)``, read as four
big-endian 64-bit numbers; a number is dropped when it is not below the largest multiple of the
population's size (so that no position is favoured), else taken modulo the size, and skipped when that
position is already drawn.
"""

from __future__ import annotations

import hashlib
import struct
from fractions import Fraction

from vault.core.errors import UsageError

_U64 = 1 << 64


def sample_size(confidence: Fraction, tolerable_rate: Fraction) -> int:
    """Draws without a finding that give ``confidence`` that less than ``tolerable_rate`` is wrong. Exact
    arithmetic.

    Raises:
        UsageError: a share that is not strictly between 0 and 1.
    """
    if not (0 < confidence < 1 and 0 < tolerable_rate < 1):
        raise UsageError("confidence and tolerable rate lie strictly between 0 and 1")
    risk, clean, size = 1 - confidence, Fraction(1), 0
    while clean > risk:
        clean *= 1 - tolerable_rate
        size += 1
    return size


def draw(seed: bytes, population: int, size: int) -> tuple[int, ...]:
    """Positions from 0 to ``population - 1``, ascending and without repeats: ``min(size, population)`` of
    them.

    Not checked: where the seed comes from. Whoever chooses both the seed and the time of drawing can grind
    it.
    """
    wanted = min(size, population)
    limit = _U64 - _U64 % population if population else 0
    drawn: set[int] = set()
    block = 0
    while len(drawn) < wanted:
        for number in struct.unpack(">4Q", hashlib.sha256(seed + struct.pack(">Q", block)).digest()):
            if number < limit and len(drawn) < wanted:
                drawn.add(number % population)
        block += 1
    return tuple(sorted(drawn))
