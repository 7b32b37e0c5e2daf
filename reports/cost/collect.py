"""Collecting for the cost report: the shared pass (reports.snapshot), its figures, and a table of all labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from reports import sheet
from reports.basis import Basis, basis, limits
from reports.cost.count import CostCount
from reports.cost.model import CostReport
from reports.cost.rows import EXTRACTION
from reports.gathering import private
from reports.identity import identify
from reports.kind import Progress, Wanted, the_ledger
from reports.model import Identification
from reports.phrase import phrase
from reports.snapshot import Taken, take
from vault.context import Vault
from vault.core.record import AI_APIS

POPULATION, TABLE = "usage.jsonl", "costs.csv"
_COLUMNS: Final = (
    *("by", "label", "records", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"),
    *("records_without_tokens", "currency", "fees", "records_with_fee", "records_without_fee"),
)


def collect_cost(
    vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress
) -> tuple[CostReport, str | None]:
    """Read a ledger for a cost report; its files lie in ``workdir``. Returns the model, and the grant used.

    Raises:
        As ``reports.snapshot.take``.
    """
    ledger = the_ledger(wanted.ledger)
    taken = take(
        vault,
        ledger.id,
        wanted.period,
        wanted.purpose,
        report,
        workdir / POPULATION,
        count=CostCount(ZoneInfo(wanted.period.zone)),
        extraction=EXTRACTION,
        grant=wanted.grant,
        progress=progress,
    )
    who = identify(vault, ledger, wanted.period, wanted.purpose, report, taken.access)
    count = taken.gathered.count
    with open(workdir / TABLE, "xb", opener=private) as table:
        table.write(sheet.line(_COLUMNS))
        table.writelines(_lines(count))
    return _model(taken, who, basis(vault, ledger, taken)), taken.grant


def _model(taken: Taken[CostCount], who: Identification, base: Basis) -> CostReport:
    count = taken.gathered.count
    currency, by_month = count.by_month()
    return CostReport(
        identification=who,
        basis=base,
        ai=count.counted(*AI_APIS),
        bypass=count.counted("non_ai_bypass"),
        reviews=count.counted("human_review"),
        total=count.total(),
        elsewhere=count.elsewhere(),
        apis=count.apis(),
        models=count.models(),
        months=count.months(),
        origins=count.origins(),
        discounts=count.discounts(),
        per_decision=count.per_decision(),
        times=count.times(),
        model_times=count.model_times(),
        waiting=count.waiting(),
        currency=currency,
        by_month=by_month,
        limits=(*_limits(), *limits(base, who)),
    )


def _limits() -> Iterator[str]:
    yield phrase(
        "That these are the fees that were paid. They are the ones that the records name, in the currencies that they "
        "name, and nothing was converted or estimated; an invoice must be compared with them separately."
    )
    yield phrase(
        "Whether a recorded fee already has the batch’s discount in it, or what a cached answer would have cost "
        "without the cache: the record does not say."
    )
    yield phrase(
        "Where a decision’s time went. Latencies are those that the producers measured with their own clocks; a "
        "review’s waiting time is the difference between the times that two records name."
    )


def _lines(count: CostCount) -> Iterator[bytes]:
    """One row a label and currency; a label without any fee has one row."""
    for by, line in count.cells():
        tokens = line.tokens
        head = (by, line.label, line.count, tokens.input, tokens.output, tokens.cached, tokens.reasoning)
        for money, fees in line.fees or ((None, 0),):
            amount = None if money is None else f"{money.amount:f}"
            code = None if money is None else money.currency
            yield sheet.line((*head, tokens.missing, code, amount, fees, line.without_fee))
