"""Gaps in what producers numbered themselves. Feed it the whole ledger: a period would cut holes into every
stream."""

from __future__ import annotations

from bisect import bisect_right

from reports.figures import ProducerSequence, Sequences


class SequenceCount:
    """Which numbers of each producer are here. Memory grows with the number of gaps, not with the number of
    entries."""

    def __init__(self) -> None:
        self._streams: dict[str, _Ranges] = {}
        self._numbered = 0
        self._unnumbered = 0

    def add(self, producer: str, number: int | None) -> None:
        """Count one entry, in any order; a number seen twice is counted once."""
        if number is None:
            self._unnumbered += 1
            return
        self._numbered += 1
        self._streams.setdefault(producer, _Ranges()).add(number)

    def result(self, *, producers: int = 8, gaps: int = 4) -> Sequences:
        """At most that many producers, those with most missing first, each with its first few gaps.

        Numbers before the first one seen are not judged: a stream may have begun in another ledger.
        """
        rows = [
            ProducerSequence(
                producer=name,
                numbered=ranges.size,
                first=ranges.starts[0],
                last=ranges.ends[-1],
                missing=ranges.missing,
                gaps=ranges.gaps(gaps),
                more_gaps=len(ranges.starts) - 1 > gaps,
            )
            for name, ranges in self._streams.items()
        ]
        rows.sort(key=lambda row: (-row.missing, row.producer))
        return Sequences(
            producers=tuple(rows[:producers]),
            total_producers=len(rows),
            numbered=self._numbered,
            unnumbered=self._unnumbered,
            missing=sum(row.missing for row in rows),
        )


class _Ranges:
    """A set of integers as sorted, disjoint, non-adjacent closed ranges."""

    __slots__ = ("ends", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []

    def add(self, number: int) -> None:
        # Nearly every number follows the last one.
        if self.ends and number == self.ends[-1] + 1:
            self.ends[-1] = number
            return
        at = bisect_right(self.starts, number)
        if at and number <= self.ends[at - 1]:
            return
        touches_left = at > 0 and self.ends[at - 1] + 1 == number
        touches_right = at < len(self.starts) and self.starts[at] - 1 == number
        if touches_left and touches_right:
            self.ends[at - 1] = self.ends.pop(at)
            del self.starts[at]
        elif touches_left:
            self.ends[at - 1] = number
        elif touches_right:
            self.starts[at] = number
        else:
            self.starts.insert(at, number)
            self.ends.insert(at, number)

    @property
    def size(self) -> int:
        return sum(self.ends) - sum(self.starts) + len(self.starts)

    @property
    def missing(self) -> int:
        return self.ends[-1] - self.starts[0] + 1 - self.size

    def gaps(self, limit: int) -> tuple[tuple[int, int], ...]:
        pairs = zip(self.ends[:limit], self.starts[1 : limit + 1], strict=False)
        return tuple((end + 1, start - 1) for end, start in pairs)
