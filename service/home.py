"""The home directory: what lies outside the database and outlives it.

vault.json     which vault this is: tenant, events ledger, origin host, public checkpoint key; no secrets
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
from vault.core.errors import Unavailable, UsageError


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``vault.json``. ``signer`` is the checkpoint key's public half in hex: the anchor that verification trusts."""

    version: int
    tenant: UUID
    events: UUID
    region: str
    host: str
    signer: str


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
        identity = msgspec.json.decode((home / "vault.json").read_bytes(), type=Identity)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError):
        raise UsageError(f"cannot read {home / 'vault.json'}: restore it from a backup of the home directory") from None
    if identity.version != 1:
        raise UsageError(f"{home / 'vault.json'} was written by a newer reasonvault: update this installation")
    return identity


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
