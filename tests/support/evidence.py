"""Evidence reports for tests: collected with or without pages, and read back as a stranger would."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pikepdf

from reports import evidence
from reports.collect import Collected, collect_evidence
from reports.issue import Issued
from reports.issue import issue as issue_report
from reports.kind import Wanted
from reports.period import period_of
from service import wiring
from tests.support.vault import Installation
from vault import ledgers
from vault.core.leaf import EventLeaf

PURPOSE = "yearly audit 4711"


def collect(
    site: Installation,
    workdir: Path,
    *,
    first: date | None = None,
    end: date | None = None,
    progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> Collected:
    """Collect the evidence of ledger "cn" into ``workdir``, which is made."""
    workdir.mkdir(mode=0o700, exist_ok=True)
    with site.opened() as vault:
        book = wiring.rule_book(vault)
        ledger = ledgers.get(vault, "cn")
        period = period_of(book, ledger.genesis.jurisdictions, first, end)
        return collect_evidence(vault, ledger, book, period, PURPOSE, workdir, progress=progress)


def issue(site: Installation, out: Path) -> Issued:
    """Issue the evidence report of the whole ledger "cn"."""
    with site.opened() as vault:
        book = wiring.rule_book(vault)
        ledger = ledgers.get(vault, "cn")
        period = period_of(book, ledger.genesis.jurisdictions, None, None)
        return issue_report(vault, evidence.KIND, Wanted(ledger, book, period, PURPOSE), out)


def lines(population: bytes | Path) -> list[dict[str, Any]]:
    """Read JSON lines."""
    data = population.read_bytes() if isinstance(population, Path) else population
    return [json.loads(line) for line in data.splitlines()]


def attachments(pdf: Path) -> dict[str, bytes]:
    """Return what is attached to a PDF, by name."""
    with pikepdf.open(pdf) as opened:
        return {name: file.get_file().read_bytes() for name, file in opened.attachments.items()}


def told(site: Installation, *names: str) -> list[EventLeaf]:
    """Return the events of these names."""
    with site.opened() as vault:
        return list(ledgers.history(vault, *names))
