"""Private files: what the key directory asks of the file system, and the only place that asks.

A file appears whole or not at all: written beside its name, fsynced, renamed, and the directory fsynced.
Files are 0600 and directories 0700; anything that others can read is refused with the ``chmod`` that repairs
it. Every error of the operating system becomes ``KeyUnavailable``, since an operator can repair it and
nothing was lost.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vault.core.errors import KeyUnavailable

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
_OTHERS = 0o077

Mark = tuple[int, int, int, int, int]  # device, inode, mtime, ctime, size: another mark means another file


class Absent(KeyUnavailable):
    """No such file or directory. Its own type because a rename by another process may explain it."""


@contextmanager
def reaching(path: Path) -> Iterator[None]:
    """Translate the operating system's errors; the line names the path and the system's reason."""
    try:
        yield
    except FileNotFoundError as error:
        raise Absent(f"key store: {path} is missing") from error
    except OSError as error:
        raise KeyUnavailable(f"key store: {path}: {error.strerror or error}") from error


def mark(path: Path) -> Mark:
    """What tells this file from the one that replaces it by rename."""
    with reaching(path):
        return _mark(os.stat(path, follow_symlinks=False))


def read_file(path: Path, limit: int, *, private: bool = True) -> tuple[bytes, Mark]:
    """The whole file, at most ``limit`` bytes, and the mark of exactly what was read.

    With ``private=False`` its mode is not checked: some file systems, such as a stick's, know no modes.

    Raises:
        Absent: no such file.
        KeyUnavailable: unreadable, no regular file, readable by others, or larger than ``limit``.
    """
    with reaching(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise KeyUnavailable(f"key store: {path} is no regular file")
            if private:
                _refuse_readable_by_others(path, found, FILE_MODE)
            if found.st_size > limit:
                raise KeyUnavailable(f"key store: {path} has {found.st_size} bytes, more than {limit}")
            chunks = []
            while chunk := os.read(descriptor, limit + 1):
                chunks.append(chunk)
        finally:
            os.close(descriptor)
    return b"".join(chunks), _mark(found)


def check_directory(path: Path) -> None:
    """Raises ``Absent``, or ``KeyUnavailable`` where ``path`` is no directory or open to others."""
    with reaching(path):
        found = os.stat(path, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        raise KeyUnavailable(f"key store: {path} is no directory")
    _refuse_readable_by_others(path, found, DIRECTORY_MODE)


def exists(path: Path) -> bool:
    """Whether something has this name. An unreachable directory raises; it is not the same as absence."""
    try:
        mark(path)
    except Absent:
        return False
    return True


def names(directory: Path) -> list[str]:
    with reaching(directory):
        return sorted(os.listdir(directory))


def make_directory(path: Path) -> None:
    """A new 0700 directory, durable in its parent."""
    with reaching(path):
        os.mkdir(path, DIRECTORY_MODE)
    sync_directory(path.parent)


def write_file(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Create or replace ``path`` as a whole.

    A crash leaves the old file or the new one, and perhaps ``.<name>.tmp``, which the next write overwrites.
    With ``sync=False`` the name itself is durable only after ``sync_directory``.
    """
    beside = path.parent / f".{path.name}.tmp"
    with reaching(path):
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            os.fchmod(descriptor, FILE_MODE)
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(beside, path)
    if sync:
        sync_directory(path.parent)


def write_new_file(path: Path, data: bytes) -> None:
    """Create ``path`` for a person to carry away. A file that is already there is never overwritten."""
    with reaching(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    with reaching(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def destroy_directory(path: Path) -> None:
    """Overwrite and remove every file in ``path``, then ``path``. Nothing happens where it is gone already.

    Overwriting is best effort: a journal, a snapshot, a flash translation layer or a backup may keep old
    blocks.
    """
    if not exists(path):
        return
    for name in names(path):
        _destroy_file(path / name)
    with reaching(path):
        os.rmdir(path)
    sync_directory(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the one writer's lock of this host. Waits for another writer; a dead one holds nothing.

    The lock is released by name, not by closing, so a child forked meanwhile does not keep it alive.
    """
    with reaching(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        with reaching(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _destroy_file(path: Path) -> None:
    with reaching(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _write_all(descriptor, bytes(os.fstat(descriptor).st_size))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.unlink(path)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _refuse_readable_by_others(path: Path, found: os.stat_result, mode: int) -> None:
    if found.st_mode & _OTHERS:
        raise KeyUnavailable(
            f"key store: {path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}): chmod {mode:o} {path}"
        )


def _mark(found: os.stat_result) -> Mark:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
