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
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from bench import ours, records, server
from bench.__main__ import say, work_folder
from bench.contender import Task
from bench.measure import Peak, PeakMemory, Stopwatch
from reports.bundle import make_bundle
from reports.bundle_scope import Scope
from service import wiring
from vault import ledgers

_VERIFY = Path(__file__).parents[2] / "reports" / "standalone" / "verify.py"
_GOAL = 30.0  # seconds for 100,000 records, on one core
_GOAL_RECORDS = 100_000


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
    with wiring.open_vault(home, ours._PASSPHRASE) as vault:
        ledger = ledgers.get(vault, ours._LEDGER)
        started = time.perf_counter()
        made = make_bundle(vault, ledger, scope, "a benchmark", out, full=full, processes=processes)
        answer.send((time.perf_counter() - started, sum(made.states.values()), made.fingerprint))


def line(one: Measured) -> str:
    """One row of the table."""
    maker = "-" if one.maker is None else f"{one.maker.total / 2**20:,.0f} MiB"
    verifier = "-" if one.verifier is None else f"{one.verifier.total / 2**20:,.0f} MiB"
    return (
        f"| {one.words} | {one.records:,} | {one.made:.1f} s | {one.verified:.1f} s | {one.cpu:.1f} s"
        f" | {1e6 * one.cpu / one.records:,.0f} us | {one.size / one.records:,.0f} B | {maker}"
        f" | {verifier} |"
    )


def main() -> None:
    """Print a table; say whether verifying reaches the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=_GOAL_RECORDS)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bundle-", dir=work_folder()))
    try:
        with server.running(folder) as at, at.database("bundle") as dsn:
            say(f"taking in {asked.records:,} records")
            spool = records.spool(folder / "records.jsonl", records.pool(None).records, asked.records)
            task = Task(contender="ingest", records=spool, dsn=dsn, home=folder / "home", processes=asked.processes)
            ours.ingest(task, Stopwatch(at.admin_dsn, at.pid))
            tenth = Scope("positions", positions=tuple(range(1, asked.records, 10)))
            kinds = (("tenth of it, masked", tenth, False), ("masked", Scope(), False), ("full", Scope(), True))
            head = "| bundle | records | made | verified | CPU | CPU a record | bytes a record | maker | verify.py |"
            print(f"{head}\n|---|--:|--:|--:|--:|--:|--:|--:|--:|")
            for words, scope, full in kinds:
                found = measure(folder / "home", folder, words, scope, full, asked.processes)
                print(line(found), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    share = _GOAL_RECORDS / found.records
    words = [
        f"{what} {'reached' if seconds * share < _GOAL else 'missed'}"
        for what, seconds in (("by the clock", found.verified), ("by the processor", found.cpu))
    ]
    load = os.getloadavg()[0]
    print(f"goal of {_GOAL:g} s over {_GOAL_RECORDS:,} records: {', '.join(words)}; load {load:.1f}")


if __name__ == "__main__":
    main()
