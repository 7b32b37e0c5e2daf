"""Where the embedded PostgreSQL of a vault's home lives, and as whom it runs.

An ordinary user's server runs as that user, inside the home:

    HOME/db/lock        one command at a time starts or stops the server
    HOME/db/pgpass      the passwords, in libpq's own format, 0600
    HOME/db/data/       the cluster
    HOME/db/run/        the socket, 0700; elsewhere when its path would be too long, see `_socket_folder`

PostgreSQL refuses to run as root, and another user cannot enter a home that is 0700 or lies below such a
folder. So root's servers run as the system user ``reasonvault``, and only lock, passwords and a pointer stay
in the home:

    HOME/db/area                                the pointer: one line, the folder below
    /var/lib/reasonvault/<hash of home>/data/   the cluster
    /var/lib/reasonvault/<hash of home>/run/    the socket
    /var/lib/reasonvault/postgresql/<version>/  the programs, copied once, writable by root only

The pointer keeps a home that was moved with its cluster. What is never used is the user ``nobody``: every
other service that runs as ``nobody`` could read the files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from vault.core.errors import UsageError
from vault.db.pgbinaries import Binaries

PORT = 5432  # only a part of the socket's name: the server never listens on a network
ACCOUNT = "reasonvault"
SHARED = Path("/var/lib/reasonvault")

_POINTER = "area"
_SUBSTITUTE_ACCOUNT = "postgres"
# sun_path holds 108 bytes on Linux and 104 on macOS, the closing NUL included.
_LONGEST_SOCKET_PATH = 103
# What libpq and the server read as part of a name; a comma would begin a second folder, an @ an abstract
# socket.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/+-]*")


@dataclass(frozen=True)
class Location:
    """The places of one home's server. Made by `locate`; nothing in it is promised to exist.

    Attributes:
        folder: ``HOME/db``.
        area: owned by the user who runs the server; holds ``data`` and what belongs to it.
        socket: folder of the Unix socket.
        binaries: the programs that run; for root the copy of the installed ones.
        run_as: system user who runs the server; None is the user who asks.
    """

    folder: Path
    area: Path
    socket: Path
    binaries: Binaries
    run_as: str | None

    @property
    def data(self) -> Path:
        """The data directory. It exists only once its cluster is complete."""
        return self.area / "data"

    @property
    def passwords(self) -> Path:
        """The password file; its twin with ``.new`` belongs to a cluster in the making."""
        return self.folder / "pgpass"

    @property
    def pointer(self) -> Path:
        """Names the area of a home of root's."""
        return self.folder / _POINTER


def locate(home: Path, binaries: Binaries, uid: int, shared: Path = SHARED) -> Location:
    """Compute where the server of ``home`` lives for the user ``uid``; creates nothing.

    Raises:
        UsageError: the cluster there belongs to another user, or to one who does not exist here.
    """
    home = home.resolve()
    folder = home / "db"
    if uid != 0:
        area = folder
        _require_owner(area / "data", uid)
        return Location(folder, area, _socket_folder(area / "run", home, uid), binaries, None)
    if (folder / "data").exists():
        _require_owner(folder / "data", uid)
    pointer = folder / _POINTER
    area = Path(pointer.read_text().strip()) if pointer.exists() else shared / _name_of(home)
    copy = binaries.below(shared / "postgresql")
    return Location(folder, area, area / "run", copy, _owner_name(area) or ACCOUNT)


def own_account() -> str:
    """Return the system user for a new cluster of root's; makes ``reasonvault`` when it does not exist.

    Where no user can be made (no ``useradd``, ``/etc`` read-only) an existing ``postgres`` serves.

    Raises:
        UsageError: there is neither.
    """
    if not _exists(ACCOUNT):
        useradd = shutil.which("useradd", path=f"{os.defpath}:/usr/sbin:/sbin")
        if useradd:
            arguments = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
            shell = "/usr/sbin/nologin"
            subprocess.run([useradd, *arguments, "--shell", shell, ACCOUNT], capture_output=True, check=False)
    for name in (ACCOUNT, _SUBSTITUTE_ACCOUNT):
        if _exists(name):
            return name
    raise UsageError(
        f"PostgreSQL does not run as root, and the system user {ACCOUNT} cannot be made: make it, run as an"
        " ordinary user, or set DATABASE_URL"
    )


def make_private(folder: Path, run_as: str | None) -> None:
    """Make ``folder`` a 0700 folder of the server's user; an existing one of somebody else is refused.

    The check matters in ``/tmp``, where a stranger may have made a folder of that name first.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    account = pwd.getpwnam(run_as) if run_as else None
    owner = account.pw_uid if account else os.geteuid()
    found = folder.lstat()
    is_fresh = account is not None and found.st_uid == os.geteuid()  # just made, or a kill came before the next line
    if not stat.S_ISDIR(found.st_mode) or not (is_fresh or found.st_uid == owner):
        raise UsageError(f"{folder} is not a folder of the user who runs the database: remove it and try again")
    if account and is_fresh:
        os.chown(folder, account.pw_uid, account.pw_gid)
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def _socket_folder(wanted: Path, home: Path, uid: int) -> Path:
    """Return ``wanted``, or a short stand-in below /tmp when a socket in it could not be named.

    The stand-in depends on nothing but home and user, so that every command finds it whatever its
    environment.
    """
    longest = os.fsencode(wanted / f".s.PGSQL.{PORT}")
    if len(longest) <= _LONGEST_SOCKET_PATH and _PLAIN_PATH.fullmatch(str(wanted)):
        return wanted
    return Path("/tmp") / f"reasonvault-{uid}-{_name_of(home)}"  # noqa: S108 (make_private checks whose it is)


def _name_of(home: Path) -> str:
    return hashlib.sha256(os.fsencode(home)).hexdigest()[:16]


def _require_owner(data: Path, uid: int) -> None:
    try:
        owner = data.stat().st_uid
    except OSError:
        return  # not there yet, or not ours to look at: making or locking the folder tells
    if owner != uid:
        raise UsageError(f"the database in {data} belongs to {_name_of_user(owner)}: run the command as that user")


def _owner_name(area: Path) -> str | None:
    """Return the user who owns ``area``: the one who ran the server before runs it again."""
    try:
        owner = area.stat().st_uid
    except FileNotFoundError:
        return None
    if owner == 0:
        return None  # made, but not yet handed over when the command was killed
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        raise UsageError(f"{area} belongs to user id {owner}, who does not exist on this machine") from None


def _name_of_user(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user id {uid}"


def _exists(account: str) -> bool:
    try:
        pwd.getpwnam(account)
    except KeyError:
        return False
    return True
