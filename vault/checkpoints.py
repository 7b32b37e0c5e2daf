"""Checkpoints outside the database: the memory that a restored or rewritten database cannot take back.

Below ``<home>/checkpoints/<ledger uuid>/``:

    checkpoint  the last signed tree head, a C2SP note, as a stranger's tool reads it
    pending     heads that a commit of ours was about to reach, signed; the one that stands is always among them
    standing    what the events said up to one of their positions, signed; saves reading them all, and may be missing
    lost        of a frozen ledger only: the checkpoint from before, which its database does not reach any more

Order around every commit, under the head's row lock up to step 3:

    1. compare: the database's head must be the checkpoint's tree, or one that ``pending`` announced; else FORKED
    2. announce: write the head this transaction will reach to ``pending``, fsync
    3. COMMIT, the commit point
    4. sign the new head, write ``checkpoint`` by compare-and-swap, fsync; then receipts

A crash before 3 leaves an announcement that nothing reached: harmless. A crash after 3 leaves entries that the next
append finds announced, and signs. Without step 2 that next append would sign whatever rows a database owner had put
there.

While a key is rotated (vault.rotating) all of this carries two signatures, of the current key and of the one that
joins. A head that is to go on from must have the current key's. Old notes, such as a receipt's, are verified with every
key that there ever was: ``open``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

from vault.core import signer
from vault.core.checkpoint import Checkpoint, checkpoint_of
from vault.core.errors import Forked, LedgerFrozen, Modified, Unavailable
from vault.core.note import Opened, VerifierKey, add_signature, open_note, sign
from vault.core.signer import Signers
from vault.core.tree import EMPTY_ROOT, Frontier
from vault.db.store import HeadRow
from vault.durable import make_directory, replace
from vault.policy import NOBODY, Policy


class Checkpoints:
    """The checkpoint directory of one vault.

    Args:
        directory: below the home, never inside the database's data directory.
        host: first half of every origin.
        signers: returns the tenant's checkpoint keys as of now: what verification trusts. Asked before everything that
            is signed or believed, since another process may rotate them.
        sign: (name of the key, message) -> signature. None where only verification is wanted; signing then raises
            Unavailable.
        policy: returns which witnesses and authorities vouch for the checkpoints (vault.outside), as of now. Nothing
            that takes records in asks for it.
    """

    def __init__(
        self,
        directory: Path,
        host: str,
        signers: Callable[[], Signers],
        sign: Callable[[str, bytes], bytes] | None = None,
        policy: Callable[[], Policy] = lambda: NOBODY,
    ) -> None:
        self._directory = directory
        self._host = host
        self.signers = signers
        self.policy = policy
        self._sign = sign
        # What was verified last, by its very bytes and by whom it was trusted: a file that did not change need not be
        # verified again.
        self._signed_note: dict[UUID, tuple[str, Signers, Checkpoint]] = {}
        self._announced_note: dict[UUID, tuple[bytes, Signers, list[HeadRow]]] = {}

    def origin(self, ledger: UUID) -> str:
        """Return the ledger's origin, ``host/uuid``: the name under which its checkpoints are signed."""
        return f"{self._host}/{ledger}"

    def verifier(self, ledger: UUID) -> VerifierKey:
        """Return the current key: whose signature a new head of the ledger must have."""
        return VerifierKey.from_public(self.origin(ledger), signer.current(self.signers()).public_key)

    def verifiers(self, ledger: UUID) -> tuple[VerifierKey, ...]:
        """Return every key that was ever trusted for the ledger, oldest first: what old notes are verified with."""
        return signer.keys(self.origin(ledger), self.signers())

    def in_force(self, ledger: UUID) -> tuple[VerifierKey, ...]:
        """Return the keys that sign now: the current one and, during a rotation, the one that joins."""
        return signer.keys(self.origin(ledger), signer.in_force(self.signers()))

    def open(self, ledger: UUID, note: str | bytes) -> Checkpoint:
        """Return a checkpoint of the ledger, verified, whenever it was signed.

        Raises:
            Modified: it is none, no key of this vault signed it, or only keys that were retired when the ledger was
                smaller.
        """
        signers = self.signers()
        keys = signer.keys(self.origin(ledger), signers)
        opened = open_note(note, keys)
        checkpoint = checkpoint_of(opened, self.origin(ledger))
        by = [one for one, key in zip(signers, keys, strict=True) if key in opened.verified]
        if not any(one.vouches(str(ledger), checkpoint.size) for one in by):
            raise Modified(f"it was signed with {by[-1].name}, which was retired when the ledger was smaller")
        return checkpoint

    def outside(self, ledger: UUID) -> Path:
        """Return the directory of what others say about a ledger's checkpoints (vault.outside); it may not exist."""
        return self._place(ledger) / "outside"

    def ledgers(self) -> list[UUID]:
        """Return every ledger that ever had a checkpoint here; a directory that is still empty never had."""
        if not self._directory.is_dir():
            return []
        names = sorted(path.name for path in self._directory.iterdir() if _is_uuid(path.name))
        return [UUID(name) for name in names if self._has_begun(UUID(name))]

    def begin(self, ledger: UUID) -> None:
        """Sign the empty tree of a ledger about to be created, so that from now on a missing file means harm."""
        if not self._has_begun(ledger):
            make_directory(self._place(ledger))
            self._write(ledger, 0, EMPTY_ROOT)

    def _has_begun(self, ledger: UUID) -> bool:
        return any((self._place(ledger) / name).exists() for name in ("checkpoint", "pending"))

    def signed_by(self, ledger: UUID) -> frozenset[str]:
        """Return which keys of ours, each by its public half in hex, signed the last checkpoint."""
        signers = self.signers()
        keys = signer.keys(self.origin(ledger), signers)
        try:
            verified = open_note(self.note(ledger) or "", keys).verified
        except (Forked, Modified):
            return frozenset()
        return frozenset(one.public for one, key in zip(signers, keys, strict=True) if key in verified)

    def read(self, ledger: UUID) -> Checkpoint | None:
        """Return the last checkpoint, its signature verified; None when there is none.

        Raises:
            Forked: the file is there but not a checkpoint of this ledger signed by the vault's key.
        """
        note = self.note(ledger)
        if note is None:
            return None
        signers = self.signers()
        known = self._signed_note.get(ledger)
        if known is not None and known[0] == note and known[1] is signers:
            return known[2]
        try:
            checkpoint = checkpoint_of(self._opened(ledger, note, signers), self.origin(ledger))
        except Modified as error:
            raise Forked(f"the checkpoint outside the database is not ours: {error}", str(ledger)) from None
        self._signed_note[ledger] = note, signers, checkpoint
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
            signers, note = self._signed(ledger, f"{self._title(ledger)}\n{''.join(lines)}")
            replace(self._place(ledger) / "pending", note)
            self._announced_note[ledger] = note.encode(), signers, announced

    def pending(self, ledger: UUID) -> list[HeadRow]:
        """Return the announced heads, the one that stands and those that may come to.

        Raises:
            Forked: the file does not hold what ``announce`` wrote and signed.
        """
        try:
            note, signers = (self._place(ledger) / "pending").read_bytes(), self.signers()
            known = self._announced_note.get(ledger)
            if known is not None and known[0] == note and known[1] is signers:
                return known[2]
            title, *lines = self._opened(ledger, note, signers).text.splitlines()
            if title != self._title(ledger):
                raise Modified("another ledger's")
            heads = [(size, bytes.fromhex(last), bytes.fromhex(peaks)) for size, last, peaks in map(str.split, lines)]
            announced = [HeadRow(int(size), last, peaks) for size, last, peaks in heads]
            self._announced_note[ledger] = note, signers, announced
            return announced
        except FileNotFoundError:
            return []
        except (ValueError, Modified):
            raise Forked("the announced heads outside the database were edited", str(ledger)) from None
        except OSError:
            raise Unavailable(f"cannot read what ledger {ledger} announced: check the home directory") from None

    def remember(self, ledger: UUID, name: str, text: str) -> None:
        """Keep a text of ours beside a ledger's checkpoint, signed. It saves work, so nothing is forced to the disk."""
        _, note = self._signed(ledger, f"{name} {self.origin(ledger)}\n{text}")
        replace(self._place(ledger) / name, note, durable=False)

    def attest(self, ledger: UUID, text: str) -> str:
        """Return a text of ours as a note that carries the ledger's signatures, for somebody to take along.

        Its first line must be one that no checkpoint can begin with: an origin ends in a uuid.
        """
        return self._signed(ledger, text)[1]

    def recall(self, ledger: UUID, name: str) -> str | None:
        """Return a text that ``remember`` kept; None where there is none, or none that this vault signed."""
        try:
            note = (self._place(ledger) / name).read_bytes()
            title, _, text = self._opened(ledger, note, self.signers()).text.partition("\n")
        except (OSError, Modified):
            return None
        return text if title == f"{name} {self.origin(ledger)}" else None

    def publish(self, ledger: UUID, frontier: Frontier) -> str:
        """Sign a committed head and return the note.

        The file moves by compare-and-swap and only forward: when another process has signed a later head already,
        that one stays, and this commit's own checkpoint is still good for its receipts.

        Raises:
            Forked: the file holds another tree of the same size; ``LedgerFrozen``: the ledger was frozen since.
        """
        checkpoint = Checkpoint(self.origin(ledger), frontier.size, frontier.root())
        with self._exclusive(ledger):
            self.require_open(ledger)  # whoever slept between its commit and this must not move it on again
            last = self.read(ledger)
            if last is None:
                raise Forked("the checkpoint outside the database is missing: nothing is signed", str(ledger))
            if last.size == checkpoint.size and last.root != checkpoint.root:
                raise Forked("two trees of the same size", str(ledger), last.size)
            if last.size < checkpoint.size:
                return self._write(ledger, checkpoint.size, checkpoint.root)
        return self._signed(ledger, checkpoint.text())[1]

    def freeze(self, ledger: UUID, size: int, root: bytes) -> None:
        """Go back to the last good head of a ledger that lost entries, for good (vault.succession).

        What was signed last is kept as ``lost`` first: from then on nothing is appended. Again, it changes nothing.
        """
        with self._exclusive(ledger):
            lost = self._place(ledger) / "lost"
            if not lost.exists():
                replace(lost, self.note(ledger) or "")
            self._write(ledger, size, root)

    def is_frozen(self, ledger: UUID) -> bool:
        """Say whether a ledger was frozen here. The events say so too, and they count."""
        return (self._place(ledger) / "lost").exists()

    def require_open(self, ledger: UUID) -> None:
        """Raise ``LedgerFrozen`` for a ledger that was frozen."""
        if self.is_frozen(ledger):
            raise LedgerFrozen(ledger=str(ledger))

    def lost(self, ledger: UUID) -> Checkpoint | None:
        """Return the checkpoint from before a ledger was frozen; None where there is none that this vault signed."""
        try:
            return self.open(ledger, (self._place(ledger) / "lost").read_bytes())
        except (OSError, Modified):
            return None

    def renew(self, ledger: UUID) -> None:
        """Sign again, with the keys that sign now, what lies here and has the current key's signature.

        Whoever signs looks at the keys under the same locks. So once this returned, whatever is written by anybody has
        the signatures of all keys that this saw.

        Raises:
            Forked: what lies here is not ours; it is not signed again.
        """
        with self._exclusive(ledger, "announcing"):
            if self.pending(ledger):
                text = self._opened(ledger, (self._place(ledger) / "pending").read_bytes(), self.signers()).text
                _, note = self._signed(ledger, text)
                replace(self._place(ledger) / "pending", note)
        with self._exclusive(ledger):
            if (last := self.read(ledger)) is not None:
                self._write(ledger, last.size, last.root)

    def _write(self, ledger: UUID, size: int, root: bytes) -> str:
        checkpoint = Checkpoint(self.origin(ledger), size, root)
        signers, note = self._signed(ledger, checkpoint.text())
        replace(self._place(ledger) / "checkpoint", note)
        self._signed_note[ledger] = note, signers, checkpoint
        return note

    def _signed(self, ledger: UUID, text: str) -> tuple[Signers, str]:
        """Return a note under every key that signs now, the current one first, and who these keys are."""
        if self._sign is None:
            raise Unavailable("the key store is locked: signing needs the passphrase")
        signers, origin = self.signers(), self.origin(ledger)
        first, *others = signer.in_force(signers)
        note = sign(text, origin, partial(self._sign, first.name), first.public_key)
        for one in others:
            note = add_signature(note, origin, partial(self._sign, one.name), one.public_key)
        return signers, note

    def _opened(self, ledger: UUID, note: str | bytes, signers: Signers) -> Opened:
        """Open a note that has to be one of now. Raises Modified where the current key did not sign it."""
        keys = signer.keys(self.origin(ledger), signer.in_force(signers))
        opened = open_note(note, keys)
        if keys[0] not in opened.verified:
            raise Modified("the current key has not signed it")
        return opened

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
