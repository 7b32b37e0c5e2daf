"""What the statistics read of one entry: its facets, and what only the opened record says.

msgspec structs, since a million of them are made for one report (0.3 us each; a frozen dataclass costs ten
times that). They travel between processes as arrays, without the names of their fields.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from reports.figures import Money


class Opened(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Read from the decrypted record and kept only as numbers: no text of it may enter a report."""

    conversation_id: str
    step: int = 0
    proposed: Money | None = None
    executed: Money | None = None
    threshold: float | None = None
    """On the 0 to 1 scale of `confidence_position`."""
    relates_to: tuple[tuple[str, str], ...] = ()
    """Pairs of kind and record id, such as ``("review_of", "rec-17")``."""
    review_agreed: bool | None = None


class Row(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One record of the ledger. ``opened`` is None where it was not decrypted."""

    seq: int
    record_id: str
    occurred_at: datetime
    jurisdictions: tuple[str, ...]
    record_class: str
    api: str
    outcome: str
    money_moved: bool
    model: str | None
    score: float | None
    """On the 0 to 1 scale of `confidence_position`; None when absent or unusable."""
    below_threshold: bool
    ai_ms: float | None
    flags: int
    """Bits of `vault.core.flags.Flag`, as a plain integer: operations on the enum cost a microsecond each."""
    fidelity: str
    keep_until: datetime | None
    group: str
    rules: tuple[str, ...] = ()
    rulebook: str = ""
    opened: Opened | None = None


def confidence_position(
    value: float, *, minimum: float = 0.0, maximum: float = 1.0, higher_is_better: bool = True
) -> float | None:
    """Where a score or a threshold lies on its own scale, from 0 (worst) to 1 (best).

    Returns None for an empty scale or a value off it: scores of unknown meaning are not drawn into a chart.
    """
    if not minimum < maximum or not minimum <= value <= maximum:
        return None
    share = (value - minimum) / (maximum - minimum)
    return share if higher_is_better else 1.0 - share
