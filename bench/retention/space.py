"""Space: what tables and indexes hold, page by page, and how much of their pages is free for what comes next.

A plain VACUUM gives hardly a page back to the system: it makes room inside the files. So what is stored is counted as
bytes of pages less the free bytes that each page's own header tells (pd_lower, pd_upper; the server's machine is little
endian, as all that PostgreSQL is commonly run on). Room between rows of an index counts as free before and after alike.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import psycopg

_PAGE: Final = 8192
_SEGMENT: Final = 131_072  # pages of a file; the next has a number behind its name

_RELATIONS: Final = """
    SELECT c.oid, t.relname, CASE WHEN c.oid = t.oid THEN 'rows' WHEN c.relkind = 'i' AND i.indrelid = t.oid
        THEN c.relname ELSE 'long values' END, pg_relation_size(c.oid), pg_relation_filepath(c.oid)
    FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = 'vault'
    JOIN pg_class c ON c.oid = t.oid OR c.oid = t.reltoastrelid
        OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid IN (t.oid, t.reltoastrelid))
    LEFT JOIN pg_index i ON i.indexrelid = c.oid
    WHERE t.relkind = 'r' ORDER BY t.relname, 3"""
_FREE: Final = f"""
    SELECT coalesce(sum(CASE WHEN upper = 0 THEN {_PAGE} ELSE upper - lower END), 0) FROM (
        SELECT get_byte(h, 0) + 256 * get_byte(h, 1) AS lower, get_byte(h, 2) + 256 * get_byte(h, 3) AS upper
        FROM (SELECT pg_read_binary_file(
                %s || CASE WHEN page < {_SEGMENT} THEN '' ELSE '.' || page / {_SEGMENT} END,
                (page %% {_SEGMENT}) * {_PAGE} + 12, 4) AS h
            FROM generate_series(0, %s - 1) AS page) AS headers) AS bounds"""


class Part(NamedTuple):
    """One table's rows, its long values (TOAST), or one of its indexes: bytes of files, and free bytes in them."""

    table: str
    name: str
    size: int
    free: int

    @property
    def held(self) -> int:
        """Bytes in use."""
        return self.size - self.free


class Stored(NamedTuple):
    """What a database holds at one moment."""

    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def held(self) -> int:
        return sum(part.held for part in self.parts)

    def part(self, table: str, name: str) -> Part:
        """Return a part; one that is not there is empty."""
        found = (one for one in self.parts if (one.table, one.name) == (table, name))
        return next(found, Part(table, name, 0, 0))

    def table(self, *names: str) -> int:
        """Return the bytes in use of whole tables."""
        return sum(part.held for part in self.parts if part.table in names)


def stored(dsn: str, *, full: bool = False) -> Stored:
    """Return what the vault's tables hold after VACUUM, or after VACUUM FULL; needs a superuser."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM (FULL)" if full else "VACUUM")
        connection.execute("CHECKPOINT")  # headers are read from the files
        merged: dict[tuple[str, str], Part] = {}
        for _, table, name, size, path in connection.execute(_RELATIONS).fetchall():
            row = connection.execute(_FREE, [path, size // _PAGE]).fetchone()
            assert row is not None
            before = merged.get((table, name), Part(table, name, 0, 0))
            merged[table, name] = Part(table, name, before.size + size, before.free + int(row[0]))
    return Stored(tuple(merged.values()))
