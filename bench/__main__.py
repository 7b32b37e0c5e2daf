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

from bench import machine, records, server, table
from bench.contender import Answer, Failed, Task, run
from bench.measure import bytes_kept
from bench.results import Growth, Line, Results
from bench.server import Server
from vault.core.errors import VaultError
from vault.verdict import Depth

_ROOT = Path(__file__).parents[1]
_TABLE = _ROOT / "docs" / "benchmarks.md"


class Run:
    """One run: its server, its files, and what it found so far."""

    def __init__(self, at: Server, folder: Path, pool: records.Pool) -> None:
        self._at = at
        self._folder = folder
        self._pool = pool
        self._spools: dict[int, Path] = {}

    def contend(self, line: Line, count: int, **options: object) -> None:
        """Run one contender once, in a database of its own."""
        if line.not_run:
            return
        with self._at.database("contender") as dsn:
            answer = self._ask(line.name, dsn, count, **options)
            self._note(line, answer, dsn)

    def ours(self, line: Line, verify: Line, opened: Line, count: int) -> None:
        """Take records in, then verify what is there, without and with keys."""
        home = self._folder / "vault"
        with self._at.database("vault") as dsn:
            try:
                self._note(line, self._ask(line.name, dsn, count, contender="ingest", home=home), dsn)
                for into, depth in ((verify, Depth.ENVELOPES), (opened, Depth.OPEN)):
                    found = self._ask(into.name, dsn, count, contender="verify", home=home, depth=depth.value)
                    self._note(into, found)
            finally:
                shutil.rmtree(home, ignore_errors=True)

    def growth(self, count: int) -> Growth:
        """Measure the vault at one size."""
        ingest, verify, opened = Line(f"vault, {count:,} records"), Line("verify"), Line("open")
        self.ours(ingest, verify, opened, count)
        return Growth(
            count,
            ingest.readings[0],
            ingest.peaks[0] if ingest.peaks else None,
            verify.readings[0],
            verify.peaks[0] if verify.peaks else None,
        )

    def _ask(self, name: str, dsn: str, count: int, **options: object) -> Answer:
        task = Task(
            dsn=dsn,
            admin_dsn=self._at.admin_dsn,
            server_pid=self._at.pid,
            records=self._spool(count),
            **options,  # type: ignore[arg-type]  # the callers below name Task's own fields
        )
        answer = run(task)
        if answer.reading is None:
            say(f"  {name:<36} not run: {answer.not_run}")
        else:
            say(f"  {name:<36} {answer.reading.rate:>9,.0f}/s")
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
    plain, at_once = Line("plain COPY, 1,000 a transaction"), Line("plain COPY, one transaction")
    ours, alone = Line("vault, 2 sealing processes"), Line("vault, 1 process")
    chains = {"pgcrypto": Line("trigger chain, pgcrypto"), "builtin": Line("trigger chain, built-in sha256()")}
    library = Line("eventsourcing, AES cipher")
    verify, opened = Line("verify, envelopes"), Line("verify, open")
    count, few = wanted.count, min(wanted.count, wanted.few)
    say("warming up: the server's first log files are made now, at nobody's expense")
    work.contend(Line("(not counted)"), count, contender="plain_copy")
    for number in range(1, wanted.rounds + 1):
        say(f"round {number} of {wanted.rounds}")
        work.contend(plain, count, contender="plain_copy")
        work.ours(ours, verify, opened, count)
        work.contend(at_once, count, contender="plain_copy", one_transaction=True)
        work.contend(alone, count, contender="ingest", home=folder / f"alone-{number}", processes=1)
        for digest, line in chains.items():
            work.contend(line, few, contender="trigger_chain", digest=digest)
        work.contend(library, few, contender="event_sourcing")
    found = Results(
        day=datetime.now(UTC).date(),
        machine=machine.facts(),
        settings=at.settings(),
        records=f"{pool.words}, repeated under fresh ids to {count:,} ({few:,} for the slow contenders)",
        mean_bytes=pool.mean_bytes,
        rounds=wanted.rounds,
        plain=plain,
        ours=ours,
        others=[alone, at_once, *chains.values(), library],
        verify=verify,
        open=opened,
    )
    for size in wanted.sizes:
        say(f"memory at {size:,} records")
        found.growth.append(work.growth(size))
    return found


def main() -> int:
    """Measure, print the table, and say which goals were missed (exit code 1)."""
    wanted = arguments()
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=_work_folder()))
    try:
        pool = records.pool(wanted.records)
        with server.running(folder) as at:
            found = measure(wanted, at, folder, pool)
    except (Failed, VaultError, ValueError) as error:
        say(f"bench: {error}")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    words = table.spell(found)
    print(words)
    if wanted.write:
        _TABLE.parent.mkdir(exist_ok=True)
        _TABLE.write_text(words + "\n", encoding="utf-8")
        say(f"written to {_TABLE.relative_to(_ROOT)}")
    return 0 if all(goal.reached for goal in found.goals()) else 1


def arguments() -> argparse.Namespace:
    """Read the command line; ``sizes`` are the runs that memory is watched at."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--records", type=Path, help="JSON lines, plain, .gz or .zst; default: synthetic decisions")
    parser.add_argument("--count", type=int, default=30_000, help="records a run of the fast contenders")
    parser.add_argument("--few", type=int, default=4_000, help="records a run of the slow contenders")
    parser.add_argument("--rounds", type=int, help="default 3, with --long 5")
    parser.add_argument("--long", action="store_true", help="measure memory at a million records too")
    parser.add_argument("--write", action="store_true", help="write the table to docs/benchmarks.md")
    wanted = parser.parse_args()
    wanted.rounds = wanted.rounds or (5 if wanted.long else 3)
    wanted.sizes = [10_000, 100_000, *([1_000_000] if wanted.long else [])]
    if min(wanted.count, wanted.few, wanted.rounds) < 1:
        parser.error("--count, --few and --rounds are at least 1")
    return wanted


def say(words: str) -> None:
    """Tell progress, on standard error."""
    print(words, file=sys.stderr, flush=True)


def _work_folder() -> Path:
    """Return where files go: beside the code, since /tmp may be memory, where nothing is as durable as it says."""
    folder = _ROOT / ".bench"
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
