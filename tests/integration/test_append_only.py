"""What the database itself refuses: the application by its grants, the owner by triggers."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from tests.support.vault import Installation
from vault.db import tables
from vault.db.engine import APP_ROLE, RETENTION_ROLE, connect

NAMES = [table.name for table in tables.ALL]
KEPT = [table.name for table in tables.ALL if table is not tables.head]
FIXED = ["ledger", "entry", "node", "rulebook", "selection"]
"""Tables whose rows nobody changes or deletes, whatever happens to a record's key."""


@pytest.fixture(scope="module")
def app(site: Installation) -> Iterator[psycopg.Connection]:
    """The application's login. Its ledgers are too short for a node; it may store one all the same."""
    with psycopg.connect(site.database.app_dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO vault.node SELECT ledger_id, 1, 0, '' FROM vault.ledger")
        for name in ("rulebook", "selection"):
            connection.execute(
                f"INSERT INTO vault.{name} SELECT ledger_id, sha256('content'), 'content' FROM vault.ledger"
            )
        yield connection


@pytest.fixture(scope="module")
def owner(site: Installation, app: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """The owner of the tables, as migrations run."""
    with psycopg.connect(site.database.owner_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def retention(site: Installation, owner: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """The role that moves records between keys and deletes what dead keys leave behind; only the owner takes it on."""
    with psycopg.connect(site.database.owner_dsn, autocommit=True) as connection:
        connection.execute(f"SET ROLE {RETENTION_ROLE}")
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
        "SET ROLE reasonvault_retention",
        "INSERT INTO vault.job SELECT ledger_id, 'plan', now(), 'me', now(), 1 FROM vault.ledger",
        "UPDATE vault.key_group SET state = 'closing'",
        "CREATE OR REPLACE FUNCTION vault.record_outlives_no_key() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
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


@pytest.mark.parametrize(
    ("name", "statement", "prevented"),
    [
        *((name, "UPDATE vault.{0} SET ledger_id = ledger_id", "UPDATE") for name in [*FIXED, "sealed"]),
        *((name, "DELETE FROM vault.{0}", "DELETE") for name in [*FIXED, "key_group", "epoch"]),
        *((name, "TRUNCATE vault.{0} CASCADE", "TRUNCATE") for name in KEPT),
    ],
)
def test_triggers_refuse_the_owner(owner: psycopg.Connection, name: str, statement: str, prevented: str) -> None:
    with pytest.raises(errors.RestrictViolation, match=f"append-only: this prevents {prevented}"):
        owner.execute(statement.format(name))


MOVING = {"epoch_id", "wrapped_key", *tables.TAG_COLUMNS}


@pytest.mark.parametrize("column", [column.name for column in tables.sealed.c if column.name not in MOVING])
def test_a_record_that_moves_changes_its_key_and_nothing_else(
    owner: psycopg.Connection, retention: psycopg.Connection, column: str
) -> None:
    with pytest.raises(errors.RestrictViolation):
        owner.execute(f"UPDATE vault.sealed SET {column} = {column}")
    with pytest.raises(errors.InsufficientPrivilege):
        retention.execute(f"UPDATE vault.sealed SET {column} = {column}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vault.{0} SET ledger_id = ledger_id",
        "TRUNCATE vault.{0} CASCADE",
        "DROP TABLE vault.{0}",
        "ALTER TABLE vault.{0} DISABLE TRIGGER ALL",
    ],
)
def test_retention_owns_nothing_and_cuts_nothing_short(
    retention: psycopg.Connection, name: str, statement: str
) -> None:
    if (name, statement[:6]) == ("job", "UPDATE"):
        retention.execute(statement.format(name))  # what runs when is no evidence: the events say what ran
        return
    with pytest.raises(errors.InsufficientPrivilege):
        retention.execute(statement.format(name))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sealed"])
def test_retention_deletes_nothing_but_sealed_records(retention: psycopg.Connection, name: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        retention.execute(f"DELETE FROM vault.{name}")


@pytest.mark.parametrize("who", ["owner", "retention"])
@pytest.mark.parametrize(
    ("statement", "prevented"),
    [
        ("DELETE FROM vault.sealed", "deleting a record whose key lives"),
        ("UPDATE vault.epoch SET wrapped = ''", "losing the key of a living group"),
        ("UPDATE vault.key_group SET index_key = ''", "losing the key of a living group"),
        ("UPDATE vault.key_group SET index_key = 'other', state = 'destroyed'", "losing the key of a living group"),
        ("UPDATE vault.key_group SET index_key = '', state = 'closing'", "losing the key of a living group"),
    ],
)
@pytest.mark.parametrize("state", ["live", "closing"])
def test_nobody_takes_a_living_key_away(
    request: pytest.FixtureRequest, who: str, state: str, statement: str, prevented: str
) -> None:
    connection: psycopg.Connection = request.getfixturevalue(who)
    with connection.transaction(force_rollback=True):
        _bring(connection, state)
        with pytest.raises(errors.RestrictViolation, match=f"this prevents {prevented}"):
            connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "prevented"),
    [
        ("UPDATE vault.key_group SET key_ref = 'group.other'", "a key under another name"),
        ("UPDATE vault.key_group SET name = 'held.7'", "a key under another name"),
        ("UPDATE vault.epoch SET key_ref = 'group.other', wrapped = ''", "losing the key of a living group"),
        ("UPDATE vault.epoch SET wrapped = 'other'", "losing the key of a living group"),
    ],
)
def test_keys_keep_their_names_even_when_they_die(owner: psycopg.Connection, statement: str, prevented: str) -> None:
    with owner.transaction(force_rollback=True):
        _bring(owner, "destroyed")
        with pytest.raises(errors.RestrictViolation, match=f"this prevents {prevented}"):
            owner.execute(statement)


@pytest.mark.parametrize("who", ["owner", "retention"])
@pytest.mark.parametrize(("before", "after"), [("closing", "live"), ("destroyed", "closing"), ("destroyed", "live")])
def test_a_group_only_dies(request: pytest.FixtureRequest, who: str, before: str, after: str) -> None:
    connection: psycopg.Connection = request.getfixturevalue(who)
    with connection.transaction(force_rollback=True):
        _bring(connection, before)
        with pytest.raises(errors.RestrictViolation, match="this prevents writing under a key that is to die"):
            connection.execute("UPDATE vault.key_group SET state = %s", [after])


@pytest.mark.parametrize("who", ["owner", "retention"])
def test_a_group_is_closed_before_it_is_destroyed(request: pytest.FixtureRequest, who: str) -> None:
    connection: psycopg.Connection = request.getfixturevalue(who)
    with pytest.raises(errors.RestrictViolation, match="this prevents destroying what was never closed"):
        connection.execute("UPDATE vault.key_group SET state = 'destroyed'")


def test_a_group_has_no_state_but_the_three(owner: psycopg.Connection) -> None:
    with pytest.raises(errors.CheckViolation):
        owner.execute("UPDATE vault.key_group SET state = 'dead'")


def _bring(connection: psycopg.Connection, state: str, ledger: str = "%") -> None:
    """Bring the groups of ledgers of such a name to a state."""
    for step in ("closing", "destroyed")[: ("live", "closing", "destroyed").index(state)]:
        connection.execute(
            "UPDATE vault.key_group SET state = %s"
            " WHERE ledger_id IN (SELECT ledger_id FROM vault.ledger WHERE name LIKE %s)",
            [step, ledger],
        )


MOVE = """UPDATE vault.sealed SET epoch_id = %s, wrapped_key = 'other', customer_tag = 7
    WHERE ledger_id = (SELECT ledger_id FROM vault.ledger WHERE name = 'cn')"""


def _next_epoch(connection: psycopg.Connection, name: str = "held.0") -> int:
    """Insert a group that lives and an epoch under it; return the epoch's id."""
    for statement in (
        "INSERT INTO vault.key_group SELECT ledger_id, %(n)s, 'group.' || ledger_id || '.' || %(n)s, 'key', 'live'"
        " FROM vault.ledger WHERE name = 'cn'",
        "INSERT INTO vault.epoch SELECT ledger_id, 77, name, key_ref, 'w', 'd', 'x'"
        " FROM vault.key_group WHERE name = %(n)s",
    ):
        connection.execute(statement, {"n": name})
    return 77


def test_retention_moves_records_and_empties_what_is_dead(retention: psycopg.Connection) -> None:
    with retention.transaction(force_rollback=True):
        _bring(retention, "closing")
        assert retention.execute(MOVE, [_next_epoch(retention)]).rowcount > 0
        retention.execute("UPDATE vault.key_group SET state = 'closing' WHERE state = 'live'")
        retention.execute("UPDATE vault.key_group SET state = 'destroyed', index_key = ''")
        retention.execute("UPDATE vault.epoch SET wrapped = ''")
        retention.execute("DELETE FROM vault.sealed")
        assert retention.execute("SELECT count(*) FROM vault.sealed").fetchone() == (0,)


def test_a_record_outlives_the_group_that_died_beside_its_own(retention: psycopg.Connection) -> None:
    with retention.transaction(force_rollback=True):
        _bring(retention, "destroyed", "cn")
        with pytest.raises(errors.RestrictViolation, match="this prevents deleting a record whose key lives"):
            retention.execute("DELETE FROM vault.sealed")


@pytest.mark.parametrize("who", ["owner", "retention"])
@pytest.mark.parametrize("wrong", ["out of a living group", "into a closed one", "nowhere", "in its place"])
def test_a_record_moves_out_of_closed_groups_into_living_ones(
    request: pytest.FixtureRequest, who: str, wrong: str
) -> None:
    connection: psycopg.Connection = request.getfixturevalue(who)
    statement, epoch = MOVE, 1
    with connection.transaction(force_rollback=True):
        if wrong != "nowhere":
            epoch = _next_epoch(connection)
        if wrong != "out of a living group":
            connection.execute("UPDATE vault.key_group SET state = 'closing' WHERE name <> 'held.0'")
        if wrong == "into a closed one":
            connection.execute("UPDATE vault.key_group SET state = 'closing' WHERE name = 'held.0'")
        elif wrong == "in its place":
            statement = MOVE.replace("epoch_id = %s, ", "")
        with pytest.raises(errors.RestrictViolation, match="this prevents losing a record"):
            connection.execute(statement, [epoch] if "%s" in statement else [])


@pytest.mark.parametrize("name", ["rulebook", "selection"])
@pytest.mark.parametrize("who", ["app", "retention", "owner"])
def test_nothing_lies_under_a_digest_but_what_it_names(request: pytest.FixtureRequest, who: str, name: str) -> None:
    connection: psycopg.Connection = request.getfixturevalue(who)
    with pytest.raises(errors.CheckViolation):
        connection.execute(f"INSERT INTO vault.{name} SELECT ledger_id, sha256('a'), 'b' FROM vault.ledger")


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
        ("INSERT INTO vault.rulebook TABLE vault.rulebook", "rulebook_pk"),
        ("INSERT INTO vault.selection TABLE vault.selection", "selection_pk"),
    ],
)
def test_no_place_and_no_id_is_taken_twice(app: psycopg.Connection, statement: str, constraint: str) -> None:
    with pytest.raises(errors.UniqueViolation) as refusal:
        app.execute(statement)
    assert refusal.value.diag.constraint_name == constraint
