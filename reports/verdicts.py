"""From the verifier's faults to a verdict for every entry.

A fault names an entry, a range of entries or the ledger as a whole, and one entry may have several. Each entry is
counted once, under the worst word that names it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from vault.verdict import LedgerReport, Verdict

_Span = tuple[int, int]  # both ends included


class EntryVerdicts:
    """The verdicts of one ledger's entries, up to a checkpoint.

    Args:
        found: what verification found; complete, since a fault may be about an entry read long before.
        size: entries under the checkpoint; what lies beyond it is left aside.
    """

    def __init__(self, found: LedgerReport, size: int) -> None:
        self._found = found
        self._size = size
        self._spans = {verdict: _merged(_spans(found, verdict, size)) for verdict in Verdict}

    def of(self, seq: int) -> str:
        """Return the word for one entry."""
        for verdict in _worst_first():
            spans = self._spans[verdict]
            at = bisect_right(spans, (seq, self._size)) - 1
            if at >= 0 and spans[at][0] <= seq <= spans[at][1]:
                return verdict.name
        return "OK"

    def counts(self) -> dict[str, int]:
        """Return entries by word. A fault of the ledger as a whole counts as one; so does one that was not listed."""
        counted = dict.fromkeys(("OK", "ERASED-BY-POLICY", *(verdict.name for verdict in _worst_first())), 0)
        worse: list[_Span] = []
        for verdict in _worst_first():
            together = _merged([*worse, *self._spans[verdict]])
            counted[verdict.name] = _length(together) - _length(worse) + self._without_place(verdict)
            worse = together
        counted["ERASED-BY-POLICY"] = self._found.erased
        counted["OK"] = self._size - self._found.erased - _length(worse)
        return counted

    def _without_place(self, verdict: Verdict) -> int:
        listed = [fault for fault in self._found.faults if fault.verdict is verdict]
        unlisted = self._found.counts.get(verdict, 0) - len(listed)
        return unlisted + sum(1 for fault in listed if fault.seq is None or fault.seq >= self._size)


def _worst_first() -> list[Verdict]:
    return sorted(Verdict, key=lambda verdict: verdict.rank)


def _spans(found: LedgerReport, verdict: Verdict, size: int) -> Iterator[_Span]:
    for fault in found.faults:
        if fault.verdict is verdict and fault.seq is not None and fault.seq < size:
            yield fault.seq, min(size - 1, fault.seq if fault.last is None else fault.last)


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def _length(spans: Iterable[_Span]) -> int:
    return sum(last - first + 1 for first, last in spans)
