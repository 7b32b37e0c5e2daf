"""Selections: frozen sets of positions of one ledger, named by a digest that events carry.

The text, ASCII, every line ended by LF; a new meaning needs another first line:

    reasonvault selection/1
    <uuid of the ledger>
    7                  one position
    9-1204             a range, both ends included

Ranges ascend and do not touch, so a set has exactly one text. The digest is SHA-256 of it. What is stored is the text,
so that the database can compare it with its digest; what is trusted is the digest.

    made = Selection.of([7, 9, 10, 11])
    digest(ledger, made)
    assert 10 in made and len(made) == 4
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from vault.core.errors import Modified

_TITLE: Final = "reasonvault selection/1"
_LINE = re.compile(r"(0|[1-9][0-9]{0,15})(?:-([1-9][0-9]{0,15}))?", re.ASCII)
_BEYOND: Final = 1 << 60  # behind every position


@dataclass(frozen=True, slots=True)
class Selection:
    """A set of positions as ascending ranges ``(first, last)`` that do not touch."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, seqs: Iterable[int]) -> Selection:
        """Return the set of these positions, in any order, each as often as it likes."""
        made: list[tuple[int, int]] = []
        for seq in sorted(set(seqs)):
            if made and made[-1][1] == seq - 1:
                made[-1] = (made[-1][0], seq)
            else:
                made.append((seq, seq))
        return cls(tuple(made))

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)

    def __iter__(self) -> Iterator[int]:
        for first, last in self.ranges:
            yield from range(first, last + 1)

    def __contains__(self, seq: object) -> bool:
        if not isinstance(seq, int):
            return False
        at = bisect_right(self.ranges, (seq, _BEYOND)) - 1
        return at >= 0 and self.ranges[at][0] <= seq <= self.ranges[at][1]

    def __or__(self, other: Selection) -> Selection:
        merged: list[tuple[int, int]] = []
        for first, last in sorted((*self.ranges, *other.ranges)):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return Selection(tuple(merged))

    def __sub__(self, other: Selection) -> Selection:
        left: list[tuple[int, int]] = []
        for start, end in self.ranges:
            first = start
            for cut, until in other.ranges[_before(other.ranges, start) :]:
                if cut > end:
                    break
                if cut > first:
                    left.append((first, cut - 1))
                first = max(first, until + 1)
            if first <= end:
                left.append((first, end))
        return Selection(tuple(left))

    def __and__(self, other: Selection) -> Selection:
        return self - (self - other)


def text(ledger: UUID, made: Selection) -> bytes:
    """Return a selection's one text."""
    lines = [str(first) if first == last else f"{first}-{last}" for first, last in made.ranges]
    return "\n".join((_TITLE, str(ledger), *lines, "")).encode("ascii")


def digest(ledger: UUID, made: Selection) -> bytes:
    """Return the 32 bytes that name a selection."""
    return hashlib.sha256(text(ledger, made)).digest()


def read(ledger: UUID, named: bytes, content: bytes) -> Selection:
    """Return the selection that a digest names.

    Raises:
        Modified: the text is not what the digest names, or not the one text of a set of this ledger.
    """
    place = str(ledger)
    if hashlib.sha256(content).digest() != named:
        raise Modified("a selection is not the one that was named", place)
    return _parse(place, content)


def _parse(place: str, content: bytes) -> Selection:
    lines = content.decode("ascii", "replace").split("\n")
    if lines[:2] != [_TITLE, place] or len(lines) == 2 or lines.pop() != "":
        raise Modified("a selection is of another version or ledger", place)
    ranges: list[tuple[int, int]] = []
    for line in lines[2:]:
        match = _LINE.fullmatch(line)
        if match is None:
            raise Modified("a selection holds a line that is no range", place)
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if (match[2] is not None and last <= first) or (ranges and first <= ranges[-1][1] + 1):
            raise Modified("a selection's ranges are out of order", place)
        ranges.append((first, last))
    return Selection(tuple(ranges))


def _before(ranges: tuple[tuple[int, int], ...], seq: int) -> int:
    """Return where to begin looking for ranges that reach ``seq`` or lie behind it."""
    return max(0, bisect_right(ranges, (seq, -1)) - 1)
