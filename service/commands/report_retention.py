"""``report retention``."""

from __future__ import annotations

from typing import Any

import click

from service.commands.report_making import DAY, common, make


@click.command()
@click.option("--ledger", "name", help="One ledger; without it, all of them.")
@click.option("--from", "first", type=DAY, metavar="DATE", help="Disposals planned from this day on.")
@click.option("--to", "end", type=DAY, metavar="DATE", help="First day that is no longer included.")
@common
def retention(**asked: Any) -> None:
    """Make the report on retention and holds: what is kept until when and why, due, held, destroyed. Opens no record.

    Exits 10, 11 or 12 where it tells of MODIFIED, MISSING or FORKED entries, 7 where it tells of another problem.
    """
    make("retention", **asked)
