"""Measures annexes: what a printed row costs, and whether it stays the same as lists grow.

python -m bench.reports.annex                  1,000 to 10,000 rows, about a minute
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from reports.annex import Column, annex

COLUMNS = (
    Column("seq", 12, "right"),
    Column("record id", 44, mono=True),
    Column("occurred at (UTC)", 28),
    Column("class", 16),
    Column("outcome", 22),
    Column("executed", 26, "right"),
    Column("confidence", 16, "right"),
)
_START = datetime(2026, 1, 1, tzinfo=UTC)
_GOAL = 0.005  # seconds a row, at 10,000 rows, on two cores


class Measured(NamedTuple):
    """One run: seconds of the clock and of all processors, bytes of the files, peak memory of the largest process."""

    rows: int
    seconds: float
    cpu: float
    size: int
    files: int
    peak: int


def rows(count: int) -> Iterator[tuple[str, ...]]:
    """Rows such as an annex of exceptions has."""
    for number in range(count):
        at = _START + timedelta(seconds=137 * number)
        outcome = ("accepted", "rejected", "human_review")[number % 3]
        amount = f"CNY {(number * 7919) % 900_000 / 100:,.2f}"
        yield (
            f"{number:,}",
            f"rec-{number:08d}-{number * 2654435761 % 2**32:08x}",
            at.strftime("%Y-%m-%d %H:%M"),
            ("payment", "risk", "support")[number % 3],
            outcome,
            amount,
            f"0.{(number * 104729) % 10_000:04d}",
        )


def measure(count: int, processes: int) -> Measured:
    """Make one annex in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        started, before = time.perf_counter(), _cpu()
        made = annex(
            "Exceptions", COLUMNS, rows(count), Path(folder), name="exceptions", language="en", processes=processes
        )
        seconds, cpu = time.perf_counter() - started, _cpu() - before
        size = sum((Path(folder) / one.name).stat().st_size for one in made)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024
    return Measured(count, seconds, cpu, size, len(made), peak)


def _cpu() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def line(one: Measured) -> str:
    """One row of the table."""
    wall, cpu = 1000 * one.seconds / one.rows, 1000 * one.cpu / one.rows
    return (
        f"| {one.rows:,} | {one.files} | {one.seconds:.1f} s | {wall:.2f} ms | {cpu:.2f} ms"
        f" | {one.size / one.rows:,.0f} B | {one.peak / 2**20:,.0f} MiB |"
    )


def main() -> None:
    """Print a table; say whether the largest run reaches the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    print("| rows | files | time | a row | CPU a row | bytes a row | largest process |\n|--:|--:|--:|--:|--:|--:|--:|")
    for count in asked.rows:
        found = measure(count, asked.processes)
        print(line(found), flush=True)
    word = "reached" if found.seconds / found.rows < _GOAL else "missed"
    print(f"goal of {1000 * _GOAL:g} ms a row: {word}; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
