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
    """One bundle: seconds to make and to verify, bytes of the zip, memory of all processes of each."""

    words: str
    records: int
    made: float
    verified: float
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
    started = time.perf_counter()
    checking = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with PeakMemory(checking.pid) as memory:
        printed, _ = checking.communicate()
    verified = time.perf_counter() - started
    if json.loads(printed)["verdict"] != "OK":
        raise RuntimeError(printed[:1000])
    return Measured(words, count, taken, verified, out.stat().st_size, maker.peak(), memory.peak())


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
        f"| {one.words} | {one.records:,} | {one.made:.1f} s | {one.verified:.1f} s"
        f" | {1e6 * one.verified / one.records:,.0f} us | {one.size / one.records:,.0f} B | {maker}"
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
            head = "| bundle | records | made | verified | a record | bytes a record | maker | verify.py |"
            print(f"{head}\n|---|--:|--:|--:|--:|--:|--:|--:|")
            for words, scope, full in kinds:
                found = measure(folder / "home", folder, words, scope, full, asked.processes)
                print(line(found), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    word = "reached" if found.verified * _GOAL_RECORDS / found.records < _GOAL else "missed"
    print(f"goal of {_GOAL:g} s over {_GOAL_RECORDS:,} records: {word}; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
