"""Groups: which entries of a ledger share a provider key, and so die together.

    2029-01.0    entries that become eligible in January 2029; due when that month is over
    open.0       entries without a date yet; never due
    held.0       entries whose own group died while a hold kept them

The part before the dot is the stem. The number after it is the generation: whatever outlives its group moves to the
next one, and the old key dies. Pure.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from vault.core.errors import UsageError

OPEN: Final = "open"
HELD: Final = "held"

_STEM = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])|open|held", re.ASCII)
_NAME = re.compile(r"([0-9]{4}-(?:0[1-9]|1[0-2])|open|held)\.(0|[1-9][0-9]{0,8})", re.ASCII)


def name_of(stem: str, generation: int) -> str:
    """Return a group's name. Raises ``UsageError`` for a stem outside the grammar."""
    if _STEM.fullmatch(stem) is None or not 0 <= generation < 1_000_000_000:
        raise UsageError("a group is <YYYY-MM>.<n>, open.<n> or held.<n>")
    return f"{stem}.{generation}"


def stem_of(name: str) -> str:
    """Return what stands before the dot. Raises ``UsageError`` for a name outside the grammar."""
    return _parts(name)[0]


def generation_of(name: str) -> int:
    """Return what stands after the dot. Raises ``UsageError`` for a name outside the grammar."""
    return int(_parts(name)[1])


def stem_at(keep_until: int | None) -> str:
    """Return the stem of entries that become eligible at an instant (Unix seconds); ``open`` for None."""
    if keep_until is None:
        return OPEN
    moment = datetime.fromtimestamp(keep_until, UTC)
    return f"{moment.year:04d}-{moment.month:02d}"


def due_at(stem: str) -> int | None:
    """Return when a month's groups are due: Unix seconds of the first instant after it; None for the other stems."""
    if _STEM.fullmatch(stem) is None:
        raise UsageError("a group is <YYYY-MM>.<n>, open.<n> or held.<n>")
    if stem in (OPEN, HELD):
        return None
    year, month = int(stem[:4]), int(stem[5:])
    following = (year + 1, 1) if month == 12 else (year, month + 1)
    return int(datetime(*following, 1, tzinfo=UTC).timestamp())


def months_later(stem: str, months: int) -> str:
    """Return a month's stem so many months later. Raises ``UsageError`` for the other stems."""
    if due_at(stem) is None:
        raise UsageError("only months have months after them")
    counted = int(stem[:4]) * 12 + int(stem[5:]) - 1 + months
    return f"{counted // 12:04d}-{counted % 12 + 1:02d}"


def _parts(name: str) -> tuple[str, str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError("a group is <YYYY-MM>.<n>, open.<n> or held.<n>")
    return match[1], match[2]
