"""Measures the log: what checkpoints cost an ingest, and how long proofs take as a ledger grows.

python -m bench.log                                           ledgers of 100,000 and a million, some minutes
python -m bench.log --sizes 100000 1000000 10000000 --write   half an hour, 4 GB, the table to docs/benchmarks-log.md
"""

from __future__ import annotations

import argparse
import sys

from bench import document, server
from bench.__main__ import say
from bench.contender import Failed
from bench.log import checkpointing, proofs
from vault.core.errors import VaultError

_HOW = """\
The same synthetic records go by turns into a new ledger with checkpoints and into one without, whose heads are believed
as the database has them; ratios are taken between neighbours in time. A batch of a thousand commits as `reasonvault
ingest` does, receipts not spelled; the ledger is anchored after every tenth batch, many times as often as the once a
minute that is allowed. A clock stands around each call as well: most of that is waiting for the disk, meanwhile other
processes go on sealing, so it is more than the rate loses.

For proofs one ledger grows to each length in turn, by the vault's own append, so leaves, chain, subtree roots and
checkpoints are real; its entries are events with a few facts, some three quarters of a record's leaf in bytes and with
nothing beside them. Each kind of proof is asked for at random places, one at a time, in a process of its own. Client
CPU is that process's share; what a busy machine adds to the median is not in it."""


def main() -> int:
    """Measure and print the table. Exit code 0 when every goal is reached, 1 when one is missed, 2 on failure."""
    wanted = arguments()
    try:
        with document.folder("log") as folder, server.running(folder) as at:
            say("checkpointing")
            turns = checkpointing.run(folder, at, wanted.records, wanted.turns)
            say("proofs")
            found = proofs.run(folder, at, wanted.sizes, wanted.proofs)
            settings = at.settings()
    except (Failed, VaultError) as error:
        say(f"bench: {error}")
        return 2
    told = document.here(settings, Turns=f"{wanted.turns} of {wanted.records:,} records on each side")
    goals = [*checkpointing.goals(turns), *proofs.goals(found)]
    sections = [
        document.goals(goals),
        ("Checkpoints under full ingest", checkpointing.rates(turns)),
        ("Proofs and tiles", proofs.rates(found)),
        ("What is stored", proofs.stored(found)),
    ]
    words = document.spell("Benchmarks of the log", "scripts/bench log --write", told, sections, _HOW)
    return document.done(words, goals, document.document("benchmarks-log") if wanted.write else None)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench log", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=20_000, help="a turn of ingest (%(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of ingest on each side (%(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=proofs.SIZES, help="lengths of the ledger of proofs")
    parser.add_argument("--proofs", type=int, default=proofs.PROOFS, help="of each kind at each length (%(default)s)")
    parser.add_argument("--write", action="store_true", help="write the table to docs/benchmarks-log.md")
    wanted = parser.parse_args()
    if min(wanted.records, wanted.turns, wanted.proofs, *wanted.sizes) < 1:
        parser.error("records, turns, proofs and sizes are at least 1")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
