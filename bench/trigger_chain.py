"""What a team would build in an afternoon: a PL/pgSQL trigger that chains every row to the one before.

Generous to it in two ways: rows come by COPY in batches of a transaction each, though its users mostly INSERT, and
they are not encrypted.
"""

from __future__ import annotations

import psycopg

from bench import records
from bench.contender import BATCH, NotRun, Task
from bench.measure import Stopwatch
from bench.plain_copy import as_text

_DIGESTS = {"pgcrypto": "digest({}, 'sha256')", "builtin": "sha256({})"}
_TABLES = """
    CREATE TABLE chain_head (chain integer PRIMARY KEY, seq bigint NOT NULL, hash bytea NOT NULL);
    INSERT INTO chain_head VALUES (1, 0, '');
    CREATE TABLE chained (seq bigint PRIMARY KEY, doc jsonb NOT NULL, prev_hash bytea NOT NULL, hash bytea NOT NULL);
"""
# What the trigger locks is what serialises writers: without it two of them chain to the same row.
_TRIGGER = """
    CREATE FUNCTION chain() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE last chain_head;
    BEGIN
        SELECT * INTO last FROM chain_head WHERE chain = 1 FOR UPDATE;
        NEW.seq := last.seq + 1;
        NEW.prev_hash := last.hash;
        NEW.hash := {digest};
        UPDATE chain_head SET seq = NEW.seq, hash = NEW.hash WHERE chain = 1;
        RETURN NEW;
    END $$;
    CREATE TRIGGER chained BEFORE INSERT ON chained FOR EACH ROW EXECUTE FUNCTION chain();
"""
_HASHED = "last.hash || convert_to(NEW.doc::text, 'UTF8')"


def run(task: Task, clock: Stopwatch) -> int:
    """Copy all records through the trigger, a transaction a batch; return how many.

    Raises:
        NotRun: the server has no pgcrypto, and that is what was asked for.
    """
    with psycopg.connect(task.dsn, autocommit=True) as connection:
        if task.digest == "pgcrypto":
            _require_pgcrypto(connection)
        connection.execute(_TABLES)
        connection.execute(_TRIGGER.format(digest=_DIGESTS[task.digest].format(_HASHED)))
        chained = 0
        with clock:
            for batch in records.batches(task.records, BATCH):
                with connection.transaction(), connection.cursor().copy("COPY chained (doc) FROM STDIN") as copy:
                    copy.write(as_text(batch))
                chained += len(batch)
    return chained


def _require_pgcrypto(connection: psycopg.Connection) -> None:
    statement = "SELECT 1 FROM pg_available_extensions WHERE name = 'pgcrypto'"
    if connection.execute(statement).fetchone() is None:
        raise NotRun("the server has no pgcrypto")
    connection.execute("CREATE EXTENSION pgcrypto")
