"""The list of disposals, and all that whoever approves one has to know of it. Looking is an event.

The reason of a plan is sealed; compliance officers and the passphrase's holder see it, auditors do not.
"""

from __future__ import annotations

from typing import Any

from retention import disposal, evidence_of
from retention.destroying import find
from vault import events, ledgers, trace
from vault.context import Vault
from vault.core.disposal import APPROVERS
from vault.core.errors import Denied
from vault.core.governance import Disposal
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.reading import denial


def listing(vault: Vault) -> list[Disposal]:
    """Return all disposals, the oldest first; an event.

    Raises:
        Denied: neither an officer, an auditor nor the passphrase's holder.
    """
    _rule(vault, None)
    return disposal.listing(vault)


def show(vault: Vault, name: str) -> dict[str, Any]:
    """Return one disposal as it stands, with what was planned; an event.

    Raises:
        Denied: neither an officer, an auditor nor the passphrase's holder.
        Unknown: there is no such disposal.
    """
    find(vault, name)
    return whole(vault, name, all_said=_rule(vault, name))


def whole(vault: Vault, name: str, *, all_said: bool) -> dict[str, Any]:
    """Return ``evidence_of.view`` with what the plan's event seals; no event. ``all_said``: with its reason.

    Rules and holds are empty where the event's details cannot be opened any more.
    """
    view = evidence_of.view(vault, name)
    sealed = trace.details(vault, [view["planned"]]).get(view["planned"], {})
    counting = sum(one["counts"] for one in view["approvals"])
    missing = max(0, APPROVERS - counting) if view["state"] in ("planned", "intended") else 0
    return view | {
        "ledger_name": {str(one.id): one.row.name for one in ledgers.listing(vault)}.get(view["ledger"], "events"),
        "rules": [
            {"rule": one.id, "book": one.book, "status": one.status, "instrument": one.instrument, "count": one.count}
            for one in evidence_of.rule_facts(vault, sealed.get("rules", []))
        ],
        "holds": {str(hold): count for hold, count in sorted(sealed.get("holds", {}).items())},
        "reason": str(sealed.get("reason", "")) if all_said else "",
        "approvals_missing": missing,
    }


def _rule(vault: Vault, name: str | None) -> bool:
    """Commit that somebody looks; return whether they see what is sealed."""
    actor = vault.actor

    def decide(standing: Standing) -> Ruling[bool]:
        roles = actor.roles_by(standing)
        if not actor.break_glass and not roles & {"auditor", "officer"}:
            denied = denial("disposal.list", "role", {})
            return refuse(Denied("only auditors and compliance officers see disposals"), denied)
        count = len(standing.governance.disposals) if name is None else 1
        return Ruling([Event("disposals.listed", {"count": count})], actor.break_glass or "officer" in roles)

    return events.rule(vault, decide)[1]
