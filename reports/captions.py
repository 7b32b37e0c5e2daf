"""Words around the figures: sections, what verdicts mean, and each chart told in a sentence for whoever
cannot see it."""

from __future__ import annotations

from reports.figures import Decisions, Slice
from reports.wording import number

SECTIONS = (
    (1, "population", "Population and completeness"),
    (2, "statistics", "Decision statistics"),
    (3, "low-confidence", "Low-confidence executions"),
    (4, "exceptions", "Exceptions"),
    (5, "integrity", "Integrity"),
    (6, "retention", "Retention"),
    (7, "limits", "What is not proved"),
)

MEANINGS = {
    "OK": "Leaf, chain, sealed bytes and facets are what the checkpoint commits to.",
    "ERASED-BY-POLICY": "Destroyed after its keeping period, with valid approvals; the leaf is there.",
    "UNSEALED": "Committed, but not yet under a checkpoint.",
    "MODIFIED": "Bytes differ from what the leaf, the chain or the checkpoint commits to.",
    "MISSING": "An entry, an envelope or a ledger is not there and no valid erasure explains it.",
    "FORKED": "The database tells another history than the checkpoint outside it.",
}


def alternatives(decisions: Decisions) -> dict[str, str]:
    """Alternative text by the name of the chart; charts that are not drawn have an empty one."""
    confidence, latency = decisions.confidence, decisions.latency
    below = sum(entry.below for entry in confidence.bins)
    busiest = max(decisions.volume, key=lambda column: column.count, default=None)
    return {
        "volume": (
            f"Column chart of records by {decisions.volume_unit}, {len(decisions.volume)} columns; "
            f"the highest is {busiest.label} with {number(busiest.count)}."
            if busiest
            else ""
        ),
        "outcomes": "Bar chart of outcomes: "
        + "; ".join(
            f"{row.outcome} {number(row.count)}, of which {number(row.moved)} moved money" for row in decisions.outcomes
        ),
        "confidence": (
            f"Histogram of {number(confidence.scored)} confidence scores: {number(below)} below their "
            f"threshold, {number(confidence.scored - below)} at or above it"
            + (f"; the threshold most in use is {confidence.threshold:g}." if confidence.threshold is not None else ".")
        ),
        "models": "Bar chart of records by model: " + _told(decisions.models),
        "jurisdictions": "Bar chart of records by jurisdiction: " + _told(decisions.jurisdictions),
        "latency": (
            f"Histogram of latencies: median {number(latency.p50)} ms, 95 percent within {number(latency.p95)} ms."
            if latency.p50 is not None and latency.p95 is not None
            else ""
        ),
    }


def _told(rows: tuple[Slice, ...]) -> str:
    return "; ".join(f"{row.label} {number(row.count)}, {number(row.below)} below threshold" for row in rows)
