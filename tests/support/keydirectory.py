"""A key directory for tests: cheap to unlock, with a clock that moves when a test says so."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from vault.keys.keyfile import KeyDirectory
from vault.keys.slots import Argon2Cost

CHEAP = Argon2Cost(memory_kib=8, passes=1, lanes=1)
PASSPHRASE = b"correct horse"
NOW = datetime(2029, 2, 1, tzinfo=UTC)
SECRET = bytes(range(32))


class Clock:
    """Seconds that move when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def reopen(path: Path, passphrase: bytes = PASSPHRASE) -> KeyDirectory:
    return KeyDirectory.open(path, passphrase, clock=Clock())


def generation(path: Path) -> Path:
    (found,) = path.glob("generation-*")
    return found


def destroy(keys: KeyDirectory, ref: str) -> None:
    keys.schedule_destroy(ref, NOW)
    assert keys.destroy_due(NOW) == [ref]
