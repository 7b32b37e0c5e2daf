from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.support.postgres import Database
from vault.core.errors import UsageError
from vault.db import migrate, tables
from vault.db.engine import connect


def test_the_migrations_make_the_schema_that_the_code_declares(database: Database) -> None:
    engine = connect(database.owner_dsn, role=None)
    with engine.connect() as connection:
        options = {
            "include_schemas": True,
            "version_table_schema": tables.SCHEMA,
            "include_name": lambda name, kind, _parents: kind != "schema" or name == tables.SCHEMA,
            "compare_type": True,
        }
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata)
    engine.dispose()
    assert differences == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    assert migrate.upgrade(database.owner_dsn) == migrate.newest()


def test_a_database_of_another_version_is_refused(database: Database) -> None:
    owner = connect(database.owner_dsn, role=None)
    with owner.begin() as connection:
        connection.execute(sa.text("UPDATE vault.alembic_version SET version_num = '9999'"))
    app = connect(database.app_dsn)
    with app.connect() as connection, pytest.raises(UsageError, match="9999"):
        migrate.require_current(connection)
    with pytest.raises(UsageError, match="newer"):
        migrate.upgrade(database.owner_dsn)
    owner.dispose()
    app.dispose()


def test_a_downgrade_refuses_where_it_would_lose_evidence(database: Database) -> None:
    from vault.db.migrations.versions import r0001_vault

    with pytest.raises(RuntimeError, match="evidence"):
        r0001_vault.downgrade()


def test_ciphertext_is_stored_external(database: Database) -> None:
    engine = connect(database.app_dsn)
    with engine.connect() as connection:
        for table, column in tables.CIPHERTEXT_COLUMNS:
            storage = connection.execute(
                sa.text(
                    "SELECT attstorage FROM pg_attribute WHERE attrelid = CAST(:table AS regclass) AND attname = :name"
                ),
                {"table": f"vault.{table}", "name": column},
            ).scalar_one()
            assert storage == "e"
    engine.dispose()
