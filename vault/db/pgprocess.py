"""The server's process: ask whether it answers, start it, stop it, clear away what a killed one left.

Nothing here takes the home's lock; `vault.db.embedded` does.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path

from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from vault.core.errors import Unavailable
from vault.db import pgcluster
from vault.db.location import PORT, Location

# Seconds. Recovery after a crash replays at most max_wal_size; this is generous for a slow disk.
TIMEOUT = 120

# Part of the reason for a failed start: backends of a killed server still end.
ORPHANS = "pre-existing shared memory block"


def ping(place: Location) -> Ping:
    """Ask whether a server answers at the socket: OK, REJECT (starting or stopping) or NO_RESPONSE.

    Nobody logs in. The empty password keeps libpq from trying ``PGPASSWORD``, which the server would log as a
    failed login.
    """
    target = make_conninfo(
        host=str(place.socket),
        port=PORT,
        dbname="postgres",
        user="postgres",
        password="",
        hostaddr="",
        connect_timeout=5,
    )
    return Ping(PGconn.ping(target.encode()))


def start(place: Location, durable: bool) -> str | None:
    """Start the server, detached from this process, and wait until it answers; return why it did not."""
    _clear_stale_locks(place)
    settings = pgcluster.PROMISES | {"unix_socket_directories": str(place.socket)}
    if not durable:
        settings |= pgcluster.FORGETFUL
    # pg_ctl hands this line to a shell.
    options = shlex.join(part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
    log = place.area / "start.log"
    log.unlink(missing_ok=True)
    started = time.time()
    if _pg_ctl(place, "start", "--log=start.log", f"--options={options}"):
        return None
    # Up to the moment when it opens its own log in data/log, the server writes to start.log.
    own = [path for path in place.data.glob("log/*.log") if path.stat().st_mtime >= started - 1]
    return pgcluster.reason("\n".join(_text(path) for path in [log, *own]))


def stop(place: Location, mode: str) -> None:
    """Stop the server and wait until it is down; does nothing where none runs.

    Raises:
        Unavailable: it did not stop in time.
    """
    if pid_of(place.data) is None:
        return
    if not _pg_ctl(place, "stop", f"--mode={mode}") and ping(place) is not Ping.NO_RESPONSE:
        raise Unavailable("PostgreSQL did not stop in time: try again, or with mode immediate")


def pid_of(data: Path) -> int | None:
    """Return the process id in the data directory's lock file; whether that process lives is not checked."""
    match = re.match(r"\d+", _text(data / "postmaster.pid"))
    return int(match.group()) if match else None


def major_of(data: Path) -> str | None:
    """Return the major version that wrote the data directory, such as ``18``; None when it does not say."""
    return _text(data / "PG_VERSION").strip() or None


def _pg_ctl(place: Location, verb: str, *arguments: str) -> bool:
    done = place.binaries.run(
        "pg_ctl",
        verb,
        "--silent",
        "--wait",
        f"--timeout={TIMEOUT}",
        *arguments,
        cwd=place.area,
        run_as=place.run_as,
        data=place.data,
    )
    return done.returncode == 0


def _clear_stale_locks(place: Location) -> None:
    """Remove the lock files of a server that is dead though its process id is not free.

    PostgreSQL clears its lock files by itself unless some process of its user has that number: after a power
    cut any program may, and in a container whose first process reaps nobody the dead server itself stays a
    zombie. A living server works in its data directory. Where the system does not tell (no /proc),
    PostgreSQL's word stands. Should backends of the dead server still live, their shared memory keeps a new
    one from starting.
    """
    pid = pid_of(place.data)
    if pid is None or not Path("/proc/self").exists():
        return
    try:
        working_folder = os.readlink(f"/proc/{pid}/cwd")
    except FileNotFoundError:
        working_folder = ""  # no such process, or a zombie
    except OSError:
        return
    if working_folder != str(place.data.resolve()):
        (place.data / "postmaster.pid").unlink(missing_ok=True)
        (place.socket / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
