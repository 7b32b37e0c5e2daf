"""Measures evidence bundles: what making one costs, and how long a stranger's verify.py takes over it.

python -m bench.reports.bundle                   100,000 records, in full: some minutes, most of them taking records in
python -m bench.reports.bundle --records 10000   a first look

Both run in processes of their own, verify.py alone as an auditor runs it; memory is that of all of them together.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, NamedTuple

from bench import document, ours, table
from bench.__main__ import say
from bench.measure import Peak, PeakMemory, spread
from bench.reports.kept import Place, kept
from bench.results import Goal
from reports.bundle.make import make_bundle
from reports.bundle.scope import Scope
from service import wiring
from vault import ledgers

_VERIFY = Path(__file__).parents[2] / "reports" / "standalone" / "verify.py"
GOAL: Final = 30.0  # seconds for 100,000 records, on one core
GOAL_RECORDS: Final = 100_000


class Measured(NamedTuple):
    """One bundle: seconds to make and to verify, and of the processor for that; bytes; memory of all processes."""

    words: str
    records: int
    made: float
    verified: float
    cpu: float
    size: int
    maker: Peak | None
    verifier: Peak | None


def measure(home: Path, folder: Path, words: str, scope: Scope, full: bool, processes: int) -> Measured:
    """Make one bundle of the ledger and verify it.

    Raises:
        RuntimeError: it does not verify.
    """
    out = folder / "bundle.zip"
    here, there = multiprocessing.Pipe()
    making = multiprocessing.get_context("spawn").Process(target=make, args=(there, home, out, scope, full, processes))
    making.start()
    with PeakMemory(making.pid or 0) as memory:
        taken, count, fingerprint = here.recv()
        maker = memory
    making.join()
    command = [sys.executable, "-I", str(_VERIFY), str(out), "--key", fingerprint, "--json"]
    started, before = time.perf_counter(), _children()
    checking = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with PeakMemory(checking.pid) as memory:
        printed, _ = checking.communicate()
    verified, cpu = time.perf_counter() - started, _children() - before
    if json.loads(printed)["verdict"] != "OK":
        raise RuntimeError(printed[:1000])
    return Measured(words, count, taken, verified, cpu, out.stat().st_size, maker.peak(), memory.peak())


def _children() -> float:
    """Seconds of processor time of children that have ended: what a shared machine's clock does not tell."""
    spent = os.times()
    return spent.children_user + spent.children_system


def make(answer: Connection, home: Path, out: Path, scope: Scope, full: bool, processes: int) -> None:
    """Make a bundle in a process of its own; answer with seconds, records and the key's fingerprint."""
    with wiring.open_vault(home, ours.PASSPHRASE) as vault:
        ledger = ledgers.get(vault, ours.LEDGER)
        started = time.perf_counter()
        made = make_bundle(vault, ledger, scope, "a benchmark", out, full=full, processes=processes)
        answer.send((time.perf_counter() - started, sum(made.states.values()), made.fingerprint))


def goals(found: Sequence[Measured]) -> list[Goal]:
    """Return what verifying the last bundle must reach, scaled to what the goal names where it is smaller."""
    last = found[-1]
    scale = GOAL_RECORDS / last.records
    words = f"verify.py over {GOAL_RECORDS:,} records, s" + ("" if scale == 1 else f" (of {last.records:,}, scaled)")
    return [Goal(words, GOAL, GOAL, spread([last.verified * scale]), most=True)]


def rates(found: Sequence[Measured]) -> str:
    """Return what each bundle cost."""
    titles = [
        "bundle",
        "records",
        "made s",
        "maker MB",
        "verified s",
        "CPU s of that",
        "CPU us a record",
        "verify.py MB",
        "bytes a record",
    ]
    rows = [
        [
            one.words,
            f"{one.records:,}",
            f"{one.made:.1f}",
            "-" if one.maker is None else f"{one.maker.total / 1e6:,.0f}",
            f"{one.verified:.1f}",
            f"{one.cpu:.1f}",
            f"{1e6 * one.cpu / one.records:,.0f}",
            "-" if one.verifier is None else f"{one.verifier.total / 1e6:,.0f}",
            f"{one.size / one.records:,.0f}",
        ]
        for one in found
    ]
    return table.markdown(titles, rows)


def run(place: Place, folder: Path, processes: int = 2) -> list[Measured]:
    """Measure three bundles of a ledger: a tenth of it masked, all masked, all in full."""
    ours.use(place.dsn)
    tenth = Scope("positions", positions=tuple(range(1, place.records, 10)))
    kinds = (("tenth of it, masked", tenth, False), ("masked", Scope(), False), ("full", Scope(), True))
    found = []
    for words, scope, full in kinds:
        found.append(measure(place.home, folder, words, scope, full, processes))
        say(f"  bundle, {words}: made in {found[-1].made:.1f} s, verified in {found[-1].verified:.1f} s")
    return found


def main() -> int:
    """Print a table; exit code 0 when verifying reaches the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=GOAL_RECORDS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--home", type=Path, help="keep the ledger here for the next run")
    asked = parser.parse_args()
    with document.folder("bundle") as folder, kept(folder, asked.home) as at, at(asked.records) as place:
        found = run(place, folder, asked.processes)
    words = f"{table.goals(goals(found))}\n\n{rates(found)}\n\nload {os.getloadavg()[0]:.1f}"
    return document.done(words, goals(found), None)


if __name__ == "__main__":
    sys.exit(main())
