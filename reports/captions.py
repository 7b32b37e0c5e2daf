"""Words around the figures: sections, what verdicts mean, and each chart told in a sentence for whoever
cannot see it."""

from __future__ import annotations

from typing import Final

from reports.figures import Decisions, Slice
from reports.kind import Section
from reports.phrase import Phrase, phrase
from reports.wording import number

SECTIONS: Final[tuple[Section, ...]] = (
    (1, "population", phrase("Population and completeness")),
    (2, "statistics", phrase("Decision statistics")),
    (3, "low-confidence", phrase("Low-confidence executions")),
    (4, "exceptions", phrase("Exceptions")),
    (5, "integrity", phrase("Integrity")),
    (6, "retention", phrase("Retention")),
    (7, "limits", phrase("What is not proved")),
)

MEANINGS: Final = {
    "OK": phrase("Leaf, chain, sealed bytes and facets are what the checkpoint commits to."),
    "ERASED-BY-POLICY": phrase("Destroyed after its keeping period, with valid approvals; the leaf is there."),
    "UNSEALED": phrase("Committed, but not yet under a checkpoint."),
    "MODIFIED": phrase("Bytes differ from what the leaf, the chain or the checkpoint commits to."),
    "MISSING": phrase("An entry, an envelope or a ledger is not there and no valid erasure explains it."),
    "FORKED": phrase("The database tells another history than the checkpoint outside it."),
}


def volume(unit: str, zone: str) -> Phrase:
    """Return what one column of the volume chart is."""
    return {
        "day": phrase("Records by day of occurrence, zone {zone}.", zone=zone),
        "week": phrase("Records by week of occurrence, zone {zone}.", zone=zone),
        "month": phrase("Records by month of occurrence, zone {zone}.", zone=zone),
    }.get(unit, phrase("Records by year of occurrence, zone {zone}.", zone=zone))


def alternatives(decisions: Decisions) -> dict[str, str]:
    """Alternative text by the name of the chart; charts that are not drawn have an empty one."""
    return {
        "volume": _volume(decisions),
        "outcomes": phrase(
            "Bar chart of outcomes, records and of these moved money: {told}",
            told="; ".join(f"{row.outcome} {number(row.count)}, {number(row.moved)}" for row in decisions.outcomes),
        ),
        "confidence": _confidence(decisions),
        "models": phrase(
            "Bar chart of records by model, and of these below threshold: {told}", told=_told(decisions.models)
        ),
        "jurisdictions": phrase(
            "Bar chart of records by jurisdiction, and of these below threshold: {told}",
            told=_told(decisions.jurisdictions),
        ),
        "latency": _latency(decisions),
    }


def _volume(decisions: Decisions) -> str:
    busiest = max(decisions.volume, key=lambda column: column.count, default=None)
    if busiest is None:
        return ""
    return phrase(
        "Column chart of records over time, {columns} columns; the highest is {label} with {count:,}.",
        columns=len(decisions.volume),
        label=busiest.label,
        count=busiest.count,
    )


def _confidence(decisions: Decisions) -> str:
    found = decisions.confidence
    below = sum(entry.below for entry in found.bins)
    return phrase(
        "Histogram of {scored:,} confidence scores: {below:,} below their threshold, {above:,} at or above it; the "
        "threshold most in use is {threshold}.",
        scored=found.scored,
        below=below,
        above=found.scored - below,
        threshold="–" if found.threshold is None else f"{found.threshold:g}",
    )


def _latency(decisions: Decisions) -> str:
    latency = decisions.latency
    if latency.p50 is None or latency.p95 is None:
        return ""
    return phrase(
        "Histogram of latencies: median {p50:,} ms, 95 percent within {p95:,} ms.", p50=latency.p50, p95=latency.p95
    )


def _told(rows: tuple[Slice, ...]) -> str:
    return "; ".join(f"{row.label} {number(row.count)}, {number(row.below)}" for row in rows)
