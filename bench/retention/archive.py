"""An archive to import: three tenths were due long since, each a little later than the one before; the rest is not yet.

The first two tenths stand where an archive has its oldest records: at the beginning. The third is spread evenly over
the rest, which is the hard case: every page loses some rows, and whoever looks at the due reads nearly all leaves.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench import records

YEARS: Final = (b"2012", b"2014", b"2016")
"""When the due tenths occurred; the reference rule book keeps records for three years."""
MOMENTS: Final = tuple(int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2016, 2018, 2020))
"""When each tenth is due and the one after it is not, Unix seconds."""
_YEAR: Final = b'"2026-'  # how every instant of the pool begins (bench.records)


def write(path: Path, pool: list[bytes], count: int) -> Path:
    """Write ``count`` records, a multiple of ten, to a file of JSON lines and return it."""
    with path.open("wb") as file:
        for number, raw in enumerate(records.repeated(pool, count)):
            year = _year(number, count // 10)
            file.write((raw if year is None else raw.replace(_YEAR, b'"%s-' % year)) + b"\n")
    return path


def _year(number: int, tenth: int) -> bytes | None:
    if number < 2 * tenth:
        return YEARS[number // tenth]
    return YEARS[2] if (number - 2 * tenth) % 8 == 0 else None
