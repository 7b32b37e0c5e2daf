"""Anchored: what the events say about every ledger's tree, held against the entries as they go by.

    told = Anchored(report.size)                  while the events are verified
    for ...: told.take(leaf)
    course = told.course(ledger, largest)         while another ledger is
    for ...: course.look(frontier)
    course.finish(report)

One pass, in the order of the entries: the frontier has each tree's root when it has that size. Anchors are kept as 48
bytes each, and those of a ledger beyond 16,384 in a file, so that years of them need no memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from hmac import compare_digest
from tempfile import TemporaryFile
from typing import IO, Final, NamedTuple
from uuid import UUID
from weakref import finalize

from vault.core.anchor import EVENT, anchor_of
from vault.core.leaf import EventLeaf
from vault.core.tree import Frontier
from vault.verdict import LedgerReport, Verdict

_LINE: Final = struct.Struct(">QQ32s")  # seq of the event, size, root
_AT_ONCE: Final = _LINE.size << 14
"""Bytes of a ledger's anchors that stand in memory."""


class _Told(NamedTuple):
    seq: int
    size: int
    root: bytes


_NONE: Final = _Told(0, 1 << 63, b"")  # no tree is so large


class Anchored:
    """Takes the events in order.

    Args:
        signed: entries under the checkpoint of the events: anchors behind it do not count yet.
    """

    def __init__(self, signed: int = 0) -> None:
        self._signed = signed
        self._lines: dict[str, _Lines] = {}
        self._last: dict[str, _Told] = {}
        self._backward: dict[str, _Told] = {}

    def take(self, leaf: EventLeaf) -> None:
        """Take the next event; others than anchors change nothing. One that does not have its facts anchors nothing,
        and is told where the events are taken for evidence (vault.testimony)."""
        if leaf.event != EVENT or leaf.seq >= self._signed:
            return
        try:
            ledger, told = anchor_of(leaf.facts, leaf.seq, leaf.at)
        except (KeyError, TypeError, ValueError):
            return
        one = _Told(told.seq, told.size, told.root)
        last = self._last.get(ledger)
        if last is not None and one.size <= last.size:
            self._backward.setdefault(ledger, one)  # this vault anchors only what has grown
            return
        self._last[ledger] = one
        self._lines.setdefault(ledger, _Lines()).add(one)

    def course(self, ledger: UUID, largest: int | None) -> Course:
        """Return the anchors of a ledger, to be passed once.

        Args:
            largest: size of its newest checkpoint outside the database; None where that says nothing, since it cannot
                be read or went back by order.
        """
        name = str(ledger)
        lines = self._lines.get(name)
        told = iter(()) if lines is None else lines.read()
        return Course(told, self._last.get(name), self._backward.get(name), largest)


class _Lines:
    """One ledger's anchors: the last of them in memory, those before in a file without a name."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._file: IO[bytes] | None = None

    def add(self, one: _Told) -> None:
        self._kept += _LINE.pack(*one)
        if len(self._kept) >= _AT_ONCE:
            if self._file is None:
                self._file = TemporaryFile()  # noqa: SIM115 - it lives as long as this
                finalize(self, self._file.close)
            self._file.write(self._kept)
            self._kept.clear()

    def read(self) -> Iterator[_Told]:
        """Yield all, in their order; nothing may be added any more."""
        if self._file is not None:
            self._file.seek(0)
            while part := self._file.read(_AT_ONCE):
                yield from (_Told(*line) for line in _LINE.iter_unpack(part))
        yield from (_Told(*line) for line in _LINE.iter_unpack(bytes(self._kept)))


class Course:
    """One ledger's anchors, beside one stream of its entries.

    Attributes:
        next: size of the tree to be looked at next. A caller compares it with the frontier's, entry by entry.
    """

    __slots__ = ("_ahead", "_backward", "_good", "_largest", "_last", "_other", "_waiting", "next")

    def __init__(self, ahead: Iterator[_Told], last: _Told | None, backward: _Told | None, largest: int | None) -> None:
        self._ahead = ahead
        self._last = last
        self._backward = backward
        self._largest = largest
        self._other: tuple[int, _Told] | None = None  # the last size that is right, the first anchor that is not
        self._good = 0
        self._waiting = next(ahead, _NONE)
        self.next = self._waiting.size

    def look(self, frontier: Frontier) -> None:
        """Compare the tree with the anchor of its size, where there is one; to be called when ``next`` is reached."""
        while self.next < frontier.size:
            self._step()  # before where the stream began
        if self.next == frontier.size:
            if compare_digest(frontier.root(), self._waiting.root):
                self._good = frontier.size
            elif self._other is None:
                self._other = self._good, self._waiting
            self._step()

    def _step(self) -> None:
        self._waiting = next(self._ahead, _NONE)
        self.next = self._waiting.size

    def finish(self, report: LedgerReport, *, leaves_are_whole: bool) -> None:
        """Tell what does not fit.

        Args:
            leaves_are_whole: no leaf was found edited. One that was makes all later trees other ones, and is named.
        """
        if self._other is not None and leaves_are_whole:
            good, one = self._other
            what = f"event {one.seq} anchored another tree of these entries"
            report.add(Verdict.FORKED, good, what, one.size - 1)
        if self._last is not None and self._largest is not None and self._last.size > self._largest:
            what = f"its checkpoint is behind the one of size {self._last.size} that event {self._last.seq} anchored"
            report.add(Verdict.FORKED, self._largest, what)
        if self._backward is not None:
            what = f"event {self._backward.seq} anchored a smaller tree than one before it"
            report.add(Verdict.FORKED, None, what)
