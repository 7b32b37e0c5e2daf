"""``report``: what auditors get. One command a kind; all of them are issued the same way (report_making)."""

from __future__ import annotations

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
from service.terminal import Commands


@click.group(cls=Commands)
def report() -> None:
    """Reports for auditors."""


@report.command()
@of_ledger
@common
def evidence(**asked: Any) -> None:
    """Make the evidence report of a ledger: pages for an auditor, the population attached. The access is logged first.

    Exits 10, 11 or 12 where it tells of MODIFIED, MISSING or FORKED entries, 7 where it tells of another problem.
    """
    make("evidence", **asked)


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
