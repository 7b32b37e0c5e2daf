"""``report integrity``."""

from __future__ import annotations

from typing import Any

import click

from service.commands.report_making import common, make


@click.command()
@click.option("--ledger", "name", help="One ledger, with the events that vouch for it; without it, all of them.")
@common
def integrity(**asked: Any) -> None:
    """Make the integrity report: everything verified, who outside has seen it, what was destroyed. Opens no record.

    Exits 10, 11 or 12 where it tells of MODIFIED, MISSING or FORKED entries, 7 where it tells of another problem.
    """
    make("integrity", **asked)
