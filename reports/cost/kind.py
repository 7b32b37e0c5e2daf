"""The cost report as a kind: what its pages, files, events and words are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from reports.attach import JSON_LINES, Attachment
from reports.basis import files as basis_files
from reports.cost.charts import drawn
from reports.cost.collect import POPULATION, TABLE, collect_cost
from reports.cost.model import CostReport
from reports.kind import Collected, Kind, Pages, Progress, Section, Wanted, the_ledger
from reports.phrase import phrase
from reports.sheet import MEDIA_TYPE
from vault.context import Vault
from vault.ledgers import Ledger
from vault.reading import require_whole, tell_whole

TITLE: Final = phrase("Cost and latency report")
SECTIONS: Final[tuple[Section, ...]] = (
    (1, "fees", phrase("Fees")),
    (2, "decisions", phrase("What a decision cost")),
    (3, "origins", phrase("Calls, batches, caches")),
    (4, "tokens", phrase("Tokens")),
    (5, "latency", phrase("Latency")),
    (6, "basis", phrase("What the figures stand on")),
    (7, "limits", phrase("What is not proved")),
)


def collect(vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress) -> Collected:
    """See ``reports.kind.Collect``."""
    ledger = the_ledger(wanted.ledger)
    model, grant = collect_cost(vault, wanted, workdir, report, progress)
    return Collected(
        pages=pages(model),
        attachments=tuple(files(model, workdir)),
        facts={"ledger": str(ledger.id), "count": model.basis.in_period},
        tell=lambda make: tell_whole(vault, ledger.id, grant, make)[0],
        verdict=model.basis.verdict,
        model=model,
        words=words(model),
        document=document(model),
    )


def require(vault: Vault, ledger: Ledger | None) -> None:
    """See ``reports.kind.Kind``."""
    require_whole(vault, the_ledger(ledger))


KIND: Final = Kind("cost", "co", TITLE, require, collect)


def pages(model: CostReport) -> Pages:
    """Return what the layout needs."""
    return Pages(
        template="cost.html.j2",
        who=model.identification,
        title=TITLE,
        sections=SECTIONS,
        values={"report": model, "basis": model.basis, "alt": _alternatives(model)},
        charts=lambda charts: drawn(charts, model),
        limits=model.limits,
    )


def files(model: CostReport, workdir: Path) -> Iterator[Attachment]:
    """Yield what is attached."""
    yield Attachment(
        TABLE,
        phrase(
            "Tokens and fees by API, model, month and origin, every label, as a table; a cell that a spreadsheet would "
            "run as a formula has an apostrophe before it"
        ),
        MEDIA_TYPE,
        workdir / TABLE,
    )
    yield Attachment(
        POPULATION,
        phrase("Every record of the period: leaf hash, tokens, fee, origin and durations, one a line"),
        JSON_LINES,
        workdir / POPULATION,
    )
    yield from basis_files(model.basis.checkpoint)


def words(model: CostReport) -> str:
    """Return the findings in a few lines."""
    fees = ", ".join(f"{money.currency} {money.amount:,f}" for money, _ in model.fees) or "none recorded"
    answer = model.times[0]
    latency = f"{answer.p50:,} ms median, {answer.p99:,} ms 99 %" if answer.p50 and answer.p99 else "not recorded"
    return (
        f"  {model.ai:,} AI records; fees {fees}; no fee recorded for {model.total.without_fee:,}\n"
        f"  latency of the model's answer: {latency}"
    )


def document(model: CostReport) -> dict[str, Any]:
    """Return the same for machines."""
    tokens = model.total.tokens
    return {
        "records": model.basis.in_period,
        "opened": model.basis.opened,
        "ai_records": model.ai,
        "fees": {money.currency: f"{money.amount:f}" for money, _ in model.fees},
        "without_fee": model.total.without_fee,
        "tokens": {
            "input": tokens.input,
            "output": tokens.output,
            "cached": tokens.cached,
            "reasoning": tokens.reasoning,
            "not_recorded": tokens.missing,
        },
        "latency_ms": {
            str(one.label): {"p50": one.p50, "p95": one.p95, "p99": one.p99, "measured": one.measured}
            for one in model.times
        },
        "verdict": model.basis.verdict,
        "access_event": model.identification.access_entry,
    }


def _alternatives(model: CostReport) -> Mapping[str, str]:
    """Each chart in a sentence, for whoever cannot see it."""
    highest = max(model.by_month, key=lambda one: one.call + one.batch + one.cache, default=None)
    return {
        "fees": phrase(
            "Column chart of fees in {currency} by month; the highest is {month}.",
            currency=model.currency,
            month=highest.label if highest else "",
        ),
        "tokens": phrase(
            "Bar chart of tokens by model: {input:,} into models and {output:,} out of them in all.",
            input=model.total.tokens.input,
            output=model.total.tokens.output,
        ),
        "times": phrase(
            "Median, 95 and 99 percent of each duration on a logarithmic scale; the table has the figures."
        ),
    }
