"""The fixture every database test stands on."""

from __future__ import annotations

import os

import psycopg
import pytest

from tests.support.postgres import Database
from vault.db import migrate
from vault.db.engine import connect

embedded_only = pytest.mark.skipif("DATABASE_URL" in os.environ, reason="its operator chose its settings")


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_gets_an_empty_migrated_database(database: Database, turn: int) -> None:
    engine = connect(database.app_dsn)
    with engine.connect() as connection:
        assert migrate.current(connection) == migrate.newest()
    engine.dispose()
    with psycopg.connect(database.owner_dsn) as owner:
        owner.execute("CREATE TABLE public.seen ()")  # fails in turn 2 if turn 1's database came back


@embedded_only
def test_tests_do_not_pay_for_durability(database: Database) -> None:
    assert _setting(database, "fsync") == "off"


@embedded_only
@pytest.mark.durable
def test_tests_that_need_durability_get_it(database: Database) -> None:
    assert _setting(database, "fsync") == "on"


def _setting(database: Database, name: str) -> str:
    with psycopg.connect(database.superuser_dsn) as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])
