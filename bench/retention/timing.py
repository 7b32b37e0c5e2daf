"""Timing: how long the parts of a verb take, by standing between it and what it calls.

with Timing(RUN) as timing: destroying.run(...)
timing.seconds()      label -> seconds of its own: what a part called that is timed too is not counted twice
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import wraps
from pkgutil import resolve_name
from types import TracebackType
from typing import Any, Final, NamedTuple
from unittest.mock import patch


class Point(NamedTuple):
    """A function by the name under which its caller knows it; ``module`` may be ``module:Class`` for a method."""

    module: str
    name: str
    label: str


REST: Final = "everything else"
PLAN: Final = (
    Point("retention.dating", "date_all", "1 date records by what was reported"),
    Point("retention.plan", "look", "1 open and judge every entry"),
    Point("retention.plan", "chain", "2 find every key that ever wrapped one"),
    Point("retention.plan", "_tell", "2 keep the selection, tell the plan"),
)
APPROVE: Final = (Point("retention.disposal", "manifest_of", "3 make the manifest again, to sign it"),)
RUN: Final = (
    Point("retention.dating", "date_all", "5 date records by what was reported"),
    Point("retention.destroying", "manifest_of", "5 make the manifest again"),
    Point("retention.destroying", "chain", "5 find every key that ever wrapped one"),
    Point("vault.generations", "close", "5 close the groups"),
    Point("retention.destroying", "look", "5 open and judge every entry"),
    Point("vault.moving", "move_surveyed", "6 move the survivors"),
    Point("retention.destroying", "_commit", "7 decide: the commit point"),
    Point("vault.shred", "destroy", "8 see that nothing else dies, destroy the keys"),
    Point("vault.shred", "_prove", "10 prove that the keys are gone"),
    Point("vault.shred", "_delete", "9 delete the rows"),
    Point("retention.destroying", "_end", "10 tell that it is done"),
)


class Timing:
    """Times the points while its ``with`` block lasts. One use each, one thread."""

    def __init__(self, points: Sequence[Point], clock: Callable[[], float] = time.perf_counter) -> None:
        self._points = points
        self._clock = clock
        self._own = {point.label: 0.0 for point in points}
        self._inside: list[float] = []  # of each point that is being called, the seconds of those it called itself
        self._patches = ExitStack()
        self._began = self._whole = 0.0

    def __enter__(self) -> Timing:
        for point in self._points:
            module = resolve_name(point.module)
            timed = self._timed(getattr(module, point.name), point.label)
            self._patches.enter_context(patch.object(module, point.name, timed))
        self._began = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._whole = self._clock() - self._began
        self._patches.close()

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each label in the order of the points, and of the rest; they add up to the whole."""
        return self._own | {REST: self._whole - sum(self._own.values())}

    def _timed(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            began = self._clock()
            self._inside.append(0.0)
            try:
                return function(*arguments, **named)
            finally:
                took = self._clock() - began
                self._own[label] += took - self._inside.pop()
                if self._inside:
                    self._inside[-1] += took

        return timed
