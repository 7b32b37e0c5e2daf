"""Checkpoints outside the database: the memory that a restored or rewritten database cannot take back.

Below ``<home>/checkpoints/<ledger uuid>/``:

    checkpoint  the last signed tree head, a C2SP note, as a stranger's tool reads it
    pending     heads that a commit of ours was about to reach, signed; the one that stands is always among them
    standing    what the events said up to one of their positions, signed; saves reading them all, and may be missing

Order around every commit, under the head's row lock up to step 3:

    1. compare: the database's head must be the checkpoint's tree, or one that ``pending`` announced; else FORKED
    2. announce: write the head this transaction will reach to ``pending``, fsync
    3. COMMIT, the commit point
    4. sign the new head, write ``checkpoint`` by compare-and-swap, fsync; then receipts

A crash before 3 leaves an announcement that nothing reached: harmless. A crash after 3 leaves entries that the next
append finds announced, and signs. Without step 2 that next append would sign whatever rows a database owner had put
there.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from vault.core.checkpoint import Checkpoint, open_checkpoint
from vault.core.errors import Forked, Modified, Unavailable
from vault.core.note import VerifierKey, open_note, sign
from vault.core.tree import EMPTY_ROOT, Frontier
from vault.db.store import HeadRow


class Checkpoints:
    """The checkpoint directory of one vault.

    Args:
        directory: below the home, never inside the database's data directory.
        host: first half of every origin.
        public_key: the tenant's checkpoint key, 32 bytes: what verification trusts.
        sign: None where only verification is wanted; signing then raises Unavailable.
    """

    def __init__(
        self, directory: Path, host: str, public_key: bytes, sign: Callable[[bytes], bytes] | None = None
    ) -> None:
        self._directory = directory
        self._host = host
        self._public_key = public_key
        self._sign = sign
        # What was verified last, by its very bytes: a file that did not change need not be verified again.
        self._signed_note: dict[UUID, tuple[str, Checkpoint]] = {}
        self._announced_note: dict[UUID, tuple[bytes, list[HeadRow]]] = {}

    def origin(self, ledger: UUID) -> str:
        """Return the ledger's origin, ``host/uuid``: the name under which its checkpoints are signed."""
        return f"{self._host}/{ledger}"

    def verifier(self, ledger: UUID) -> VerifierKey:
        """Return the key that must have signed the ledger's checkpoints."""
        return VerifierKey.from_public(self.origin(ledger), self._public_key)

    def ledgers(self) -> list[UUID]:
        """Return every ledger that ever had a checkpoint here; a directory that is still empty never had."""
        if not self._directory.is_dir():
            return []
        names = sorted(path.name for path in self._directory.iterdir() if _is_uuid(path.name))
        return [UUID(name) for name in names if self._has_begun(UUID(name))]

    def begin(self, ledger: UUID) -> None:
        """Sign the empty tree of a ledger about to be created, so that from now on a missing file means harm."""
        if not self._has_begun(ledger):
            _make_directory(self._place(ledger))
            self._write(ledger, 0, EMPTY_ROOT)

    def _has_begun(self, ledger: UUID) -> bool:
        return any((self._place(ledger) / name).exists() for name in ("checkpoint", "pending"))

    def read(self, ledger: UUID) -> Checkpoint | None:
        """Return the last checkpoint, its signature verified; None when there is none.

        Raises:
            Forked: the file is there but not a checkpoint of this ledger signed by the vault's key.
        """
        note = self.note(ledger)
        if note is None:
            return None
        known = self._signed_note.get(ledger)
        if known is not None and known[0] == note:
            return known[1]
        try:
            checkpoint = open_checkpoint(note, [self.verifier(ledger)], self.origin(ledger))
        except Modified as error:
            raise Forked(f"the checkpoint outside the database is not ours: {error}", str(ledger)) from None
        self._signed_note[ledger] = note, checkpoint
        return checkpoint

    def note(self, ledger: UUID) -> str | None:
        """Return the last checkpoint's text as it lies there, unverified.

        Raises:
            Forked: what lies there is not even text.
        """
        try:
            return (self._place(ledger) / "checkpoint").read_text("utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            raise Forked("the checkpoint outside the database is not a text", str(ledger)) from None
        except OSError:
            raise Unavailable(f"cannot read the checkpoint of ledger {ledger}: check the home directory") from None

    def require_consistent(self, ledger: UUID, head: HeadRow, earlier: Checkpoint | None = None) -> Frontier:
        """Compare the database's head with what was signed or announced, and return its frontier.

        Args:
            earlier: the checkpoint as it was read before the head was, where the caller does not hold the head's lock
                and appends may go on; None reads it now.

        Raises:
            Forked: it is behind, different, or further than anything this vault was about to write.
        """
        place = str(ledger)
        checkpoint = earlier or self.read(ledger)
        if checkpoint is None:
            raise Forked("the checkpoint outside the database is missing: appends stop", place)
        try:
            frontier = Frontier.from_bytes(head.size, head.frontier)
        except Modified as error:
            raise Forked(f"the head is damaged: {error}", place) from None
        if head.size < checkpoint.size:
            raise Forked(f"the database is behind its checkpoint of size {checkpoint.size}", place, head.size)
        if head.size == checkpoint.size and frontier.root() != checkpoint.root:
            raise Forked("the database's tree is not the one that was signed", place, head.size)
        # The announcement also vouches for what no checkpoint holds: the hash that the next leaf will carry.
        announced = [known for known in self.pending(ledger) if known.size == head.size]
        if head not in announced and (announced or head.size > checkpoint.size):
            passed = self.read(ledger) if earlier else None
            # An announcement is dropped once a checkpoint beyond it stands: the head was overtaken while we looked.
            if announced or passed is None or passed.size <= head.size:
                raise Forked("the database has a head that this vault did not write", place, checkpoint.size)
        return frontier

    def announce(self, ledger: UUID, head: HeadRow) -> None:
        """Write down the head that the current transaction will reach. The caller holds the head's row lock.

        That lock alone would not do: the database lets it go when the caller's session dies, and a caller who does not
        know yet would then replace what somebody else has announced meanwhile.
        """
        with self._exclusive(ledger, "announcing"):
            signed = self.read(ledger)
            covered = signed.size if signed else 0
            waiting = [known for known in self.pending(ledger) if known.size >= covered]
            announced = [*waiting, head]
            lines = [f"{one.size} {one.last_hash.hex()} {one.frontier.hex()}\n" for one in announced]
            note = self._signed(ledger, f"{self._title(ledger)}\n{''.join(lines)}")
            _replace(self._place(ledger) / "pending", note)
            self._announced_note[ledger] = note.encode(), announced

    def pending(self, ledger: UUID) -> list[HeadRow]:
        """Return the announced heads, the one that stands and those that may come to.

        Raises:
            Forked: the file does not hold what ``announce`` wrote and signed.
        """
        try:
            note = (self._place(ledger) / "pending").read_bytes()
            known = self._announced_note.get(ledger)
            if known is not None and known[0] == note:
                return known[1]
            title, *lines = open_note(note, [self.verifier(ledger)]).text.splitlines()
            if title != self._title(ledger):
                raise Modified("another ledger's")
            heads = [(size, bytes.fromhex(last), bytes.fromhex(peaks)) for size, last, peaks in map(str.split, lines)]
            announced = [HeadRow(int(size), last, peaks) for size, last, peaks in heads]
            self._announced_note[ledger] = note, announced
            return announced
        except FileNotFoundError:
            return []
        except (ValueError, Modified):
            raise Forked("the announced heads outside the database were edited", str(ledger)) from None
        except OSError:
            raise Unavailable(f"cannot read what ledger {ledger} announced: check the home directory") from None

    def remember(self, ledger: UUID, name: str, text: str) -> None:
        """Keep a text of ours beside a ledger's checkpoint, signed. It saves work, so nothing is forced to the disk."""
        note = self._signed(ledger, f"{name} {self.origin(ledger)}\n{text}")
        _replace(self._place(ledger) / name, note, durable=False)

    def recall(self, ledger: UUID, name: str) -> str | None:
        """Return a text that ``remember`` kept; None where there is none, or none that this vault signed."""
        try:
            note = (self._place(ledger) / name).read_bytes()
            title, _, text = open_note(note, [self.verifier(ledger)]).text.partition("\n")
        except (OSError, Modified):
            return None
        return text if title == f"{name} {self.origin(ledger)}" else None

    def publish(self, ledger: UUID, frontier: Frontier) -> str:
        """Sign a committed head and return the note.

        The file moves by compare-and-swap and only forward: when another process has signed a later head already,
        that one stays, and this commit's own checkpoint is still good for its receipts.

        Raises:
            Forked: the file holds another tree of the same size.
        """
        checkpoint = Checkpoint(self.origin(ledger), frontier.size, frontier.root())
        with self._exclusive(ledger):
            last = self.read(ledger)
            if last is None:
                raise Forked("the checkpoint outside the database is missing: nothing is signed", str(ledger))
            if last.size == checkpoint.size and last.root != checkpoint.root:
                raise Forked("two trees of the same size", str(ledger), last.size)
            if last.size < checkpoint.size:
                return self._write(ledger, checkpoint.size, checkpoint.root)
        return self._signed(ledger, checkpoint.text())

    def _write(self, ledger: UUID, size: int, root: bytes) -> str:
        checkpoint = Checkpoint(self.origin(ledger), size, root)
        note = self._signed(ledger, checkpoint.text())
        _replace(self._place(ledger) / "checkpoint", note)
        self._signed_note[ledger] = note, checkpoint
        return note

    def _signed(self, ledger: UUID, text: str) -> str:
        if self._sign is None:
            raise Unavailable("the key store is locked: signing needs the passphrase")
        return sign(text, self.origin(ledger), self._sign, self._public_key)

    def _title(self, ledger: UUID) -> str:
        """First line of the announced heads: no origin has a space, so nobody can take them for a checkpoint."""
        return f"pending {self.origin(ledger)}"

    def _place(self, ledger: UUID) -> Path:
        return self._directory / str(ledger)

    @contextmanager
    def _exclusive(self, ledger: UUID, name: str = "") -> Iterator[None]:
        """One caller at a time may compare and swap. The lock is the directory's own, or that of a file of its own:
        announcing does not wait for somebody who publishes."""
        flags = os.O_RDWR | os.O_CREAT if name else os.O_RDONLY | os.O_DIRECTORY
        try:
            descriptor = os.open(self._place(ledger) / f".{name}" if name else self._place(ledger), flags, 0o600)
        except OSError:
            raise Forked("the checkpoint outside the database is missing: nothing is signed", str(ledger)) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise Unavailable(f"cannot write below {path.parent}: {error.strerror}") from None


def _replace(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a file so that a crash leaves the old one or the new one, never half of either."""
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
