"""Erasure: whether a record that is not there was destroyed as it must be. Whatever does not hold makes it MISSING.

Believed is a disposal of which all of this is true, as the events ledger says:

    1. it was planned, then approved, then intended, then the cooling-off that it was planned with ended, and then its
       keys began to die
    2. two people approved who did not plan it, each with a signature that verifies under a key of their own which was
       registered before the plan, and were compliance officers to the end (vault.core.destruction). They signed what
       it is, where its plan stands in the ledger, and its cooling-off
    3. the selections that its events name are stored, and what was destroyed is part of what was planned
    4. the manifest made again, from the plan's positions and the leaves that stand there, is the one that they signed

and, for each record of it:

    5. no hold that was open then names it
    6. keep_until, and the month of every group that it was moved to, were over; a record without a date was dated
       before the plan. An early disposal (two people ordered it) asks for neither
    7. the key of every group that it was ever wrapped under is destroyed

Times are the vault's own, and called self-asserted, unless an independent witness or a time-stamp covers the event with
which the keys began to die (vault.outside). Then 6 is judged by the earlier of the two: an outside time says that
something existed by then, so one before keep_until convicts, and a clock that ran ahead excuses nothing. One that is
later agrees with the vault, and is no proof that the event was new. Not checked, because it cannot be: what a later
rule book would have added for records that nobody can open any more, and anything about people whose accounts an
identity provider keeps.

``vault.judge`` decides so for a whole ledger as its entries go by. ``Explainer`` decides for single entries, for
whoever wants to read them, from what the register knows: 4 and the dating in 6 are left to ``verify``, which alone
reads the ledger. Whoever could have forged those holds the key that signs checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID
from weakref import WeakKeyDictionary

import msgspec

from vault import selections
from vault.context import Vault
from vault.core.destruction import Destruction, Destructions, Move, instant
from vault.core.errors import EvidenceError, Missing, Unavailable, UsageError
from vault.core.groups import due_at, stem_of
from vault.core.leaf import EventLeaf, RecordLeaf
from vault.core.selection import Selection
from vault.outside import OutsideTime, time_of
from vault.outsidefiles import changed
from vault.register import Register
from vault.verdict import Erasure

Dated = Callable[[str, int, int, int], bool]
"""Says of (ledger, position) whether an event below a position dated it, to a moment (microseconds) or earlier."""

UNEXPLAINED = "its envelope is not there and no erasure explains it"
Vouch = Callable[[int], OutsideTime | None]
"""Returns when others say that an event, by its position, existed at the latest."""
Load = Callable[[UUID, str], Selection]
"""Returns the selection of a ledger that a digest names; raises Missing or Modified."""

_MOST_SOUND: Final = 64


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the events ledger says, as far as it was verified.

    Attributes:
        dated: whether a record was dated in time; None leaves it unasked.
        doubt: why none of it is believed; empty where nothing is against it.
        vouch: who outside vouches for times; None leaves all of them self-asserted.
    """

    tenant: str
    destructions: Destructions
    load: Load
    dated: Dated | None = None
    doubt: str = ""
    vouch: Vouch | None = None


class Case:
    """One destruction, compared with what is stored.

    Attributes:
        why: why nobody has to believe any of it; None where nothing is against it.
        planned, final: the positions; empty where they cannot be read.
    """

    def __init__(self, evidence: Evidence, told: Destruction) -> None:
        self.told = told
        self.planned = self.final = Selection()
        self._ledger = UUID(told.disposal.ledger)
        self._expired = told.disposal.kind == "expiry"
        self.outside = None if evidence.vouch is None else evidence.vouch(told.seq)
        self._at = told.at
        if self.outside is not None and self.outside.independent:
            self._at = min(told.at, int(self.outside.at.timestamp()) * 1_000_000)
        self._until = instant(self._at)
        self._dead = evidence.destructions.dead.get(told.disposal.ledger, frozenset())
        self._tenant = evidence.tenant
        self._dated = evidence.dated
        self._refused: list[tuple[Selection, str]] = []
        self.why = evidence.doubt or self._read(evidence) or told.why_not(evidence.tenant) or self._refuse(evidence)

    def why_not(self, leaf: RecordLeaf | EventLeaf) -> str | None:
        """Return why one entry's absence is not explained, None where it is."""
        if self.why is not None:
            return self.why
        for positions, reason in self._refused:
            if leaf.seq in positions:
                return reason
        if leaf.group not in self._dead:
            return f"the key of its group {leaf.group} is not destroyed"
        if not self._expired:
            return None
        if leaf.keep_until is msgspec.UNSET:
            # What is told of it afterwards, to make its absence look lawful, comes too late.
            told = self.told
            if self._dated is not None and not self._dated(leaf.ledger, leaf.seq, told.disposal.seq, self._at):
                return "it had no date, and none was told before the plan"
        elif leaf.keep_until > self._until:
            seen = "" if self._at == self.told.at else f", and others saw by {self._until} that its key was to die"
            return f"it was to be kept until {leaf.keep_until}{seen}"
        return None

    def erasure(self, count: int = 0) -> Erasure:
        """Return the case as reports tell of it."""
        told = self.told
        people = tuple(one.person for one in told.approved(self._tenant))
        made = Erasure(told.disposal.id, told.disposal.kind, count, instant(told.at), people, told.done)
        if (seen := self.outside) is None:
            return made
        at = instant(int(seen.at.timestamp()) * 1_000_000)
        return replace(made, outside=at, outside_by=seen.by, independent=seen.independent)

    def _read(self, evidence: Evidence) -> str | None:
        """Step 3."""
        told = self.told
        try:
            self.final = evidence.load(self._ledger, told.final)
            same = (
                told.disposal.selection == told.final
            )  # often, and one that is too large to be remembered is read once
            self.planned = self.final if same else evidence.load(self._ledger, told.disposal.selection)
        except EvidenceError as error:
            return f"what it destroyed cannot be told: {words(error)}"
        if len(self.final - self.planned) or len(self.final) != told.count:
            return "it destroyed other entries than were planned"
        return None

    def _refuse(self, evidence: Evidence) -> str | None:
        """Steps 5 to 7 as far as selections tell: set aside whatever may not be gone."""
        told = self.told
        try:
            for hold, digests in told.holds:
                for digest in digests:
                    self._set_aside(evidence.load(self._ledger, digest), f"the hold {hold} was open")
            for move in evidence.destructions.moves.get(told.disposal.ledger, ()):
                moved = evidence.load(self._ledger, move.selection)
                if move.group not in self._dead:
                    self._set_aside(moved, f"the key of group {move.group}, which it was moved to, is not destroyed")
                due = due_at(stem_of(move.group))
                if self._expired and due is not None and due * 1_000_000 > self._at:
                    self._set_aside(moved, f"it was moved to group {move.group}, whose month was not over")
        except EvidenceError as error:
            return f"what was held or moved cannot be told: {words(error)}"
        return None

    def _set_aside(self, positions: Selection, reason: str) -> None:
        refused = self.final & positions
        if refused.ranges:
            self._refused.append((refused, reason))


class Explainer:
    """Explains single entries of a ledger, by what the events say at the moment it is made.

    Raises:
        Unavailable, Forked: the register cannot be read, or is not to be believed.
    """

    def __init__(self, vault: Vault, ledger: UUID) -> None:
        known = vault.register.standing().destructions
        self._vault = vault
        self._ledger = ledger
        self._known = known
        self._told = known.of(str(ledger))
        self._dead = known.dead.get(str(ledger), frozenset())
        self._evidence = Evidence(
            vault.tenant,
            known,
            lambda place, digest: selections.load(vault, place, digest),
            vouch=self._vouch,
        )

    def _vouch(self, seq: int) -> OutsideTime | None:
        """Whoever takes records in asks this as well, and must not stop for a setting that cannot work."""
        try:
            return time_of(self._vault.checkpoints, self._vault.events, seq)
        except (UsageError, Unavailable):
            return None

    def of(self, leaf: RecordLeaf) -> Erasure | str:
        """Return which disposal destroyed a record, or why none did. Its envelope may still stand there.

        The caller has verified that the leaf is under a signed checkpoint, or needs no more than a hint.
        """
        why = UNEXPLAINED
        for told in reversed(self._told):
            try:
                concerned = leaf.seq in selections.load(self._vault, self._ledger, told.final)
            except EvidenceError as error:
                why = f"{UNEXPLAINED}: disposal {told.disposal.id}: what it destroyed cannot be told: {words(error)}"
                continue
            if concerned:
                case = self._case(told)
                reason = case.why_not(leaf)
                if reason is None:
                    return case.erasure()
                why = f"{UNEXPLAINED}: disposal {told.disposal.id}: {reason}"
        return why

    def _case(self, told: Destruction) -> Case:
        """Return one that this process found sound before, while nothing that it rests on changed: verifying signatures
        again for each request would let a producer load the service with an id that is gone."""
        seen = changed(self._vault.checkpoints, self._vault.events)
        basis = told, self._known.moves.get(told.disposal.ledger, ()), self._dead, seen
        kept = _sound.setdefault(self._vault.register, {})
        found = kept.get(told.disposal.id)
        if found is not None and found[0] == basis:
            return found[1]
        made = Case(self._evidence, told)
        if made.why is None:
            if len(kept) >= _MOST_SOUND:
                kept.clear()
            kept[told.disposal.id] = basis, made
        return made

    def is_destroyed(self, leaf: RecordLeaf) -> bool:
        """Say whether a record's key was destroyed by policy. Quick where that cannot be."""
        # What was moved on from a dead group lives; what is destroyed began in one.
        return leaf.group in self._dead and not isinstance(self.of(leaf), str)


_Basis = tuple[Destruction, tuple[Move, ...], frozenset[str], int]
_sound: WeakKeyDictionary[Register, dict[str, tuple[_Basis, Case]]] = WeakKeyDictionary()


def explain(vault: Vault, ledger: UUID, leaf: RecordLeaf) -> Erasure:
    """Return which disposal destroyed a record whose envelope is not there.

    Raises:
        Missing: none did, or its evidence does not hold.
        Unavailable, Forked: the register cannot be read, or is not to be believed.
    """
    found = Explainer(vault, ledger).of(leaf)
    if isinstance(found, str):
        raise Missing(found, str(ledger), leaf.seq)
    return found


def words(error: EvidenceError) -> str:
    return str(error).partition(" at ledger")[0]
