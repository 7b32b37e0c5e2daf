"""Measures proofs as a ledger grows: an inclusion proof, a consistency proof, a tile of leaf hashes and a bundle.

python -m bench.log.proofs --sizes 100000 1000000              two minutes
python -m bench.log.proofs --sizes 100000 1000000 10000000     half an hour, 4 GB of disk

One ledger is made as long as each size in turn, and each kind of proof is asked for at random places, one at a time, in
a process of its own with connections of its own. What is synthetic: entries are events with a few facts, some
three quarters of a record's leaf in bytes and without anything beside them, since no proof looks at more than leaves
and subtree roots. They are appended by the vault's own append, so leaves, chain, subtree roots and checkpoint are real.

The goal is a median under 5 ms for an inclusion proof at the largest size. "Of the first" is the ratio to the smallest
size: what is read does not depend on the ledger's, beyond one level of the tree for each factor of 256.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
import psycopg

from bench import document, ours, server, table
from bench.__main__ import say
from bench.measure import spread
from bench.results import Goal
from bench.server import Server
from service import wiring
from vault import ledgers
from vault.consistency import consistency
from vault.context import Vault
from vault.core import leaf
from vault.core.tilepath import ENTRIES, FULL, TilePath
from vault.linking import Item, append
from vault.proving import prove
from vault.tiles import tile

GOAL: Final = 5.0  # milliseconds
SIZES: Final = (100_000, 1_000_000)
PROOFS: Final = 400
_STEP = 20_000  # entries of a commit


class Timed(msgspec.Struct, frozen=True):
    """How long one kind of proof took at one size, in seconds, one after the other.

    ``cpu`` is this process's share of each, on average: the part that a busy machine does not stretch as much.
    """

    entries: int
    kind: str
    seconds: list[float]
    cpu: float

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p99(self) -> float:
        return sorted(self.seconds)[int(0.99 * len(self.seconds))]


class Stored(NamedTuple):
    """What a ledger of one length has: stored subtree roots, bytes of its leaves' table, seconds that growing took."""

    roots: int
    size: int
    seconds: float


@dataclass
class Found:
    """What a run found; ``stored`` by the number of entries."""

    timed: list[Timed]
    stored: dict[int, Stored]

    def largest(self, kind: str) -> Timed:
        """Return the figures of a kind in the longest ledger."""
        return max((one for one in self.timed if one.kind == kind), key=lambda one: one.entries)


def grow(vault: Vault, ledger: UUID, size: int) -> None:
    """Make a ledger ``size`` entries long."""
    facts = {"ledger": str(ledger), "group": "2033-11.1", "count": 1_000_000, "key": f"{ledger}/2033-11.1"}
    draft = leaf.draft(
        {
            "actor": "bench",
            "at": leaf.instant_ms(0),
            "event": "bench.filler",
            "facts": facts,
            "kind": "event",
            "ledger": str(ledger),
        }
    )
    item = Item(draft.head, draft.middle, b"", None)
    checkpoint = vault.checkpoints.read(ledger)
    have = checkpoint.size if checkpoint else 0
    while have < size:
        items = [item] * min(_STEP, size - have)
        append(vault.engine, vault.checkpoints, ledger, lambda _connection, items=items: items)  # type: ignore[misc]
        have += len(items)


def measure(vault: Vault, ledger: UUID, size: int, proofs: int) -> list[Timed]:
    """Return how long each kind of proof took, at places drawn anew; the first ones warm up and are not returned."""
    draw = random.Random(size)
    note = vault.checkpoints.note(ledger) or ""
    kinds: dict[str, Callable[[], object]] = {
        "inclusion proof": lambda: prove(vault, ledger, [draw.randrange(size)], note),
        "consistency proof": lambda: consistency(vault, ledger, draw.randrange(1, size), size),
        "tile of level 0": lambda: tile(vault, ledger, TilePath(0, draw.randrange(size // FULL))),
        "entry bundle": lambda: tile(vault, ledger, TilePath(ENTRIES, draw.randrange(size // FULL))),
    }
    return [Timed(size, kind, *_timed(act, proofs)) for kind, act in kinds.items()]


def _timed(act: Callable[[], object], count: int) -> tuple[list[float], float]:
    for _ in range(10):
        act()
    taken, cpu = [], time.process_time()
    for _ in range(count):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return taken, (time.process_time() - cpu) / count


def _child(home: Path, ledger: UUID, size: int, proofs: int) -> list[Timed]:
    """Measure in a process of its own: none of the hashes that growing left in memory, and a fresh pool."""
    command = [sys.executable, "-m", "bench.log.proofs", "--child", str(home), str(ledger), str(size), str(proofs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return msgspec.json.decode(done.stdout, type=list[Timed])


def run(folder: Path, at: Server, sizes: Sequence[int], proofs: int) -> Found:
    """Make one ledger as long as each size in turn, and measure there."""
    found = Found([], {})
    home = folder / "proofs"
    with at.database("proofs") as dsn, ours.vault_at(home, dsn) as vault:
        ledger = ledgers.create(vault, "proofs", ("CN", "SG"), ()).id
        for size in sorted(sizes):
            say(f"  growing to {size:,} entries")
            began = time.perf_counter()
            grow(vault, ledger, size)
            seconds = time.perf_counter() - began
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE vault.entry, vault.node")
                row = connection.execute(
                    "SELECT (SELECT count(*) FROM vault.node WHERE ledger_id = %s),"
                    " pg_total_relation_size('vault.entry')",
                    [ledger],
                ).fetchone()
            assert row is not None
            found.stored[size] = Stored(row[0], row[1], seconds)
            found.timed.extend(_child(home, ledger, size, proofs))
    return found


def goals(found: Found) -> list[Goal]:
    """Return what an inclusion proof in the longest ledger must reach."""
    one = found.largest("inclusion proof")
    return [
        Goal(f"inclusion proof at {one.entries:,} entries, median ms", GOAL, GOAL, spread([1000 * one.median]), True)
    ]


def rates(found: Found) -> str:
    """Return how long each kind of proof took at each size."""
    titles = ["", "entries", "p50 ms", "p99 ms", "client CPU ms", "x the shortest ledger's"]
    first = {one.kind: one.median for one in reversed(found.timed)}
    rows = [
        [
            one.kind,
            f"{one.entries:,}",
            f"{1000 * one.median:.2f}",
            f"{1000 * one.p99:.2f}",
            f"{1000 * one.cpu:.2f}",
            f"{one.median / first[one.kind]:.2f}",
        ]
        for one in sorted(found.timed, key=lambda one: list(first)[::-1].index(one.kind))
    ]
    return table.markdown(titles, rows)


def stored(found: Found) -> str:
    """Return what is stored of each length."""
    titles = ["entries", "subtree roots", "MB of entries", "grown in s"]
    rows = [
        [f"{size:,}", f"{one.roots:,}", f"{one.size / 1e6:,.0f}", f"{one.seconds:,.0f}"]
        for size, one in found.stored.items()
    ]
    return table.markdown(titles, rows)


def main() -> int:
    """Measure and print; exit code 0 when the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--proofs", type=int, default=PROOFS)
    parser.add_argument("--child", nargs=4, metavar=("HOME", "LEDGER", "SIZE", "PROOFS"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.child:
        home, ledger, size, proofs = wanted.child
        with wiring.open_vault(Path(home), ours.PASSPHRASE) as vault:
            timed = measure(vault, UUID(ledger), int(size), int(proofs))
        sys.stdout.buffer.write(msgspec.json.encode(timed))
        return 0
    with document.folder("proofs") as folder, server.running(folder) as at:
        found = run(folder, at, wanted.sizes, wanted.proofs)
    words = f"{table.goals(goals(found))}\n\n{rates(found)}\n\n{stored(found)}"
    return document.done(words, goals(found), None)


if __name__ == "__main__":
    sys.exit(main())
