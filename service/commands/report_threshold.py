"""``report threshold``: what lay below its threshold, and what executed all the same."""

from __future__ import annotations

from typing import Any

import click

from service.commands.report_making import common, make, of_ledger

THRESHOLD = click.FloatRange(0, 1, min_open=True)


@click.command()
@of_ledger
@common
@click.option(
    "--what-if",
    "what_if",
    type=THRESHOLD,
    multiple=True,
    help="Another threshold to try, on the scale from 0 (worst) to 1 (best); repeat it. Default: 0.80.",
)
def threshold(what_if: tuple[float, ...], **asked: Any) -> None:
    """Make the threshold report of a ledger: decisions below their threshold, by what became of them.

    Exits 10, 11 or 12 where entries are MODIFIED, MISSING or FORKED, 7 where it tells of another problem.
    """
    make("threshold", **asked, options={"what_if": what_if})
