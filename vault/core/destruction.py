"""Destructions: how things stood, as the events ledger says, when a disposal's keys began to die; and which keys died.

    planned -> approved -> intended -> DESTROYING -> key.destroyed ... -> done
                                       ^ here everything is looked at: approvers' keys, open holds, cooling-off

What is true later does not count: a hold released since was open then, a key registered since was not known then.
``vault.erasure`` compares this with what the vault still holds. Pure; times are microseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from vault.core import leaf
from vault.core.disposal import APPROVERS, People, cooled_at, is_fit, is_stale, sound_approvals
from vault.core.governance import Approval, ApproverKey, Disposal, Governance

_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Move:
    """Entries whose keys were wrapped anew under the key of another group of the same ledger."""

    group: str
    selection: str
    at: int


@dataclass(frozen=True, slots=True)
class Destruction:
    """One disposal from its point of no return on.

    Attributes:
        disposal: as it stood before.
        final: the selection of what is really destroyed; ``count`` of it.
        approvers: keys that were registered then, of those who approved and were compliance officers still.
        holds: (hold, its selections in this ledger) that were open then.
        wrong: why it never was one, whatever it says; empty where nothing is against it yet.
    """

    disposal: Disposal
    final: str
    count: int
    at: int
    seq: int
    approvers: tuple[ApproverKey, ...]
    holds: tuple[tuple[str, tuple[str, ...]], ...]
    wrong: str = ""
    done: bool = False

    def why_not(self, tenant: str) -> str | None:
        """Return why nobody has to believe it, as far as events alone can tell; None where they are in order."""
        told = self.disposal
        if self.wrong:
            return self.wrong
        if told.state != "intended":
            return f"its keys began to die while it was {told.state}"
        if self.at < cooled_at(told):
            return "its cooling-off was not over"
        if self.at < told.due * _US:
            return "the last of its entries was not due"
        counted = len(self.approved(tenant))
        if counted < APPROVERS:
            return f"{counted} of {APPROVERS} approvals are sound"
        return None

    def approved(self, tenant: str) -> list[Approval]:
        """Return the approvals that count: given before the intent, and sound (vault.core.disposal)."""
        told = self.disposal
        before = replace(told, approvals=tuple(one for one in told.approvals if one.seq < told.intended_seq))
        return sound_approvals(Governance(approvers={key.person: key for key in self.approvers}), {}, before, tenant)


@dataclass(slots=True)
class Destructions:
    """All of them, after some number of events.

    Attributes:
        disposals: by the disposal's id, in the order in which they began.
        moves: by ledger.
        dead: the groups of each ledger whose key was destroyed.
        unfit: (disposal, person) of approvals by accounts that were no compliance officer's.
    """

    disposals: dict[str, Destruction] = field(default_factory=dict)
    moves: dict[str, tuple[Move, ...]] = field(default_factory=dict)
    dead: dict[str, frozenset[str]] = field(default_factory=dict)
    unfit: frozenset[tuple[str, str]] = frozenset()

    def copy(self) -> Destructions:
        return Destructions(dict(self.disposals), dict(self.moves), dict(self.dead), self.unfit)

    def take(
        self,
        before: Governance,
        event: str,
        facts: Mapping[str, Any],
        seq: int,
        at: int,
        *,
        actor: str,
        people: People,
    ) -> None:
        """Take one event.

        Args:
            before: what was decided before it.
            people: the accounts at that moment.

        Raises:
            KeyError, TypeError, ValueError: its facts are not its own.
        """
        if event == "disposal.destroying":
            self._destroying(before, people, facts, seq, at)
        elif event == "disposal.done":
            if (known := self.disposals.get(facts["disposal"])) is not None:
                self.disposals[known.disposal.id] = replace(known, done=True)
        elif event == "disposal.approved":
            if not is_fit(people, actor):
                self.unfit |= {(facts["disposal"], actor)}
        elif event == "keys.moved":
            ledger = facts["ledger"]
            self.moves[ledger] = (*self.moves.get(ledger, ()), Move(facts["to"], facts["selection"], at))
        elif event == "key.destroyed":
            ledger = facts["ledger"]
            self.dead[ledger] = self.dead.get(ledger, frozenset()) | {facts["group"]}

    def of(self, ledger: str) -> list[Destruction]:
        """Return the destructions in a ledger, in the order in which they began."""
        return [one for one in self.disposals.values() if one.disposal.ledger == ledger]

    def _destroying(self, before: Governance, people: People, facts: Mapping[str, Any], seq: int, at: int) -> None:
        told = before.disposals[facts["disposal"]]
        signed = tuple(one for one in told.approvals if (told.id, one.person) not in self.unfit)
        wrong = ""
        if told.id in self.disposals:
            wrong = "its keys began to die twice"
        elif facts["manifest"] != told.manifest:
            wrong = "it destroyed another manifest than was planned"
        elif facts["holds_at"] > seq:
            wrong = "its records were looked at after their keys began to die"
        elif is_stale(before, facts["holds_at"]):
            wrong = "something was held, dated or to be kept longer after its records were looked at"
        fit = {one.person for one in signed if is_fit(people, one.person)}
        self.disposals[told.id] = Destruction(
            replace(told, approvals=signed),
            facts["selection"],
            facts["count"],
            at,
            seq,
            tuple(key for key in before.approvers.values() if key.person in fit),
            tuple(
                (hold.id, tuple(digest for ledger, digest in hold.sets if ledger == told.ledger))
                for hold in before.holds.values()
                if hold.is_open and any(ledger == told.ledger for ledger, _ in hold.sets)
            ),
            wrong,
        )


EVENTS: Final = frozenset({"disposal.approved", "disposal.destroying", "disposal.done", "keys.moved", "key.destroyed"})
"""Names of the events that change any of this."""


def instant(at_us: int) -> str:
    """Return the moment as leaves spell their dates; both compare as text."""
    return leaf.instant(at_us // _US)
