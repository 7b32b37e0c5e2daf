"""Files from outside: where they lie, read and written whole; unverified. ``vault.outside`` says what they are."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final
from uuid import UUID

from vault.checkpoints import Checkpoints
from vault.core.checkpoint import MAX_SIZE
from vault.core.errors import Unavailable
from vault.durable import make_directory, replace
from vault.keys import disk

_DIGITS: Final = 20
_MOST_BYTES: Final = 1_000_000
_TICK_NS: Final = 2_000_000_000


def keep(checkpoints: Checkpoints, ledger: UUID, size: int, suffix: str, data: bytes) -> None:
    """Keep one file, whole or not at all, on the disk before this returns.

    Raises:
        Unavailable: it cannot be written.
    """
    folder = checkpoints.outside(ledger)
    if not folder.is_dir():
        make_directory(folder)
    if suffix == "tsr":
        disk.write_file(_file(folder, size, suffix), data)
    else:
        replace(_file(folder, size, suffix), data.decode())


def load(checkpoints: Checkpoints, ledger: UUID, size: int, suffix: str) -> bytes | None:
    """Return one file's bytes; None where there is none. Raises ``Unavailable``."""
    return _bytes(_file(checkpoints.outside(ledger), size, suffix))


def read_note(checkpoints: Checkpoints, ledger: UUID, size: int) -> str | None:
    """Return the checkpoint that is kept for a size, as it lies there; None where there is none."""
    data = load(checkpoints, ledger, size, "note")
    return None if data is None else data.decode("utf-8", "replace")


def is_kept(checkpoints: Checkpoints, ledger: UUID, size: int, suffix: str) -> bool:
    """Say whether a file is there; unverified."""
    return _file(checkpoints.outside(ledger), size, suffix).exists()


def changed(checkpoints: Checkpoints, ledger: UUID) -> int:
    """Return another number whenever a file was added, replaced or removed; 0 before there are any."""
    try:
        return checkpoints.outside(ledger).stat().st_mtime_ns
    except OSError:
        return 0


def sizes(checkpoints: Checkpoints, ledger: UUID, suffix: str = "") -> Sequence[int]:
    """Return for which sizes something is kept, ascending; unverified."""
    folder = checkpoints.outside(ledger)
    try:
        moved = folder.stat().st_mtime_ns
        # Years of rounds are many names. A directory that just changed may do so again within a tick of its clock.
        quiet = time.time_ns() - moved > _TICK_NS
        found = _remembered(folder, moved) if quiet else _listed(folder)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise Unavailable(f"cannot read what witnesses said: {error.strerror}; check the home directory") from None
    return found[suffix]


@lru_cache(maxsize=4)
def _remembered(folder: Path, _moved: int) -> dict[str, array[int]]:
    return _listed(folder)


def _listed(folder: Path) -> dict[str, array[int]]:
    found: dict[str, set[int]] = {"note": set(), "tsr": set()}
    for name in os.listdir(folder):
        stem, _, suffix = name.partition(".")
        if suffix in found and _is_size(stem):
            found[suffix].add(int(stem))
    found[""] = found["note"] | found["tsr"]
    return {suffix: array("Q", sorted(sizes)) for suffix, sizes in found.items()}


def _is_size(stem: str) -> bool:
    return len(stem) == _DIGITS and stem.isascii() and stem.isdigit() and int(stem) <= MAX_SIZE


def _file(folder: Path, size: int, suffix: str) -> Path:
    return folder / f"{size:0{_DIGITS}d}.{suffix}"


def _bytes(path: Path) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(_MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"cannot read {path.name}: {error.strerror}; check the home directory") from None
