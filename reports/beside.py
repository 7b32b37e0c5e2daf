"""Beside: a file is made in a private directory beside its place, and renamed into it once it may be handed out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vault.core.errors import Unavailable, UsageError


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """A directory beside the file: on the same file system, and as private as nothing beside it need be."""
    if out.is_dir():
        raise UsageError(f"{out} is a directory: name a file for the report")
    if out.exists() and not out.is_file():  # a device, too, would be replaced
        raise UsageError(f"{out} is no file: name one for the report")
    try:
        place = tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.absolute().parent)
    except OSError as error:
        raise UsageError(f"cannot write a report to {out}: {error.strerror}") from None
    try:
        with place as workdir:
            yield Path(workdir)
    except OSError as error:
        raise Unavailable(f"cannot write the report: {error.strerror or error}") from None


def put(made: Path, out: Path) -> None:
    """Rename a finished file into its place, durably."""
    os.replace(made, out)
    _sync(out.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
