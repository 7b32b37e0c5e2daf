"""One value in and out of a database, for tests that only ask whether what was committed is still there."""

from __future__ import annotations

import psycopg

from vault.db.embedded import EmbeddedServer


def ask(dsn: str, query: str, parameters: list[object] | None = None) -> object:
    """Return the first value of the first row."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


def write_note(server: EmbeddedServer, text: str) -> None:
    """Commit one text, in place of what was there."""
    with psycopg.connect(server.dsn("owner")) as connection:
        connection.execute("DROP TABLE IF EXISTS note")
        connection.execute("CREATE TABLE note AS SELECT %s::text AS text", [text])


def read_note(server: EmbeddedServer) -> object:
    """Return what `write_note` wrote."""
    return ask(server.dsn("owner"), "SELECT text FROM note")
