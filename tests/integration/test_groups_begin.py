"""What the database lets the application say of keys: the next group of a stem, alive, under its own key's name."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from tests.support.vault import Installation
from vault.db.engine import RETENTION_ROLE


@pytest.fixture(scope="module")
def app(site: Installation) -> Iterator[psycopg.Connection]:
    with psycopg.connect(site.database.app_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def retention(site: Installation) -> Iterator[psycopg.Connection]:
    with psycopg.connect(site.database.owner_dsn, autocommit=True) as connection:
        connection.execute(f"SET ROLE {RETENTION_ROLE}")
        yield connection


@pytest.mark.parametrize(
    ("name", "key_ref", "state", "prevented"),
    [
        ("held.0", "group.{0}.held.0", "destroyed", "a key under another name"),
        ("held.0", "group.{0}.held.0", "closing", "a key under another name"),
        ("held.0", "made-up", "live", "a key under another name"),
        ("held.0", "group.{0}.held.1", "live", "a key under another name"),
        ("held", "group.{0}.held", "live", "a key under another name"),
        ("held.00", "group.{0}.held.00", "live", "a key under another name"),
        ("held.0\n", "group.{0}.held.0\n", "live", "a key under another name"),
        ("junk.0", "group.{0}.junk.0", "live", "a key under another name"),
        ("held.999999999", "group.{0}.held.999999999", "live", "using them up"),
        ("held.16", "group.{0}.held.16", "live", "using them up"),
    ],
)
def test_the_application_makes_no_group_but_the_next(
    app: psycopg.Connection, site: Installation, name: str, key_ref: str, state: str, prevented: str
) -> None:
    ledger = site.ledger("cn")
    with pytest.raises(errors.RestrictViolation, match=prevented):
        app.execute(
            "INSERT INTO vault.key_group VALUES (%s, %s, %s, '', %s)", [ledger, name, key_ref.format(ledger), state]
        )


def test_generations_ascend(app: psycopg.Connection, retention: psycopg.Connection, site: Installation) -> None:
    """A few may be passed over: their keys died before they had a row. A replayed journal fills gaps, as retention."""
    ledger = site.ledger("cn")
    insert = "INSERT INTO vault.key_group VALUES (%s, %s, %s, '')"
    for connection, generation, refused in (
        (app, 3, False),
        (app, 2, True),
        (app, 20, True),
        (app, 19, False),
        (retention, 2, False),
        (retention, 99, False),
    ):
        values = [ledger, f"2041-03.{generation}", f"group.{ledger}.2041-03.{generation}"]
        if refused:
            with pytest.raises(errors.RestrictViolation, match="using them up"):
                connection.execute(insert, values)
        else:
            connection.execute(insert, values)
    with pytest.raises(errors.UniqueViolation):
        app.execute(insert, [ledger, "2041-03.3", "x"])


def test_an_epoch_names_the_key_of_its_group(app: psycopg.Connection) -> None:
    """One that does not can never be refused as gone, so its group's disposal could not be proved."""
    with pytest.raises(errors.RestrictViolation, match="a key under another name"):
        app.execute(
            "INSERT INTO vault.epoch SELECT ledger_id, 5, name, 'made-up', 'w', 'd', '' FROM vault.key_group LIMIT 1"
        )
