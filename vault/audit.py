"""Audit: read everything again and believe nothing that can be computed.

    1. the events ledger first: it tells which ledgers were ever made, with which genesis, and what was destroyed
    2. every ledger that the events, the checkpoints outside the database or the database itself know of
    3. for each: checkpoint signature, head, then all entries in one stream (vault.checking); what does not stand there
       is compared with what the events say (vault.erasure). A frozen one is verified to its good head (vault.lineage)

Streams: memory does not grow with the ledger. Needs keys only at depth ``open``. The events ledger's leaves are read a
second time where some of its own entries were destroyed, since what explains that stands behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from uuid import UUID

from sqlalchemy import Connection, Engine

from vault import lineage, trust
from vault.anchored import Anchored
from vault.checking import Announced, Checker
from vault.checkpoints import Checkpoints
from vault.core import leaf, packing
from vault.core.checkpoint import Checkpoint
from vault.core.errors import EvidenceError, Forked, KeyGone, Missing, Modified, UsageError
from vault.core.leaf import EventLeaf, GenesisLeaf, Leaf
from vault.core.signer import Signers, Told
from vault.core.succession import Frozen
from vault.core.tree import Frontier, leaf_hash
from vault.db import store
from vault.db.engine import translated
from vault.db.store import AuditRow, HeadRow, LedgerRow
from vault.erasure import Case, Evidence
from vault.judge import Deferred, Judge
from vault.keys.ring import Ring
from vault.opening import Opener
from vault.outside import time_of
from vault.selections import loader
from vault.sightings import Sightings
from vault.testimony import Testimony
from vault.verdict import Depth, LedgerReport, Verdict

Progress = Callable[[str, int, int], None]
"""Called with (ledger name, entries read, entries to read)."""

Watch = Callable[[UUID, AuditRow, Leaf | None], None]
"""Called with (ledger, entry, its leaf or None where that cannot be read), right after the entry was checked.

Where the leaf can be read, the entry holds it unpacked.
"""


def _unwatched(_ledger: UUID, _row: AuditRow, _leaf: Leaf | None) -> None:
    pass


def _quiet(_name: str, _done: int, _total: int) -> None:
    pass


def audit(
    engine: Engine,
    checkpoints: Checkpoints,
    events: UUID,
    depth: Depth,
    *,
    ring: Ring | None = None,
    only: str | None = None,
    at: Mapping[UUID, Checkpoint] | None = None,
    watch: Watch = _unwatched,
    progress: Progress = _quiet,
) -> list[LedgerReport]:
    """Verify the vault, or one ledger and the events ledger that vouches for it.

    Args:
        events: the tenant's events ledger, as the home directory knows it, not as the database says.
        ring: needed at depth OPEN.
        only: a ledger's name or uuid.
        at: checkpoints to verify against where the newest are not wanted, read and verified by the caller.
        watch: what else is to be done with the entries, so that it is done with exactly those that were verified.

    Returns:
        One report a ledger, the events ledger first.

    Raises:
        Unavailable: the database or, at depth OPEN, the key provider cannot be reached; nothing was concluded.
        Missing: ``only`` names a ledger that nothing knows of.
    """
    # First what others saw and the keys, then the events' checkpoint, the others, and one snapshot for heads and
    # entries: appends and rotations that go on beside us look neither missing nor forged, since whatever was seen or
    # signed before the snapshot is in it, and whatever the events anchored was signed before the others are read.
    seen = Sightings(checkpoints, events)
    keys, newest = checkpoints.signers(), signed_now(checkpoints, events)
    signed = newest | dict(at or {})
    with translated(), engine.connect() as connection:
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
        known = {row.ledger_id: row for row in store.ledgers(connection)}
        whole = connection, checkpoints, signed, depth, engine, ring, events
        first = _Audit(*whole, watch, progress, newest, keys, seen)
        reports = [first.events(events, known.get(events))]
        announced = first.announced
        universe = [*announced, *signed, *known]
        wanted = [ledger for ledger in dict.fromkeys(universe) if ledger != events]
        if only is not None:
            wanted = [ledger for ledger in wanted if only in (str(ledger), _name(ledger, known, announced))]
            if not wanted and only not in ("events", str(events)):
                raise Missing(f"neither the events nor the database know a ledger named {only}")
        for ledger in wanted:
            row, told = known.get(ledger), announced.get(ledger)
            if row is None and told is None and first.never_came_to_be(ledger):
                continue
            reports.append(first.ledger(ledger, row, told))
    return reports


def against_checkpoint(
    checkpoints: Checkpoints, report: LedgerReport, head: HeadRow | None, signed: Checkpoint | None
) -> None:
    """Compare a ledger's head with its checkpoint, and note in the report which one that was.

    Args:
        signed: the checkpoint as it was read before the snapshot; None reads it now, and tells why there is none.
    """
    try:
        checkpoint = signed or checkpoints.read(report.ledger)
        if checkpoint is None:
            report.add(Verdict.FORKED, None, "the checkpoint outside the database is missing")
            return
        report.size, report.root = checkpoint.size, checkpoint.root
        if head is not None:
            checkpoints.require_consistent(report.ledger, head, checkpoint)
    except EvidenceError as error:
        report.add(Verdict.FORKED, error.seq, str(error).partition(" at ledger")[0])


def signed_now(checkpoints: Checkpoints, events: UUID) -> dict[UUID, Checkpoint | None]:
    """Return the last checkpoint of every ledger that ever had one; None where what lies there is none of ours.

    That of the events is read first: what they anchored up to there, the others have signed by now.
    """
    ledgers = checkpoints.ledgers()
    return {ledger: _signed(checkpoints, ledger) for ledger in sorted(ledgers, key=lambda one: one != events)}


def _signed(checkpoints: Checkpoints, ledger: UUID) -> Checkpoint | None:
    with suppress(Forked):  # read again, and told, when the ledger's turn comes
        return checkpoints.read(ledger)
    return None


def _once(told: list[str], words: str) -> None:
    if words not in told:
        told.append(words)


def _name(ledger: UUID, known: dict[UUID, LedgerRow], announced: dict[UUID, Announced]) -> str:
    if ledger in announced:
        return announced[ledger].name
    return known[ledger].name if ledger in known else ""


class _Audit:
    """One run over one snapshot."""

    def __init__(
        self,
        connection: Connection,
        checkpoints: Checkpoints,
        signed: dict[UUID, Checkpoint | None],
        depth: Depth,
        engine: Engine,
        ring: Ring | None,
        events: UUID,
        watch: Watch = _unwatched,
        progress: Progress = _quiet,
        newest: Mapping[UUID, Checkpoint | None] | None = None,
        keys: Signers = (),
        seen: Sightings | None = None,
    ) -> None:
        self._connection = connection
        self._checkpoints = checkpoints
        self._signed = signed
        self._depth = depth
        self._engine = engine
        self._ring = ring
        self._events = events
        self._watch = watch
        self._progress = progress
        self._evidence: Evidence | None = None
        self._frozen: dict[str, Frozen] = {}
        self._anchored: dict[str, int] = {}
        self._newest = newest or {}
        self._keys = keys
        self._told_keys: dict[str, Told] = {}
        self._anchors = Anchored()
        self._seen = seen
        self.announced: dict[UUID, Announced] = {}

    @property
    def evidence(self) -> Evidence:
        """What the events ledger said, once it is verified."""
        assert self._evidence is not None
        return self._evidence

    def never_came_to_be(self, ledger: UUID) -> bool:
        """Say whether a checkpoint directory is what a crash before the ledger's first commit leaves behind."""
        checkpoint = self._signed.get(ledger)
        return checkpoint is not None and checkpoint.size == 0

    def events(self, ledger: UUID, row: LedgerRow | None) -> LedgerReport:
        """Verify the events ledger, and take what it says about destruction for evidence."""
        report, head = self._begin(ledger, row, None)
        deferred = Deferred()
        checker = Checker(report, self._checkpoints.verifiers(ledger), self._opener(ledger), deferred, self._seen)
        vouch = partial(time_of, self._checkpoints, ledger, problem=partial(_once, report.problems))
        self._evidence = replace(self._testimony(checker, report, head, row), vouch=vouch)
        if self._depth is not Depth.LEAVES and self._evidence.destructions.of(str(ledger)):
            deferred.settle(Judge(self._evidence, ledger), report, self._leaves(ledger))
        else:
            deferred.give_up(report)
        self._tell_lost(checker, report)
        return report

    def _testimony(
        self, checker: Checker, report: LedgerReport, head: HeadRow | None, row: LedgerRow | None
    ) -> Evidence:
        """Check the events, and return what they say about destruction."""
        told = Testimony(report.size)
        anchors = Anchored(report.size)
        for parsed in self._checked(checker, report, head):
            if isinstance(parsed, EventLeaf):
                told.take(parsed)
                anchors.take(parsed)
                if self._seen is not None:
                    self._seen.take(parsed)
                if parsed.event == "checkpoint.anchored":
                    lineage.largest(self._anchored, parsed.facts)
        self._finish(checker, report, head, row, None)
        if told.waits and report.cleared and self._is_signed_by_now(report.ledger, checker.frontier):
            told.believe()
        self._frozen, self._told_keys = told.frozen, told.signers
        if report.cleared:
            self._anchors = anchors
            trust.check_note(report, self._checkpoints, report.ledger, told.signers)
            if self._keys and self._signed.get(report.ledger) == self._newest.get(report.ledger):
                trust.check_keys(report, self._keys, told.signers)
        if told.fault is not None:
            report.add(Verdict.MODIFIED, *told.fault)
        return told.evidence(checker.tenant, loader(self._connection), whole=report.cleared)

    def ledger(self, ledger: UUID, row: LedgerRow | None, told: Announced | None) -> LedgerReport:
        """Verify another ledger, once the events are."""
        report, head = self._begin(ledger, row, told)
        judge = Judge(self.evidence, ledger)
        newest = None if report.frozen is not None else self._newest.get(ledger)
        course = self._anchors.course(ledger, None if newest is None else newest.size)
        checker = Checker(report, self._checkpoints.verifiers(ledger), self._opener(ledger), judge, course)
        for parsed in self._checked(checker, report, head):
            if isinstance(parsed, GenesisLeaf):
                lineage.check_genesis(report, parsed, self._frozen)
        self._finish(checker, report, head, row, told)
        trust.check_note(report, self._checkpoints, ledger, self._told_keys)
        if self._depth is not Depth.LEAVES:
            judge.finish(report)
        self._tell_lost(checker, report)
        return report

    def _begin(
        self, ledger: UUID, row: LedgerRow | None, told: Announced | None
    ) -> tuple[LedgerReport, HeadRow | None]:
        report = LedgerReport(ledger, origin=self._checkpoints.origin(ledger))
        report.name = row.name if row else told.name if told else "?"
        report.kind = row.kind if row else "?"
        if (frozen := self._frozen.get(str(ledger))) is not None:
            anchored = self._anchored.get(str(ledger), 0)
            lineage.begin_frozen(self._checkpoints, report, frozen, self._signed.get(ledger), anchored)
            report.beyond = store.count_beyond(self._connection, ledger, report.size)
            return report, None
        head = store.read_head(self._connection, ledger)
        if row is None or head is None:
            report.add(
                Verdict.MISSING,
                None,
                "the ledger is gone from the database" if row is None else "no head row",
            )
        against_checkpoint(self._checkpoints, report, head, self._signed.get(ledger))
        return report, head

    def _checked(self, checker: Checker, report: LedgerReport, head: HeadRow | None) -> Iterator[Leaf | None]:
        """Check every entry, and yield its leaf."""
        total = max(head.size if head else 0, report.size)
        for entry in self._entries(report.ledger):
            if report.frozen is not None and entry.seq >= report.size:
                break
            parsed = checker.take(entry)
            if self._watch is not _unwatched:
                seen = entry if parsed is None else AuditRow(entry[0], entry[1], checker.data, entry[3], entry[4])
                self._watch(report.ledger, seen, parsed)
            if report.entries % 1000 == 0:
                self._progress(report.name, report.entries, total)
            yield parsed
        self._progress(report.name, report.entries, total)

    def _finish(
        self,
        checker: Checker,
        report: LedgerReport,
        head: HeadRow | None,
        row: LedgerRow | None,
        told: Announced | None,
    ) -> None:
        if row is not None:
            self._check_ledger_key(report, row)
        checker.finish(head, row, told)
        self.announced |= checker.announced

    def _tell_lost(self, checker: Checker, report: LedgerReport) -> None:
        """Tell the keys that a disposal destroyed while this ledger was read from those that are lost.

        Our snapshot is older than that disposal, so the events are verified again, as they stand by now. Its manifest
        is left to the next verification, which sees its rows gone.
        """
        if not checker.lost:
            return
        with translated(), self._engine.connect() as connection:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            signed = signed_now(self._checkpoints, self._events)
            again = _Audit(connection, self._checkpoints, signed, Depth.LEAVES, self._engine, None, self._events)
            again.events(self._events, None)
            evidence = again.evidence
            cases = [Case(evidence, told) for told in evidence.destructions.of(str(report.ledger))]
        for lost, words in checker.lost:
            if any(lost.seq in case.final and case.why_not(lost) is None for case in cases):
                report.dying += 1
            else:
                report.add(Verdict.MISSING, lost.seq, words)

    def _is_signed_by_now(self, ledger: UUID, frontier: Frontier) -> bool:
        """Say whether a newer checkpoint, signed after we read the last one, covers all that the snapshot holds.

        Rows are deleted only once the events that explain it are signed. So some checkpoint covers by now what explains
        the rows that the snapshot lacks.
        """
        try:
            newest = self._checkpoints.read(ledger)
        except EvidenceError:
            return False
        if newest is None or newest.size < frontier.size:
            return False
        with translated(), self._engine.connect() as connection:
            for _, stored in store.stream_leaves(connection, ledger, frontier.size, newest.size):
                frontier.append(leaf_hash(packing.unpack(stored)))
        return (frontier.size, frontier.root()) == (newest.size, newest.root)

    def _leaves(self, ledger: UUID) -> Iterator[tuple[Leaf, bytes]]:
        for _, stored in store.stream_leaves(self._connection, ledger, 0, None):
            with suppress(Modified):  # told in the first reading
                data = packing.unpack(stored)
                yield leaf.parse(data), leaf_hash(data)

    def _check_ledger_key(self, report: LedgerReport, row: LedgerRow) -> None:
        """At depth OPEN: without the key of its id tags a ledger finds no record, and takes a retry for a new one."""
        if self._depth is Depth.OPEN and self._ring is not None:
            try:
                self._ring.open_ledger_key(f"tenant.{row.tenant}", row.ledger_id, row.id_key)
            except (Modified, KeyGone, UsageError) as error:
                report.add(Verdict.MODIFIED, 0, f"the key of its id tags does not open: {error}")

    def _entries(self, ledger: UUID) -> Iterator[AuditRow]:
        if self._depth is Depth.LEAVES:
            return store.stream_bare(self._connection, ledger)
        return store.stream_entries(self._connection, ledger)

    def _opener(self, ledger: UUID) -> Opener | None:
        if self._depth is not Depth.OPEN or self._ring is None:
            return None
        return Opener(self._engine, self._ring, ledger)
