"""The journal of moved record keys, beside the key store: with it, an older database reads what must still be readable.

A move changes how a record's key is wrapped, and that stands in the database. A dump from before the move knows the old
wrapping only, whose provider key may be destroyed since. So every new wrapping is written here first, and a key is
destroyed only while this is safe. It holds ciphertext and positions: without the provider's keys it opens nothing.

``<home>/rewraps/<ledger uuid>/<number, 8 digits>.journal``, one a run that moved anything, 0600; text, every line ended
by LF, its parts parted by one space, bytes in base64url:

    reasonvault-rewraps/1 <ledger> <number> <last check of the file before, or ->      first line
    g <group> <key reference> <wrapped index key>                                      before the first use of a group
    e <epoch id> <group> <key reference> <writer> <day> <wrapped epoch key>            before the first use of an epoch
    r <position> <epoch id> <wrapped record key> <tag> <tag> <tag>                     a record's place; no tag: -
    s <lines>                                                                          so many lines before are on disk

Each line ends in one part more, its check: the first 12 bytes of SHA-256 over the check before it (nothing for a first
line) and the line without its check. So no line can be changed, left out or brought from another ledger, and only the
end of the last file can be cut off unnoticed. What a power cut leaves is the end of a run that never said ``s`` again:
no row was moved by it, and it is passed over.

``lock`` beside the files is held by whoever moves, destroys or replays: one at a time for each ledger.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID

from vault.core import canonical
from vault.core.errors import Modified, Unavailable
from vault.db.moving import Place
from vault.keys.ring import EpochRow, GroupRow

_TITLE: Final = "reasonvault-rewraps/1"
_CHECK_BYTES: Final = 12
_CHECK_CHARS: Final = 16
_SAID = re.compile(rb"s [0-9]+ [A-Za-z0-9_-]{16}\n")
_NAME = re.compile(r"([0-9]{8})\.journal", re.ASCII)

Line = GroupRow | EpochRow | Place


class Journal:
    """One ledger's, for the one who holds its lock."""

    def __init__(self, directory: Path, ledger: UUID) -> None:
        self._directory = directory
        self._ledger = ledger
        self._file: BinaryIO | None = None
        self._check = b""
        self._unsaid = 0
        self._known: set[str] = set()

    def read(self) -> Iterator[Line]:
        """Yield everything that was ever written here, in order.

        Raises:
            Modified: a file was edited, cut, exchanged or is missing.
            Unavailable: a file cannot be read.
        """
        for reading in self._readings():
            yield from reading.lines()

    def append(self, groups: Sequence[GroupRow], epochs: Sequence[EpochRow], places: Sequence[Place]) -> None:
        """Write places, and the keys that they need. When this returns they are on the disk.

        Raises:
            Unavailable: they are not; nothing may be moved by them.
        """
        lines = [f"s {self._unsaid}"] if self._unsaid else []
        for group in groups:
            lines += self._once(f"g {group.group} {group.key_ref} {canonical.b64(group.index_key)}")
        for one in epochs:
            words = (one.epoch_id, one.group, one.key_ref, one.writer, one.day, canonical.b64(one.wrapped))
            lines += self._once(f"e {' '.join(map(str, words))}")
        lines += [
            f"r {seq} {epoch} {canonical.b64(wrapped)} {_tag(one)} {_tag(two)} {_tag(three)}"
            for seq, epoch, wrapped, one, two, three in places
        ]
        self._write(lines)
        self._unsaid = len(lines)

    def close(self) -> None:
        """Say of the last lines that they are on the disk."""
        if self._file is None:
            return
        try:
            if self._unsaid:
                self._write([f"s {self._unsaid}"])
        finally:
            self._file.close()
            self._file = None

    def _once(self, line: str) -> list[str]:
        if line in self._known:
            return []
        self._known.add(line)
        return [line]

    def _write(self, lines: Sequence[str]) -> None:
        try:
            if self._file is None:
                self._begin()
            assert self._file is not None
            spelled, check = [], self._check
            for line in lines:
                check, text = _checked(check, line)
                spelled.append(text)
            self._file.write(b"".join(spelled))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._check = check
        except OSError as error:
            self._give_up()
            raise Unavailable(
                f"cannot write the re-wrap journal below {self._directory}: {error.strerror}; nothing was moved by it"
            ) from None

    def _give_up(self) -> None:
        """Leave a file that may hold half a line; what comes next goes into another one."""
        file, self._file, self._unsaid = self._file, None, 0
        self._known.clear()
        if file is not None:
            with suppress(OSError):
                file.close()

    def _begin(self) -> None:
        """Begin a file of this run's own: what a crash left at the end of the one before stays where it is."""
        before, number = "-", 0
        for reading in self._readings():
            for _line in reading.lines():
                pass
            before, number = reading.last, number + 1
        path = self._directory / _file_name(number + 1)
        self._file = open(path, "xb", opener=_private)  # noqa: SIM115 - closed by close()
        self._check, first = _checked(b"", f"{_TITLE} {self._ledger} {number + 1} {before}")
        self._file.write(first)
        _sync(self._directory)

    def _readings(self) -> Iterator[_Reading]:
        """Yield each file, to be read to its end before the next is asked for."""
        before = "-"
        for number, path in enumerate(self._paths(), 1):
            if path.name != _file_name(number):
                raise Modified(f"the re-wrap journal {_file_name(number)} is missing", str(self._ledger))
            reading = _Reading(path, self._ledger, number, before)
            yield reading
            before = reading.last

    def _paths(self) -> list[Path]:
        try:
            return sorted(path for path in self._directory.iterdir() if _NAME.fullmatch(path.name))
        except OSError as error:
            raise Unavailable(f"cannot read the re-wrap journal in {self._directory}: {error.strerror}") from None


@contextmanager
def held(root: Path, ledger: UUID) -> Iterator[Journal]:
    """Yield a ledger's journal to the one who moves, destroys or replays.

    Raises:
        Unavailable: somebody else does, or the directory cannot be written.
    """
    with alone(root, ledger, "lock", "moves or destroys keys of") as directory:
        journal = Journal(directory, ledger)
        try:
            yield journal
        finally:
            journal.close()


@contextmanager
def deciding(root: Path, ledger: UUID) -> Iterator[None]:
    """Let one at a time decide which keys of a ledger die, and act on it to the end: disposals, re-keying, replays.

    Raises:
        Unavailable: somebody else does, or the directory cannot be written.
    """
    with alone(root, ledger, "disposal", "disposes of, re-keys or replays"):
        yield


@contextmanager
def alone(root: Path, ledger: UUID, name: str, doing: str) -> Iterator[Path]:
    """Let one at a time do something to a ledger; yield the directory of its journal.

    Args:
        name: of the file that is locked.
        doing: what somebody else does, in words, where it is locked already.

    Raises:
        Unavailable: it is, or the directory cannot be written.
    """
    directory = root / str(ledger)
    try:
        for path in (root, directory):
            if not path.is_dir():
                path.mkdir(mode=0o700, exist_ok=True)
                _sync(path.parent)
        descriptor = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"cannot write the re-wrap journal below {directory}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Unavailable(f"somebody else {doing} ledger {ledger}: wait for their end") from None
        try:
            yield directory
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # by name: forked workers have the descriptor too
    finally:
        os.close(descriptor)


class _Reading:
    """One file being read."""

    def __init__(self, path: Path, ledger: UUID, number: int, before: str) -> None:
        self._path = path
        self._ledger = ledger
        self._first = f"{_TITLE} {ledger} {number} {before}"
        self._check = b""

    @property
    def last(self) -> str:
        """Return the check of the last whole line, as the next file's first line names it."""
        return canonical.b64(self._check) or "-"

    def lines(self) -> Iterator[Line]:
        try:
            with open(self._path, "rb") as file:
                for at, text in enumerate(file):
                    line = self._whole(text)
                    if at == 0 and line not in (None, self._first):
                        raise self._damaged()
                    if line is None:
                        self._end(text, file)
                        return
                    if at and not line.startswith("s "):
                        yield self._parsed(line)
        except OSError as error:
            raise Unavailable(f"cannot read the re-wrap journal {self._path}: {error.strerror}") from None

    def _whole(self, text: bytes) -> str | None:
        """Return a line without its check, None for one that is not what was written in its place."""
        line = text[: -_CHECK_CHARS - 2].decode("ascii", "replace")
        check, spelled = _checked(self._check, line)
        if spelled != text:
            return None
        self._check = check
        return line

    def _end(self, torn: bytes, rest: BinaryIO) -> None:
        """Stop at a line that does not hold: the torn end of a run, unless it or a later one says that what was before
        is on the disk."""
        if _SAID.fullmatch(torn) or any(text.startswith(b"s ") for text in rest):
            raise self._damaged()

    def _parsed(self, line: str) -> Line:
        try:
            match line.split(" "):
                case ["g", group, ref, index_key]:
                    return GroupRow(self._ledger, group, ref, _bytes(index_key))
                case ["e", epoch, group, ref, writer, day, wrapped]:
                    return EpochRow(self._ledger, int(epoch), group, ref, writer, day, _bytes(wrapped))
                case ["r", seq, epoch, wrapped, one, two, three]:
                    tags = (_untag(one), _untag(two), _untag(three))
                    return Place(int(seq), int(epoch), _bytes(wrapped), *tags)
        except ValueError:
            pass
        raise self._damaged()

    def _damaged(self) -> Modified:
        return Modified(f"the re-wrap journal {self._path.name} is not what was written: restore it", str(self._ledger))


def _checked(before: bytes, line: str) -> tuple[bytes, bytes]:
    """Return a line's check, and the line as it is written."""
    content = line.encode("ascii", "replace")
    check = hashlib.sha256(before + content).digest()[:_CHECK_BYTES]
    return check, b"%b %b\n" % (content, canonical.b64_bytes(check))


def _file_name(number: int) -> str:
    return f"{number:08d}.journal"


def _tag(value: int | None) -> str:
    return "-" if value is None else str(value)


def _untag(text: str) -> int | None:
    return None if text == "-" else int(text)


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
