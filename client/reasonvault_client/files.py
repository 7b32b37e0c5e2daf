"""Small files that must be whole or absent, their owner's alone, and on disk before anybody relies on them."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def beside(folder: Path, suffix: str) -> Path:
    """Return ``<folder><suffix>``: what belongs to a spool and must outlive or not travel with it."""
    return folder.with_name(folder.name + suffix)


def sync_folder(folder: Path) -> None:
    """Put names on disk: of files created, renamed or deleted in this folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and put its bytes on disk. Its name is not yet; see ``sync_folder``."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, PRIVATE_FILE)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; one write may take fewer."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def replace(path: Path, data: bytes) -> None:
    """Put a whole file in place of another, or of none."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_synced(draft, data)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def create_once(path: Path, data: bytes) -> bytes:
    """Create a file unless it is there, and return what it holds: of several processes, the first one wins."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        write_synced(draft, data)
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
    return path.read_bytes()
