"""``report access``."""

from __future__ import annotations

from typing import Any

import click

from service.commands.report_making import DAY, common, make


@click.command()
@click.option("--from", "first", type=DAY, metavar="DATE", help="First day, UTC.")
@click.option("--to", "end", type=DAY, metavar="DATE", help="First day that is no longer included, UTC.")
@common
def access(**asked: Any) -> None:
    """Make the access review: who saw what, under whose approval, what left the vault, who was refused.

    For compliance officers and auditors. Opens no record.

    Exits 10, 11 or 12 where events are MODIFIED, MISSING or FORKED, 7 where it tells of another problem.
    """
    make("access", **asked)
