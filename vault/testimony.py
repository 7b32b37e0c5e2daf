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
from bisect import bisect_left, insort
from collections import defaultdict

from vault.core.errors import Modified
from vault.core.leaf import EventLeaf
from vault.core.standing import Standing, interesting
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
        self._dated: dict[str, array[int]] = defaultdict(lambda: array("Q"))
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

    def _is_dated(self, ledger: str, seq: int) -> bool:
        dated = self._dated.get(ledger, ())
        at = bisect_left(dated, seq)
        return at < len(dated) and dated[at] == seq

    def _count(self, leaf: EventLeaf) -> None:
        try:
            if leaf.event == "record.dated":
                self._date(leaf.facts["ledger"], leaf.facts["seq"])
            else:
                self._standing.take(leaf.event, leaf.actor, leaf.facts, leaf.seq, leaf.at)
        except (Modified, KeyError, TypeError, ValueError, OverflowError) as error:
            words = str(error) if isinstance(error, Modified) else f"the event {leaf.event} does not have its facts"
            self.fault = self.fault or (leaf.seq, words.partition(" at ")[0])

    def _date(self, ledger: str, seq: int) -> None:
        dated = self._dated[ledger]
        if dated and seq < dated[-1]:
            insort(dated, seq)
        else:
            dated.append(seq)
