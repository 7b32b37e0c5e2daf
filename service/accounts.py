"""Local accounts: passwords, hashed by Argon2id, in files of the home directory.

``<home>/accounts/<person>`` holds one PHC string. That the account exists, what it may do and which hash is its own is
an event (vault.people); a file that was exchanged does not match the event's digest, and opens nothing. A new password
comes in three steps:

    1. write its hash to ``<person>.new``
    2. commit the event: from here on the new password counts, and before it the old one
    3. rename ``<person>.new`` to ``<person>``

A crash between 2 and 3 leaves a ``<person>.new`` that the event names, and whoever logs in is let in by it.

One password is tried at a time in a process, since each try takes 64 MiB. A name that does not exist and an account
that is locked take as long as any other.
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
        self._settle(vault, person)  # what an earlier call left behind may be the password that counts
        self._write(person, hashed)
        made = people.add(vault, name, roles, _digest(hashed))
        self._settle(vault, person)
        return made

    def login(self, vault: Vault, name: str, password: str) -> Actor:
        """Return who logs in.

        Raises:
            Denied: whatever is wrong, the answer is the same; the event says what it was.
        """
        person = people.person_id(vault, people.LOCAL, name[:1000])
        locked = people.locked(vault, person)
        hashed = self._hashed(vault, person)
        with _trying:
            right = self._matches(hashed or self._waste(), password) and hashed is not None
        if locked:  # only now: an answer that comes at once would tell that there is such an account
            people.login_failed(vault, person, "locked")
            raise Denied("wrong name or password")
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

    def _hashed(self, vault: Vault, person: str) -> str | None:
        """Return the hash that the events know of; None where there is no account, or its file was exchanged."""
        account = vault.register.standing().people.get(person)
        names = (person, _new(person)) if account is not None else ()
        found = [hashed for hashed in map(self._read, names) if hashed is not None]
        return next((hashed for hashed in found if account is not None and _digest(hashed) == account.verifier), None)

    def _settle(self, vault: Vault, person: str) -> None:
        """Step 3, if the event names what lies there."""
        account, hashed = vault.register.standing().people.get(person), self._read(_new(person))
        if account is not None and hashed is not None and _digest(hashed) == account.verifier:
            try:
                os.replace(self._folder / _new(person), self._folder / person)
            except OSError as error:
                raise Unavailable(f"cannot write below {self._folder}: {error.strerror}") from None

    def _read(self, name: str) -> str | None:
        try:
            return (self._folder / name).read_text("ascii")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            raise Unavailable("cannot read a file of the accounts: check the home directory") from None

    def _write(self, person: str, hashed: str) -> None:
        """Step 1."""
        temporary = self._folder / f".{person}.{os.getpid()}"
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with open(temporary, "w", encoding="ascii", opener=_private) as file:
                file.write(hashed)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._folder / _new(person))
        except OSError as error:
            raise Unavailable(f"cannot write below {self._folder}: {error.strerror}") from None


def _digest(hashed: str) -> str:
    """Return what the event holds: without the file nobody can guess passwords by it, for the salt is in the file."""
    return b64(hashlib.sha256(hashed.encode()).digest())


def _new(person: str) -> str:
    return f"{person}.new"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
