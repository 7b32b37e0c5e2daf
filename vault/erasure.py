"""Erasure: whether a record that is not there was destroyed as it must be. Whatever does not hold makes it MISSING.

Believed is a disposal of which all of this is true, as the events ledger says:

    1. it was planned, then approved, then intended, then its cooling-off ended, and then its keys began to die
    2. two people approved who did not plan it, each with a signature that verifies under a key of their own which was
       registered before the plan (vault.core.destruction)
    3. the selections that its events name are stored, and what was destroyed is part of what was planned
    4. the manifest made again, from the plan's positions and the leaves that stand there, is the one that they signed

and, for each record of it:

    5. no hold that was open then names it
    6. keep_until, and the month of every group that it was moved to, were over; a record without a date was dated. An
       early disposal (two people ordered it) asks for neither
    7. the key of every group that it was ever wrapped under is destroyed

All times are the vault's own: nobody outside vouches for them yet, so they are called self-asserted. Not checked,
because it cannot be: what a later rule book would have added for records that nobody can open any more, and anything
about people whose accounts an identity provider keeps.

``Judge`` decides for a whole ledger as its entries go by (vault.audit). ``explain`` decides for one entry, for whoever
wants to read it, from what the register knows: 4 and the dating in 6 are left to ``verify``, which alone reads the
ledger. Whoever could have forged those holds the key that signs checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

import msgspec

from vault import selections
from vault.context import Vault
from vault.core import canonical
from vault.core.destruction import Destruction, Destructions, instant
from vault.core.errors import EvidenceError, Missing
from vault.core.groups import due_at, stem_of
from vault.core.leaf import EventLeaf, GenesisLeaf, Leaf, RecordLeaf
from vault.core.manifest import Manifest
from vault.core.selection import Selection
from vault.verdict import Erasure, LedgerReport, Verdict

UNEXPLAINED = "its envelope is not there and no erasure explains it"
Load = Callable[[UUID, str], Selection]
"""Returns the selection of a ledger that a digest names; raises Missing or Modified."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the events ledger says, as far as it was verified.

    Attributes:
        dated: (ledger, position) -> whether an event dated that record; None leaves it unasked.
        doubt: why none of it is believed; empty where nothing is against it.
    """

    tenant: str
    destructions: Destructions
    load: Load
    dated: Callable[[str, int], bool] | None = None
    doubt: str = ""


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
        self._until = instant(told.at)
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
            if self._dated is not None and not self._dated(leaf.ledger, leaf.seq):
                return "it had no date, and none was told"
        elif leaf.keep_until > self._until:
            return f"it was to be kept until {leaf.keep_until}"
        return None

    def erasure(self, count: int = 0) -> Erasure:
        """Return the case as reports tell of it."""
        told = self.told
        people = tuple(one.person for one in told.approved(self._tenant))
        return Erasure(told.disposal.id, told.disposal.kind, count, self._until, people, told.done)

    def _read(self, evidence: Evidence) -> str | None:
        """Step 3."""
        told = self.told
        try:
            self.final = evidence.load(self._ledger, told.final)
            self.planned = evidence.load(self._ledger, told.disposal.selection)
        except EvidenceError as error:
            return f"what it destroyed cannot be told: {_words(error)}"
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
                if self._expired and due is not None and due * 1_000_000 > told.at:
                    self._set_aside(moved, f"it was moved to group {move.group}, whose month was not over")
        except EvidenceError as error:
            return f"what was held or moved cannot be told: {_words(error)}"
        return None

    def _set_aside(self, positions: Selection, reason: str) -> None:
        refused = self.final & positions
        if refused.ranges:
            self._refused.append((refused, reason))


class Judge:
    """Decides about one ledger while its entries go by in order; ``finish`` tells its report."""

    def __init__(self, evidence: Evidence, ledger: UUID) -> None:
        cases = [Case(evidence, told) for told in evidence.destructions.of(str(ledger))]
        self._trials = [_Trial(case, Manifest(ledger)) for case in cases]
        self._segments = _segments([(trial, trial.case.planned | trial.case.final) for trial in self._trials])
        self._at = 0
        # Of those whose selections cannot be read: what is gone may be theirs, so their reason is the one to tell.
        self._unread = next((case for case in cases if case.why is not None and not case.final.ranges), None)

    def take(self, leaf: Leaf, hashed: bytes, present: bool) -> str | None:
        """Take the next entry.

        Returns:
            Why an entry that is not ``present`` is missing, None where that is explained, or decided by ``finish``.
        """
        judged = None
        for trial in self._trials_at(leaf.seq):
            if leaf.seq in trial.case.planned:
                trial.manifest.add(leaf.seq, hashed)
            if leaf.seq in trial.case.final:
                judged = trial
        if present:
            if judged is not None:
                judged.present.add(leaf.seq)
            return None
        if judged is None or isinstance(leaf, GenesisLeaf):
            return UNEXPLAINED if self._unread is None else f"{UNEXPLAINED}: {self._unread.why}"
        reason = judged.case.why_not(leaf)
        if reason is None:
            judged.absent.add(leaf.seq)
            return None
        return f"{UNEXPLAINED}: disposal {judged.case.told.disposal.id}: {reason}"

    def is_dying(self, seq: int) -> bool:
        """Say whether the keys of an entry are said to be destroyed, so that it need not open."""
        return any(trial.case.why is None and seq in trial.case.final for trial in self._trials_at(seq))

    def finish(self, report: LedgerReport) -> None:
        """Make each manifest's comparison (step 4), and tell the report."""
        for trial in self._trials:
            disposal = trial.case.told.disposal
            same = canonical.b64(trial.manifest.digest()) == disposal.manifest
            if not same or trial.manifest.count != disposal.count:
                words = f"{UNEXPLAINED}: disposal {disposal.id}: the manifest is not that of these entries"
                for first, last in trial.absent.ranges:
                    report.add(Verdict.MISSING, first, words, last)
                continue
            if trial.case.why is None:
                report.erased += len(trial.absent)
                report.erasures.append(trial.case.erasure(len(trial.absent)))
                self._tell_present(trial, report)

    def _tell_present(self, trial: _Trial, report: LedgerReport) -> None:
        if not trial.case.told.done:
            report.dying += len(trial.present)
            return
        for first, last in trial.present.ranges:
            words = f"its envelope still stands there although disposal {trial.case.told.disposal.id} deleted it"
            report.add(Verdict.MODIFIED, first, words, last)

    def _trials_at(self, seq: int) -> tuple[_Trial, ...]:
        while self._at < len(self._segments) and self._segments[self._at][1] < seq:
            self._at += 1
        if self._at < len(self._segments) and self._segments[self._at][0] <= seq:
            return self._segments[self._at][2]
        return ()


class _Runs:
    """Ascending positions, kept as ranges."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def add(self, seq: int) -> None:
        if self.ranges and self.ranges[-1][1] == seq - 1:
            self.ranges[-1] = (self.ranges[-1][0], seq)
        else:
            self.ranges.append((seq, seq))

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.ranges)


class _Trial:
    def __init__(self, case: Case, manifest: Manifest) -> None:
        self.case = case
        self.manifest = manifest
        self.absent = _Runs()
        self.present = _Runs()


class Unjudged:
    """Stands in for a judge where there is no evidence to go by: nothing explains what is not there."""

    def take(self, _leaf: Leaf, _hashed: bytes, present: bool) -> str | None:
        return None if present else UNEXPLAINED

    def is_dying(self, _seq: int) -> bool:
        return False


class Deferred:
    """Stands in for the judge of the events ledger while its first reading still gathers the evidence."""

    def __init__(self) -> None:
        self._runs = _Runs()

    def take(self, leaf: Leaf, _hashed: bytes, present: bool) -> str | None:
        """Note an entry that is not there."""
        if not present:
            self._runs.add(leaf.seq)
        return None

    def is_dying(self, _seq: int) -> bool:
        return False

    def settle(self, judge: Judge, report: LedgerReport, leaves: Iterable[tuple[Leaf, bytes]]) -> None:
        """Read the leaves a second time, now that what explains their absence is known."""
        absent = Selection(tuple(self._runs.ranges))
        for leaf, hashed in leaves:
            reason = judge.take(leaf, hashed, leaf.seq not in absent)
            if reason is not None:
                report.add(Verdict.MISSING, leaf.seq, reason)
        judge.finish(report)

    def give_up(self, report: LedgerReport) -> None:
        """Tell that nothing explains what is not there."""
        for first, last in self._runs.ranges:
            for seq in range(first, last + 1):
                report.add(Verdict.MISSING, seq, UNEXPLAINED)


def explain(vault: Vault, ledger: UUID, leaf: RecordLeaf) -> Erasure:
    """Return which disposal destroyed a record whose envelope is not there.

    The caller has verified that the leaf is under a signed checkpoint.

    Raises:
        Missing: none did, or its evidence does not hold.
        Unavailable, Forked: the register cannot be read, or is not to be believed.
    """
    found = _explain(vault, ledger, leaf)
    if isinstance(found, str):
        raise Missing(found, str(ledger), leaf.seq)
    return found


def is_dying(vault: Vault, ledger: UUID, leaf: RecordLeaf) -> bool:
    """Say whether a disposal destroyed the key of a record whose envelope may still stand there."""
    known = vault.register.latest.destructions
    # What was moved on from a dead group lives; what is dying began in one.
    return leaf.group in known.dead.get(str(ledger), ()) and is_explained(vault, ledger, leaf) is not None


def is_explained(vault: Vault, ledger: UUID, leaf: RecordLeaf) -> Erasure | None:
    """Return the same, None where no disposal explains it."""
    found = _explain(vault, ledger, leaf)
    return None if isinstance(found, str) else found


def _explain(vault: Vault, ledger: UUID, leaf: RecordLeaf) -> Erasure | str:
    known = vault.register.standing().destructions
    evidence = Evidence(vault.tenant, known, lambda place, digest: selections.load(vault, place, digest))
    why = UNEXPLAINED
    for told in reversed(known.of(str(ledger))):
        try:
            concerned = leaf.seq in selections.load(vault, ledger, told.final)
        except EvidenceError as error:
            why = f"{UNEXPLAINED}: disposal {told.disposal.id}: what it destroyed cannot be told: {_words(error)}"
            continue
        if concerned:
            case = Case(evidence, told)
            reason = case.why_not(leaf)
            if reason is None:
                return case.erasure()
            why = f"{UNEXPLAINED}: disposal {told.disposal.id}: {reason}"
    return why


def _segments(named: list[tuple[_Trial, Selection]]) -> list[tuple[int, int, tuple[_Trial, ...]]]:
    """Return stretches of positions with the trials that name them, ascending and apart from each other."""
    edges: dict[int, tuple[list[_Trial], list[_Trial]]] = {}  # position -> who begins there, who ended before it
    for trial, positions in named:
        for first, last in positions.ranges:
            edges.setdefault(first, ([], []))[0].append(trial)
            edges.setdefault(last + 1, ([], []))[1].append(trial)
    made: list[tuple[int, int, tuple[_Trial, ...]]] = []
    active: list[_Trial] = []
    start = 0
    for at in sorted(edges):
        if active:
            made.append((start, at - 1, tuple(active)))
        begins, ended = edges[at]
        active = [one for one in active if one not in ended] + begins
        start = at
    return made


def _words(error: EvidenceError) -> str:
    return str(error).partition(" at ledger")[0]
