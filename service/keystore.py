"""The key store of a vault as a person handles it: recovery files, and a new root."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from service.wiring import identity, open_vault
from vault import custody, events
from vault.core.errors import UsageError
from vault.keys.keyfile import KeyDirectory
from vault.keys.openbao import OpenBaoKeys


def custodians(home: Path, passphrase: bytes) -> tuple[str, ...]:
    """Return who holds a recovery file of this vault's keys."""
    with KeyDirectory.open(home / "keys", passphrase, clock=time.monotonic) as keys:
        return keys.custodians


def export_recovery(home: Path, passphrase: bytes, file: Path, custodian: str) -> None:
    """Write a recovery file for a named custodian; the event is committed before there is a file.

    Raises:
        UsageError: the file exists, or the custodian's name is no single printable line.
    """
    found = identity(home)
    if file.exists():
        raise UsageError(f"{file} exists: a recovery file never overwrites one")
    with open_vault(home, passphrase) as vault:
        events.record(vault, "recovery.exported", {"tenant": str(found.tenant)}, {"custodian": custodian})
    with KeyDirectory.open(home / "keys", passphrase, clock=time.monotonic) as keys:
        keys.export_recovery(file, custodian)


def use_recovery(home: Path, file: Path, passphrase: bytes) -> None:
    """Open a vault whose passphrase is lost with a recovery file, and give it a new passphrase and a new root."""
    found = identity(home)
    KeyDirectory.open_with_recovery(home / "keys", file, passphrase, clock=time.monotonic).close()
    with open_vault(home, passphrase) as vault:
        events.record(vault, "recovery.used", {"tenant": str(found.tenant)})


def rotate(home: Path, passphrase: bytes) -> list[str]:
    """Give the key directory a new root and OpenBao's keys a new version; return the kinds of what was rotated."""
    with (
        open_vault(home, passphrase) as vault,
        KeyDirectory.open(home / "keys", passphrase, clock=time.monotonic) as keys,
    ):
        rotations: list[tuple[str, Callable[[], int | None]]] = [(keys.name, keys.rotate)]
        if isinstance(vault.provider, OpenBaoKeys):
            rotations.append((vault.provider.name, vault.provider.rotate))
        return custody.rotate(vault, *rotations)
