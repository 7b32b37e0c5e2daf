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
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
import psycopg

from bench import machine, server
from bench.__main__ import work_folder
from service import wiring
from vault import ledgers
from vault.consistency import consistency
from vault.context import Vault
from vault.core import leaf
from vault.core.tilepath import ENTRIES, FULL, TilePath
from vault.keys.keyfile import KeyDirectory
from vault.keys.slots import Argon2Cost
from vault.linking import Item, append
from vault.proving import prove
from vault.tiles import tile

GOAL: Final = 0.005
_PASSPHRASE = b"a benchmark has no secrets"
_CHEAP = Argon2Cost(memory_kib=8, passes=1, lanes=1)
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


def main() -> int:
    """Measure, print, and end with 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--proofs", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=4, metavar=("HOME", "LEDGER", "SIZE", "PROOFS"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.child:
        home, ledger, size, proofs = wanted.child
        with wiring.open_vault(Path(home), _PASSPHRASE) as vault:
            found = measure(vault, UUID(ledger), int(size), int(proofs))
        sys.stdout.buffer.write(msgspec.json.encode(found))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=work_folder()))
    try:
        with server.running(folder) as at, at.database("proofs") as dsn:
            timed, stored = _run(folder / "home", dsn, sorted(wanted.sizes), wanted.proofs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _print(timed, stored, as_json=wanted.json)


def _run(home: Path, dsn: str, sizes: list[int], proofs: int) -> tuple[list[Timed], dict[int, str]]:
    os.environ["DATABASE_URL"] = os.environ["DATABASE_OWNER_URL"] = dsn
    home.mkdir(mode=0o700)
    KeyDirectory.create(home / "keys", _PASSPHRASE, clock=time.monotonic, cost=_CHEAP).close()
    wiring.initialise(home, _PASSPHRASE)
    timed: list[Timed] = []
    stored: dict[int, str] = {}
    with wiring.open_vault(home, _PASSPHRASE) as vault:
        ledger = ledgers.create(vault, "proofs", ("CN", "SG"), ()).id
        for size in sizes:
            began = time.perf_counter()
            grow(vault, ledger, size)
            seconds = time.perf_counter() - began
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE vault.entry, vault.node")
                row = connection.execute(
                    "SELECT (SELECT count(*) FROM vault.node WHERE ledger_id = %s),"
                    " pg_total_relation_size('vault.entry') / 1000000",
                    [ledger],
                ).fetchone()
            assert row is not None
            stored[size] = f"{row[0]:,} subtree roots, {row[1]:,} MB of entries; grown in {seconds:,.0f} s"
            timed += _child(home, ledger, size, proofs)
    return timed, stored


def _print(timed: list[Timed], stored: dict[int, str], *, as_json: bool) -> int:
    largest = max(one.entries for one in timed)
    (goal,) = [one for one in timed if (one.entries, one.kind) == (largest, "inclusion proof")]
    reached = goal.median < GOAL
    if as_json:
        rows = [
            {"entries": one.entries, "kind": one.kind, "p50": one.median, "p99": one.p99, "cpu": one.cpu}
            for one in timed
        ]
        sys.stdout.write(json.dumps({"proofs": rows, "reached": reached, "machine": machine.facts()}) + "\n")
        return int(not reached)
    first = {one.kind: one.median for one in reversed(timed)}
    for size, words in stored.items():
        sys.stdout.write(f"{size:,} entries: {words}\n")
        for one in timed:
            if one.entries == size:
                sys.stdout.write(
                    f"  {one.kind:<18} p50 {1000 * one.median:7.2f} ms  p99 {1000 * one.p99:7.2f} ms"
                    f"  client CPU {1000 * one.cpu:5.2f} ms  {one.median / first[one.kind]:5.2f} of the first\n"
                )
    sys.stdout.write(
        f"inclusion proof at {largest:,} entries: p50 {1000 * goal.median:.2f} ms, goal under {1000 * GOAL:.0f} ms"
        f"{'' if reached else ': SHORT'}\n"
    )
    return int(not reached)


if __name__ == "__main__":
    sys.exit(main())
