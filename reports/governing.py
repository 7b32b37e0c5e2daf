"""Who may have a report that opens no record: what it tells is governance, and names nobody but by pseudonym.

The passphrase's holder, a compliance officer, the worker (for the order that nobody placed), and auditors: on one
ledger with any grant that holds and names it, on the whole tenant as they see the trace.
"""

from __future__ import annotations

from collections.abc import Callable

from vault import events
from vault.context import Vault
from vault.core.errors import Denied
from vault.core.standing import Standing
from vault.events import Event, Ruling, Told, refuse
from vault.ledgers import Ledger
from vault.reading import denial, held_grants

WORKER = "worker"  # no person's id is this word


def require(vault: Vault, ledger: Ledger | None) -> None:
    """Let whoever acts go on; raises ``Denied`` else, and the denial is an event. See ``reports.kind.Kind``."""
    events.rule(vault, lambda standing: ruled(vault, standing, ledger, lambda _facts: []))


def tell(vault: Vault, ledger: Ledger | None, make: Callable[[dict[str, object]], Event]) -> Told:
    """Decide again, and commit an event; see ``reports.kind.Tell``."""
    told, _ = events.rule(vault, lambda standing: ruled(vault, standing, ledger, lambda by: [make(by)]))
    return told


def ruled(
    vault: Vault, standing: Standing, ledger: Ledger | None, happened: Callable[[dict[str, object]], list[Event]]
) -> Ruling[None]:
    """Commit what happened where whoever acts may have the report, else the denial.

    Args:
        happened: given the facts that name the right.
    """
    roles = vault.actor.roles_by(standing)
    if vault.actor.break_glass or vault.actor.name == WORKER or "officer" in roles:
        return Ruling(happened({}), None)
    facts: dict[str, object] = {"ledger": "" if ledger is None else str(ledger.id)}
    if "auditor" not in roles:
        error = Denied("this report is for compliance officers and auditors")
        return refuse(error, denial("report.request", "role", facts))
    if ledger is None:
        return Ruling(happened({}), None)
    held = held_grants(vault, standing, str(ledger.id), None)
    if not held:
        error = Denied("no grant of yours that holds now names this ledger: ask for one, and have it approved")
        return refuse(error, denial("report.request", "grant", facts))
    return Ruling(happened({"grant": held[0].id}), None)
