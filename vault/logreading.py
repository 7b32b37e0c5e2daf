"""Reading a ledger as a log: who may see its checkpoints, tiles, proofs and entries.

Leaves of decisions name nobody and hold no content, so whoever has to do with a ledger may have all of them: its
producers, auditors with a grant for it, officers, operators. That is no reading of records, and no event each time: a
client fetches thousands of tiles.

Leaves of the events ledger tell who did what under pseudonyms. Its checkpoints, hashes and proofs are for auditors,
officers and operators; its entries for those who may see the trace (vault.trace), and seeing them is an event, as
there.
"""

from __future__ import annotations

from uuid import UUID

from vault import events
from vault.context import Vault
from vault.core.errors import Denied, Unknown
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.reading import denial, held_grants, no_grant, reads_freely

_ACT = "log.read"


def require(vault: Vault, ledger: UUID | None, *, entries: bool = False) -> None:
    """Refuse a person who may not read a ledger's log.

    Args:
        ledger: None where no such ledger is known.
        entries: whether leaves are asked for, not hashes alone.

    Raises:
        Denied: a role or a grant is missing; the denial's event is committed.
        Unknown: no such ledger is known, told to whoever may read all of them.
    """
    if _refusal(vault, vault.register.standing(), ledger, entries) is None:
        return

    def decide(standing: Standing) -> Ruling[None]:
        return _refusal(vault, standing, ledger, entries) or Ruling([], None)

    events.rule(vault, decide)


def tell(vault: Vault, first: int, count: int) -> None:
    """Commit the event of reading entries of the events ledger; to be called before they leave.

    Raises:
        Denied: as ``require``.
    """

    def decide(standing: Standing) -> Ruling[None]:
        told = Event("events.read", {"first": first, "limit": count})
        return _refusal(vault, standing, vault.events, True) or Ruling([told], None)

    events.rule(vault, decide)


def _refusal(vault: Vault, standing: Standing, ledger: UUID | None, entries: bool) -> Ruling[None] | None:
    """Return what refuses whoever acts, None where nothing does."""
    roles = vault.actor.roles_by(standing)
    if ledger == vault.events:
        if vault.actor.break_glass or roles & {"auditor", "officer"} or ("operator" in roles and not entries):
            return None
        words = "only auditors and compliance officers see the trace"
        return refuse(Denied(words), denial(_ACT, "role", {"ledger": str(ledger)}))
    if reads_freely(vault, standing) or roles & {"officer", "operator"}:
        if ledger is None:
            raise Unknown("there is no such ledger")
        return None
    if ledger is None:
        return refuse(no_grant(standing, vault), denial(_ACT, "ledger", {}))
    if held_grants(vault, standing, str(ledger), None):
        return None
    return refuse(no_grant(standing, vault), denial(_ACT, "grant", {"ledger": str(ledger)}))
