"""Local accounts: passwords, hashed by Argon2id, in files of the home directory.

``<home>/accounts/<person>`` holds one PHC string. That the account exists, what it may do and which hash is its own is
an event (vault.people); a file that was exchanged does not match the event's digest, and opens nothing. One password
is tried at a time in a process, since each try takes 64 MiB, and a name that does not exist takes as long as one that
does.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from vault import people
from vault.context import Actor, Vault
from vault.core.canonical import b64
from vault.core.errors import Denied, Unavailable, UsageError
from vault.core.standing import Person

MIN_PASSWORD: Final = 12
MAX_PASSWORD: Final = 1024

_trying = threading.Lock()


class Accounts:
    """The password files of one home.

    Args:
        hasher: Argon2id at the library's default price (RFC 9106, low memory); tests take a cheap one.
    """

    def __init__(self, home: Path, hasher: PasswordHasher | None = None) -> None:
        self._folder = home / "accounts"
        self._hasher = hasher or PasswordHasher()
        self._decoy: str | None = None

    def add(self, vault: Vault, name: str, roles: tuple[str, ...], password: str) -> Person:
        """Make an account, or give one another password and other roles.

        Raises:
            UsageError: the password is too short, or the name or a role cannot be.
        """
        if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
            raise UsageError(f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters")
        people.check(vault, name, roles)
        hashed = self._hasher.hash(password)
        person = people.person_id(vault, people.LOCAL, name)
        # The file first: an event without its file would lock an account out, a file without its event opens nothing.
        self._write(person, hashed)
        return people.add(vault, name, roles, _digest(hashed))

    def login(self, vault: Vault, name: str, password: str) -> Actor:
        """Return who logs in.

        Raises:
            Denied: whatever is wrong, the answer is the same; the event says what it was.
        """
        person = people.person_id(vault, people.LOCAL, name[:1000])
        if people.locked(vault, person):
            people.login_failed(vault, person, "locked")
            raise Denied("wrong name or password")
        hashed = self._read(person)
        with _trying:
            right = self._matches(hashed or self._waste(), password) and hashed is not None
        if not right or hashed is None:
            people.login_failed(vault, person, "password")
            raise Denied("wrong name or password")
        account = people.login_succeeded(vault, person, _digest(hashed))
        return Actor(person, break_glass=False, roles=account.roles, generation=account.generation)

    def _matches(self, hashed: str, password: str) -> bool:
        if len(password) > MAX_PASSWORD:
            return False
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    def _waste(self) -> str:
        """A hash that no password fits, so that a name that is not there takes as long as one that is."""
        if self._decoy is None:
            self._decoy = self._hasher.hash(secrets.token_hex(16))
        return self._decoy

    def _read(self, person: str) -> str | None:
        try:
            return (self._folder / person).read_text("ascii")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            raise Unavailable("cannot read a file of the accounts: check the home directory") from None

    def _write(self, person: str, hashed: str) -> None:
        temporary = self._folder / f".{person}.{os.getpid()}"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with open(temporary, "w", encoding="ascii", opener=_private) as file:
                file.write(hashed)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._folder / person)
        except OSError as error:
            raise Unavailable(f"cannot write below {self._folder}: {error.strerror}") from None


def _digest(hashed: str) -> str:
    """Return what the event holds: without the file nobody can guess passwords by it, for the salt is in the file."""
    return b64(hashlib.sha256(hashed.encode()).digest())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
