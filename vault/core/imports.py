"""Imports: who may bring old records in with their own dates. Four eyes, as for grants.

Without an import no producer can make a record due before its time: its keeping counts from the day of its receipt. An
import lets the records of one file count from the day they occurred, so what comes in with it may be due at once. Hence
two people: one asks, naming the file by its digest, another approves, and then that file comes in and no other.

Pure decisions over plain values: a reason why not, or None.
"""

from __future__ import annotations

from typing import Final

from vault.core.governance import Import

NO_OFFICER: Final = "only a compliance officer who logged in approves an import"
NO_REQUESTER: Final = (
    "only a compliance officer, or the holder of the vault's passphrase, asks for an import or runs it"
)
OWN: Final = "nobody approves the import that they asked for: another compliance officer has to"
NO_LOOK: Final = "only auditors and compliance officers see imports"
ROLE: Final = frozenset({NO_OFFICER, NO_REQUESTER, NO_LOOK})
"""The reasons that are a missing role."""
MAX_COUNT: Final = 1_000_000_000


def why_no_request(roles: frozenset[str], holder: bool, count: int, first: int, last: int) -> str | None:
    """Return why this person may not ask for an import, None when they may.

    Args:
        holder: whether they hold the vault's passphrase.
        count: lines of the file.
        first, last: when the earliest and the latest of its records occurred, microseconds.
    """
    if "officer" not in roles and not holder:
        return NO_REQUESTER
    if not 0 < count <= MAX_COUNT:
        return f"an import has 1 to {MAX_COUNT} lines"
    if first > last:
        return "the period ends before it starts"
    return None


def why_no_approval(asked: Import, person: str, roles: frozenset[str]) -> str | None:
    """Return why this person may not approve an import, None when they may. Four eyes: never one's own."""
    if "officer" not in roles:
        return NO_OFFICER
    if asked.requested_by == person:
        return OWN
    if asked.approved_by is not None:
        return "the import is approved already"
    return None


def why_not_approved(asked: Import, ledger: str, producer: str) -> str | None:
    """Return why no record may come in with this import, None when those of one producer may, into one ledger."""
    if asked.approved_by is None:
        return "nobody approved this import yet: a compliance officer who did not ask for it has to"
    if asked.approved_by == asked.requested_by:
        return OWN
    if asked.done:
        return "this import is done: what else is old needs an import of its own"
    if (asked.ledger, asked.producer) != (ledger, producer):
        return "this import was approved for another ledger or producer"
    return None


def why_no_run(asked: Import, roles: frozenset[str], holder: bool, sha256: str) -> str | None:
    """Return why this person may not run an import with a file, None when they may.

    Args:
        sha256: of the file's lines as they are read now, base64url.
    """
    if "officer" not in roles and not holder:
        return NO_REQUESTER
    why = why_not_approved(asked, asked.ledger, asked.producer)
    if why is None and asked.sha256 != sha256:
        return "this is not the file that was approved: its SHA-256 is another"
    return why


def why_no_look(roles: frozenset[str], holder: bool) -> str | None:
    """Return why this person may not see which imports there are, None when they may."""
    return None if holder or roles & {"officer", "auditor"} else NO_LOOK
