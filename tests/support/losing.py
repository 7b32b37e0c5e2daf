"""A ledger that lost entries, for the tests of its recovery.

Ledger hk has two batches of ten records, and an anchor between them; ``cut`` takes the end away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.decisions import decision, decisions, spelled
from tests.support.tampering import Crime, Found
from tests.support.vault import Installation
from vault import anchoring, succession
from vault.settling import Result
from vault.verdict import Depth, LedgerReport

ANCHORED, WHOLE = 11, 21
"""Entries of ledger hk under its anchor, and under its checkpoint; each but the genesis leaf is a record."""
WHY = "a disk died, and the dump was a day old"


@contextmanager
def anchored(bare: Installation, home: Path) -> Iterator[Installation]:
    """Yield a copy with ledger hk filled."""
    with bare.copied(home) as site:
        site.ingest("hk", decisions(10))
        with site.opened() as vault:
            anchoring.anchor(vault, every=0)
        site.ingest("hk", decisions(10, 11))
        yield site


def cut(site: Installation, name: str, size: int) -> Crime:
    """Leave a ledger's first entries, as an older dump of it would, and the events as they are."""
    crime = Crime.against(site)
    leaves = crime.leaves(name)
    crime.delete(name, size, 10**6)
    crime.set_head(name, leaves[:size])
    return crime


def recovered(site: Installation, name: str = "hk", **more: Any) -> succession.Step:
    with site.opened() as vault:
        return succession.succeed(vault, name, WHY, **more)


def sent(site: Installation, name: str, numbers: range) -> list[Result]:
    return site.ingest(name, [(at, spelled(decision(at))) for at in numbers])


def reports(site: Installation, depth: Depth = Depth.ENVELOPES) -> dict[str, LedgerReport]:
    return {one.name: one for one in site.audit(depth)}


def faults(report: LedgerReport) -> set[Found]:
    return {Found(one.verdict, report.name, one.seq, one.last) for one in report.faults}
