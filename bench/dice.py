"""Random numbers with the few draws that the generator needs."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class Dice(random.Random):
    """Random numbers with the few draws that the generator needs; the same seed gives the same dialogues."""

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each as likely as the others."""
        return options[int(self.random() * len(options))]

    def chance(self, share: float) -> bool:
        """True in that share of all calls."""
        return self.random() < share

    def between(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return low + int(self.random() * (high - low + 1))

    def letters(self, count: int) -> str:
        """Letters for an id. No digits: a long run of them could be taken for a card number."""
        return "".join(self.choices("bcdfghjkmnpqrstvwxyz", k=count))

    def weighted(self, options: Sequence[tuple[Any, int]]) -> Any:
        """One of the options, by the weights that stand beside them."""
        point = self.random() * sum(weight for _, weight in options)
        for option, weight in options:
            point -= weight
            if point < 0:
                return option
        return options[-1][0]
