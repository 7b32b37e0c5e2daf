"""``report cost``: tokens, fees and latency, as recorded."""

from __future__ import annotations

from typing import Any

import click

from service.commands.report_making import common, make, of_ledger


@click.command()
@of_ledger
@common
def cost(**asked: Any) -> None:
    """Make the cost report of a ledger: tokens, fees, batches, caches and latency, as its records say.

    Exits 10, 11 or 12 where entries are MODIFIED, MISSING or FORKED, 7 where it tells of another problem.
    """
    make("cost", **asked)
