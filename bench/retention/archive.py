"""An archive to import: decisions of which one tenth is due long since, another tenth a little later, the rest not yet.

The due ones are spread evenly over the file, which is the hard case: a real archive has its oldest records first, here
every page of every table loses some rows and every look at them has to read all of the ledger's leaves.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import records

FIRST, SECOND = b"2012", b"2014"
"""Years in which the two due tenths occurred; the reference rule book keeps both for three years."""
FIRST_DUE: Final = int(datetime(2016, 1, 1, tzinfo=UTC).timestamp())
"""A moment at which the first tenth is due and the second is not, Unix seconds."""
_YEAR: Final = b'"2026-'  # how every instant of the pool begins (bench.records)
_PARTS: Final = 10
_PLACES: Final = {3: FIRST, 7: SECOND}


def write(path: Path, pool: list[bytes], count: int) -> Path:
    """Write ``count`` records to a file of JSON lines and return it. Exactly a tenth is of each year where ``count``
    and the pool are multiples of ten."""
    with path.open("wb") as file:
        for number, raw in enumerate(records.repeated(pool, count)):
            # Another place each time round, so that it is not always the same records of the pool that die.
            year = _PLACES.get((number + number // len(pool)) % _PARTS)
            file.write((raw if year is None else raw.replace(_YEAR, b'"%s-' % year)) + b"\n")
    return path
