"""The evidence report as a kind: what a ledger's decisions were in a period, and why the figures can be relied on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from reports.attach import JSON_LINES, Attachment
from reports.captions import MEANINGS, SECTIONS, alternatives, volume
from reports.charts import Charts
from reports.collect import collect_evidence
from reports.committing import draw, problems
from reports.deflated import Deflated
from reports.figures import ExceptionCheck
from reports.kind import Collected, Kind, Pages, Progress, Wanted, the_ledger
from reports.limits import limits
from reports.model import EvidenceReport, Sample
from reports.phrase import phrase
from reports.render import RenderedReport, render
from reports.wording import instant
from vault.context import Vault
from vault.core.errors import UsageError
from vault.ledgers import Ledger
from vault.reading import require_whole, tell_whole

TITLE: Final = phrase("Evidence report")


def collect(vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress) -> Collected:
    """Collect the evidence of a ledger; see ``reports.kind.Collect``."""
    ledger = the_ledger(wanted.ledger)
    sample, nonce = wanted.options.get("sample"), wanted.options.get("nonce")
    if (sample is None) is not (nonce is None):
        raise UsageError("a sample and the auditor's nonce belong together: give --sample and --nonce")
    drawn = draw(vault, ledger, sample, nonce, wanted.grant) if sample is not None and nonce is not None else None
    found = collect_evidence(
        vault,
        ledger,
        wanted.book,
        wanted.period,
        wanted.purpose,
        workdir,
        report=report,
        grant=wanted.grant,
        drawn=drawn,
        high_value=wanted.options.get("high_value"),
        progress=progress,
    )
    model = found.report
    chosen = model.integrity.sample.commitment
    return Collected(
        pages=pages(model),
        attachments=(*files(model, found.deflated or found.population, found.findings), *found.attachments),
        facts={"ledger": str(ledger.id), "count": model.population.in_period}
        | ({"sample": chosen.sample} if chosen else {}),
        tell=lambda make: tell_whole(vault, ledger.id, found.grant, make)[0],
        verdict=model.integrity.verdict,
        problems=problems(chosen),
        model=model,
        words=words(model),
        document=document(model),
    )


def require(vault: Vault, ledger: Ledger | None) -> None:
    """See ``reports.kind.Kind``."""
    require_whole(vault, the_ledger(ledger))


KIND: Final = Kind("evidence", "ev", TITLE, require, collect)


def render_evidence(
    model: EvidenceReport, out: Path, *, population: Path, findings: Path, attachments: Sequence[Attachment] = ()
) -> RenderedReport:
    """Write the evidence report of a model; raises as ``reports.render.render``.

    Args:
        population: JSON lines of leaves and facets, one record a line, in seq order.
        findings: JSON lines of every finding of every exception test (`statistics.finding_lines`).
        attachments: more files, by names of their own.
    """
    return render(pages(model), [*files(model, population, findings), *attachments], out)


def pages(model: EvidenceReport) -> Pages:
    """Return what the layout needs."""
    return Pages(
        template="evidence.html.j2",
        who=model.identification,
        title=TITLE,
        sections=SECTIONS,
        values={
            "report": model,
            "population": model.population,
            "decisions": model.decisions,
            "low": model.low_confidence,
            "integrity": model.integrity,
            "volume": volume(model.decisions.volume_unit, model.identification.period.zone),
            "meanings": MEANINGS,
            "alt": alternatives(model.decisions),
            "areas": _areas(model.exceptions),
        },
        charts=lambda charts: _drawn(charts, model),
        limits=limits(model),
    )


def files(model: EvidenceReport, population: Path | Deflated, findings: Path) -> Iterator[Attachment]:
    """Yield what is attached to every evidence report."""
    checkpoint = model.integrity.checkpoint
    yield Attachment(
        "population.jsonl", phrase("Every record of the period: leaf and facets, one a line"), JSON_LINES, population
    )
    yield Attachment(
        "findings.jsonl", phrase("Every finding of every exception test: test and seq"), JSON_LINES, findings
    )
    yield Attachment(
        "checkpoint.txt", phrase("The signed checkpoint (C2SP signed note)"), "text/plain", checkpoint.note.encode()
    )
    yield Attachment(
        "verifier-key.txt",
        phrase("The key that verifies the checkpoint"),
        "text/plain",
        checkpoint.verifier_key.encode() + b"\n",
    )


def words(model: EvidenceReport) -> str:
    """Return the findings in a few lines."""
    population, integrity = model.population, model.integrity
    missing = f"at most {population.known_missing:,}" if population.known_missing else "none"
    return (
        f"  {population.in_period:,} records of the period, {population.opened:,} opened; "
        f"{missing} known to be missing\n"
        f"  integrity {integrity.verdict}; {model.exceptions_found} of {model.exceptions_tested} exception tests "
        f"with findings; {model.low_confidence.count:,} low-confidence executions without review"
    )


def document(model: EvidenceReport) -> dict[str, Any]:
    """Return the same for machines."""
    population = model.population
    return {
        "records": population.in_period,
        "opened": population.opened,
        "known_missing": population.known_missing,
        "verdict": model.integrity.verdict,
        "exceptions": {check.code: check.count for check in model.exceptions if check.not_tested is None}
        | {"low_confidence": model.low_confidence.count},
        "not_tested": {check.code: check.not_tested for check in model.exceptions if check.not_tested is not None},
        "access_event": model.identification.access_entry,
        "sample": _sample(model.integrity.sample),
        "strata": {one.code: one.count for one in model.strata if one.not_tested is None},
    }


def _sample(sample: Sample) -> dict[str, Any]:
    chosen = sample.commitment
    drawn: dict[str, Any] = {"size": len(sample.items), "seed": sample.seed.hex(), "self_drawn": sample.self_drawn}
    if chosen is None:
        return drawn
    return drawn | {
        "sample": chosen.sample,
        "committed_at": instant(chosen.committed_at),
        "seen": [{"at": instant(one.at), "by": one.by, "own": one.own} for one in chosen.seen],
        "nonce_at": instant(chosen.nonce_at),
        "draws": chosen.draws,
    }


def _areas(checks: Sequence[ExceptionCheck]) -> dict[str, list[ExceptionCheck]]:
    """Tests by area, areas in the order in which they first appear."""
    areas: dict[str, list[ExceptionCheck]] = {}
    for check in checks:
        areas.setdefault(check.area, []).append(check)
    return areas


def _drawn(charts: Charts, model: EvidenceReport) -> Mapping[str, bytes]:
    """SVG by name; a chart without data is not drawn, and the template asks for none."""
    decisions = model.decisions
    drawn: dict[str, bytes] = {}
    if decisions.count:
        drawn["volume"] = charts.volume(decisions.volume)
        drawn["outcomes"] = charts.outcomes(decisions.outcomes)
        height = max(len(decisions.models), len(decisions.jurisdictions))
        drawn["jurisdictions"] = charts.slices(decisions.jurisdictions, height)
        if decisions.models:
            drawn["models"] = charts.slices(decisions.models, height)
    if decisions.confidence.scored:
        drawn["confidence"] = charts.confidence(decisions.confidence)
    if decisions.latency.measured:
        drawn["latency"] = charts.latency(decisions.latency)
    return drawn
