"""The dossier as a kind: one conversation under a grant, since it carries text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from reports.dossier.collect import collect_dossier
from reports.dossier.model import Dossier
from reports.dossier.timeline import related
from reports.kind import Collected, Kind, Pages, Progress, Section, Wanted, the_ledger
from reports.phrase import phrase
from vault import selections
from vault.context import Vault
from vault.core.errors import UsageError
from vault.core.selection import Selection
from vault.ledgers import Ledger
from vault.openset import ACT
from vault.reading import require_grant

TITLE: Final = phrase("Decision dossier")
SECTIONS: Final[tuple[Section, ...]] = (
    (1, "timeline", phrase("What happened when")),
    (2, "steps", phrase("Step by step")),
    (3, "proofs", phrase("Proofs and accesses")),
    (4, "limits", phrase("What is not proved")),
)


def collect(vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress) -> Collected:
    """See ``reports.kind.Collect``."""
    ledger = the_ledger(wanted.ledger)
    found = collect_dossier(vault, wanted, workdir, report, progress)
    model = found.dossier
    chosen = Selection.of(record.seq for record in found.kept)
    return Collected(
        pages=pages(model),
        attachments=found.attachments,
        # Which records left the vault, and how much of them: certificates of destruction list it (retention.copies).
        facts={
            "ledger": str(ledger.id),
            "count": len(found.kept),
            "selection": selections.keep(vault, ledger.id, chosen),
            "fields": "masked" if model.shows == "masked" else "full",
        },
        tell=lambda make: found.opened.tell(vault, make),
        model=model,
        words=words(model),
        document=document(model),
    )


def require(vault: Vault, ledger: Ledger | None) -> None:
    """See ``reports.kind.Kind``."""
    named = the_ledger(ledger)
    if vault.actor.break_glass:
        raise UsageError("a dossier carries text out of the vault under a grant: log in as an auditor (--user)")
    require_grant(vault, named.id, ACT, {"ledger": str(named.id)})


KIND: Final = Kind("dossier", "do", TITLE, require, collect, repeats=False)


def pages(model: Dossier) -> Pages:
    """Return what the layout needs."""
    return Pages(
        template="dossier.html.j2",
        who=model.identification,
        title=TITLE,
        sections=SECTIONS,
        values={"report": model, "related": {step.seq: related(step) for step in model.steps}},
        limits=model.limits,
    )


def words(model: Dossier) -> str:
    """Return the findings in a few lines."""
    moved = ", ".join(amount for amount, _ in model.executed) or "nothing"
    left = [
        f"{count} {what}"
        for count, what in (
            (model.closed, "restricted"),
            (model.uncovered, "not covered by the grant"),
            (model.gone, "destroyed meanwhile"),
        )
        if count
    ]
    hidden = f"; not shown: {', '.join(left)}" if left else ""
    return f"  {model.records:,} records, {model.shows}; executed {moved}{hidden}"


def document(model: Dossier) -> dict[str, Any]:
    """Return the same for machines."""
    return {
        "records": model.records,
        "shows": model.shows,
        "executed": [amount for amount, _ in model.executed],
        "restricted": model.closed,
        "not_covered": model.uncovered,
        "destroyed": model.gone,
        "grants": list(model.grants),
        "access_events": list(model.own),
    }
