"""``report completeness``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from service.commands.report_making import common, make, of_ledger


@click.command()
@of_ledger
@common
@click.option(
    "--movements",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The payment system's own list of money movements, CSV or JSON lines.",
)
@click.option(
    "--grace",
    type=click.IntRange(0, 366),
    default=7,
    show_default=True,
    help="Days before the period in which the log of a movement is looked for as well.",
)
def completeness(movements: Path, grace: int, **asked: Any) -> None:
    """Make the completeness report: the payment system's movements beside the records of a ledger.

    Exits 10, 11 or 12 where entries are MODIFIED, MISSING or FORKED, 7 where it tells of another problem.
    """
    make("completeness", **asked, options={"movements": movements, "grace": grace})
