"""``report``: what auditors get. One command a kind; all of them are issued the same way (report_making)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import click

from service.commands import (
    report_access,
    report_completeness,
    report_cost,
    report_dossier,
    report_integrity,
    report_orders,
    report_retention,
    report_threshold,
    report_verify,
)
from service.commands.report_making import common, make, of_ledger
from service.commands.sample import AMOUNT, NONCE
from service.commands.words import WORDS
from service.terminal import Commands


@click.group(cls=Commands)
def report() -> None:
    """Reports for auditors."""


@report.command()
@of_ledger
@common
@click.option("--sample", type=WORDS, help="The committed population to draw the sample from: see 'sample commit'.")
@click.option("--nonce", type=NONCE, help="The auditor's random bytes in hexadecimal, drawn after that.")
@click.option(
    "--high-value",
    type=AMOUNT,
    multiple=True,
    metavar="CUR:AMOUNT",
    help="List every executed sum from this on beside the sample, such as CNY:50000; repeat it for more currencies.",
)
def evidence(
    sample: str | None, nonce: bytes | None, high_value: tuple[tuple[str, Decimal], ...], **asked: Any
) -> None:
    """Make the evidence report of a ledger: pages for an auditor, the population attached. The access is logged first.

    Without --sample the vault draws the sample itself, and the report says so.

    Exits 10, 11 or 12 where it tells of MODIFIED, MISSING or FORKED entries, 7 where it tells of another problem.
    """
    make("evidence", **asked, options={"sample": sample, "nonce": nonce, "high_value": dict(high_value)})


for command in (
    report_access.access,
    report_completeness.completeness,
    report_cost.cost,
    report_dossier.dossier,
    report_integrity.integrity,
    report_orders.order,
    report_orders.list_reports,
    report_retention.retention,
    report_threshold.threshold,
    report_verify.verify,
):
    report.add_command(command)
