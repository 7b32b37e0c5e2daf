"""A PostgreSQL for a test run, and a database of its own for each test that asks.

`Run` starts servers of the embedded kind in the run's temporary folder. With DATABASE_URL it uses that server
instead, which must be a disposable one with a superuser's URL: the vault's two roles get new passwords there.

No server outlives the run, however it ends. Every process of the run holds a shared lock on one file, which
the kernel lets go when the process dies; a watchdog waits for the whole lock and then discards the servers.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier, Literal

from vault.db import migrate
from vault.db.embedded import EmbeddedServer
from vault.db.engine import RETENTION_ROLE
from vault.db.pgcluster import USERS, Role

ROOT = Path(__file__).parents[2]
TEMPLATE = "reasonvault_test_template"

# (role, database) -> connection string
_Dsn = Callable[[Role, str], str]


@dataclass(frozen=True)
class Database:
    """One test's database, migrated, with nothing in it."""

    name: str
    owner_dsn: str
    app_dsn: str
    superuser_dsn: str


class Run:
    """The servers of one test run; workers of pytest-xdist that share ``folder`` share them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._alive: int | None = None

    def close(self) -> None:
        """Tell the watchdog that this process needs no server any more."""
        if self._alive is not None:
            os.close(self._alive)

    def embedded(self, name: str, *, durable: bool) -> EmbeddedServer:
        """Return the run's server of that name, running; the watchdog ends it."""
        home = self._folder / name
        self.watch(home)
        server = EmbeddedServer(home, durable=durable)
        server.ensure_running()
        return server

    def watch(self, home: Path) -> None:
        """Have the server of ``home``, if one is ever started, discarded when the run is over."""
        if self._alive is None:
            self._alive = os.open(self._folder / "alive.lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._alive, fcntl.LOCK_SH)
        with self._locked():
            homes = self._folder / "homes"
            if not homes.exists():
                self._start_watchdog()
            with homes.open("a") as file:
                file.write(f"{home}\n")

    @contextlib.contextmanager
    def database(self, *, durable: bool) -> Iterator[Database]:
        """Clone the migrated template, and drop the clone in the end, whoever is still connected."""
        dsn = self._with_template(durable)
        name = f"test_{secrets.token_hex(6)}"
        parts = SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY FILE_COPY")
        with psycopg.connect(dsn("superuser", "postgres"), autocommit=True) as connection:
            connection.execute(parts.format(Identifier(name), Identifier(TEMPLATE), Identifier(USERS["owner"])))
            try:
                yield Database(name, dsn("owner", name), dsn("app", name), dsn("superuser", name))
            finally:
                connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def _with_template(self, durable: bool) -> _Dsn:
        url = os.environ.get("DATABASE_URL")
        name = "external" if url else "durable" if durable else "fast"
        server = None if url else self.embedded(name, durable=durable)
        with self._locked():
            home = self._folder / name
            home.mkdir(exist_ok=True)
            made = home / "template-made"
            dsn = server.dsn if server else _external(url or "", home / "password")
            if not made.exists():
                _make_template(dsn)
                made.touch()
        return dsn

    def _start_watchdog(self) -> None:
        command = [sys.executable, "-m", "tests.support.postgres", str(self._folder)]
        # The shell leaves at once, so that the watchdog is nobody's child and Ctrl-C does not reach it.
        detach = 'exec "$@" </dev/null >/dev/null 2>&1 &'
        subprocess.run(["/bin/sh", "-c", detach, "sh", *command], cwd=ROOT, start_new_session=True, check=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "postgres.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def prepare_template(owner_dsn: str) -> None:
    """Fill the template database: everything that a vault's database has before its first ledger."""
    migrate.upgrade(owner_dsn)


def _make_template(dsn: _Dsn) -> None:
    template = Identifier(TEMPLATE)
    with psycopg.connect(dsn("superuser", "postgres"), autocommit=True) as connection:
        connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(template))
        connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(template, Identifier(USERS["owner"])))
        prepare_template(dsn("owner", TEMPLATE))
        connection.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(template))


def _external(url: str, password_file: Path) -> _Dsn:
    """Give the vault's roles of the server at ``url`` a password of this run's."""
    if not password_file.exists():
        password = secrets.token_urlsafe()
        with psycopg.connect(url, autocommit=True) as connection:
            for role in (USERS["owner"], USERS["app"]):
                known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
                verb = SQL("ALTER" if known else "CREATE")
                words = [verb, Identifier(role), Literal(password)]
                connection.execute(SQL("{} ROLE {} LOGIN PASSWORD {}").format(*words))
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [RETENTION_ROLE]).fetchone():
                connection.execute(SQL("CREATE ROLE {}").format(Identifier(RETENTION_ROLE)))
            grant = SQL("GRANT {} TO {}").format(Identifier(RETENTION_ROLE), Identifier(USERS["owner"]))
            connection.execute(grant)
        password_file.write_text(password)
    password = password_file.read_text()

    def dsn(role: Role, database: str) -> str:
        if role == "superuser":
            return make_conninfo(url, dbname=database)
        return make_conninfo(url, dbname=database, user=USERS[role], password=password)

    return dsn


def _watch_over(folder: Path) -> None:
    """Wait until no process of the run is left, then discard its servers."""
    with (folder / "alive.lock").open() as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        homes = folder / "homes"
        for home in dict.fromkeys(homes.read_text().splitlines()):
            with contextlib.suppress(Exception):  # one that is broken must not keep the others
                EmbeddedServer(Path(home)).discard()
            (Path(home) / "template-made").unlink(missing_ok=True)
        homes.unlink()


if __name__ == "__main__":
    _watch_over(Path(sys.argv[1]))
