"""Which reports were ever issued, as the events tell: every kind, and to whom."""

from __future__ import annotations

from collections import deque
from typing import Any

from vault import events, ledgers
from vault.context import Vault
from vault.core.canonical import unb64
from vault.core.errors import Denied
from vault.core.standing import Standing
from vault.events import Ruling, refuse
from vault.reading import denial


def listing(vault: Vault, limit: int) -> list[dict[str, Any]]:
    """Return the newest reports, oldest of them first; one pass over the events.

    Auditors see those that they were given, officers and the passphrase's holder all of them.

    Raises:
        Denied: whoever asks is none of these.
    """

    def decide(standing: Standing) -> Ruling[bool]:
        roles = vault.actor.roles_by(standing)
        if not vault.actor.break_glass and not roles & {"auditor", "officer"}:
            error = Denied("only auditors and compliance officers see reports")
            return refuse(error, denial("reports.list", "role", {}))
        return Ruling([], vault.actor.break_glass or "officer" in roles)

    _, everything = events.rule(vault, decide)
    found: deque[dict[str, Any]] = deque(maxlen=limit)
    delivered: dict[str, str] = {}
    for told in ledgers.history(vault, "report.issued", "report.delivered"):
        digest = str(told.facts.get("sha256", ""))
        if told.event == "report.delivered":
            delivered[digest] = told.at
        elif everything or told.facts.get("recipient") == vault.actor.name:
            found.append(
                {name: told.facts.get(name, "") for name in ("report", "kind", "ledger", "recipient", "order", "due")}
                | {"at": told.at, "event": told.seq, "sha256": digest}
            )
    for one in found:
        one["delivered_at"] = delivered.get(one["sha256"], "")
        one["sha256"] = unb64(one["sha256"], 32).hex()
    return list(found)
