"""What the database itself refuses: the application by its grants, the owner by triggers."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from tests.support.vault import Installation
from vault.db import tables
from vault.db.engine import APP_ROLE, connect

NAMES = [table.name for table in tables.ALL]
KEPT = [table.name for table in tables.ALL if table is not tables.head]


@pytest.fixture(scope="module")
def app(site: Installation) -> Iterator[psycopg.Connection]:
    """The application's login. Its ledgers are too short for a node; it may store one all the same."""
    with psycopg.connect(site.database.app_dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO vault.node SELECT ledger_id, 1, 0, '' FROM vault.ledger")
        yield connection


@pytest.fixture(scope="module")
def owner(site: Installation, app: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """The owner of the tables, as migrations run."""
    with psycopg.connect(site.database.owner_dsn, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vault.{0} SET ledger_id = ledger_id",
        "DELETE FROM vault.{0}",
        "TRUNCATE vault.{0}",
        "SELECT * FROM vault.{0} FOR UPDATE",
        "INSERT INTO vault.{0} TABLE vault.{0} ON CONFLICT ON CONSTRAINT {0}_pk DO UPDATE SET ledger_id = NULL",
        "MERGE INTO vault.{0} USING vault.{0} x ON {0}.ledger_id = x.ledger_id WHEN MATCHED THEN DELETE",
    ],
)
def test_the_application_changes_nothing_that_is_written(app: psycopg.Connection, name: str, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        app.execute(statement.format(name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE vault.{0}",
        "ALTER TABLE vault.{0} DISABLE TRIGGER ALL",
        "ALTER TABLE vault.{0} DROP CONSTRAINT {0}_pk CASCADE",
        "CREATE TRIGGER own BEFORE INSERT ON vault.{0} FOR EACH ROW EXECUTE FUNCTION vault.refuse_change()",
        "CREATE INDEX ON vault.{0} (ledger_id)",
        "ALTER TABLE vault.{0} OWNER TO reasonvault_app",
    ],
)
def test_the_application_owns_nothing(app: psycopg.Connection, name: str, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        app.execute(statement.format(name))


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM vault.head",
        "TRUNCATE vault.head",
        "UPDATE vault.head SET ledger_id = gen_random_uuid()",
        "CREATE TABLE vault.mine ()",
        "DROP SCHEMA vault CASCADE",
        "CREATE OR REPLACE FUNCTION vault.refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION vault.head_moves_forward() CASCADE",
        "UPDATE vault.alembic_version SET version_num = '0000'",
        "SET session_replication_role = replica",
        "SET ROLE reasonvault_owner",
        "ALTER ROLE reasonvault_app SUPERUSER",
        "COPY vault.entry TO PROGRAM 'cat'",
        "COPY vault.entry TO '/tmp/entries'",
        "SELECT pg_read_file('PG_VERSION')",
    ],
)
def test_the_application_has_no_way_around(app: psycopg.Connection, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        app.execute(statement)


def test_a_superusers_login_still_gives_the_application_its_small_role(site: Installation) -> None:
    engine = connect(site.database.superuser_dsn)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT current_user").scalar_one() == APP_ROLE
    engine.dispose()


def test_the_rest_of_the_world_sees_nothing(site: Installation) -> None:
    with psycopg.connect(site.database.superuser_dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE passer_by")
        try:
            connection.execute("SET ROLE passer_by")
            for name in NAMES:
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(f"SELECT 1 FROM vault.{name}")
        finally:
            connection.execute("RESET ROLE")
            connection.execute("DROP ROLE passer_by")


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize(
    ("statement", "prevented"),
    [
        ("UPDATE vault.{0} SET ledger_id = ledger_id", "UPDATE"),
        ("DELETE FROM vault.{0}", "DELETE"),
        ("TRUNCATE vault.{0} CASCADE", "TRUNCATE"),
    ],
)
def test_triggers_refuse_the_owner(owner: psycopg.Connection, name: str, statement: str, prevented: str) -> None:
    with pytest.raises(errors.RestrictViolation, match=f"append-only: this prevents {prevented}"):
        owner.execute(statement.format(name))


@pytest.mark.parametrize("change", ["size = size - 1", "size = size", "ledger_id = gen_random_uuid(), size = size + 1"])
def test_the_head_only_moves_forward(owner: psycopg.Connection, change: str) -> None:
    with pytest.raises(errors.RestrictViolation, match="this prevents a rewind"):
        owner.execute(f"UPDATE vault.head SET {change}")


@pytest.mark.parametrize("statement", ["DELETE FROM vault.head", "TRUNCATE vault.head"])
def test_the_owner_removes_no_head(owner: psycopg.Connection, statement: str) -> None:
    with pytest.raises(errors.RestrictViolation):
        owner.execute(statement)


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("INSERT INTO vault.entry SELECT ledger_id, seq, NULL, leaf FROM vault.entry", "entry_pk"),
        (
            "INSERT INTO vault.entry SELECT ledger_id, seq + 999, id_tag, leaf FROM vault.entry",
            "entry_ledger_id_id_tag_key",
        ),
        ("INSERT INTO vault.node TABLE vault.node", "node_pk"),
        ("INSERT INTO vault.head TABLE vault.head", "head_pk"),
        ("INSERT INTO vault.ledger TABLE vault.ledger", "ledger_pk"),
        ("INSERT INTO vault.sealed TABLE vault.sealed", "sealed_pk"),
        ("INSERT INTO vault.epoch TABLE vault.epoch", "epoch_pk"),
        ("INSERT INTO vault.key_group TABLE vault.key_group", "key_group_pk"),
    ],
)
def test_no_place_and_no_id_is_taken_twice(app: psycopg.Connection, statement: str, constraint: str) -> None:
    with pytest.raises(errors.UniqueViolation) as refusal:
        app.execute(statement)
    assert refusal.value.diag.constraint_name == constraint
