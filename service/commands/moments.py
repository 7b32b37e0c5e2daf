"""Times on the command line: how they are typed, and how they are printed. UTC, whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click

MOMENT: Final = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])


def microseconds(moment: datetime) -> int:
    """Return a typed time as microseconds since the epoch."""
    return round(moment.replace(tzinfo=UTC).timestamp() * 1_000_000)


def perhaps_microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)


def instant(us: int) -> str:
    """Return microseconds since the epoch as they are printed."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def perhaps_instant(us: int | None) -> str | None:
    return None if us is None else instant(us)
