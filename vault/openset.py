"""Opening a set of records under one access entry a grant, each record decided for itself as ``vault.reading`` does.

    1. fetch leaves, envelopes and facets; prove the leaves to a signed checkpoint, compare the facets with them. Only
       then is what they say good enough to decide by
    2. which grant opens which record; a restricted one is opened for a legal duty only
    3. under the events ledger's lock decide the same again, and commit one ``records.opened`` a grant, which names the
       set; where that fails, or nothing is left to open, no plaintext leaves
    4. open with every commitment

    opened = choose(vault, ledger, seqs, "complaint 4711", report="do-...", grant=None)
    for record in opened.records: raw = opened.open(record)      # exact bytes: mask them where record.masked
    opened.tell(vault, make)                                     # later: commit an event if all of it still holds

A crash after 3 leaves an access that perhaps did not happen, which is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec

from vault import erasure, events, matching, proving, selections
from vault.context import Vault
from vault.core import canonical
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Denied, EvidenceError, Forked, KeyGone, Modified, Stale, Unknown
from vault.core.grant import Grant, that_opens
from vault.core.proof import Proof
from vault.core.record import Record
from vault.core.selection import Selection
from vault.core.standing import Standing
from vault.events import Event, Ruling, Told, refuse
from vault.ledgers import Ledger
from vault.linking import append
from vault.matching import Entry
from vault.opening import Opener
from vault.reading import denial, held_grants, no_grant
from vault.restricting import CODE, Restricted, in_conflict

ACT = "report.request"


class Chosen(NamedTuple):
    """One record that a grant opens: ``proof`` leads to the checkpoint."""

    entry: Entry
    proof: Proof
    grant: Grant

    @property
    def seq(self) -> int:
        return self.entry.leaf.seq

    @property
    def masked(self) -> bool:
        return self.grant.scope.fields != "full"


@dataclass(frozen=True, slots=True)
class Opened:
    """A set that may be opened.

    Attributes:
        records: ascending.
        accesses: grant's id -> position of its access event.
        selection: digest of the set.
        closed: records that a grant covers and that are restricted, with no duty to open them for.
        uncovered: records that no grant covers.
        gone: records that were destroyed by policy meanwhile.
    """

    ledger: Ledger
    note: str
    checkpoint: Checkpoint
    records: tuple[Chosen, ...]
    accesses: Mapping[str, int]
    selection: str
    closed: int
    uncovered: int
    gone: int
    _opener: Opener = field(repr=False)
    _conflicts: frozenset[int] = field(repr=False)

    def open(self, record: Chosen) -> bytes:
        """Return the exact bytes. Raises as ``vault.opening.Opener.open``."""
        assert record.entry.row is not None
        return self._opener.open(record.entry.leaf, record.entry.row)

    def record_key(self, record: Chosen) -> bytes:
        """Return the key of one record."""
        assert record.entry.row is not None
        return self._opener.record_key(record.entry.leaf, record.entry.row)

    def tell(self, vault: Vault, make: Callable[[dict[str, object]], Event]) -> Told:
        """Commit an event about the set, given the facts that name the grants, if each record may still be opened.

        Raises:
            Denied: a grant ended, or a record is restricted by now; the denial's event is committed.
        """
        place = str(self.ledger.id)
        named = sorted(self.accesses)
        by: dict[str, object] = {"grant": named[0]} if len(named) == 1 else {"grants": named}

        def decide(restricted: Restricted, standing: Standing) -> Ruling[None]:
            restricted.require_current(standing.governance)
            now = {one: held_grants(vault, standing, place, one) for one in named}
            for record in self.records:
                if not now[record.grant.id]:
                    return refuse(no_grant(standing, vault), denial(ACT, "grant", {"ledger": place}))
                if _used(place, now[record.grant.id], record.entry, restricted, self._conflicts)[0] is None:
                    return refuse(_is_closed(), denial(ACT, CODE, {"ledger": place, "grant": record.grant.id}))
            return Ruling([make(by)], None)

        while True:
            try:
                return events.rule(vault, partial(decide, Restricted.of(vault, self.ledger.id)))[0]
            except Stale:
                continue


def choose(
    vault: Vault, ledger: Ledger, seqs: Collection[int], purpose: str, *, report: str, grant: str | None = None
) -> Opened:
    """Decide what of a set whoever acts may open, and log the access.

    Args:
        seqs: positions of records under the last checkpoint.
        purpose: why; sealed into the access events.
        report: id of the file that it is for, in the access events in clear: where nothing tells of its end, a part of
            it may have been left somewhere (retention.copies).
        grant: id of the grant to open records under; None takes, for each, one that opens it, a full one first.

    Raises:
        Denied: no grant for this ledger, or all that one covers is restricted; the denial's event is committed.
        Unknown: no grant covers any of it.
        Modified, Missing, Forked: what is stored is not what was promised; nothing was opened.
    """
    note, checkpoint = _signed(vault, ledger.id)
    found, gone = _verified(vault, ledger.id, seqs, note)
    opener = Opener(vault.engine, vault.ring, ledger.id)
    conflicts = frozenset(one.leaf.seq for one, _ in found if _in_conflict(vault, ledger, opener, one))
    while True:
        restricted = Restricted.of(vault, ledger.id)
        parts = _Parts(vault, ledger, found, conflicts, restricted, grant)
        planned = parts.of(vault.register.standing())
        kept = {name: selections.keep(vault, ledger.id, chosen) for name, chosen in planned.sets().items()}
        try:
            told, _ = events.rule(vault, partial(parts.decide, planned, kept, checkpoint, purpose, report))
        except Stale:
            continue  # a grant ended, or an erasure was asked for meanwhile
        break
    records = tuple(Chosen(entry, proof, by) for entry, proof, by in planned.opened)
    return Opened(
        ledger,
        note,
        checkpoint,
        records,
        {name: told.seq + at for at, name in enumerate(kept)},
        selections.keep(vault, ledger.id, Selection.of(one.seq for one in records)),
        planned.closed,
        planned.uncovered,
        gone,
        opener,
        conflicts,
    )


@dataclass(frozen=True, slots=True)
class _Planned:
    """Who opens what, by some standing."""

    opened: tuple[tuple[Entry, Proof, Grant], ...]
    closed: int
    uncovered: int
    held: bool

    def sets(self) -> dict[str, Selection]:
        """The positions by grant, in a fixed order."""
        seqs: dict[str, list[int]] = {}
        for entry, _, by in self.opened:
            seqs.setdefault(by.id, []).append(entry.leaf.seq)
        return {name: Selection.of(seqs[name]) for name in sorted(seqs)}


@dataclass(frozen=True, slots=True)
class _Parts:
    """Steps 2 and 3."""

    vault: Vault
    ledger: Ledger
    found: Sequence[tuple[Entry, Proof]]
    conflicts: frozenset[int]
    restricted: Restricted
    grant: str | None

    def of(self, standing: Standing) -> _Planned:
        place = str(self.ledger.id)
        held = held_grants(self.vault, standing, place, self.grant)
        opened, closed, uncovered = [], 0, 0
        for entry, proof in self.found:
            used, covering = _used(place, held, entry, self.restricted, self.conflicts)
            if used is not None:
                opened.append((entry, proof, used))
            else:
                closed += covering is not None
                uncovered += covering is None
        return _Planned(tuple(opened), closed, uncovered, bool(held))

    def decide(
        self,
        planned: _Planned,
        kept: Mapping[str, str],
        checkpoint: Checkpoint,
        purpose: str,
        report: str,
        standing: Standing,
    ) -> Ruling[None]:
        self.restricted.require_current(standing.governance)
        now = self.of(standing)
        place = str(self.ledger.id)
        if not now.held:
            return refuse(no_grant(standing, self.vault), denial(ACT, "grant", {"ledger": place}))
        if now != planned:
            raise Stale("who may open what changed meanwhile")
        if not now.opened:
            if now.closed:
                return refuse(_is_closed(), denial(ACT, CODE, {"ledger": place}))
            error = Unknown("no record that was asked for lies within a grant of yours")
            return refuse(error, denial(ACT, "scope", {"ledger": place}))
        grants = {by.id: by for _, _, by in now.opened}
        happened = []
        for name, chosen in now.sets().items():
            used = grants[name]
            duty = any(self._is_closed(entry) for entry, _, by in now.opened if by.id == name)
            facts: dict[str, object] = {
                "ledger": place,
                "report": report,
                "first": chosen.ranges[0][0],
                "last": chosen.ranges[-1][1],
                "count": len(chosen),
                "selection": kept[name],
                "size": checkpoint.size,
                "root": canonical.b64(checkpoint.root),
                "grant": name,
                "fields": used.scope.fields,
            }
            facts |= {"duty": used.scope.duty} if duty else {}
            happened.append(Event("records.opened", facts, {"purpose": purpose}))
        return Ruling(happened, None)

    def _is_closed(self, entry: Entry) -> bool:
        return _is_restricted(entry, self.restricted, self.conflicts)


def _used(
    place: str, held: Sequence[Grant], entry: Entry, restricted: Restricted, conflicts: frozenset[int]
) -> tuple[Grant | None, Grant | None]:
    assert entry.facets is not None
    closed = _is_restricted(entry, restricted, conflicts)
    return that_opens(held, place, entry.facets.occurred_at, entry.facets.record_class, restricted=closed)


def _is_restricted(entry: Entry, restricted: Restricted, conflicts: frozenset[int]) -> bool:
    assert entry.facets is not None
    return entry.leaf.seq in conflicts or restricted.has(entry.leaf.seq, entry.facets.flags)


def _is_closed() -> Denied:
    return Denied(
        "what was asked for is restricted: it is opened for a legal duty only; ask for a grant that names it (--duty)"
    )


def _signed(vault: Vault, ledger: UUID) -> tuple[str, Checkpoint]:
    with suppress(EvidenceError):  # a ledger that takes nothing any more has its last checkpoint all the same
        append(vault.engine, vault.checkpoints, ledger, lambda _connection: ())
    note = vault.checkpoints.note(ledger)
    if note is None:
        raise Forked("the checkpoint outside the database is missing", str(ledger))
    return note, vault.checkpoints.open(ledger, note)


def _verified(vault: Vault, ledger: UUID, seqs: Collection[int], note: str) -> tuple[list[tuple[Entry, Proof]], int]:
    """Step 1. Returns the records that are there, and how many were destroyed."""
    proved = proving.prove(vault, ledger, seqs, note)
    explainer = erasure.Explainer(vault, ledger)
    found, gone = [], 0
    for entry in matching.entries(vault, ledger, Selection.of(seqs)):
        data, proof = proved[entry.leaf.seq]
        if data != entry.data:
            raise Modified("the leaf changed while it was read", str(ledger), entry.leaf.seq)
        if entry.row is None or explainer.is_destroyed(entry.leaf):
            gone += 1
        else:
            found.append((entry, proof))
    return found, gone


def _in_conflict(vault: Vault, ledger: Ledger, opener: Opener, entry: Entry) -> bool:
    """Say whether a rule book that is younger than a record restricts it. Nobody is shown anything here."""
    if entry.leaf.rulebook == canonical.b64(vault.rulebook):
        return False
    assert entry.row is not None
    assert entry.facets is not None
    try:
        record = msgspec.json.decode(opener.open(entry.leaf, entry.row), type=Record)
    except KeyGone:
        return False  # it will not open then either
    except msgspec.MsgspecError:
        raise Modified("what was sealed is no record", entry.leaf.ledger, entry.leaf.seq) from None
    return in_conflict(vault, ledger, entry.leaf, entry.facets, record)
