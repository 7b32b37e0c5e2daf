"""Durable: files outside the database that a crash leaves whole."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from vault.core.errors import Unavailable


def make_directory(path: Path) -> None:
    """Make a directory for its owner alone, and those above it. Raises Unavailable."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise Unavailable(f"cannot write below {path.parent}: {error.strerror}") from None


def replace(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a file so that a crash leaves the old one or the new one, never half of either. Raises Unavailable.

    Args:
        durable: whether it must outlive a power cut.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with open(temporary, "w", encoding="utf-8", opener=_private) as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            _sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise Unavailable(f"cannot write {path.name} of a ledger: {error.strerror}; appends stop") from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
