"""Measures the vault against what a team would do instead: same records, same server, one run.

    python -m bench                      about three minutes
    python -m bench --long --write       more rounds, a million records, the table to docs/benchmarks.md

Rounds are interleaved (A B C A B C), so that what else the machine does meets every contender alike.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench import document, machine, records, server, table
from bench.contender import Answer, Failed, Task, run
from bench.measure import bytes_kept
from bench.results import Growth, Line, Results
from bench.server import Server
from vault.core.errors import VaultError
from vault.verdict import Depth

_ROOT = Path(__file__).parents[1]
_TABLE = _ROOT / "docs" / "benchmarks.md"


class Run:
    """One run: its server, its files, and the figures as they come."""

    def __init__(self, at: Server, folder: Path, pool: records.Pool) -> None:
        self._at = at
        self._folder = folder
        self._pool = pool
        self._spools: dict[int, Path] = {}

    def contend(self, line: Line, task: Task, count: int) -> None:
        """Run a contender once, in a database of its own."""
        if line.not_run:
            return
        with self._at.database("contender") as dsn:
            self._note(line, self._ask(line, task, dsn, count), dsn)

    def ours(self, ingest: Line, verify: Line, opened: Line | None, count: int, *, processes: int = 2) -> None:
        """Take records into a new vault, then verify what is there, without keys and, if asked for, with them."""
        home = self._folder / "vault"
        depths = [(verify, Depth.ENVELOPES)] + ([(opened, Depth.OPEN)] if opened is not None else [])
        with self._at.database("vault") as dsn:
            try:
                taking = Task(contender="ingest", home=home, processes=processes)
                self._note(ingest, self._ask(ingest, taking, dsn, count), dsn)
                for line, depth in depths:
                    checking = Task(contender="verify", home=home, depth=depth.value)
                    self._note(line, self._ask(line, checking, dsn, count))
            finally:
                shutil.rmtree(home, ignore_errors=True)

    def growth(self, count: int) -> Growth:
        """Measure the vault at one size."""
        ingest, verify = Line(f"vault, {count:,} records"), Line(f"verify, {count:,} records")
        self.ours(ingest, verify, None, count)
        return Growth(
            count,
            ingest.readings[0],
            ingest.peaks[0] if ingest.peaks else None,
            verify.readings[0],
            verify.peaks[0] if verify.peaks else None,
        )

    def _ask(self, line: Line, task: Task, dsn: str, count: int) -> Answer:
        answer = run(task.at(dsn, self._at.admin_dsn, self._at.pid, self._spool(count)))
        words = f"not run: {answer.not_run}" if answer.reading is None else f"{answer.reading.rate:>9,.0f}/s"
        say(f"  {line.name:<36} {words}")
        return answer

    def _note(self, line: Line, answer: Answer, dsn: str | None = None) -> None:
        if answer.reading is None:
            line.not_run = answer.not_run
            return
        line.readings.append(answer.reading)
        if answer.memory is not None:
            line.peaks.append(answer.memory)
        if dsn is not None:
            line.sizes.append(bytes_kept(dsn) / answer.reading.records)

    def _spool(self, count: int) -> Path:
        if count not in self._spools:
            say(f"  writing {count:,} records to a file")
            self._spools[count] = records.spool(self._folder / f"{count}.jsonl", self._pool.records, count)
        return self._spools[count]


def measure(wanted: argparse.Namespace, at: Server, folder: Path, pool: records.Pool) -> Results:
    """Do the whole run."""
    work = Run(at, folder, pool)
    count, few = wanted.count, min(wanted.count, wanted.few)
    plain, ours = Line("plain COPY, 1,000 a transaction"), Line("vault, 2 sealing processes")
    verify, opened = Line("verify, envelopes"), Line("verify, open")
    copying = Task(contender="plain_copy")
    alone = Task(contender="ingest", home=folder / "alone", processes=1)
    others = [
        (Line("vault, 1 process"), alone, count),
        (Line("plain COPY, one transaction"), Task(contender="plain_copy", one_transaction=True), count),
        (Line("trigger chain, pgcrypto"), Task(contender="trigger_chain", digest="pgcrypto"), few),
        (Line("trigger chain, built-in sha256()"), Task(contender="trigger_chain", digest="builtin"), few),
        (Line("eventsourcing, AES cipher"), Task(contender="event_sourcing"), few),
    ]
    say("warming up: the server's first log files are made now, at nobody's expense")
    work.contend(Line("(not counted)"), copying, count)
    for number in range(1, wanted.rounds + 1):
        say(f"round {number} of {wanted.rounds}")
        work.contend(plain, copying, count)
        work.ours(ours, verify, opened, count)
        for line, task, how_many in others:
            work.contend(line, task, how_many)
            shutil.rmtree(alone.home, ignore_errors=True)
    found = Results(
        day=datetime.now(UTC).date(),
        machine=machine.facts(),
        settings=at.settings(),
        records=f"{pool.words}, repeated under fresh ids to {count:,} ({few:,} for the slow contenders)",
        mean_bytes=pool.mean_bytes,
        rounds=wanted.rounds,
        plain=plain,
        ours=ours,
        others=[line for line, _, _ in others],
        verify=verify,
        open=opened,
    )
    for size in wanted.sizes:
        say(f"memory at {size:,} records")
        found.growth.append(work.growth(size))
    return found


def main() -> int:
    """Measure and print the table. Exit code 0 when every goal is reached, 1 when one is missed, 2 on failure."""
    wanted = arguments()
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=work_folder()))
    try:
        pool = records.pool(wanted.records)
        with server.running(folder) as at:
            found = measure(wanted, at, folder, pool)
    except (Failed, VaultError) as error:
        say(f"bench: {error}")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    words = table.spell(found)
    return document.done(words, found.goals(), _TABLE if wanted.write else None)


def arguments() -> argparse.Namespace:
    """Read the command line; ``sizes`` are the runs that memory is watched at."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=Path, help="JSON lines, plain, .gz or .zst; default: synthetic decisions")
    parser.add_argument("--count", type=int, default=30_000, help="records a run of the fast contenders (%(default)s)")
    parser.add_argument("--few", type=int, default=5_000, help="records a run of the slow contenders (%(default)s)")
    parser.add_argument("--rounds", type=int, help="default 3, with --long 5")
    parser.add_argument("--sizes", type=int, nargs="*", help="sizes to watch memory at; default 10000 100000")
    parser.add_argument("--long", action="store_true", help="more rounds, and memory at a million records too")
    parser.add_argument("--write", action="store_true", help="write the table to docs/benchmarks.md")
    wanted = parser.parse_args()
    wanted.rounds = wanted.rounds or (5 if wanted.long else 3)
    if wanted.sizes is None:
        wanted.sizes = [10_000, 100_000, *([1_000_000] if wanted.long else [])]
    if min(wanted.count, wanted.few, wanted.rounds, *wanted.sizes) < 1:
        parser.error("counts, sizes and rounds are at least 1")
    return wanted


def say(words: str) -> None:
    """Tell progress, on standard error."""
    print(words, file=sys.stderr, flush=True)


def work_folder() -> Path:
    """Return where files go: beside the code, since /tmp may be memory, where nothing is as durable as it says."""
    folder = _ROOT / ".bench"
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
