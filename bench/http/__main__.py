"""Measures the service over the wire, beside a plain handler on the same server and the vault's own library path.

python -m bench.http                         a few minutes
python -m bench.http --soak 600 --write      ten minutes of memory too, the table to docs/benchmarks-service.md
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import psycopg

from bench import contender, document, machine, records, server
from bench.__main__ import say, work_folder
from bench.contender import Failed, Task
from bench.http import bodies, family, installation, reads, rival, servers, table
from bench.http.installation import Installation
from bench.http.load import Job, Load
from bench.http.results import CONNECTIONS, Batches, Results, Singles, Soak, Turn
from bench.http.servers import Running
from bench.http.stream import Streamed, Streams
from bench.measure import Stopwatch
from bench.server import Server

_ROOT = Path(__file__).parents[2]
_TABLE = _ROOT / "docs" / "benchmarks-service.md"
_MOST = {1: 3_000, 16: 10_000, 64: 20_000, 256: 20_000}
"""Requests a turn at the most, by connections; ``--seconds`` ends a turn, too."""
_WARM = 2_000
_SOAK_CONNECTIONS = 16
_RECEIPT = ['"receipt":"reasonvault-receipt/1"', "c2sp.org/tlog-proof@v1"]

Way = tuple[str, int, bool]
"""Its name, how many streams at once, and whether short answers are enough."""
_WAYS: Sequence[Way] = (
    ("1 stream, minimal", 1, True),
    ("4 streams, minimal", 4, True),
    ("1 stream, receipts", 1, False),
)

A = TypeVar("A")


@dataclass
class Run:
    """One run: where it happens, and which numbers are used up."""

    at: Server
    folder: Path
    pool: records.Pool
    wanted: argparse.Namespace
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bodies = bodies.write(self.folder / "bodies.jsonl", self.pool.records)

    def empty(self) -> Results:
        """Return results without figures."""
        return Results(
            day=datetime.now(UTC).date(),
            machine=machine.facts(),
            settings=self.at.settings(),
            records=f"{self.pool.words}, each sent under a fresh id",
            mean_bytes=self.pool.mean_bytes,
            rounds=self.wanted.rounds,
            workers=self.wanted.workers,
            ours=Singles("reasonvault serve"),
            rival=Singles("plain handler"),
            not_read="not asked for",
        )

    def whole(self) -> Results:
        """Measure everything that was asked for."""
        wanted, found = self.wanted, self.empty()
        with ExitStack() as stack:
            vault = installation.make(self.folder / "home", stack.enter_context(self.at.database("service")))
            plain_dsn = stack.enter_context(self.at.database("plain"))
            with psycopg.connect(plain_dsn) as connection:
                connection.execute(rival.TABLE)
            with self.serving(vault) as ours, self.plain(plain_dsn) as plain:
                self.singles(found, vault, ours, plain)
                if not wanted.no_batches:
                    self.batches(found, vault, ours)
                if not wanted.no_reads:
                    self.opened(found, vault, ours)
            if wanted.soak:
                with self.serving(vault) as ours:
                    found.soak = self.soak(vault, ours)
        return found

    def serving(self, vault: Installation) -> servers.Starting:
        """Start the service."""
        log = self.folder / "serve.log"
        return servers.started(installation.SERVE, vault.environment, log, self.wanted.workers)

    def plain(self, dsn: str) -> servers.Starting:
        """Start the plain handler."""
        log = self.folder / "rival.log"
        return servers.started(("-m", "bench.http.rival"), {"DATABASE_URL": dsn}, log, self.wanted.workers)

    def singles(self, found: Results, vault: Installation, ours: Running, plain: Running) -> None:
        """Measure one record a request, both contenders after each other in every round."""
        rival_headers = {"Authorization": f"Bearer {rival.KEY}"}
        both = [
            (found.ours, ours, vault.records_path, vault.headers(), _RECEIPT),
            (found.rival, plain, "/records", rival_headers, ['"id":']),
        ]
        for number in range(self.wanted.rounds + 1):
            say(f"round {number} of {self.wanted.rounds}" if number else "warming up")
            for connections in CONNECTIONS if number else (64,):
                # Who goes first changes with the round, so that neither always meets the colder disk.
                for line, running, path, headers, marks in both if number % 2 else both[::-1]:
                    job = Job(
                        port=running.port,
                        path=path,
                        headers=headers | {"Content-Type": "application/json"},
                        bodies=self.bodies,
                        first=self.used(line.name),
                        most=_MOST[connections] if number else _WARM,
                        seconds=self.wanted.seconds,
                        connections=connections,
                        marks=marks,
                    )
                    turn = self.turn(line.name, job, running)
                    self.numbers[line.name] = job.first + turn.load.requests + turn.load.wrong + connections
                    if number:
                        line.add(connections, turn)

    def turn(self, name: str, job: Job, running: Running) -> Turn:
        """Send one job.

        Raises:
            Failed: an answer was not what it should be.
        """
        fsyncs = self.fsyncs()
        before = family.seconds(running.pid)
        with Stopwatch(self.at.admin_dsn, self.at.pid) as clock:
            load = ask("bench.http.load", job, Load)
        cpu = family.seconds(running.pid) - before
        after = self.fsyncs()
        require(name, load.requests, load.wrong, load.first_wrong)
        say(
            f"  {name:<20} {job.connections:>4} connections {load.rate:>8,.0f}/s"
            f"   p50 {load.p50 * 1e3:6.1f} ms   p99 {load.p99 * 1e3:6.1f} ms"
        )
        reading = clock.reading(load.requests)
        forced = None if fsyncs is None or after is None else after - fsyncs
        return Turn(load, cpu, reading.server_cpu, reading.wal_bytes, forced)

    def batches(self, found: Results, vault: Installation, ours: Running) -> None:
        """Measure the batch route beside the library, round by round."""
        file = records.spool(self.folder / "library.jsonl", self.pool.records, self.wanted.count)
        for number in range(1, self.wanted.rounds + 1):
            say(f"batches, round {number} of {self.wanted.rounds}")
            found.library.append(self.library(file))
            self.streams(found, vault, ours, _WAYS)

    def streams(self, found: Results, vault: Installation, ours: Running, ways: Sequence[Way]) -> None:
        """Measure the batch route once in each of some ways."""
        found.batches = found.batches or [Batches(name) for name, _, _ in ways]
        for line, (name, streams, minimal) in zip(found.batches, ways, strict=True):
            first = self.used(found.ours.name)
            task = Streams(
                port=ours.port,
                path=f"{vault.records_path}/batch",
                headers=vault.headers(**({"Prefer": "return=minimal"} if minimal else {})),
                bodies=self.bodies,
                first=first,
                most=self.wanted.count,
                streams=streams,
            )
            streamed = ask("bench.http.stream", task, Streamed)
            self.numbers[found.ours.name] = first + self.wanted.count
            require(name, streamed.records, streamed.wrong, streamed.first_wrong)
            say(f"  {name:<36} {streamed.rate:>9,.0f}/s")
            line.readings.append(streamed)

    def library(self, file: Path) -> float:
        """Return records a second by the library path, in a vault of its own."""
        home = self.folder / "library"
        with self.at.database("library") as dsn:
            task = Task(contender="ingest", home=home, processes=2)
            answer = contender.run(task.at(dsn, self.at.admin_dsn, self.at.pid, file))
        shutil.rmtree(home, ignore_errors=True)
        assert answer.reading is not None
        say(f"  {'library, 2 sealing processes':<36} {answer.reading.rate:>9,.0f}/s")
        return answer.reading.rate

    def opened(self, found: Results, vault: Installation, ours: Running) -> None:
        """Measure one auditor who opens record after record."""
        access = reads.granted(vault, ours.port)
        halves = bodies.read(self.bodies)
        ids = [bodies.ident(halves, number) for number in range(self.wanted.reads)]
        for number in range(self.wanted.rounds):
            job = reads.job(vault, ours.port, access, ids, self.folder / f"paths-{number}")
            load = ask("bench.http.load", job, Load)
            require("opening", load.requests, load.wrong, load.first_wrong)
            say(f"  opened {load.rate:>8,.0f}/s   p50 {load.p50 * 1e3:6.1f} ms   p99 {load.p99 * 1e3:6.1f} ms")
            found.reads.append(load)

    def soak(self, vault: Installation, ours: Running) -> Soak:
        """Watch memory under steady load."""
        say(f"memory over {self.wanted.soak} seconds")
        job = Job(
            port=ours.port,
            path=vault.records_path,
            headers=vault.headers(**{"Content-Type": "application/json"}),
            bodies=self.bodies,
            first=self.used("reasonvault serve"),
            most=10**8,
            seconds=self.wanted.soak,
            connections=_SOAK_CONNECTIONS,
            marks=_RECEIPT,
        )
        with family.Watch(lambda: family.memory(ours.pid), every=min(5.0, self.wanted.soak / 20)) as watch:
            load = ask("bench.http.load", job, Load)
        require("soak", load.requests, load.wrong, load.first_wrong)
        return Soak(_SOAK_CONNECTIONS, load, watch.samples)

    def used(self, name: str) -> int:
        """Return the first number that nobody sent to a contender yet."""
        return self.numbers.get(name, 0)

    def fsyncs(self) -> int | None:
        """Return how often the server says it forced its log to disk; None where it does not say."""
        with psycopg.connect(self.at.admin_dsn) as connection:
            if connection.info.server_version < 180000:
                return None
            row = connection.execute("SELECT sum(fsyncs)::bigint FROM pg_stat_io WHERE object = 'wal'").fetchone()
        return None if row is None else row[0]


def ask(module: str, task: Job | Streams, answer: type[A]) -> A:
    """Run a load process.

    Raises:
        Failed: it ended without an answer; why stands on standard error.
    """
    done = subprocess.run(
        [sys.executable, "-m", module], input=msgspec.json.encode(task, enc_hook=str), stdout=subprocess.PIPE, cwd=_ROOT
    )
    if done.returncode != 0:
        raise Failed(f"{module} ended with exit code {done.returncode}")
    return msgspec.json.decode(done.stdout, type=answer)


def require(name: str, fine: int, wrong: int, first_wrong: str) -> None:
    """Insist on right answers only: a rate of errors is no figure.

    Raises:
        Failed: there was a wrong one, or none at all.
    """
    if wrong or not fine:
        raise Failed(f"{name}: {wrong} of {fine + wrong} answers were wrong, the first: {first_wrong}")


def main() -> int:
    """Measure and print the table. Exit code 0 when every goal is reached, 1 when one is missed, 2 on failure."""
    wanted = arguments()
    folder = Path(tempfile.mkdtemp(prefix="http-", dir=work_folder()))
    try:
        with server.running(folder) as at:
            found = Run(at, folder, records.pool(wanted.records), wanted).whole()
    except Failed as error:
        say(f"bench: {error}")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    words = table.spell(found)
    return document.done(words, found.goals(), _TABLE if wanted.write else None)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench http", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=Path, help="JSON lines, plain, .gz or .zst; default: synthetic decisions")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="of the service and of its rival (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8, help="of a turn at the most (%(default)s)")
    parser.add_argument("--count", type=int, default=20_000, help="records of a batch (%(default)s)")
    parser.add_argument("--reads", type=int, default=500, help="records to open a round (%(default)s)")
    parser.add_argument("--no-batches", action="store_true", help="leave out the batch route and the library")
    parser.add_argument("--no-reads", action="store_true", help="do not open records")
    parser.add_argument("--soak", type=int, default=0, help="seconds of steady load to watch memory for")
    parser.add_argument("--write", action="store_true", help="write the table to docs/benchmarks-service.md")
    wanted = parser.parse_args()
    if min(wanted.rounds, wanted.workers, wanted.count, wanted.reads) < 1 or wanted.seconds <= 0 or wanted.soak < 0:
        parser.error("rounds, workers, count and reads are at least 1, seconds above 0")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
