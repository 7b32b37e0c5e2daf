"""The report on retention and holds as a kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from reports.governing import require, tell
from reports.keeping.collect import collect as gather
from reports.keeping.model import KeepingReport
from reports.kind import Collected, Kind, Pages, Progress, Section, Wanted
from reports.phrase import phrase
from vault.context import Vault

TITLE: Final = phrase("Retention and holds")

SECTIONS: Final[tuple[Section, ...]] = (
    (1, "kept", phrase("What is kept, and until when")),
    (2, "holds", phrase("Holds")),
    (3, "disposals", phrase("Disposals")),
    (4, "rules", phrase("Rules")),
    (5, "limits", phrase("What is not proved")),
)


def collect(vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress) -> Collected:
    """Read leaves and events and return what stands on the pages; see ``reports.kind.Collect``."""
    made, attachments = gather(vault, wanted, workdir, report, progress)
    ledger = wanted.ledger
    return Collected(
        pages=pages(made),
        attachments=attachments,
        facts={"ledger": "" if ledger is None else str(ledger.id), "count": made.kept},
        tell=lambda make: tell(vault, ledger, make),
        verdict=made.verdict,
        model=made,
        words=f"  {made.kept:,} records kept, {made.due:,} of them past their month ({made.held:,} held); "
        f"{made.destroyed:,} destroyed; {made.open_holds} open holds",
        document=document(made),
    )


KIND: Final = Kind("retention", "re", TITLE, require, collect)


def pages(made: KeepingReport) -> Pages:
    """Return what the layout needs."""
    return Pages(
        template="keeping.html.j2",
        who=made.identification,
        title=TITLE,
        sections=SECTIONS,
        values={"report": made},
        limits=[
            phrase(
                "That what is past its month may go. Dates are those that were frozen when a record was written; a "
                "later rule book, a hold or a date told afterwards may keep it longer. Each record is reckoned again "
                "before it is destroyed, and the certificate of destruction says how."
            ),
            phrase(
                "That the rules are the right ones. They are engineering input with the status printed beside each, "
                "and no legal advice; which of them bind a ledger is its owner’s decision."
            ),
            phrase(
                "That no copy of what was destroyed is left outside the vault. Certificates of destruction list the "
                "copies that are known, and until when they are outstanding."
            ),
            phrase("What a hold is for. Cases and reasons are sealed; a hold shows the pseudonym of its case."),
        ],
    )


def document(made: KeepingReport) -> Mapping[str, Any]:
    """Return the findings for machines."""
    return {
        "verdict": made.verdict,
        "kept": made.kept,
        "past_month": made.due,
        "held": made.held,
        "destroyed": made.destroyed,
        "open_holds": made.open_holds,
        "disposals": made.total_disposals,
    }
