"""The threshold report as a kind: what its pages, files, events and words are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from reports.attach import JSON_LINES, Attachment
from reports.basis import files as basis_files
from reports.kind import Collected, Kind, Pages, Progress, Section, Wanted, the_ledger
from reports.phrase import phrase
from reports.sheet import MEDIA_TYPE
from reports.threshold.charts import drawn
from reports.threshold.collect import BELOW, EXECUTED, EXECUTED_CSV, POPULATION, collect_threshold
from reports.threshold.model import ThresholdReport
from vault.context import Vault
from vault.ledgers import Ledger
from vault.reading import require_whole, tell_whole

TITLE: Final = phrase("Threshold report")
SECTIONS: Final[tuple[Section, ...]] = (
    (1, "below", phrase("Below the threshold")),
    (2, "executed", phrase("Executed without an agreeing review")),
    (3, "where", phrase("Where and when")),
    (4, "near", phrase("Scores near the threshold")),
    (5, "what-if", phrase("What if the threshold were another")),
    (6, "in-use", phrase("Thresholds in use")),
    (7, "basis", phrase("What the figures stand on")),
    (8, "limits", phrase("What is not proved")),
)


def collect(vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress) -> Collected:
    """See ``reports.kind.Collect``."""
    ledger = the_ledger(wanted.ledger)
    model, grant = collect_threshold(vault, wanted, workdir, report, progress)
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


KIND: Final = Kind("threshold", "th", TITLE, require, collect)


def pages(model: ThresholdReport) -> Pages:
    """Return what the layout needs."""
    return Pages(
        template="threshold.html.j2",
        who=model.identification,
        title=TITLE,
        sections=SECTIONS,
        values={"report": model, "basis": model.basis, "alt": _alternatives(model)},
        charts=lambda charts: drawn(charts, model),
        limits=model.limits,
    )


def files(model: ThresholdReport, workdir: Path) -> Iterator[Attachment]:
    """Yield what is attached."""
    yield Attachment(
        EXECUTED_CSV,
        phrase(
            "Every decision below its threshold that executed without an agreeing review, as a table; a cell that a "
            "spreadsheet would run as a formula has an apostrophe before it"
        ),
        MEDIA_TYPE,
        workdir / EXECUTED_CSV,
    )
    yield Attachment(EXECUTED, phrase("The same, exactly, one a line"), JSON_LINES, workdir / EXECUTED)
    yield Attachment(
        BELOW, phrase("Every decision below its threshold, with its state of review"), JSON_LINES, workdir / BELOW
    )
    yield Attachment(
        POPULATION,
        phrase("Every record of the period: leaf hash, score, threshold, outcome and amount, one a line"),
        JSON_LINES,
        workdir / POPULATION,
    )
    yield from basis_files(model.basis.checkpoint)


def words(model: ThresholdReport) -> str:
    """Return the findings in a few lines."""
    tried = "; ".join(f"{one.label}: {one.more:,} more to review" for one in model.what_if)
    return (
        f"  {model.decisions:,} AI decisions, {model.below:,} below their threshold; {model.exceptions:,} of these "
        f"executed without an agreeing review ({model.overruled.executed:,} overruled)\n"
        f"  what if {tried}"
    )


def document(model: ThresholdReport) -> dict[str, Any]:
    """Return the same for machines."""
    return {
        "records": model.basis.in_period,
        "opened": model.basis.opened,
        "decisions": model.decisions,
        "below": model.below,
        "unusable_scores": model.unusable,
        "thresholds_defaulted": model.defaulted,
        "executed_without_agreement": model.exceptions,
        "executed_overruled": model.overruled.executed,
        "what_if": [
            {
                "threshold": str(one.label),
                "more": one.more,
                "fewer": one.fewer,
                "moved": one.moved,
                "amounts": {money.currency: f"{money.amount:f}" for money, _ in one.sums},
            }
            for one in model.what_if
        ],
        "thresholds_changed": model.changed,
        "verdict": model.basis.verdict,
        "access_event": model.identification.access_entry,
    }


def _alternatives(model: ThresholdReport) -> Mapping[str, str]:
    """Each chart in a sentence, for whoever cannot see it."""
    just_below = next((one.count for one in model.near if one.hundredth == -1), 0)
    return {
        "near": phrase(
            "Column chart of scores by their distance from their own threshold, in steps of 0.01 from -0.10 to +0.10: "
            "{below:,} in the last column below it, {above:,} in the first at or above it.",
            below=just_below,
            above=model.just_above,
        ),
        "months": phrase(
            "Column chart of decisions below their threshold by month: {count:,} in all, {alone:,} executed without an "
            "agreeing review.",
            count=model.below,
            alone=model.exceptions,
        ),
    }
