"""Measures a signed evidence report: seconds, memory, pages and bytes, by the number of records.

python -m bench.reports.evidence --records 10000 100000
python -m bench.reports.evidence --records 1000000 --home .bench/ledgers     taken in once, kept for the next run

Each report is issued in a process of its own, as ``reasonvault report evidence`` does: everything verified, every
record opened, the population attached, the file signed by the vault's own certificate. The period is all of time.
Memory is the proportional share of that process and of those that it forks, sampled; a page that several share counts
once. The server's is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench import contender, document, ours, table
from bench.__main__ import say
from bench.contender import Failed, Task, Wrong
from bench.http import family
from bench.measure import Reading, Stopwatch, spread
from bench.reports.kept import Ledgers, Place, kept
from bench.results import FLAT, Goal
from bench.retention.timing import Point, Timing
from reports.issue import issue
from reports.kind import Wanted
from reports.kinds import kind_of
from reports.period import period_of
from service import wiring
from service.desk import desk_of
from vault import ledgers

SECONDS: Final = 60.0
MEGABYTES: Final = 600.0
GOAL_RECORDS: Final = 1_000_000
_EVERY = 0.25  # seconds between two looks at memory
PARTS: Final = (
    Point("reports.evidence", "collect_evidence", "verify, open, count, spool"),
    Point("reports.render", "describe", "measure the attachments"),
    Point("reports.layout", "lay_out", "charts and pages"),
    Point("reports.render", "write_report", "deflate the attachments, write the file"),
    Point("reports.signing:PyHankoSigner", "sign", "sign, and verify the signature"),
)


class Measured(NamedTuple):
    """One report. ``parts`` are seconds by label; ``memory`` is the peak of all its processes in bytes."""

    records: int
    reading: Reading
    memory: int
    pages: int
    size: int
    parts: dict[str, float]

    @property
    def cpu(self) -> float:
        """Processor seconds of the report's processes and the server's."""
        return self.reading.client_cpu + (self.reading.server_cpu or 0.0)


def measure(place: Place, folder: Path) -> Measured:
    """Make one report in a process of its own.

    Raises:
        Failed: there was none; why stands on standard error.
    """
    out = folder / f"{place.records}.pdf"
    task = Task(contender="evidence", home=place.home, out=out)
    task = task.at(place.dsn, place.at.admin_dsn, place.at.pid, Path())
    watches: list[family.Watch] = []

    def watch(pid: int) -> family.Watch:
        watches.append(family.Watch(lambda: family.memory(pid), _EVERY))
        return watches[0]

    answer = contender.run(task, watch)
    assert answer.reading is not None
    told = json.loads(_beside(out).read_bytes())
    memory = max((sample.size for sample in watches[0].samples), default=0)
    found = Measured(place.records, answer.reading, memory, told["pages"], out.stat().st_size, told["parts"])
    say(
        f"  {found.records:>9,} records {found.reading.seconds:7.1f} s {found.cpu:7.1f} s of processors"
        f" {memory / 1e6:7.1f} MB"
    )
    out.unlink()
    return found


def issued(task: Task, clock: Stopwatch) -> int:
    """Contender: issue one report; return how many records it tells of.

    Raises:
        Wrong: its verdict is not OK, or a record did not open.
    """
    ours.use(task.dsn)
    with wiring.open_vault(task.home, ours.PASSPHRASE) as vault, desk_of(task.home, vault) as desk:
        found = ledgers.get(vault, ours.LEDGER)
        book = wiring.rule_book(vault)
        period = period_of(book, found.genesis.jurisdictions, None, None)
        wanted = Wanted(found, book, period, "a benchmark")
        with clock, Timing(PARTS) as timing:
            made = issue(vault, kind_of("evidence"), wanted, task.out, desk=desk)
    told = made.collected.document
    if told["verdict"] != "OK" or told["opened"] != told["records"] or not made.signed:
        raise Wrong(f"verdict {told['verdict']}, {told['opened']} of {told['records']} opened, signed {made.signed}")
    _beside(task.out).write_text(json.dumps({"pages": made.pages, "parts": timing.seconds()}))
    return int(told["records"])


def _beside(out: Path) -> Path:
    return out.with_suffix(".json")


def goals(found: Sequence[Measured]) -> list[Goal]:
    """Return what the largest report must reach, scaled to what the goal names where it is smaller."""
    last, first = found[-1], found[0]
    words, seconds = "", last.reading.seconds
    if last.records != GOAL_RECORDS:
        # The pages cost the same whatever the number of records.
        fixed = first.reading.seconds if last is not first else 0.0
        seconds = fixed + (seconds - fixed) * (GOAL_RECORDS - _but(first, last)) / (last.records - _but(first, last))
        words = f" (of {last.records:,}, scaled)"
    made = [
        Goal(f"{GOAL_RECORDS:,} records, s{words}", SECONDS, SECONDS, spread([seconds]), most=True),
        Goal(f"memory at {last.records:,} records, MB", MEGABYTES, MEGABYTES, spread([last.memory / 1e6]), most=True),
    ]
    if last is not first:
        times = (last.cpu / last.records) / (first.cpu / first.records)
        words = f"cost a record, x from {first.records:,} to {last.records:,}"
        made.append(Goal(words, FLAT, 1.0, spread([times]), most=True))
    return made


def _but(first: Measured, last: Measured) -> int:
    return 0 if last is first else first.records


def rates(found: Sequence[Measured]) -> str:
    """Return what each report cost."""
    titles = ["records", "seconds", "client CPU s", "server CPU s", "CPU us a record", "memory MB", "pages", "file MB"]
    rows = [
        [
            f"{one.records:,}",
            f"{one.reading.seconds:.1f}",
            f"{one.reading.client_cpu:.1f}",
            "-" if one.reading.server_cpu is None else f"{one.reading.server_cpu:.1f}",
            f"{1e6 * one.cpu / one.records:,.0f}",
            f"{one.memory / 1e6:,.0f}",
            f"{one.pages}",
            f"{one.size / 1e6:,.1f}",
        ]
        for one in found
    ]
    return table.markdown(titles, rows)


def parts(found: Sequence[Measured]) -> str:
    """Return where the seconds of each went."""
    titles = ["seconds", *(f"{one.records:,}" for one in found)]
    return table.markdown(titles, [[label, *(f"{one.parts[label]:.2f}" for one in found)] for label in found[0].parts])


def run(at: Ledgers, counts: Sequence[int], folder: Path) -> list[Measured]:
    """Measure each size in turn."""
    found = []
    for count in sorted(counts):
        with at(count) as place:
            found.append(measure(place, folder))
    return found


def main() -> int:
    """Measure and print. Exit code 0 when every goal is reached, 1 when one is missed, 2 on failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--home", type=Path, help="keep ledgers here for the next run")
    wanted = parser.parse_args()
    try:
        with document.folder("evidence") as folder, kept(folder, wanted.home) as at:
            found = run(at, wanted.records, folder)
    except Failed as error:
        say(f"bench: {error}")
        return 2
    words = [table.goals(goals(found)), rates(found), parts(found), f"load {os.getloadavg()[0]:.1f}"]
    return document.done("\n\n".join(words), goals(found), None)


if __name__ == "__main__":
    sys.exit(main())
