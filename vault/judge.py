"""The judge: one ledger's entries that are not there, decided while all of its entries go by in order.

    judge = Judge(evidence, ledger)
    for ...: why = judge.take(leaf, its hash, whether what it promises stands there)
    judge.finish(report)

Each disposal's manifest (vault.core.manifest) is made again on the way, so memory does not grow with the ledger: what
is kept of the entries are ranges, and the disposals' own are gone through once. Only at the end is a manifest known;
what depends on it is told then.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
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
        self._named = _Named([(one.case.planned, one.case.final) for one in self._trials])
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
        if not self._trials:
            return False
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

    def _trials_at(self, seq: int) -> list[_Trial]:
        return [self._trials[number] for number in self._named.at(seq)] if self._trials else []


class _Named:
    """Which of some groups of selections have a range at a position; asked for positions that ascend.

    Of the ranges it holds only those that are open, and one of each selection that comes next.
    """

    def __init__(self, groups: Sequence[Sequence[Selection]]) -> None:
        self._next = merge(*(_numbered(number, one) for number, group in enumerate(groups) for one in group))
        self._ahead = next(self._next, None)
        self._open: list[tuple[int, int, int]] = []
        self._at: list[int] = []  # the answer
        self._until = -1  # last position that the answer holds for

    def at(self, seq: int) -> list[int]:
        """Return their numbers, ascending."""
        if seq > self._until:
            self._open = [one for one in self._open if one[1] >= seq]
            while self._ahead is not None and self._ahead[0] <= seq:
                if self._ahead[1] >= seq:
                    self._open.append(self._ahead)
                self._ahead = next(self._next, None)
            self._at = sorted({number for _, _, number in self._open})
            self._until = min(one[1] for one in self._open) if self._open else _NEVER
            if self._ahead is not None:
                self._until = min(self._until, self._ahead[0] - 1)
        return self._at


_NEVER = 1 << 62  # behind every position


def _numbered(number: int, positions: Selection) -> Iterator[tuple[int, int, int]]:
    for first, last in positions.ranges:
        yield first, last, number


class _Runs:
    """Ascending positions, kept as ranges: 16 bytes each."""

    def __init__(self) -> None:
        self._firsts = array("q")
        self._lasts = array("q")

    @property
    def ranges(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def add(self, seq: int) -> None:
        if self._lasts and self._lasts[-1] == seq - 1:
            self._lasts[-1] = seq
        else:
            self._firsts.append(seq)
            self._lasts.append(seq)

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
