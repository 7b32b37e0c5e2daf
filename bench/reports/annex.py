"""Measures annexes: what a printed row costs, and whether it stays the same as lists grow.

python -m bench.reports.annex                  1,000 to 10,000 rows, about a minute
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from bench import document, table
from bench.measure import spread
from bench.results import FLAT, Goal
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
SIZES: Final = (1000, 3000, 10_000)
GOAL: Final = 5.0  # milliseconds a row, at 10,000 rows, on two cores


class Measured(NamedTuple):
    """One run: seconds of the clock and of all processors, bytes of the files, peak memory of the largest process."""

    rows: int
    seconds: float
    cpu: float
    size: int
    files: int
    peak: int

    @property
    def wall(self) -> float:
        """Seconds of the clock a row."""
        return self.seconds / self.rows


def lines(count: int) -> Iterator[tuple[str, ...]]:
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
            "Exceptions", COLUMNS, lines(count), Path(folder), name="exceptions", language="en", processes=processes
        )
        seconds, cpu = time.perf_counter() - started, _cpu() - before
        size = sum((Path(folder) / one.name).stat().st_size for one in made)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024
    return Measured(count, seconds, cpu, size, len(made), peak)


def _cpu() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def goals(found: Sequence[Measured]) -> list[Goal]:
    """Return what the longest annex must reach."""
    last, first = found[-1], found[0]
    made = [Goal(f"annex of {last.rows:,} rows, ms a row", GOAL, GOAL, spread([1000 * last.wall]), most=True)]
    if last is not first:
        words = f"CPU of an annex's row, x from {first.rows:,} to {last.rows:,}"
        times = (last.cpu / last.rows) / (first.cpu / first.rows)
        made.append(Goal(words, FLAT, 1.0, spread([times]), most=True))
    return made


def rates(found: Sequence[Measured]) -> str:
    """Return what each annex cost."""
    titles = ["rows", "files", "seconds", "ms a row", "CPU ms a row", "bytes a row", "largest process MB"]
    rows = [
        [
            f"{one.rows:,}",
            f"{one.files}",
            f"{one.seconds:.1f}",
            f"{1000 * one.wall:.2f}",
            f"{1000 * one.cpu / one.rows:.2f}",
            f"{one.size / one.rows:,.0f}",
            f"{one.peak / 1e6:,.0f}",
        ]
        for one in found
    ]
    return table.markdown(titles, rows)


def main() -> int:
    """Print a table; exit code 0 when the longest reaches the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    found = [measure(count, asked.processes) for count in sorted(asked.rows)]
    words = f"{table.goals(goals(found))}\n\n{rates(found)}\n\nload {os.getloadavg()[0]:.1f}"
    return document.done(words, goals(found), None)


if __name__ == "__main__":
    sys.exit(main())
