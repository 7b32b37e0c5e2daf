"""The limit: COPY of the raw JSON into one jsonb column, and nothing else. No key, no index, no check, no secret.

What the vault is compared with: it stores no less, and the database cannot take JSON in any faster.
"""

from __future__ import annotations

import psycopg

from bench import records
from bench.contender import BATCH, Task
from bench.measure import Stopwatch

_COPY = "COPY plain (doc) FROM STDIN"


def run(task: Task, clock: Stopwatch) -> int:
    """Copy all records, a transaction a batch or one for all; return how many."""
    with psycopg.connect(task.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE plain (doc jsonb NOT NULL)")
        copied = 0
        with clock:
            if task.one_transaction:
                with connection.transaction(), connection.cursor().copy(_COPY) as copy:
                    for batch in records.batches(task.records, BATCH):
                        copy.write(as_text(batch))
                        copied += len(batch)
            else:
                for batch in records.batches(task.records, BATCH):
                    with connection.transaction(), connection.cursor().copy(_COPY) as copy:
                        copy.write(as_text(batch))
                    copied += len(batch)
    return copied


def as_text(batch: list[bytes]) -> bytes:
    """Spell lines of JSON as rows of one column in COPY's text format, where a backslash is written twice."""
    return b"".join(batch).replace(b"\\", b"\\\\")
