"""The completeness report as a kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from reports.basis import limits as basis_limits
from reports.completeness.charts import drawn
from reports.completeness.collect import collect as gather
from reports.completeness.model import CompletenessReport
from reports.kind import Collected, Kind, Pages, Progress, Section, Wanted, the_ledger
from reports.phrase import phrase
from reports.wording import completeness as percentage
from vault.context import Vault
from vault.core import canonical
from vault.ledgers import Ledger
from vault.reading import require_whole, tell_whole

TITLE: Final = phrase("Completeness report")
SECTIONS: Final[tuple[Section, ...]] = (
    (1, "figures", phrase("From the list to the ledger")),
    (2, "unlogged", phrase("Moved without a log")),
    (3, "unlisted", phrase("Logged without a movement")),
    (4, "amounts", phrase("Logged differently")),
    (5, "doubled", phrase("Moved more than once")),
    (6, "capture", phrase("What the vault knows to be missing")),
    (7, "basis", phrase("What the figures stand on")),
    (8, "limits", phrase("What is not proved")),
)


def collect(vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress) -> Collected:
    """See ``reports.kind.Collect``."""
    ledger = the_ledger(wanted.ledger)
    model, attachments, grant = gather(vault, wanted, workdir, report, progress)
    facts = {
        "ledger": str(ledger.id),
        "count": model.basis.in_period,
        "movements": model.movements,
        "list": canonical.b64(model.listed.sha256),
    }
    return Collected(
        pages=pages(model),
        attachments=attachments,
        facts=facts,
        tell=lambda make: tell_whole(vault, ledger.id, grant, make)[0],
        verdict=model.basis.verdict,
        model=model,
        words=words(model),
        document=document(model),
    )


def require(vault: Vault, ledger: Ledger | None) -> None:
    """See ``reports.kind.Kind``."""
    require_whole(vault, the_ledger(ledger))


# Its list is handed over each time, so no order could make it.
KIND: Final = Kind("completeness", "co", TITLE, require, collect, repeats=False)


def pages(model: CompletenessReport) -> Pages:
    """Return what the layout needs."""
    return Pages(
        template="completeness.html.j2",
        who=model.identification,
        title=TITLE,
        sections=SECTIONS,
        values={"report": model, "basis": model.basis},
        charts=lambda charts: drawn(charts, model),
        limits=list(_limits(model)),
    )


def words(model: CompletenessReport) -> str:
    """Return the findings in a few lines."""
    counts = model.counts
    return (
        f"  {model.movements:,} movements of the period, {percentage(model.completeness)} of them logged; "
        f"{counts['unlogged']:,} moved without a log, {counts['denied']:,} logged as not moved, "
        f"{counts['mismatched']:,} with another amount\n"
        f"  {counts['unlisted']:,} logged without a movement, {counts['doubled']:,} moved more than once; "
        f"at most {model.known_missing:,} logs known to be missing"
    )


def document(model: CompletenessReport) -> Mapping[str, Any]:
    """Return the same for machines."""
    figure = model.completeness
    return {
        "movements": model.movements,
        "completeness": None if figure is None else float(figure),
        "matched": model.states["matched"],
        **model.counts,
        "known_missing": model.known_missing,
        "open_refusals": model.refusals.open,
        "conflicts": model.conflicts,
        "missing_numbers": model.sequences.missing,
        "list_sha256": model.listed.sha256.hex(),
        "verdict": model.basis.verdict,
    }


def _limits(model: CompletenessReport) -> Iterator[str]:
    yield phrase(
        "That the list is complete or right. It is the payment system’s own and was handed over for this report; its "
        "SHA-256 is printed, so that it can be compared with the one that the auditor got."
    )
    yield phrase(
        "That a movement and a record of one transaction id tell of the same thing, beyond their amount and currency. "
        "A producer that writes a wrong id into its records is found as a movement without a log and a log without a "
        "movement."
    )
    yield phrase(
        "Anything about decisions that moved no money: no list of the payment system’s tells of them. Where producers "
        "number their records, a gap shows."
    )
    yield from basis_limits(model.basis, model.identification)
