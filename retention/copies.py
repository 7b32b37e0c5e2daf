"""Copies: what a disposal cannot reach, and until when it may still be there. A certificate lists it as outstanding.

Destroying a key ends every copy of what it sealed, in every backup of the database. It does not end copies of the key
store, text that left the vault lawfully, or facets that stand in clear in older dumps.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from vault import selections
from vault.context import Vault
from vault.core.errors import EvidenceError
from vault.core.leaf import EventLeaf
from vault.core.selection import Selection
from vault.shred import OPEN_SECONDS

NAMES: Final = frozenset(
    {"report.issued", "report.fetched", "access.requested", "access.exported", "recovery.exported"}
    | {"records.opened", "bundle.issued"}
)
"""Events that tell of copies."""
CONFIRMED: Final = "confirmed by whoever keeps it"


@dataclass(frozen=True, slots=True)
class Copy:
    """Something outside that may still show what was destroyed.

    Attributes:
        kind: ``recovery_file``, ``key_store_copy``, ``database_dump``, ``report``, ``export``, ``bundle`` or
            ``open_keys``.
        what: what it is, in words.
        holder: who has it: a custodian, an id, "".
        since: when it came to be; "" where nobody knows.
        until: until when it is outstanding: an instant, or what ends it.
        shows: ``text`` or ``facets``.
    """

    kind: str
    what: str
    holder: str
    since: str
    until: str
    shows: str


def outstanding(
    vault: Vault, ledger: UUID, destroyed: Selection, destroyed_at: str, told: Sequence[EventLeaf]
) -> tuple[Copy, ...]:
    """Return what is outstanding for a disposal, in a fixed order; nothing where nothing was destroyed.

    Args:
        destroyed_at: when the last key died, RFC 3339.
        told: the events of ``NAMES``.
    """
    if not destroyed.ranges:
        return ()
    made = [
        Copy(
            "key_store_copy",
            f"copies of the key store made before the keys were destroyed ({vault.provider.name})",
            "",
            "",
            f"their destruction is {CONFIRMED}",
            "text",
        )
    ]
    made += [
        Copy("recovery_file", "opens copies of the key store", one, "", f"its destruction is {CONFIRMED}", "text")
        for one in getattr(vault.provider, "custodians", ())
    ]
    until = datetime.fromisoformat(destroyed_at) + timedelta(seconds=OPEN_SECONDS)
    made.append(
        Copy(
            "open_keys",
            "keys that a running process opened before, in its memory",
            "",
            "",
            f"{until:%Y-%m-%dT%H:%M:%SZ}, or the restart of every process",
            "text",
        )
    )
    made.append(
        Copy(
            "database_dump",
            "dumps and backups of the database made before: facets in clear, and envelopes that open no more",
            "",
            "",
            "they are overwritten or expire",
            "facets",
        )
    )
    here = [one for one in told if one.facts.get("ledger") == str(ledger)]
    ended = {one.facts.get("request") for one in here if one.event == "access.exported"}
    issued = {_file(one) for one in here if one.event in ("bundle.issued", "report.issued")}
    for one in here:
        report = one.event == "report.issued" and one.facts.get("kind") != "certificate"
        of_all = report and "selection" not in one.facts
        of_some = report or one.event in ("access.exported", "bundle.issued") or _died(one, ended, issued)
        if of_all or (of_some and _touches(vault, ledger, destroyed, one)):
            made.append(_left(one))
    return tuple(made)


def _died(one: EventLeaf, ended: Collection[Any], issued: Collection[Any]) -> bool:
    """Say whether records were opened for a file, and nobody told how it ended."""
    if one.event == "access.requested":
        return one.facts.get("request") not in ended
    return one.event == "records.opened" and _file(one) is not None and _file(one) not in issued


def _file(one: EventLeaf) -> Any:
    """Return the id of the file with records in it that an event tells of: a bundle's, a dossier's."""
    return one.facts.get("bundle") or one.facts.get("report")


def _left(one: EventLeaf) -> Copy:
    facts = one.facts
    if "bundle" in facts:
        shows = "text" if facts.get("fields") == "full" else "facets"
        words = f"{facts.get('fields', '')} evidence bundle {facts['bundle']}"
        name = words if one.event == "bundle.issued" else f"what {words} left when it died, if anything"
        kind = "bundle"
    elif one.event == "report.issued":
        name, kind = f"{facts.get('kind', 'a')} report {facts.get('report', '')}", "report"
        shows = "text" if facts.get("kind") == "dossier" and facts.get("fields") != "masked" else "facets"
    elif one.event == "records.opened":
        name, kind = f"what dossier {facts.get('report', '')} left when it died, if anything", "report"
        shows = "text" if facts.get("fields") != "masked" else "facets"
    elif one.event == "access.requested":
        name, kind, shows = f"what export {facts.get('request', '')} left when it died, if anything", "export", "text"
    else:
        name, kind, shows = f"export {facts.get('request', '')}", "export", "text"
    holder = str(facts.get("recipient", one.actor))
    return Copy(kind, name, holder, one.at, f"its destruction is {CONFIRMED}", shows)


def _touches(vault: Vault, ledger: UUID, destroyed: Selection, one: EventLeaf) -> bool:
    """Say whether a file may hold one of the destroyed; one whose set cannot be read may."""
    try:
        return bool((selections.load(vault, ledger, str(one.facts.get("selection"))) & destroyed).ranges)
    except EvidenceError:
        return True
