"""Measures reports: signed evidence, printed annexes, evidence bundles and their verify.py.

python -m bench.reports                                     a first look, up to 100,000 records
python -m bench.reports --long --home DIR --write           up to a million, the table to docs/benchmarks-reports.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import document, records
from bench.__main__ import say
from bench.contender import Failed
from bench.reports import annex, bundle, evidence
from bench.reports.kept import kept
from vault.core.errors import VaultError

_SHORT = (10_000, 100_000)
_LONG = (*_SHORT, 1_000_000)
_HOW = """\
A signed evidence report is issued in a process of its own, as `reasonvault report evidence` does it, over a ledger
taken in before: every entry verified, every record opened, the population attached, the file signed by the vault's own
certificate and verified again. Seconds are those of the clock from the order to the file in its place; starting Python
and opening the vault are not in them. Processor time is that of the report's processes and of the server's. Memory is
the proportional share of the report's processes, sampled four times a second: a page that several share counts once.

An annex is printed rows of seven columns in as many files as it takes, laid out by two processes. Its memory is that of
the largest process.

A bundle is made with two processes; `verify.py` runs alone with `python -I`, as an auditor runs it. Its memory is the
sum of the peaks of its processes, pages they share counted in each."""


def main() -> int:
    """Measure and print the table. Exit code 0 when every goal is reached, 1 when one is missed, 2 on failure."""
    wanted = arguments()
    try:
        with document.folder("reports") as folder, kept(folder, wanted.home) as ledgers:
            made = evidence.run(ledgers, wanted.records, folder)
            say("annexes")
            printed = [annex.measure(count, 2) for count in annex.SIZES]
            with ledgers(wanted.bundle) as place:
                bundles = bundle.run(place, folder)
                settings = place.at.settings()
    except (Failed, VaultError) as error:
        say(f"bench: {error}")
        return 2
    pool = records.pool(None)
    told = document.here(
        settings, Records=f"{pool.words}, repeated under fresh ids; {pool.mean_bytes:,.0f} bytes each on average"
    )
    goals = [*evidence.goals(made), *annex.goals(printed), *bundle.goals(bundles)]
    sections = [
        document.goals(goals),
        ("A signed evidence report", evidence.rates(made)),
        ("Where its seconds go", evidence.parts(made)),
        ("Annexes", annex.rates(printed)),
        ("Bundles, and verify.py over them", bundle.rates(bundles)),
    ]
    words = document.spell("Benchmarks of reports", "scripts/bench reports --long --write", told, sections, _HOW)
    return document.done(words, goals, document.document("benchmarks-reports") if wanted.write else None)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench reports", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, nargs="+", help="of the evidence reports; default 10000 100000")
    parser.add_argument("--long", action="store_true", help="a million records, too")
    parser.add_argument("--bundle", type=int, default=bundle.GOAL_RECORDS, help="records of the bundles (%(default)s)")
    parser.add_argument("--home", type=Path, help="keep the ledgers here for the next run")
    parser.add_argument("--write", action="store_true", help="write the table to docs/benchmarks-reports.md")
    wanted = parser.parse_args()
    wanted.records = wanted.records or (_LONG if wanted.long else _SHORT)
    if min(*wanted.records, wanted.bundle) < 1000:
        parser.error("a report is made of at least 1,000 records")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
