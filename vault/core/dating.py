"""Dating: which events start the periods of a record after it was written, and who may tell of one.

Pure decisions over plain values: a reason why not, or None.
"""

from __future__ import annotations

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


def reported(occurred: int, executed: int | None, *, waits: bool) -> tuple[str, int]:
    """Return the trigger that a follow-up reports, and when it happened.

    A follow-up does not name its trigger. One that says when the money moved reports the transaction, and ends no
    waiting. Another reports what the record waits for; a record that waits for nothing can only be kept longer by it.

    Args:
        waits: the record that it dates was open-ended when it was written.
    """
    if executed is not None:
        return "transaction_completed", max(occurred, executed)
    return ("relationship_ended" if waits else "transaction_completed"), occurred
