"""Matching movements with records, on disk: both sides may be millions.

    with Matching(workdir / "matching.db", start, end) as found:
        for movement in movements: found.movement(movement)
        for row in records: found.record(row)
        found.settle()
        found.count("unlogged"), found.rows("unlogged", 40)

A SQLite database in the report's private directory, which is gone with it. A movement and a record belong together
where the record's ``decision.transaction_id`` is the movement's ``transaction_id``, byte for byte. Each movement comes
to exactly one of these:

    matched       some record of it says that money moved, with this amount and currency
    mismatched    records of it say that money moved, none of them with this amount and currency
    denied        records of it are there, and all say that no money moved
    unlogged      no record is there

``unlisted`` are records that say that money moved, whose movement is not in the list; ``doubled`` conversations and
steps with more than one movement; ``repeated`` transaction ids that the list has more than once.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Context, Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from reports.completeness.movements import Movement
from reports.completeness.rows import Logged

_BATCH: Final = 5_000
_EXACT: Final = Context(prec=60)  # 18 digits before the point and 6 behind it, never rounded
STATES: Final = ("matched", "mismatched", "denied", "unlogged")

_SCHEMA: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
CREATE TABLE movement (line INTEGER PRIMARY KEY, tx TEXT NOT NULL, amount TEXT NOT NULL, currency TEXT NOT NULL,
    at TEXT NOT NULL, inside INTEGER NOT NULL, state TEXT);
CREATE TABLE record (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, tx TEXT, moved INTEGER NOT NULL, amount TEXT,
    currency TEXT, at TEXT NOT NULL, inside INTEGER NOT NULL, conversation TEXT NOT NULL, step INTEGER,
    producer TEXT NOT NULL, listed INTEGER);
"""
_SETTLE: Final = """
CREATE INDEX record_tx ON record (tx) WHERE tx IS NOT NULL;
CREATE INDEX movement_tx ON movement (tx);
CREATE INDEX record_step ON record (conversation, step) WHERE moved;
UPDATE movement SET state = CASE
    WHEN EXISTS (SELECT 1 FROM record r WHERE r.tx = movement.tx AND r.moved
                 AND r.amount = movement.amount AND r.currency = movement.currency) THEN 'matched'
    WHEN EXISTS (SELECT 1 FROM record r WHERE r.tx = movement.tx AND r.moved) THEN 'mismatched'
    WHEN EXISTS (SELECT 1 FROM record r WHERE r.tx = movement.tx) THEN 'denied'
    ELSE 'unlogged' END WHERE inside;
UPDATE record SET listed = EXISTS (SELECT 1 FROM movement m WHERE m.tx = record.tx) WHERE moved AND inside;
"""
_FOUND: Final = {
    "matched": "SELECT line, tx, amount, currency, at FROM movement WHERE state = 'matched' ORDER BY line",
    "unlogged": "SELECT line, tx, amount, currency, at FROM movement WHERE state = 'unlogged' ORDER BY line",
    "denied": """SELECT m.line, m.tx, m.amount, m.currency, m.at, r.seq, r.id,
        (SELECT count(*) FROM record a WHERE a.tx = m.tx)
        FROM movement m JOIN record r ON r.seq = (SELECT min(f.seq) FROM record f WHERE f.tx = m.tx)
        WHERE m.state = 'denied' ORDER BY m.line""",
    "mismatched": """SELECT m.line, m.tx, m.amount, m.currency, m.at, r.seq, r.id, r.amount, r.currency
        FROM movement m JOIN record r ON r.seq = (SELECT min(f.seq) FROM record f WHERE f.tx = m.tx AND f.moved)
        WHERE m.state = 'mismatched' ORDER BY m.line""",
    "unlisted": """SELECT seq, id, tx, amount, currency, at, producer FROM record
        WHERE moved AND inside AND NOT listed ORDER BY seq""",
    "doubled": """SELECT conversation, step, count(DISTINCT coalesce(tx, id)), min(seq), max(seq), group_concat(seq)
        FROM record WHERE moved GROUP BY conversation, step
        HAVING count(DISTINCT coalesce(tx, id)) > 1 AND max(inside) ORDER BY min(seq)""",
    "repeated": """SELECT tx, count(*), min(line), max(line) FROM movement
        GROUP BY tx HAVING count(*) > 1 AND max(inside) ORDER BY min(line)""",
}


class Matching:
    """Both sides, and what became of each.

    Args:
        path: the database, made here and readable by its owner alone.
        start, end: the period; what lies outside it is known, so that it can be matched, and counted nowhere.
    """

    def __init__(self, path: Path, start: datetime | None, end: datetime | None) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self._start, self._end = start, end
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._movements: list[tuple[Any, ...]] = []
        self._records: list[tuple[Any, ...]] = []

    def __enter__(self) -> Matching:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._database.close()

    def movement(self, one: Movement) -> None:
        """Take a movement of the list."""
        amount = _spelled(one.amount)
        self._movements.append(
            (one.line, one.transaction_id, amount, one.currency, one.moved_at.isoformat(), self._inside(one.moved_at))
        )
        if len(self._movements) >= _BATCH:
            self._write()

    def record(self, row: Logged) -> None:
        """Take a record; those that did not open say nothing of a movement."""
        money = row.executed
        self._records.append(
            (
                row.seq,
                row.record_id,
                row.transaction_id,
                row.moved and row.opened,
                None if money is None else _spelled(money.amount),
                None if money is None else money.currency,
                row.at.astimezone(UTC).isoformat(),
                self._inside(row.at),
                row.conversation_id,
                row.step,
                row.producer,
            )
        )
        if len(self._records) >= _BATCH:
            self._write()

    def settle(self) -> None:
        """Match; after this the results can be read."""
        self._write()
        self._database.executescript(_SETTLE)

    def states(self) -> dict[str, int]:
        """Return movements of the period by what became of them."""
        found = dict(self._database.execute("SELECT state, count(*) FROM movement WHERE inside GROUP BY state"))
        return {state: int(found.get(state, 0)) for state in STATES}

    def count(self, name: str) -> int:
        """Return how many rows a result has."""
        return int(self._database.execute(f"SELECT count(*) FROM ({_FOUND[name]})").fetchone()[0])  # noqa: S608 - ours

    def rows(self, name: str, limit: int = -1) -> Iterator[tuple[Any, ...]]:
        """Yield a result's rows, in order; -1 yields all of them."""
        yield from self._database.execute(f"SELECT * FROM ({_FOUND[name]}) LIMIT ?", (limit,))  # noqa: S608 - ours

    def sums(self, name: str) -> list[tuple[str, list[str]]]:
        """Return the amounts of a result by currency, as they are spelled, for exact addition."""
        sums: dict[str, list[str]] = {}
        for amount, currency in self._database.execute(f"SELECT amount, currency FROM ({_FOUND[name]})"):  # noqa: S608
            if amount is not None and currency is not None:
                sums.setdefault(currency, []).append(amount)
        return sorted(sums.items())

    def by_day(self) -> list[tuple[str, str, int]]:
        """Return (day, state, movements) of the period."""
        asked = "SELECT substr(at, 1, 10), state, count(*) FROM movement WHERE inside GROUP BY 1, 2 ORDER BY 1"
        return [(str(day), str(state), int(count)) for day, state, count in self._database.execute(asked)]

    def outside(self) -> int:
        """Return how many movements of the list lie outside the period."""
        return int(self._database.execute("SELECT count(*) FROM movement WHERE NOT inside").fetchone()[0])

    def _inside(self, at: datetime) -> bool:
        return (self._start is None or self._start <= at) and (self._end is None or at < self._end)

    def _write(self) -> None:
        movements, self._movements = self._movements, []
        records, self._records = self._records, []
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO movement VALUES (?, ?, ?, ?, ?, ?, NULL)", movements)
        self._database.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)", records)
        self._database.execute("COMMIT")


def _spelled(amount: Decimal) -> str:
    """One spelling for equal amounts: 10, 10.0 and 10.00 are the same money."""
    return f"{amount.normalize(_EXACT):f}"
