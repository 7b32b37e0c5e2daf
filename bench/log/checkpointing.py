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
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock
from uuid import UUID

import msgspec

from bench import document, ours, records, server, table
from bench.__main__ import say
from bench.measure import ratios, spread
from bench.results import Goal
from bench.server import Server
from vault import anchoring, intake, ledgers, lines
from vault.checkpoints import Checkpoints
from vault.context import Vault
from vault.core.tree import Frontier

GOAL: Final = 0.95
NAMES: Final = ("require_consistent", "announce", "publish", "anchor")
"""What makes checkpoints, in the order of a commit."""
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


def run(folder: Path, at: Server, count: int, turns: int, processes: int = 2, file: Path | None = None) -> list[Turn]:
    """Measure in a new vault.

    Args:
        file: gzip JSON lines to draw records from; None takes synthetic ones.
    """
    spooled = records.spool(folder / "in.jsonl", records.pool(file).records, count)
    with at.database("checkpointing") as dsn, ours.vault_at(folder / "checkpointing", dsn) as vault:
        made = measure(vault, spooled, turns, processes)
    for one in made:
        say(f"  {'with' if one.checkpoints else 'without'} checkpoints {one.rate:,.0f}/s")
    return made


def goals(turns: Sequence[Turn]) -> list[Goal]:
    """Return what must be reached."""
    with_them, without = _sides(turns)
    rate = ratios([one.rate for one in with_them], [one.rate for one in without])
    return [Goal("ingest rate with checkpoints, x without", GOAL, 1.0, rate)]


def rates(turns: Sequence[Turn]) -> str:
    """Return the rates, and what was spent inside of what makes checkpoints."""
    titles = ["", "records/s", "commits", "% of the time in them", *NAMES]
    rows = []
    for words, side in zip(("with checkpoints", "without"), _sides(turns), strict=True):
        spent = [[1000 * one.spent.get(name, 0.0) / one.commits for one in side] for name in NAMES]
        rows.append(
            [
                words,
                table.cell(spread([one.rate for one in side]), ",.0f"),
                f"{side[0].commits:,}",
                f"{100 * spread([one.share for one in side]).median:.1f}",
                *(f"{spread(values).median:.2f}" for values in spent),
            ]
        )
    return "Milliseconds a commit of each part:\n\n" + table.markdown(titles, rows)


def _sides(turns: Sequence[Turn]) -> tuple[list[Turn], list[Turn]]:
    with_them, without = ([one for one in turns if one.checkpoints is which] for which in (True, False))
    return with_them, without


def main() -> int:
    """Measure and print; exit code 0 when the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--input", type=Path, help="gzip JSON lines to draw records from; default: synthetic ones")
    wanted = parser.parse_args()
    with document.folder("checkpointing") as folder, server.running(folder) as at:
        turns = run(folder, at, wanted.records, wanted.turns, wanted.processes, wanted.input)
    return document.done(f"{table.goals(goals(turns))}\n\n{rates(turns)}", goals(turns), None)


if __name__ == "__main__":
    sys.exit(main())
