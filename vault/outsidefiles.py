"""Files from outside: where they lie, read and written whole; unverified. ``vault.outside`` says what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from uuid import UUID

from vault.checkpoints import Checkpoints
from vault.core.errors import Unavailable
from vault.durable import make_directory, replace
from vault.keys import disk

_DIGITS: Final = 20
_MOST_BYTES: Final = 1_000_000


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


def sizes(checkpoints: Checkpoints, ledger: UUID, suffix: str = "") -> list[int]:
    """Return for which sizes something is kept, ascending; unverified."""
    try:
        names = [path.name for path in checkpoints.outside(ledger).iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Unavailable(f"cannot read what witnesses said: {error.strerror}; check the home directory") from None
    wanted = {suffix} if suffix else {"note", "tsr"}
    found = {int(stem) for stem, _, end in (name.partition(".") for name in names) if end in wanted and _is_size(stem)}
    return sorted(found)


def _is_size(stem: str) -> bool:
    return len(stem) == _DIGITS and stem.isascii() and stem.isdigit()


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
