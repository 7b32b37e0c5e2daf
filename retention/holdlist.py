"""The list of holds: which there are, what they keep, whose review is due. Looking is an event.

Case, reason and terms are sealed; compliance officers and the passphrase's holder see them, auditors do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from retention.held import frozen
from vault import events, trace
from vault.context import Vault
from vault.core.errors import Denied, EvidenceError, Unknown
from vault.core.governance import Hold
from vault.core.hold import due_reviews
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.reading import denial


@dataclass(frozen=True, slots=True)
class Shown:
    """One hold.

    Attributes:
        counts: ledger's uuid -> records that its events name; None where a set is not whole, which stops disposals.
        due: whether its review date has come.
        case, reason, terms: empty where whoever looks may not see them, or they cannot be opened.
    """

    hold: Hold
    counts: Mapping[str, int | None]
    due: bool
    case: str = ""
    reason: str = ""
    terms: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """``open``, ``release requested`` or ``released``."""
        if not self.hold.is_open:
            return "released"
        return "open" if self.hold.release_by is None else "release requested"


class _Allowed(NamedTuple):
    holds: list[Hold]
    all_said: bool


def listing(vault: Vault) -> list[Shown]:
    """Return every hold, the newest first; an event.

    Raises:
        Denied: neither an officer, an auditor nor the passphrase's holder.
    """
    return _told(vault, _rule(vault, None))


def show(vault: Vault, name: str) -> Shown:
    """Return one hold; an event.

    Raises:
        Denied: neither an officer, an auditor nor the passphrase's holder.
        Unknown: there is no such hold.
    """
    return _told(vault, _rule(vault, name))[0]


def _rule(vault: Vault, name: str | None) -> _Allowed:
    actor = vault.actor

    def decide(standing: Standing) -> Ruling[_Allowed]:
        roles, holds = actor.roles_by(standing), standing.governance.holds
        if not actor.break_glass and not roles & {"auditor", "officer"}:
            denied = denial("hold.list", "role", {})
            return refuse(Denied("only auditors and compliance officers see holds"), denied)
        if name is not None and name not in holds:
            denied = denial("hold.list", "unknown", {})
            return refuse(Unknown("there is no such hold"), denied)
        found = [holds[name]] if name is not None else sorted(holds.values(), key=lambda one: -one.seq)
        return Ruling(
            [Event("holds.listed", {"count": len(found)})], _Allowed(found, actor.break_glass or "officer" in roles)
        )

    return events.rule(vault, decide)[1]


def _told(vault: Vault, allowed: _Allowed) -> list[Shown]:
    sealed = trace.details(vault, [one.seq for one in allowed.holds]) if allowed.all_said else {}
    due = {one.id for one in due_reviews(vault.register.standing().governance, vault.clock())}
    shown = []
    for one in allowed.holds:
        told = sealed.get(one.seq, {})
        counts = {ledger: _count(vault, ledger, one) for ledger in one.scope.ledgers}
        words = str(told.get("case", "")), str(told.get("reason", ""))
        shown.append(Shown(one, counts, one.id in due, *words, told.get("terms", {})))
    return shown


def _count(vault: Vault, ledger: str, one: Hold) -> int | None:
    try:
        return len(frozen(vault, UUID(ledger), one))
    except EvidenceError:  # the list is where somebody gets to know of it
        return None
