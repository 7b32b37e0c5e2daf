"""The one server that all contenders of a run use: an embedded one of the run's own, or the one DATABASE_URL names.

That one must be disposable, with a superuser's URL: each contender gets a database of its own, made before it and
dropped after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from vault.db.embedded import EmbeddedServer

SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "data_checksums",
    "wal_level",
    "wal_compression",
    "max_wal_size",
    "shared_buffers",
    "default_toast_compression",
)
"""What decides how fast and how durable a server is; printed with the figures."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. ``pid`` is its first process, None where it is not ours to look at."""

    admin_dsn: str
    pid: int | None

    def settings(self) -> dict[str, str]:
        """Return SETTINGS as they are."""
        with psycopg.connect(self.admin_dsn) as connection:
            rows = connection.execute(
                "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", [list(SETTINGS)]
            )
            found: dict[str, str] = dict(rows.fetchall())
        return {name: found[name] for name in SETTINGS if name in found}

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """Yield the connection string of a new database, dropped in the end with whoever is still connected."""
        with self._made(name, "template0") as dsn:
            yield dsn

    def kept(self, name: str) -> str:
        """Return the connection string of a database that stays, made where it is not there."""
        named = f"reasonvault_bench_{name}"
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [named]).fetchone() is None:
                connection.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(named)))
        return make_conninfo(self.admin_dsn, dbname=named)

    def drop(self, name: str) -> None:
        """Drop a database that was kept; one that is not there is fine."""
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            named = Identifier(f"reasonvault_bench_{name}")
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(named))

    @contextmanager
    def copy(self, dsn: str, name: str) -> Iterator[str]:
        """Yield the connection string of a copy of a database that nobody is connected to, dropped in the end."""
        with self._made(name, str(conninfo_to_dict(dsn)["dbname"])) as copied:
            yield copied

    @contextmanager
    def _made(self, name: str, template: str) -> Iterator[str]:
        named = Identifier(f"reasonvault_bench_{name}")
        # Copied file by file: block by block through the log is for small templates.
        make = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(named, Identifier(template))
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(named))
            connection.execute(make)
        try:
            yield make_conninfo(self.admin_dsn, dbname=f"reasonvault_bench_{name}")
        finally:
            with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
                connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(named))


@contextmanager
def running(folder: Path, *, keep: bool = False) -> Iterator[Server]:
    """Yield the server; an embedded one lives below ``folder`` and is discarded in the end, or only stopped."""
    url = os.environ.get("DATABASE_URL")
    if url:
        yield Server(url, None)
        return
    embedded = EmbeddedServer(folder / "server")
    try:
        embedded.ensure_running()
        yield Server(embedded.dsn("superuser", "postgres"), embedded.status().pid)
    finally:
        if keep:
            embedded.stop()
        else:
            embedded.discard()
