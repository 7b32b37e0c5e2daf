"""Migrations are guests in a live house: short locks, bounded statements, one transaction each, one migrator at a
time.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from vault.db.tables import SCHEMA, metadata

_MIGRATOR_LOCK = 0x7265617376  # "reasv"; only migrations take it, never the append path


def run(connection: Connection) -> None:
    """Run what alembic was asked for on the connection that ``vault.db.migrate`` opened."""
    connection.execute(text("SET lock_timeout = '5s'"))
    connection.execute(text("SET statement_timeout = '60s'"))
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATOR_LOCK})
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    connection.commit()
    try:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            version_table_schema=SCHEMA,
            include_schemas=True,
            include_name=lambda name, kind, parents: kind != "schema" or name == SCHEMA,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATOR_LOCK})
        connection.commit()


run(context.config.attributes["connection"])
