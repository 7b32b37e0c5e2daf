"""Paths of tiles: how a client names a stretch of a ledger's tree, or of its entries.

From: C2SP tlog-tiles. Below a log's prefix:

    /tile/<L>/<N>[.p/<W>]          hashes of level L: MTH of 256**L leaves each
    /tile/entries/<N>[.p/<W>]      entries

    L    0 to 63, decimal, no leading zero
    N    index of the tile in its level, in groups of three digits, all but the last after an "x":
         1234067 is x001/x234/067. The first group is 000 only where it is the last one
    W    width of a partial tile, 1 to 255, decimal, no leading zero; a tile without it has all 256

A path has one spelling, so that a cache keeps one copy. Pure; whether such a tile exists is for ``vault.tiles``.

Example:
    >>> TilePath.parse("tile/1/x001/234.p/17")
    TilePath(level=1, place=1234, width=17)
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from vault.core.errors import RefusedInput

FULL: Final = 256
"""Hashes of a full tile, entries of a full bundle."""
ENTRIES: Final = -1
"""The level of entry bundles, which have none."""
MAX_LEVEL: Final = 63
MAX_INDEX: Final = 2**63 // FULL - 1
"""No ledger has more than 2**63 - 1 entries, so no level has more tiles."""

_PATH: Final = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)
_LONGEST: Final = 64


class TilePath(NamedTuple):
    """One tile, or one entry bundle where ``level`` is ``ENTRIES``."""

    level: int
    place: int
    width: int = FULL

    @property
    def first(self) -> int:
        """Return the place in its level of the tile's first hash, or the position of a bundle's first entry."""
        return self.place * FULL

    @property
    def end(self) -> int:
        """Return the place after the last one."""
        return self.first + self.width

    @property
    def is_full(self) -> bool:
        """Say whether the tile has all of its 256 hashes, so that it is never followed by a wider one."""
        return self.width == FULL

    def __str__(self) -> str:
        """Return the path without a leading slash.

        Raises:
            RefusedInput: a level, index or width that no path can say.
        """
        if not (ENTRIES <= self.level <= MAX_LEVEL and 0 <= self.place <= MAX_INDEX and 1 <= self.width <= FULL):
            raise _bad()
        digits = str(self.place)
        groups = digits.zfill(-(-len(digits) // 3) * 3)
        *leading, last = (groups[at : at + 3] for at in range(0, len(groups), 3))
        index = "".join(f"x{group}/" for group in leading) + last
        level = "entries" if self.level == ENTRIES else str(self.level)
        return f"tile/{level}/{index}" + ("" if self.is_full else f".p/{self.width}")

    @classmethod
    def parse(cls, path: str) -> TilePath:
        """Read exactly what ``str`` writes.

        Raises:
            RefusedInput: anything else; the path is not repeated.
        """
        match = _PATH.fullmatch(path) if len(path) <= _LONGEST and path.isascii() else None
        if match is None:
            raise _bad()
        level = ENTRIES if match["level"] == "entries" else int(match["level"])
        found = cls(level, int(match["index"].replace("x", "").replace("/", "")), int(match["width"] or FULL))
        # Leading groups of zeros, a width of 256 or more, a level or place beyond the last: other spellings, or none.
        if level > MAX_LEVEL or found.place > MAX_INDEX or found.width > FULL or str(found) != path:
            raise _bad()
        return found


def _bad() -> RefusedInput:
    return RefusedInput("no such tile can be: see C2SP tlog-tiles", path="tile", code="malformed_tile_path")
