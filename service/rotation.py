"""Rotation: what rotating a checkpoint key needs of a home: key store, ``vault.json``, and nobody else at it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service import home as homes
from service import wiring
from vault.context import Vault
from vault.core.errors import Unavailable
from vault.core.signer import Signers
from vault.keys.keyfile import KeyDirectory
from vault.rotating import Keeper


@contextmanager
def opened(home: Path, passphrase: bytes) -> Iterator[tuple[Vault, Keeper]]:
    """Open a vault to rotate its checkpoint key; raises as ``wiring.open_vault`` does.

    Raises:
        Unavailable: somebody rotates at this moment.
    """

    def keep(signers: Signers) -> None:
        homes.write_identity(home, wiring.identity(home).with_signers(signers))

    with (
        _alone(home),
        wiring.open_vault(home, passphrase) as vault,
        KeyDirectory.open(home / "keys", passphrase, clock=time.monotonic) as keys,
    ):
        yield vault, Keeper(keys.create_signing_key, keep)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    wiring.identity(home)
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Unavailable("somebody rotates a key at this moment: wait until it is done") from None
    finally:
        os.close(descriptor)
