"""The judge: one ledger's entries that are not there, decided while all of its entries go by in order.

    judge = Judge(evidence, ledger)
    for ...: why = judge.take(leaf, its hash, whether what it promises stands there)
    judge.finish(report)

Each disposal's manifest (vault.core.manifest) is made again on the way, so memory does not grow with the ledger: what
is kept of the entries are ranges. Only at the end is a manifest known; what depends on it is told then.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from vault.core import canonical
from vault.core.leaf import GenesisLeaf, Leaf
from vault.core.manifest import Manifest
from vault.core.selection import Selection
from vault.erasure import UNEXPLAINED, Case, Evidence
from vault.verdict import LedgerReport, Verdict


class Judge:
    """Decides about one ledger while its entries go by in order; ``finish`` tells its report."""

    def __init__(self, evidence: Evidence, ledger: UUID) -> None:
        cases = [Case(evidence, told) for told in evidence.destructions.of(str(ledger))]
        self._trials = [_Trial(case, Manifest(ledger)) for case in cases]
        self._segments = _segments([(trial, trial.case.planned | trial.case.final) for trial in self._trials])
        self._at = 0
        # Of those whose selections cannot be read: what is gone may be theirs, so their reason is the one to tell.
        self._unread = next((case for case in cases if case.why is not None and not case.final.ranges), None)

    def take(self, leaf: Leaf, hashed: bytes, present: bool) -> str | None:
        """Take the next entry.

        Returns:
            Why an entry that is not ``present`` is missing, None where that is explained, or decided by ``finish``.
        """
        judged = None
        for trial in self._trials_at(leaf.seq):
            if leaf.seq in trial.case.planned:
                trial.manifest.add(leaf.seq, hashed)
            if leaf.seq in trial.case.final:
                judged = trial
        if present:
            if judged is not None:
                judged.present.add(leaf.seq)
            return None
        if judged is None or isinstance(leaf, GenesisLeaf):
            return UNEXPLAINED if self._unread is None else f"{UNEXPLAINED}: {self._unread.why}"
        reason = judged.case.why_not(leaf)
        if reason is None:
            judged.absent.add(leaf.seq)
            return None
        return f"{UNEXPLAINED}: disposal {judged.case.told.disposal.id}: {reason}"

    def is_dying(self, seq: int) -> bool:
        """Say whether the keys of an entry are said to be destroyed, so that it need not open."""
        return any(trial.case.why is None and seq in trial.case.final for trial in self._trials_at(seq))

    def finish(self, report: LedgerReport) -> None:
        """Make each manifest's comparison (step 4), and tell the report."""
        for trial in self._trials:
            disposal = trial.case.told.disposal
            same = canonical.b64(trial.manifest.digest()) == disposal.manifest
            if not same or trial.manifest.count != disposal.count:
                words = f"{UNEXPLAINED}: disposal {disposal.id}: the manifest is not that of these entries"
                for first, last in trial.absent.ranges:
                    report.add(Verdict.MISSING, first, words, last)
                continue
            if trial.case.why is None:
                report.erased += len(trial.absent)
                report.erasures.append(trial.case.erasure(len(trial.absent)))
                self._tell_present(trial, report)

    def _tell_present(self, trial: _Trial, report: LedgerReport) -> None:
        if not trial.case.told.done:
            report.dying += len(trial.present)
            return
        for first, last in trial.present.ranges:
            words = f"its envelope still stands there although disposal {trial.case.told.disposal.id} deleted it"
            report.add(Verdict.MODIFIED, first, words, last)

    def _trials_at(self, seq: int) -> tuple[_Trial, ...]:
        while self._at < len(self._segments) and self._segments[self._at][1] < seq:
            self._at += 1
        if self._at < len(self._segments) and self._segments[self._at][0] <= seq:
            return self._segments[self._at][2]
        return ()


class _Runs:
    """Ascending positions, kept as ranges."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def add(self, seq: int) -> None:
        if self.ranges and self.ranges[-1][1] == seq - 1:
            self.ranges[-1] = (self.ranges[-1][0], seq)
        else:
            self.ranges.append((seq, seq))

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)


class _Trial:
    def __init__(self, case: Case, manifest: Manifest) -> None:
        self.case = case
        self.manifest = manifest
        self.absent = _Runs()
        self.present = _Runs()


class Unjudged:
    """Stands in for a judge where there is no evidence to go by: nothing explains what is not there."""

    def take(self, _leaf: Leaf, _hashed: bytes, present: bool) -> str | None:
        return None if present else UNEXPLAINED

    def is_dying(self, _seq: int) -> bool:
        return False


class Deferred:
    """Stands in for the judge of the events ledger while its first reading still gathers the evidence."""

    def __init__(self) -> None:
        self._runs = _Runs()

    def take(self, leaf: Leaf, _hashed: bytes, present: bool) -> str | None:
        """Note an entry that is not there."""
        if not present:
            self._runs.add(leaf.seq)
        return None

    def is_dying(self, _seq: int) -> bool:
        return False

    def settle(self, judge: Judge, report: LedgerReport, leaves: Iterable[tuple[Leaf, bytes]]) -> None:
        """Read the leaves a second time, now that what explains their absence is known."""
        absent = Selection(tuple(self._runs.ranges))
        for leaf, hashed in leaves:
            reason = judge.take(leaf, hashed, leaf.seq not in absent)
            if reason is not None:
                report.add(Verdict.MISSING, leaf.seq, reason)
        judge.finish(report)

    def give_up(self, report: LedgerReport) -> None:
        """Tell that nothing explains what is not there."""
        for first, last in self._runs.ranges:
            for seq in range(first, last + 1):
                report.add(Verdict.MISSING, seq, UNEXPLAINED)


def _segments(named: list[tuple[_Trial, Selection]]) -> list[tuple[int, int, tuple[_Trial, ...]]]:
    """Return stretches of positions with the trials that name them, ascending and apart from each other."""
    edges: dict[int, tuple[list[_Trial], list[_Trial]]] = {}  # position -> who begins there, who ended before it
    for trial, positions in named:
        for first, last in positions.ranges:
            edges.setdefault(first, ([], []))[0].append(trial)
            edges.setdefault(last + 1, ([], []))[1].append(trial)
    made: list[tuple[int, int, tuple[_Trial, ...]]] = []
    active: list[_Trial] = []
    start = 0
    for at in sorted(edges):
        if active:
            made.append((start, at - 1, tuple(active)))
        begins, ended = edges[at]
        active = [one for one in active if one not in ended] + begins
        start = at
    return made
