"""Measures disposals: the space that comes back, the seconds they take, what appends and verification feel of it.

python -m bench.retention --records 20000      a first look, about two minutes
python -m bench.retention --write              a million records, the table to docs/benchmarks-retention.md
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench import document, machine, records, server
from bench.__main__ import say, work_folder
from bench.contender import Failed
from bench.http import bodies, installation, servers
from bench.measure import PeakMemory
from bench.retention import archive, table
from bench.retention.pace import Job, Pace, latency
from bench.retention.results import Appends, Disposal, Results, Space
from bench.retention.space import Stored, stored
from bench.retention.step import Answer, Task
from bench.server import Server
from vault.core.errors import VaultError

_ROOT = Path(__file__).parents[2]
_TABLE = _ROOT / "docs" / "benchmarks-retention.md"
_WARM_SECONDS = 3.0
_LEAST = 10_000  # below this nothing but the machine's own work is seen


@dataclass(frozen=True)
class Place:
    """One vault: its database and home."""

    at: Server
    dsn: str
    home: Path
    officers: list[tuple[str, int]]
    records: int

    def step(self, verb: str, **more: Any) -> Answer:
        """Do one step in a process of its own."""
        admin_dsn, pid = self.at.admin_dsn, self.at.pid
        task = Task(
            verb=verb,
            home=self.home,
            dsn=self.dsn,
            admin_dsn=admin_dsn,
            server_pid=pid,
            officers=self.officers,
            **more,
        )
        answer = ask(task)
        reading = answer.reading
        say(f"  {verb:<8} {reading.records:>9,} in {reading.seconds:7.1f} s   {reading.rate:>9,.0f}/s")
        return answer

    def dispose(self, tenth: int, words: str = "") -> Disposal:
        """Plan, approve and run a disposal of one of the due tenths, counted from 0."""
        plan = self.step("plan", tenth=tenth)
        approve = self.step("approve", disposal=plan.disposal)
        return Disposal(words, self.records, plan, approve, self.step("run", disposal=plan.disposal))


@dataclass
class Run:
    """One run: where it happens, and with what."""

    at: Server
    folder: Path
    pool: records.Pool
    wanted: argparse.Namespace

    def whole(self) -> Results:
        """Measure everything."""
        count: int = self.wanted.records
        say(f"a ledger of {count // 10:,} records")
        with self.vault("small", count // 10) as (place, _):
            small = place.dispose(0)
            # The second time the groups are the next generation, and hold the same entries.
            moves = [(processes, place.step("move", processes=processes)) for processes in (2, 1)]
        say(f"a ledger of {count:,} records")
        with self.vault("large", count) as (place, ingest):
            before, full_before = self.space(place)
            whole = place.step("verify")
            large = place.dispose(0)
            after, full_after = self.space(place)
            less = place.step("verify")
            beside, appends = self.beside(place)
            spread = place.dispose(2, "spread evenly")
            return Results(
                day=datetime.now(UTC).date(),
                machine=machine.facts(),
                settings=self.at.settings(),
                records=f"{self.pool.words}, repeated under fresh ids to {count:,}",
                mean_bytes=self.pool.mean_bytes,
                ingest=ingest,
                small=small,
                large=large,
                beside=beside,
                spread=spread,
                space=Space(count, large.destroyed, before, after, full_before, full_after),
                appends=appends,
                verify=(whole, less),
                moves=moves,
            )

    @contextmanager
    def vault(self, name: str, count: int) -> Iterator[tuple[Place, Answer]]:
        """Yield a vault with an imported archive, and what taking it in took."""
        home = self.folder / name
        with self.at.database(name) as dsn:
            made = Place(self.at, dsn, home, [], count).step("make")
            place = Place(self.at, dsn, home, made.officers, count)
            file = archive.write(self.folder / f"{name}.jsonl", self.pool.records, count)
            ingest = place.step("import", file=file)
            file.unlink()
            yield place, ingest
        shutil.rmtree(home, ignore_errors=True)

    def space(self, place: Place) -> tuple[Stored, Stored]:
        """Look at what is stored after VACUUM, and after VACUUM FULL of a copy."""
        plain = stored(place.dsn)
        with self.at.copy(place.dsn, "copy") as copied:
            full = stored(copied, full=True)
        for words, found in (("VACUUM", plain), ("VACUUM FULL", full)):
            say(f"  {found.held / 1e6:,.1f} MB in use after {words}, {found.size / 1e6:,.1f} MB in files")
        return plain, full

    def beside(self, place: Place) -> tuple[Disposal, Appends]:
        """Dispose of the second tenth while records are appended at a steady rate."""
        served = installation.ready(place.home, place.dsn)
        headers = served.headers(**{"Content-Type": "application/json"})
        file = bodies.write(self.folder / "bodies.jsonl", self.pool.records)
        rate, seconds = self.wanted.rate, self.wanted.seconds
        with servers.started(installation.SERVE, served.environment, self.folder / "serve.log", 1) as running:
            job = Job(port=running.port, path=served.records_path, headers=headers, bodies=file, rate=rate)
            with Pace(job) as pace:
                time.sleep(_WARM_SECONDS)
                before = time.monotonic()
                time.sleep(seconds)
                planned = time.monotonic()
                made = place.dispose(1, "beside appends")
                time.sleep(1.0)
        appends = Appends(
            rate, latency(pace.samples, before, planned), latency(pace.samples, made.run.began, made.run.ended)
        )
        say(f"  append p99 {appends.before.p99 * 1e3:.1f} ms before, {appends.during.p99 * 1e3:.1f} ms meanwhile")
        return made, appends


def ask(task: Task) -> Answer:
    """Run a step and wait for its answer, its memory watched from outside.

    Raises:
        Failed: it ended without one; why stands on standard error.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.retention.step"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_ROOT
    )
    try:
        with PeakMemory(process.pid) as memory:
            said, _ = process.communicate(msgspec.json.encode(task, enc_hook=str))
    except BaseException:
        process.kill()
        raise
    if process.returncode != 0:
        raise Failed(f"{task.verb} ended with exit code {process.returncode}")
    return msgspec.structs.replace(msgspec.json.decode(said, type=Answer), memory=memory.peak())


def main() -> int:
    """Measure and print the table. Exit code 0 when every goal is reached, 1 when one is missed, 2 on failure."""
    wanted = arguments()
    folder = Path(tempfile.mkdtemp(prefix="retention-", dir=work_folder()))
    try:
        with server.running(folder) as at:
            found = Run(at, folder, records.pool(None), wanted).whole()
    except (Failed, VaultError) as error:
        say(f"bench: {error}")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    words = table.spell(found)
    return document.done(words, found.goals(), _TABLE if wanted.write else None)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench retention", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000, help="in the ledger (%(default)s)")
    parser.add_argument("--rate", type=float, default=20, help="appends a second meanwhile (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="of appends before the disposal (%(default)s)")
    parser.add_argument("--write", action="store_true", help="write the table to docs/benchmarks-retention.md")
    wanted = parser.parse_args()
    if wanted.records < _LEAST or wanted.records % 100:
        parser.error(f"records are at least {_LEAST:,}, in hundreds")
    if wanted.rate <= 0 or wanted.seconds < 1:
        parser.error("the rate is above 0, and seconds at least 1")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
