"""The home directory: what lies outside the database and outlives it.

vault.json     which vault this is: tenant, events ledger, origin host, public checkpoint keys; no secrets
keys/          the key store; never in the same backup as the database
checkpoints/   the last signed tree heads
db/            the embedded server's passwords and pointer, where there is one
"""

from __future__ import annotations

import getpass
import os
import stat
import sys
import time
from pathlib import Path
from uuid import UUID

import msgspec
import platformdirs

from vault.context import Actor
from vault.core.canonical import is_word
from vault.core.errors import Modified, Unavailable, UsageError
from vault.core.signer import Signers, check, founding


class Identity(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"rotated": "signers"}
):
    """``vault.json``: version 1, and 2 once a checkpoint key was rotated. What verification trusts.

    Attributes:
        signer: public half, in hex, of the checkpoint key that the vault began with. It never changes.
        rotated: ``signers`` in the file: every key there ever was, that one first; empty where it is the only one.
    """

    version: int
    tenant: UUID
    events: UUID
    region: str
    host: str
    signer: str
    rotated: Signers = ()

    @property
    def signers(self) -> Signers:
        """Return every checkpoint key there ever was, oldest first."""
        return self.rotated or founding(self.signer)

    def with_signers(self, signers: Signers) -> Identity:
        """Return the same vault with other checkpoint keys."""
        return msgspec.structs.replace(self, version=2, rotated=signers)


def default_path() -> Path:
    """Return REASONVAULT_HOME, else the user's data directory."""
    named = os.environ.get("REASONVAULT_HOME")
    return Path(named) if named else Path(platformdirs.user_data_dir("reasonvault", appauthor=False))


def prepare(home: Path) -> None:
    """Make the home directory, for its owner alone.

    Raises:
        UsageError: it is open to other users, or not a directory.
        Unavailable: it cannot be made.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(home.stat().st_mode) & 0o077:
            raise UsageError(f"{home} is open to other users: chmod 700 it first")
    except FileExistsError:
        raise UsageError(f"{home} is not a directory") from None
    except OSError as error:
        raise Unavailable(f"cannot make {home}: {error.strerror}") from None


def read_identity(home: Path) -> Identity | None:
    """Return which vault lives here; None when ``init`` was never run.

    Raises:
        UsageError: the file is damaged or from a newer version.
    """
    try:
        data = (home / "vault.json").read_bytes()
        if msgspec.json.decode(data, type=_Versioned).version > 2:
            raise UsageError(f"{home / 'vault.json'} was written by a newer reasonvault: update this installation")
        identity = msgspec.json.decode(data, type=Identity)
        check(identity.signers)
        if identity.version != (2 if identity.rotated else 1) or identity.signers[0].public != identity.signer:
            raise Modified("its parts do not agree")
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, Modified):
        raise UsageError(f"cannot read {home / 'vault.json'}: restore it from a backup of the home directory") from None
    return identity


class _Versioned(msgspec.Struct):
    version: int


class SignerWatch:
    """The checkpoint keys of a home, as of now: ``vault.json`` is read again whenever it was replaced.

    A look costs one ``stat``. So a service or a worker goes on through a rotation that another process makes.
    """

    def __init__(self, home: Path, found: Identity) -> None:
        self._home = home
        self._path = home / "vault.json"
        self._seen: tuple[tuple[int, ...] | None, Signers] = None, found.signers

    def __call__(self) -> Signers:
        """Return them; the same object for as long as they stay the same.

        Raises:
            UsageError: the file is gone or damaged: nothing is signed or believed.
        """
        stamp, signers = self._seen
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise UsageError(f"cannot read {self._path}: {error.strerror}") from None
        now = found.st_mtime_ns, found.st_ino, found.st_size
        if now != stamp:
            read = read_identity(self._home)
            if read is None:
                raise UsageError(f"cannot read {self._path}: it is gone")
            self._seen = now, signers if read.signers == signers else read.signers
        return self._seen[1]


def write_identity(home: Path, identity: Identity) -> None:
    """Write which vault lives here, atomically."""
    path = home / "vault.json"
    temporary = path.with_suffix(".new")
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(msgspec.json.format(msgspec.json.encode(identity)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}") from None


def note_verification(home: Path, verdict: str, depth: str) -> None:
    """Leave what a verification of the whole vault found, and when, for the service's figures; no evidence of it."""
    path = home / "verification.json"
    temporary = path.with_suffix(".new")
    document = {"verdict": verdict, "depth": depth, "at": int(time.time())}
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(msgspec.json.encode(document))
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)  # the verdict stands, whoever could not write it down


def passphrase(*, confirm: bool = False) -> bytes:
    """Return the passphrase from REASONVAULT_PASSPHRASE, REASONVAULT_PASSPHRASE_FILE or the terminal, in that order.

    Raises:
        UsageError: none of them gives one.
    """
    direct, file = os.environ.get("REASONVAULT_PASSPHRASE"), os.environ.get("REASONVAULT_PASSPHRASE_FILE")
    if direct:
        return direct.encode()
    if file:
        try:
            found = Path(file).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise UsageError(f"cannot read REASONVAULT_PASSPHRASE_FILE: {error.strerror}") from None
        if found:
            return found
        raise UsageError("REASONVAULT_PASSPHRASE_FILE is empty")
    if sys.stdin.isatty():
        typed = getpass.getpass("Vault passphrase: ")
        if confirm and typed != getpass.getpass("Again: "):
            raise UsageError("the two passphrases differ")
        if typed:
            return typed.encode()
    raise UsageError(
        "a passphrase is needed: set REASONVAULT_PASSPHRASE_FILE or REASONVAULT_PASSPHRASE, or use a terminal"
    )


def local_actor() -> Actor:
    """Return who holds the passphrase of an embedded vault: one person without a second, so break-glass."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = ""
    return Actor(f"local:{user if user and is_word(user) else os.getuid()}", break_glass=True)
