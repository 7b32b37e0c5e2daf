"""The embedded PostgreSQL: a server of one home's own, for a laptop, a test or a first try.

    server = EmbeddedServer(home)
    server.ensure_running()
    psycopg.connect(server.dsn("app"))

It listens on a Unix socket in a 0700 folder and nowhere else, asks for passwords (SCRAM), checks its pages,
and goes on after the command that started it has ended: starting takes a tenth of a second, but recovery
after every command would not. Where things live, and as whom the server runs when the user is root:
`vault.db.location`. How its cluster is made: `vault.db.pgcluster`. Production sets ``DATABASE_URL`` instead;
this server has no backups, no replica and no monitoring.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import Ping

from vault.core.errors import Unavailable, UsageError
from vault.db import location, pgbinaries, pgcluster, pgprocess
from vault.db.location import PORT, Location
from vault.db.pgcluster import DATABASE, USERS, Role

# After kill -9 of the server its last backends hold the shared memory for a moment.
_ORPHANS_TIMEOUT = 15


@dataclass(frozen=True)
class Status:
    """What `EmbeddedServer.status` found.

    Attributes:
        running: the server answers.
        pid: process id of the server; None when it does not run.
        version: PostgreSQL's version, such as ``18.6``; only the major one when it does not run, None before
            it exists.
        data, socket: the data directory and the socket's folder.
        port: part of the socket's name only.
    """

    running: bool
    pid: int | None
    version: str | None
    data: Path
    socket: Path
    port: int


class EmbeddedServer:
    """The server of the vault's home ``home``.

    Args:
        home: need not exist; ``home/db`` is the server's.
        production: refuse to work at all, since a production vault names its database in ``DATABASE_URL``.
        durable: False trades durability for speed and is for tests only.
    """

    def __init__(self, home: Path, *, production: bool = False, durable: bool = True) -> None:
        self._home = home
        self._production = production
        self._durable = durable

    @cached_property
    def _binaries(self) -> pgbinaries.Binaries:
        return pgbinaries.find()

    @property
    def location(self) -> Location:
        """Where this server lives.

        Raises:
            UsageError: the extra ``[embedded]`` is not installed, or the database belongs to another user.
        """
        return location.locate(self._home, self._binaries, os.geteuid())

    def ensure_running(self) -> None:
        """Make the cluster when there is none, start the server when it is down, return once it answers.

        Idempotent; commands that call it at the same time wait for each other.

        Raises:
            UsageError: in production, without the extra, or when the cluster is not one this server can run.
            Unavailable: the server does not start; the message ends with its own reason.
        """
        self._refuse_production()
        if self._answers():
            return
        with self._locked():
            self._prepare()
            self._start()

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server and return when it is down; a server that is not running is left as it is.

        Args:
            mode: ``smart`` waits for clients to leave, ``fast`` ends their transactions, ``immediate`` is a
                crash.

        Raises:
            Unavailable: it did not stop in time.
        """
        place = self.location
        if not place.data.exists():
            return
        with self._locked():
            pgprocess.stop(place, mode)

    def status(self) -> Status:
        """Look whether the server runs; starts nothing and waits for nothing."""
        place = self.location
        running = self._answers()
        return Status(
            running=running,
            pid=pgprocess.pid_of(place.data) if running else None,
            version=self._server_version() if running else pgprocess.major_of(place.data),
            data=place.data,
            socket=place.socket,
            port=PORT,
        )

    def dsn(self, role: Role, database: str = DATABASE) -> str:
        """Return a libpq connection string for ``role``; it holds no secret and may be printed.

        The password stays in ``HOME/db/pgpass`` (0600), which libpq reads by itself. The empty ``password``
        and ``hostaddr`` keep ``PGPASSWORD`` and ``PGHOSTADDR`` of the environment out.
        """
        self._refuse_production()
        place = self.location
        return make_conninfo(
            host=str(place.socket),
            port=PORT,
            dbname=database,
            user=USERS[role],
            passfile=str(place.passwords),
            password="",
            hostaddr="",
        )

    def discard(self) -> None:
        """Stop the server and delete its cluster, data and passwords, for good; for demos and tests."""
        place = self.location
        if not (place.folder.exists() or place.area.exists()):
            return
        with self._locked():
            if place.data.exists():
                pgprocess.stop(place, "immediate")
            for path in (place.data, place.area / "new", place.socket):
                shutil.rmtree(path, ignore_errors=True)
            if place.area != place.folder:
                shutil.rmtree(place.area, ignore_errors=True)
            for file in (place.passwords, place.pointer):
                file.unlink(missing_ok=True)

    def _refuse_production(self) -> None:
        if self._production:
            raise UsageError("production mode needs DATABASE_URL: the embedded PostgreSQL is not for production")

    def _answers(self) -> bool:
        """Tell whether this home's server answers; without passwords it is that of a home since removed."""
        return self.location.passwords.exists() and self._ping() is Ping.OK

    def _ping(self) -> Ping:
        """Ask whether a server answers at the socket; logs in as nobody and needs no password."""
        place = self.location
        if not place.socket.exists():
            return Ping.NO_RESPONSE
        if place.run_as is None:
            location.make_private(place.socket, None)  # a stand-in below /tmp could be a stranger's trap
        return pgprocess.ping(place)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one command at a time work on this home's server; the lock ends with its process."""
        folder = self.location.folder
        with _disk_errors_told(folder):
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            with _flock(folder / "lock"):
                yield

    def _prepare(self) -> None:
        """Make sure of a complete cluster of the right version, and of the folder for its socket."""
        place = self.location
        if place.area != place.folder:
            self._prepare_for_another_user()
            place = self.location
        if not pgcluster.is_complete(place):
            pgcluster.make(place, self._durable)
        pgcluster.require_same_major(place)
        location.make_private(place.socket, place.run_as)

    def _prepare_for_another_user(self) -> None:
        """As root: have the user, the programs and the area for a server that is not root's."""
        place = self.location
        shared = location.SHARED
        shared.mkdir(parents=True, exist_ok=True)
        shared.chmod(0o755)
        with _flock(shared / "lock"):
            programs = shared / "postgresql"
            programs.mkdir(exist_ok=True)
            programs.chmod(0o755)
            self._binaries.copy_below(programs)
            if pgcluster.is_orphan(place):
                pgprocess.stop(place, "fast")
                pgcluster.set_aside(place)
            if not place.data.exists():
                location.make_private(place.area, location.own_account())

    def _start(self) -> None:
        """Start the server and wait until it answers, also when it is on its way up or down already."""
        place = self.location
        deadline = time.monotonic() + pgprocess.TIMEOUT
        orphans_deadline = time.monotonic() + _ORPHANS_TIMEOUT
        while (ping := self._ping()) is not Ping.OK:
            if time.monotonic() > deadline:
                raise Unavailable("PostgreSQL did not answer in time; it may still be recovering: try again later")
            if ping is Ping.REJECT:
                time.sleep(0.05)
                continue
            failure = pgprocess.start(place, self._durable)
            if failure is None:
                continue
            if pgprocess.ORPHANS not in failure or time.monotonic() > orphans_deadline:
                raise Unavailable(f"PostgreSQL did not start: {failure}")
            time.sleep(0.1)

    def _server_version(self) -> str | None:
        try:
            with psycopg.connect(self.dsn("superuser", "postgres"), connect_timeout=5) as connection:
                number = connection.info.server_version
        except psycopg.Error:
            return pgprocess.major_of(self.location.data)
        return f"{number // 10000}.{number % 10000}"


@contextlib.contextmanager
def _flock(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _disk_errors_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"the embedded database below {folder} cannot be used: {error.strerror}") from error
