"""The integrity report as a kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from reports.captions import MEANINGS
from reports.governing import require, tell
from reports.integrity.collect import collect as gather
from reports.integrity.model import IntegrityReport
from reports.kind import Collected, Kind, Pages, Progress, Section, Wanted
from reports.phrase import phrase
from vault.context import Vault

TITLE: Final = phrase("Integrity report")

SECTIONS: Final[tuple[Section, ...]] = (
    (1, "ledgers", phrase("What was verified")),
    (2, "faults", phrase("What does not hold")),
    (3, "history", phrase("One history")),
    (4, "outside", phrase("Who outside has seen it")),
    (5, "destroyed", phrase("What was destroyed")),
    (6, "limits", phrase("What is not proved")),
)


def collect(vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress) -> Collected:
    """Verify and return what stands on the pages; see ``reports.kind.Collect``."""
    made, attachments = gather(vault, wanted, workdir, report, progress)
    ledger = wanted.ledger
    return Collected(
        pages=pages(made),
        attachments=attachments,
        facts={"ledger": "" if ledger is None else str(ledger.id), "count": made.entries},
        tell=lambda make: tell(vault, ledger, make),
        verdict=made.verdict,
        problems=made.problems,
        model=made,
        words=f"  {made.total_ledgers} ledgers, {made.entries:,} entries: {made.verdict}; "
        f"{made.total_faults:,} faults, {made.total_destructions:,} disposals",
        document=document(made),
    )


KIND: Final = Kind("integrity", "in", TITLE, require, collect)


def pages(made: IntegrityReport) -> Pages:
    """Return what the layout needs."""
    return Pages(
        template="integrity.html.j2",
        who=made.identification,
        title=TITLE,
        sections=SECTIONS,
        values={"report": made, "meanings": MEANINGS, "span": span},
        limits=list(limits(made)),
    )


def document(made: IntegrityReport) -> Mapping[str, Any]:
    """Return the findings for machines."""
    return {
        "verdict": made.verdict,
        "ledgers": {one.name: {"verdict": one.verdict, "size": one.size, **one.verdicts} for one in made.ledgers},
        "faults": made.total_faults,
        "witnessed": made.total_seen,
    }


def limits(made: IntegrityReport) -> list[str]:
    """Sentences for the last section, the weightiest first."""
    found: list[str] = []
    if any(not one.own for one in made.seen):  # where nobody has looked, every report says so
        found.append(
            phrase(
                "What happened between two moments at which somebody outside looked, beyond this: the later history "
                "holds the earlier one unchanged."
            )
        )
    found += [
        phrase(
            "That records were opened. The verifier compared leaves, chain, tree, checkpoints, facets and sealed "
            "bytes; that each envelope opens to what its record says is what 'reasonvault verify --depth open' "
            "looks at."
        ),
        phrase(
            "That every decision reached the vault, or that a record is true. It proves that what was given to the "
            "vault has not been changed, left out or destroyed early since."
        ),
        phrase(
            "That no copy of a destroyed record is left outside the vault. Certificates of destruction list the copies "
            "that are known."
        ),
    ]
    return found


def span(length: timedelta | None) -> str:
    """A length of time for a page, in the unit that tells most."""
    if length is None:
        return "–"
    seconds = int(length.total_seconds())
    for unit, name in ((86_400, "{n} d"), (3_600, "{n} h"), (60, "{n} min")):
        if seconds >= 2 * unit:
            return phrase(name, n=seconds // unit)
    return phrase("{n} s", n=seconds)
