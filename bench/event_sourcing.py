"""The library a team would find: PyPI's ``eventsourcing``, its PostgreSQL recorder, its AES cipher (one key for all).

Set up for speed: one aggregate a record, a transaction a batch, the recorder's own database function instead of single
INSERTs, and the record kept as one text, so that it is not taken apart first.
"""

from __future__ import annotations

import os
from uuid import UUID

from psycopg.conninfo import conninfo_to_dict

from bench import records
from bench.contender import BATCH, NotRun, Task
from bench.measure import Stopwatch


def run(task: Task, clock: Stopwatch) -> int:
    """Save all records, a transaction a batch; return how many.

    Raises:
        NotRun: the library is not installed.
    """
    try:
        from eventsourcing.application import Application
        from eventsourcing.cryptography import AESCipher
        from eventsourcing.domain import Aggregate, event
    except ImportError:
        raise NotRun("the library is not installed: pip install 'eventsourcing[cryptography,postgres]'") from None

    class Decision(Aggregate):
        @event("Recorded")
        def __init__(self, document: str) -> None:
            self.document = document

    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_ENABLE_DB_FUNCTIONS": "y",
        "CIPHER_TOPIC": "eventsourcing.cryptography:AESCipher",
        "CIPHER_KEY": AESCipher.create_key(32),
        **_login(task.dsn),
    }
    saved = 0
    application: Application[UUID] = Application(environment)
    with application, clock:
        for batch in records.batches(task.records, BATCH):
            application.save(*[Decision(document=line.rstrip(b"\n").decode()) for line in batch])
            saved += len(batch)
    return saved


def _login(dsn: str) -> dict[str, str]:
    """Return the login as the library wants it. It takes no password file; libpq finds that one by itself."""
    known = conninfo_to_dict(dsn)
    if known.get("passfile"):
        os.environ["PGPASSFILE"] = str(known["passfile"])
    return {
        "POSTGRES_DBNAME": str(known.get("dbname", "")),
        "POSTGRES_HOST": str(known.get("host", "")),
        "POSTGRES_PORT": str(known.get("port", 5432)),
        "POSTGRES_USER": str(known.get("user", "")),
        "POSTGRES_PASSWORD": str(known.get("password") or ""),
    }
