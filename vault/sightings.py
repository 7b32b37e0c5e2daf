"""Sightings: the trees that others saw, held against the entries of the events ledger as they go by.

    seen = Sightings(checkpoints, ledger)         before the snapshot that the entries are read from
    for ...: seen.look(frontier); seen.take(leaf)
    seen.finish(report, leaves_are_whole=True)

A note that is kept (vault.outside) bears our signature, so a tree that is not on this history means FORKED, and so does
one that is larger than all there is: somebody set the vault back, database and home together. Where an event tells of a
cosignature or a time-stamp whose file is gone, or is not the one any more, that is said and no fault: what it showed is
not shown any more.

Roots, names of witnesses and digests of time-stamps are compared here; what the files say, ``vault.outside`` verifies
where it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final
from uuid import UUID

from vault import outsidefiles
from vault.checkpoints import Checkpoints
from vault.core import canonical, cosignature
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Modified, RefusedInput
from vault.core.leaf import EventLeaf
from vault.core.note import split_unverified
from vault.core.tree import Frontier
from vault.verdict import LedgerReport, Verdict

_NONE: Final = 1 << 63  # no tree is so large
_SHOWN: Final = {"checkpoint.witnessed": "cosigned", "checkpoint.stamped": "stamped"}


class Sightings:
    """What is kept of one ledger, beside one stream of its entries.

    Attributes:
        next: size of the tree to be looked at next. A caller compares it with the frontier's, entry by entry.
    """

    def __init__(self, checkpoints: Checkpoints, ledger: UUID) -> None:
        self._checkpoints = checkpoints
        self._ledger = ledger
        self._ahead: Iterator[int] = iter(outsidefiles.sizes(checkpoints, ledger))
        self._other: int | None = None
        self._good = 0
        self._gone: dict[str, tuple[int, int]] = {}  # words -> the first size, how many
        self._last: tuple[int, str | None] = (-1, None)
        self.next = next(self._ahead, _NONE)

    def look(self, frontier: Frontier) -> None:
        """Compare the tree with what is kept for its size; to be called when ``next`` is reached."""
        while self.next < frontier.size:
            self.next = next(self._ahead, _NONE)
        if self.next == frontier.size:
            root = self._root(frontier.size, frontier.root())
            if root is None or root == frontier.root():
                self._good = frontier.size
            elif self._other is None:
                self._other = frontier.size
            self.next = next(self._ahead, _NONE)

    def take(self, leaf: EventLeaf) -> None:
        """Take the next event: one that tells of what others said needs the file that shows it."""
        if leaf.event in _SHOWN and leaf.facts.get("ledger") == str(self._ledger):
            size = leaf.facts.get("size")
            if type(size) is int and size > 0 and (fault := self._fault(leaf, size)):
                words = f"{_SHOWN[leaf.event]}, and its file {fault}"
                first, number = self._gone.get(words, (size, 0))
                self._gone[words] = first, number + 1

    def finish(self, report: LedgerReport, *, leaves_are_whole: bool) -> None:
        """Tell what does not fit.

        Args:
            leaves_are_whole: no leaf was found edited. One that was makes all later trees other ones, and is named.
        """
        if self._other is not None and leaves_are_whole:
            what = "others saw another tree of these entries"
            report.add(Verdict.FORKED, self._good, what, self._other - 1)
        have = max(report.size, report.entries)
        beyond = [size for size in (self.next, *self._ahead) if have < size < _NONE and self._root(size) is not None]
        if beyond:
            what = f"others saw {max(beyond)} entries of it, and it has {have}: it was set back"
            report.add(Verdict.FORKED, have, what)
        for words, (first, number) in self._gone.items():
            more = f", and {number - 1} more" if number > 1 else ""
            report.problems.append(f"the checkpoint of {first} entries was {words}{more}")

    def _fault(self, leaf: EventLeaf, size: int) -> str:
        """Return what is wrong with the file that an event tells of; "" where nothing is.

        Whoever wants a time from outside forgotten need not delete a file: a line of it, or another file, would do.
        """
        gone, other = "is gone", "does not show that any more"
        if leaf.event == "checkpoint.stamped":
            response = outsidefiles.load(self._checkpoints, self._ledger, size, "tsr")
            told = leaf.facts.get("tsr")
            return gone if response is None else other if canonical.b64(sha256(response).digest()) != told else ""
        note = self._note(size)
        if note is None:
            return gone
        told = leaf.facts.get("witnesses")
        try:
            names = {cosignature.word(one.name) for one in split_unverified(note)[1]}
        except RefusedInput:
            return other
        return "" if isinstance(told, list) and names.issuperset(map(str, told)) else other

    def _note(self, size: int) -> str | None:
        """Return what is kept for a size; each is asked for twice, soon after one another."""
        if self._last[0] != size:
            self._last = size, outsidefiles.read_note(self._checkpoints, self._ledger, size)
        return self._last[1]

    def _root(self, size: int, expected: bytes = b"") -> bytes | None:
        """Return the root that is kept for a size; None where no note of ours is. A signature is verified only where
        the root is not the expected one: for what is right it says nothing."""
        note = self._note(size)
        if note is None:
            return None
        try:
            read = Checkpoint.parse(split_unverified(note)[0])
            if (read.size, read.root) == (size, expected):
                return read.root
            signed = self._checkpoints.open(self._ledger, note)
        except (Modified, RefusedInput):
            return None
        return signed.root if signed.size == size else None
