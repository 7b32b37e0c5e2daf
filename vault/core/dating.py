"""Dating: which events start the periods of a record after it was written, and who may tell of one.

Pure decisions over plain values: a reason why not, or None.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import Final

TRIGGERS: Final = ("relationship_ended", "transaction_completed", "calendar_year_end")
"""Triggers that somebody can report later; the others are known when a record is written."""

NO_OFFICER: Final = "only a compliance officer who logged in dates a record"


def why_not(roles: frozenset[str], trigger: str, at: int, now_us: int) -> str | None:
    """Return why this may not be told, None when it may. ``at`` and ``now_us`` are microseconds since the epoch."""
    if "officer" not in roles:
        return NO_OFFICER
    if trigger not in TRIGGERS:
        return f"a trigger that is told later is one of {', '.join(TRIGGERS)}"
    if at > now_us:
        return "an event that has not happened yet starts no period"
    return None


def reported(occurred: int, executed: int | None, received: int, *, waits: bool, own: bool) -> tuple[str, int] | None:
    """Return the trigger that a follow-up reports, and when it happened; None where an officer has to tell instead.

    A follow-up does not name its trigger. One that says when the money moved reports the transaction, and ends no
    waiting. Another reports what the record waits for; a record that waits for nothing can only be kept longer by it.

    Ending what a record waits for is what makes it due one day. So that takes its own producer, and counts no sooner
    than it was reported: nobody dates back what was open-ended until today.

    Args:
        received: when the follow-up came in; ``occurred`` for an approved import's.
        waits: the record that it dates was open-ended when it was written.
        own: the same producer sent both.
    """
    if executed is not None:
        return "transaction_completed", max(occurred, executed)
    if not waits:
        return "transaction_completed", occurred
    return ("relationship_ended", max(occurred, received)) if own else None


def within(waiting: Iterable[tuple[int, str]], most: int) -> list[int]:
    """Return at most so many of the follow-ups that wait, by position: of every producer its newest, in equal shares.

    So whoever sends too many loses their own, and pushes out nobody else's.

    Args:
        waiting: (position, producer).
    """
    of: dict[str, list[int]] = {}
    for seq, producer in sorted(waiting):
        of.setdefault(producer, []).append(seq)
    kept: list[int] = []
    for turn in zip_longest(*(reversed(seqs) for seqs in of.values())):
        kept += [seq for seq in turn if seq is not None]
    return sorted(kept[:most])
