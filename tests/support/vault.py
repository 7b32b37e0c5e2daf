"""A real vault for a test: home directory, keys, checkpoints and a database with entries in it.

One is built for the whole run; a test takes a copy of it, home and database, and does to that what it likes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock
from uuid import UUID

import psycopg
from click.testing import CliRunner, Result
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

import cli
from service import wiring
from tests.support.decisions import decisions
from tests.support.postgres import Database
from vault import audit, intake, ledgers, reading, settling
from vault.context import Vault
from vault.core import packing
from vault.db.pgcluster import USERS
from vault.db.tables import ALL, SCHEMA
from vault.intake import Line
from vault.keys.keyfile import KeyDirectory
from vault.keys.slots import Argon2Cost
from vault.settling import Status
from vault.verdict import Depth, LedgerReport

PASSPHRASE = b"correct horse battery staple"
CHEAP = Argon2Cost(memory_kib=8, passes=1, lanes=1)
REFUSED_LINE = b'{"schema": "reasoning-log/1"}'
RECORDS = {"cn": 181, "sg": 45}
"""The ledgers of a built vault, and how many records each holds."""


@dataclass(frozen=True)
class Installation:
    """A vault where it lives: its home and its database."""

    home: Path
    database: Database

    def environment(self) -> dict[str, str]:
        """Return what a command needs in its environment to find this vault."""
        return {
            "REASONVAULT_HOME": str(self.home),
            "REASONVAULT_PASSPHRASE": PASSPHRASE.decode(),
            "DATABASE_URL": self.database.app_dsn,
            "DATABASE_OWNER_URL": self.database.owner_dsn,
        }

    @contextmanager
    def opened(self) -> Iterator[Vault]:
        """Open it with its keys."""
        with ExitStack() as stack:
            # Only while opening: the fixtures read DATABASE_URL too, and mean another server by it.
            with mock.patch.dict(os.environ, self.environment()):
                vault = stack.enter_context(wiring.open_vault(self.home, PASSPHRASE))
            yield vault

    @contextmanager
    def retaining(self) -> Iterator[Vault]:
        """Open it with its keys, in the role that closes groups, moves records and deletes what dead keys leave."""
        with ExitStack() as stack:
            with mock.patch.dict(os.environ, self.environment()):
                vault = stack.enter_context(wiring.open_for_retention(self.home, PASSPHRASE))
            yield vault

    def initialise(self) -> bool:
        """Run what ``reasonvault init`` runs, with a passphrase that costs nothing to try."""
        with mock.patch.dict(os.environ, self.environment()):
            return wiring.initialise(self.home, PASSPHRASE)

    def audit(self, depth: Depth = Depth.ENVELOPES, only: str | None = None) -> list[LedgerReport]:
        """Verify it the way the command line does: without keys unless the depth needs them."""
        if depth is Depth.OPEN:
            with self.opened() as vault:
                return audit.audit(vault.engine, vault.checkpoints, vault.events, depth, ring=vault.ring, only=only)
        with ExitStack() as stack:
            with mock.patch.dict(os.environ, self.environment()):
                sealed = stack.enter_context(wiring.open_sealed(self.home))
            return audit.audit(sealed.engine, sealed.checkpoints, sealed.identity.events, depth, only=only)

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> Result:
        """Run a command of the command line in this process."""
        return CliRunner().invoke(cli.main, list(arguments), env=environment or self.environment())

    def ingest(self, ledger: str, lines: list[Line], producer: str = "psp-1") -> list[settling.Result]:
        """Take lines in, in one process, and return their fates."""
        with self.opened() as vault:
            batches = intake.ingest(vault, ledgers.get(vault, ledger), lines, producer, processes=1)
            return [result for batch in batches for result in batch.results]

    def ledger(self, name: str) -> UUID:
        """Return a ledger's uuid, as the database says."""
        with psycopg.connect(self.database.superuser_dsn) as connection:
            row = connection.execute("SELECT ledger_id FROM vault.ledger WHERE name = %s", [name]).fetchone()
        assert row is not None
        found = row[0]
        assert isinstance(found, UUID)
        return found

    def size(self, name: str) -> int:
        """Return how many leaves a ledger's head counts."""
        with psycopg.connect(self.database.superuser_dsn) as connection:
            row = connection.execute(
                "SELECT size FROM vault.head JOIN vault.ledger USING (ledger_id) WHERE name = %s", [name]
            ).fetchone()
        assert row is not None
        return int(row[0])

    def checkpoints(self, name: str) -> Path:
        """Return the directory that holds a ledger's checkpoint and announced heads."""
        return self.home / "checkpoints" / str(self.ledger(name))

    def everything_stored(self) -> str:
        """Return every row of every table as PostgreSQL prints it, and every leaf unpacked."""
        with psycopg.connect(self.database.superuser_dsn) as connection:
            rows = [
                row[0] for table in ALL for row in connection.execute(f"SELECT t::text FROM {SCHEMA}.{table.name} t")
            ]
            leaves = [packing.unpack(row[0]).decode() for row in connection.execute("SELECT leaf FROM vault.entry")]
        return "\n".join(rows + leaves)

    @contextmanager
    def tampering(self) -> Iterator[psycopg.Connection]:
        """Yield the connection of somebody who owns the server: no grant, trigger or foreign key stops it."""
        with psycopg.connect(self.database.superuser_dsn) as connection:
            connection.execute("SET session_replication_role = replica")
            yield connection

    @contextmanager
    def copied(self, home: Path) -> Iterator[Installation]:
        """Yield a copy, home and database, that is dropped in the end. Nobody may be connected to the original."""
        shutil.copytree(self.home, home)
        with self.dumped() as database:
            yield Installation(home, database)

    @contextmanager
    def dumped(self) -> Iterator[Database]:
        """Yield a copy of the database alone: a dump of this moment, restored on the same server."""
        name = f"test_{secrets.token_hex(6)}"
        server = make_conninfo(self.database.superuser_dsn, dbname="postgres")
        parts = SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY FILE_COPY")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(
                parts.format(Identifier(name), Identifier(self.database.name), Identifier(USERS["owner"]))
            )
            try:
                dsns = (self.database.owner_dsn, self.database.app_dsn, self.database.superuser_dsn)
                yield Database(name, *(make_conninfo(dsn, dbname=name) for dsn in dsns))
            finally:
                connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def remember(self) -> None:
        """Keep a copy of every row and of the home, for ``restore``."""
        shutil.copytree(self.home, _remembered(self.home))
        with self.tampering() as connection:
            connection.execute("CREATE SCHEMA remembered")
            for table in ALL:
                connection.execute(f"CREATE TABLE remembered.{table.name} AS TABLE {SCHEMA}.{table.name}")

    def restore(self) -> None:
        """Undo every change of rows and home since ``remember``."""
        shutil.rmtree(self.home)
        shutil.copytree(_remembered(self.home), self.home)
        with self.tampering() as connection:
            connection.execute(f"TRUNCATE {', '.join(f'{SCHEMA}.{table.name}' for table in ALL)}")
            for table in ALL:
                connection.execute(f"INSERT INTO {SCHEMA}.{table.name} TABLE remembered.{table.name}")


def prepare(home: Path, database: Database) -> Installation:
    """Return a vault that ``initialise`` has still to make, but for its key directory, which opens cheaply."""
    home.mkdir(mode=0o700)
    KeyDirectory.create(home / "keys", PASSPHRASE, clock=time.monotonic, cost=CHEAP).close()
    return Installation(home, database)


def build(home: Path, database: Database) -> Installation:
    """Make a vault with two ledgers, some hundred records, and events with and without details among them."""
    made = prepare(home, database)
    made.initialise()
    with made.opened() as vault:
        for name, count in RECORDS.items():
            ledger = ledgers.create(vault, name, (name.upper(),), ())
            lines = [*decisions(count), (count + 1, REFUSED_LINE)]
            # In three commits, so that there are older checkpoints to go back to.
            for part in (lines[:50], lines[50:120], lines[120:]):
                for batch in intake.ingest(vault, ledger, part, "psp-1", processes=1):
                    assert {result.status for result in batch.results} <= {Status.ACCEPTED, Status.REFUSED}
        reading.read(vault, ledgers.get(vault, "cn"), "dec-3", "a test looks at it")
    return made


def _remembered(home: Path) -> Path:
    return home.with_name(f"{home.name}.remembered")
