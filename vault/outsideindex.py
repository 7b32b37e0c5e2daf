"""Which of the files from outside can hold what somebody asks for: looked at once by a process, however many there are.

A vault has a round a minute for years. Whoever asks when others saw an event mostly finds it in one of the next rounds.
Where it is not there, because nobody else was asked for years, all of them must not be read again for each destruction
and each time: only the round that goes on now is. Nothing here is evidence. What it names is verified by whoever reads
it (vault.outside); a file that was edited behind its back is found by ``verify``, which begins with an empty memory.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Final

_MOST: Final = 8
_NEAR: Final = 64
"""Rounds that are looked at before all of them are."""
_lock = threading.Lock()
_known: dict[tuple[Path, Hashable], _Known] = {}


class _Known:
    """``number`` sizes, up to ``last``, were looked at; ``found`` are those that hold it."""

    def __init__(self) -> None:
        self.number, self.last = 0, -1
        self.found = array("Q")


def above(folder: Path, sizes: Sequence[int], seq: int, what: Hashable, holds: Callable[[int], bool]) -> Iterator[int]:
    """Yield the sizes above a position that hold what is asked for, ascending.

    Args:
        sizes: all that are kept in the folder, ascending.
        what: names what is asked for.
        holds: says of a size whether it holds that.
    """
    first = bisect_right(sizes, seq)
    near = sizes[first : first + _NEAR]
    yield from filter(holds, near)
    if first + _NEAR >= len(sizes):
        return
    end, newest = len(sizes) - 1, sizes[-1]
    with _lock:
        known = _known.get((folder, what))
        if known is None or bisect_right(sizes, known.last, 0, end) != known.number:  # older files came or went
            while len(_known) >= _MOST:
                _known.pop(next(iter(_known)))
            known = _known[folder, what] = _Known()
        for at in range(known.number, end):
            if holds(sizes[at]):
                known.found.append(sizes[at])
            known.number, known.last = at + 1, sizes[at]
        found = known.found[bisect_right(known.found, near[-1]) :]
    yield from found
    if holds(newest):  # others may still add to it
        yield newest
