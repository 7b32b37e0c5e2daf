"""The access review as a kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from reports.access.collect import collect as gather
from reports.access.model import AccessReview
from reports.charts import Charts
from reports.governing import require, tell
from reports.kind import Collected, Kind, Pages, Progress, Section, Wanted
from reports.phrase import phrase
from vault.context import Vault

TITLE: Final = phrase("Access review")

SECTIONS: Final[tuple[Section, ...]] = (
    (1, "readers", phrase("Who saw what")),
    (2, "grants", phrase("Grants")),
    (3, "left", phrase("What left the vault")),
    (4, "refused", phrase("Who was refused")),
    (5, "rights", phrase("Who may come in")),
    (6, "limits", phrase("What is not proved")),
)


def collect(vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress) -> Collected:
    """Read the events and return what stands on the pages; see ``reports.kind.Collect``."""
    made, attachments = gather(vault, wanted, workdir, report, progress)
    return Collected(
        pages=pages(made),
        attachments=attachments,
        facts={"count": made.events},
        tell=lambda make: tell(vault, None, make),
        verdict=made.verdict,
        model=made,
        words=f"  {made.total_readers} people and jobs, {made.records:,} records opened, {made.searches:,} searches; "
        f"{made.total_denials:,} refused, {made.break_glass:,} under break-glass",
        document=document(made),
    )


KIND: Final = Kind("access", "ac", TITLE, require, collect)


def pages(made: AccessReview) -> Pages:
    """Return what the layout needs."""
    return Pages(
        template="access.html.j2",
        who=made.identification,
        title=TITLE,
        sections=SECTIONS,
        values={"report": made},
        charts=lambda charts: _drawn(charts, made),
        limits=limits(made),
    )


def document(made: AccessReview) -> Mapping[str, Any]:
    """Return the findings for machines."""
    return {
        "verdict": made.verdict,
        "events": made.events,
        "opened": made.records,
        "searches": made.searches,
        "break_glass": made.break_glass,
        "denied": made.total_denials,
        "grants": made.total_grants,
        "unused_grants": made.unused,
    }


def limits(made: AccessReview) -> list[str]:
    """Sentences for the last section, the weightiest first."""
    found: list[str] = [
        phrase(
            "That nobody read a record outside the vault: at its producer, in a report or a bundle that was handed "
            "out, or with a copy of the database and of the keys together."
        ),
        phrase(
            "Who a person is. Pseudonyms are the vault’s own; names are sealed beside the events that made them, and "
            "compliance officers can open those."
        ),
        phrase("Why a record was opened, or that the purpose was a true one. Purposes are sealed beside each event."),
    ]
    if not made.policy:
        found.insert(
            0,
            phrase(
                "That two people agreed to each reading. No grant policy is adopted: whoever holds the vault’s "
                "passphrase opens records alone, marked as break-glass."
            ),
        )
    return found


def _drawn(charts: Charts, made: AccessReview) -> Mapping[str, bytes]:
    return {"days": charts.volume(made.days)} if made.days else {}
