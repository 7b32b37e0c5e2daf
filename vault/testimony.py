"""Testimony: what the events ledger says about destruction, gathered while that ledger is verified entry by entry.

An event counts once it is under a signed checkpoint and the whole tree up to there is the one that was signed. What was
appended behind the checkpoint waits: whoever owns the database can write such entries, and only the vault can have
them signed.

    told = Testimony(report.size)
    for ...: told.take(leaf)
    told.believe(checker.size)        # where a newer checkpoint covers the rest
    told.evidence(tenant, load)
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict

from vault.core import signer
from vault.core.errors import Modified
from vault.core.leaf import EventLeaf, microseconds
from vault.core.standing import Standing, interesting
from vault.core.succession import Frozen
from vault.erasure import Evidence, Load


class Testimony:
    """Takes the events in order.

    Args:
        signed: entries under the checkpoint that they are verified against.

    Attributes:
        fault: the position of an event that does not have its facts, and words for it; None where there is none.
    """

    def __init__(self, signed: int) -> None:
        self.fault: tuple[int, str] | None = None
        self._signed = signed
        self._standing = Standing()
        self._dated: dict[str, _Dates] = defaultdict(_Dates)
        self._waiting: list[EventLeaf] = []

    def take(self, leaf: EventLeaf) -> None:
        """Take the next event."""
        if leaf.seq < self._signed:
            self._count(leaf)
        elif leaf.event == "record.dated" or interesting(leaf.event):
            self._waiting.append(leaf)

    @property
    def waits(self) -> bool:
        """Whether anything that matters is not under the checkpoint."""
        return bool(self._waiting)

    @property
    def frozen(self) -> dict[str, Frozen]:
        """Return the ledgers that were frozen, as far as counted."""
        return self._standing.frozen

    @property
    def signers(self) -> dict[str, signer.Told]:
        """Return the checkpoint keys that were added or retired, as far as counted."""
        return self._standing.signers

    def believe(self) -> None:
        """Count what waited: a newer checkpoint covers it."""
        waiting, self._waiting = self._waiting, []
        for leaf in waiting:
            self._count(leaf)

    def evidence(self, tenant: str, load: Load, *, whole: bool) -> Evidence:
        """Return what was gathered.

        Args:
            whole: whether the ledger is the tree that was signed.
        """
        doubt = "" if whole else "the events ledger is not the one that was signed, so no erasure is believed"
        if self.fault is not None:
            doubt = f"the event at seq {self.fault[0]} cannot be read, so no erasure is believed"
        return Evidence(tenant, self._standing.destructions, load, self._is_dated, doubt)

    def _is_dated(self, ledger: str, seq: int, before: int, until: int) -> bool:
        dated = self._dated.get(ledger)
        return dated is not None and dated.has(seq, before, until)

    def _count(self, leaf: EventLeaf) -> None:
        try:
            if leaf.event == "record.dated":
                self._dated[leaf.facts["ledger"]].add(leaf.facts["seq"], leaf.seq, microseconds(leaf.facts["at"]))
            if interesting(leaf.event):
                self._standing.take(leaf.event, leaf.actor, leaf.facts, leaf.seq, leaf.at)
        except (Modified, KeyError, TypeError, ValueError, OverflowError) as error:
            words = str(error) if isinstance(error, Modified) else f"the event {leaf.event} does not have its facts"
            self.fault = self.fault or (leaf.seq, words.partition(" at ")[0])


class _Dates:
    """Which records of a ledger were dated, by which events and to what: 24 bytes a date."""

    def __init__(self) -> None:
        self._seqs = array("Q")  # ascending
        self._events = array("Q")
        self._moments = array("q")

    def add(self, seq: int, event: int, moment: int) -> None:
        """Take one: an event at a position of the events ledger, that tells of a moment (microseconds)."""
        at = bisect_right(self._seqs, seq)
        for column, value in ((self._seqs, seq), (self._events, event), (self._moments, moment)):
            column.insert(at, value)

    def has(self, seq: int, before: int, until: int) -> bool:
        """Say whether an event below ``before`` dated a record to ``until`` or earlier."""
        found = range(bisect_left(self._seqs, seq), bisect_right(self._seqs, seq))
        return any(self._events[at] < before and self._moments[at] <= until for at in found)
