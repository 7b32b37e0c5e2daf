"""Sightings: the trees that others saw, held against the entries of the events ledger as they go by.

    seen = Sightings(checkpoints, ledger)         before the snapshot that the entries are read from
    for ...: seen.look(frontier); seen.take(leaf)
    seen.finish(report, leaves_are_whole=True)

A note that is kept (vault.outside) bears our signature, so a tree that is not on this history means FORKED, and so does
one that is larger than all there is: somebody set the vault back, database and home together. Where an event tells of a
cosignature or a time-stamp whose file is gone, that is said and no fault: what it showed is not shown any more.

Only roots are compared here; whose words the files hold, ``vault.outside`` verifies where they are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from vault import outsidefiles
from vault.checkpoints import Checkpoints
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Modified, RefusedInput
from vault.core.leaf import EventLeaf
from vault.core.note import split_unverified
from vault.core.tree import Frontier
from vault.verdict import LedgerReport, Verdict

_NONE: Final = 1 << 63  # no tree is so large
_SHOWN: Final = {"checkpoint.witnessed": ("note", "cosigned"), "checkpoint.stamped": ("tsr", "stamped")}


class Sightings:
    """What is kept of one ledger, beside one stream of its entries.

    Attributes:
        next: size of the tree to be looked at next. A caller compares it with the frontier's, entry by entry.
    """

    def __init__(self, checkpoints: Checkpoints, ledger: UUID) -> None:
        self._checkpoints = checkpoints
        self._ledger = ledger
        self._kept = {suffix: frozenset(outsidefiles.sizes(checkpoints, ledger, suffix)) for suffix in ("note", "tsr")}
        self._ahead: Iterator[int] = iter(outsidefiles.sizes(checkpoints, ledger))
        self._other: int | None = None
        self._good = 0
        self._gone: dict[str, list[int]] = {"cosigned": [], "stamped": []}
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
            suffix, done = _SHOWN[leaf.event]
            size = leaf.facts.get("size")
            if not isinstance(size, int) or size in self._kept[suffix]:
                return
            if not outsidefiles.is_kept(self._checkpoints, self._ledger, size, suffix):  # nor came since we looked
                self._gone[done].append(size)

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
        for done, sizes in self._gone.items():
            if sizes:
                more = f", and {len(sizes) - 1} more" if len(sizes) > 1 else ""
                report.problems.append(f"the checkpoint of {sizes[0]} entries was {done}, and its file is gone{more}")

    def _root(self, size: int, expected: bytes = b"") -> bytes | None:
        """Return the root that is kept for a size; None where no note of ours is. A signature is verified only where
        the root is not the expected one: for what is right it says nothing."""
        note = outsidefiles.read_note(self._checkpoints, self._ledger, size)
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
