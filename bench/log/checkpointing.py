"""Measures what checkpointing costs an ingest: announcing, signing, writing the checkpoint, anchoring it.

python -m bench.log.checkpointing --records 20000 --turns 3

By turns the same records go into a new ledger with checkpoints and into one without; the rates differ by what they
cost. In the turns with them a clock stands around every call, too: most of that is waiting for the disk, during which
other processes go on sealing, so it is more than the rate loses. Receipts are not spelled. A batch commits as
``reasonvault ingest`` does; the ledger is anchored after every tenth batch, many times as often as the once a minute
that is allowed.

The goal is a rate of more than 95 % of the other's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock
from uuid import UUID

import msgspec

from bench import machine, records, server
from bench.__main__ import work_folder
from service import wiring
from vault import anchoring, intake, ledgers, lines
from vault.checkpoints import Checkpoints
from vault.context import Vault
from vault.core.tree import Frontier
from vault.keys.keyfile import KeyDirectory
from vault.keys.slots import Argon2Cost

GOAL: Final = 0.95
_PASSPHRASE = b"a benchmark has no secrets"
_CHEAP = Argon2Cost(memory_kib=8, passes=1, lanes=1)
_ANCHORED_EVERY = 10  # batches


class Turn(msgspec.Struct, frozen=True):
    """One ingest. ``spent`` are the seconds inside of what makes checkpoints, by name."""

    checkpoints: bool
    records: int
    seconds: float
    commits: int
    spent: dict[str, float]

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def share(self) -> float:
        """Part of the ingest's time that checkpointing took."""
        return sum(self.spent.values()) / self.seconds


def measure(vault: Vault, file: Path, turns: int, processes: int) -> list[Turn]:
    """Return the turns, with and without checkpoints by turns; the first of all warms up and is not returned."""
    order = [True, *([False, True] * turns)]
    made = [_turn(vault, file, f"turn-{at}", processes, with_them) for at, with_them in enumerate(order)]
    return made[1:]


def _turn(vault: Vault, file: Path, name: str, processes: int, with_them: bool) -> Turn:
    ledger = ledgers.create(vault, name, ("CN", "SG"), ())
    spent: dict[str, float] = {}
    taken = commits = 0
    with _timed(ledger.id, spent) if with_them else _without(ledger.id), lines.opened(file) as stream:
        began = time.perf_counter()
        for batch in intake.ingest(vault, ledger, lines.numbered(stream), "bench", processes=processes):
            taken += len(batch.results)
            commits += 1
            if with_them and commits % _ANCHORED_EVERY == 0:
                anchored = time.perf_counter()
                anchoring.anchor(vault, every=0)
                spent["anchor"] = spent.get("anchor", 0.0) + time.perf_counter() - anchored
        seconds = time.perf_counter() - began
    return Turn(with_them, taken, seconds, commits, spent)


@contextmanager
def _timed(ledger: UUID, spent: dict[str, float]) -> Iterator[None]:
    """Put a clock around what appends to a ledger call for the sake of its checkpoints."""

    def clocked(name: str) -> Callable[..., Any]:
        real = getattr(Checkpoints, name)

        def call(checkpoints: Checkpoints, about: UUID, *rest: Any) -> Any:
            if about != ledger:
                return real(checkpoints, about, *rest)
            began = time.perf_counter()
            try:
                return real(checkpoints, about, *rest)
            finally:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - began

        return call

    with _replaced({name: clocked(name) for name in ("require_consistent", "announce", "publish")}):
        yield


@contextmanager
def _without(ledger: UUID) -> Iterator[None]:
    """Leave them out for a ledger: its heads are believed as the database has them, and nobody signs anything."""

    def instead(name: str, short: Callable[..., Any]) -> Callable[..., Any]:
        real = getattr(Checkpoints, name)
        return lambda self, about, *rest: short(*rest) if about == ledger else real(self, about, *rest)

    shorts: dict[str, Callable[..., Any]] = {
        "require_consistent": lambda head, *_: Frontier.from_bytes(head.size, head.frontier),
        "announce": lambda *_: None,
        "publish": lambda *_: "",
    }
    with _replaced({name: instead(name, short) for name, short in shorts.items()}):
        yield


@contextmanager
def _replaced(methods: dict[str, Callable[..., Any]]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, method in methods.items():
            stack.enter_context(mock.patch.object(Checkpoints, name, method))
        yield


def main() -> int:
    """Measure, print, and end with 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--input", type=Path, help="gzip JSON lines to draw records from; default: synthetic ones")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=work_folder()))
    try:
        file = records.spool(folder / "in.jsonl", records.pool(wanted.input).records, wanted.records)
        with server.running(folder) as at, at.database("checkpointing") as dsn:
            os.environ["DATABASE_URL"] = os.environ["DATABASE_OWNER_URL"] = dsn
            home = folder / "home"
            home.mkdir(mode=0o700)
            KeyDirectory.create(home / "keys", _PASSPHRASE, clock=time.monotonic, cost=_CHEAP).close()
            wiring.initialise(home, _PASSPHRASE)
            with wiring.open_vault(home, _PASSPHRASE) as vault:
                turns = measure(vault, file, wanted.turns, wanted.processes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _print(turns, as_json=wanted.json)


def _print(turns: list[Turn], *, as_json: bool) -> int:
    with_them, without = ([one for one in turns if one.checkpoints is which] for which in (True, False))
    share = statistics.median(one.share for one in with_them)
    ratio = statistics.median(one.rate for one in with_them) / statistics.median(one.rate for one in without)
    if as_json:
        document = {"share": share, "ratio": ratio, "turns": msgspec.to_builtins(turns), "machine": machine.facts()}
        sys.stdout.write(json.dumps(document) + "\n")
        return int(ratio < GOAL)
    for one in turns:
        words = ", ".join(f"{name} {seconds * 1000:,.0f} ms" for name, seconds in one.spent.items())
        kind = "with checkpoints   " if one.checkpoints else "without checkpoints"
        sys.stdout.write(f"{kind} {one.rate:>8,.0f}/s  {one.commits} commits  {words}\n")
    sys.stdout.write(
        f"rate {ratio:.1%} of the other's, goal {GOAL:.0%}; {share:.1%} of the time was spent in them, waits included\n"
    )
    return int(ratio < GOAL)


if __name__ == "__main__":
    sys.exit(main())
