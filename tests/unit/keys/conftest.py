"""Fixtures of the key directory's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.keydirectory import CHEAP, PASSPHRASE, Clock
from vault.keys.keyfile import KeyDirectory


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def keys(path: Path, clock: Clock) -> KeyDirectory:
    return KeyDirectory.create(path, PASSPHRASE, clock=clock, cost=CHEAP)
