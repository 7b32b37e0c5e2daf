"""Incremental verification: the entries since the last run, checked like all entries are.

For every ledger, from where the last run ended:

    1. head against the checkpoint outside the database
    2. leaves, chain, and the tree up to the checkpoint's root, and where the new events anchored it
    3. facets and envelopes against their leaves
    4. without a fault: remember how far it came, outside the database and signed

Frozen ledgers are passed over: nothing comes in there, and what they lost is known (vault.audit tells it each time).

And that every other ledger the events tell of is there. The tree is the one of the last run with the new leaves added
to it, so its root says that those are the leaves that were signed, but nothing about rows that an earlier run saw:
whoever changes one of those later is found by ``vault.audit`` alone. Envelopes that a disposal deleted are passed over
here; whether it was allowed to is ``vault.audit``'s question, too. Nothing is opened.

What is remembered, as ``Checkpoints.remember`` signs it; another version means beginning at the first entry:

    1
    <size> <hash of the last leaf, hex> <frontier, hex>
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from vault import selections, trust
from vault.anchored import Anchored
from vault.audit import against_checkpoint, signed_now
from vault.checking import Announced, Checker
from vault.context import Vault
from vault.core.checkpoint import Checkpoint
from vault.core.errors import EvidenceError, Forked, Missing, Modified
from vault.core.leaf import EventLeaf
from vault.core.selection import Selection
from vault.core.signer import Told
from vault.core.tree import Frontier
from vault.db import store
from vault.db.engine import translated
from vault.db.store import LedgerRow
from vault.verdict import LedgerReport, Verdict, worst

NAME_OUTSIDE: Final = "verified"
_VERSION: Final = "1"
_STEP: Final = 2000  # entries


class Found(NamedTuple):
    """What a run found: one report a ledger, the events ledger first."""

    reports: list[LedgerReport]

    @property
    def worst(self) -> Verdict | None:
        return worst(self.reports)

    @property
    def faults(self) -> int:
        return sum(sum(report.counts.values()) for report in self.reports)

    @property
    def first(self) -> str:
        """The first fault that is kept, as a line."""
        return next((str(fault) for report in self.reports for fault in report.faults), "none")

    @property
    def entries(self) -> int:
        return sum(report.entries for report in self.reports)

    @property
    def envelopes(self) -> int:
        return sum(report.envelopes for report in self.reports)


def verify(vault: Vault, step: Callable[[], None] = lambda: None) -> Found:
    """Verify what came in since the last run.

    Args:
        step: called every few thousand entries; what it raises ends the run, which then remembers only the ledgers
            that it finished.

    Raises:
        Unavailable: the database cannot be reached; nothing was concluded.
    """
    # First the checkpoints and the events, then one snapshot: appends that go on beside us look neither missing nor
    # forged.
    keys, signed = vault.checkpoints.signers(), signed_now(vault.checkpoints, vault.events)
    forked: EvidenceError | None = None
    told: dict[str, str] = {}
    told_keys: dict[str, Told] = {}
    frozen: Collection[str] = ()
    try:
        standing = vault.register.standing()
        told, frozen, told_keys = standing.ledgers, standing.frozen, standing.signers
    except EvidenceError as error:
        forked = error
    reports = []
    vouching = signed.get(vault.events)
    anchored = Anchored(0 if vouching is None else vouching.size)
    with translated(), vault.engine.connect() as connection:
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
        known = {row.ledger_id: row for row in store.ledgers(connection)}
        for ledger in dict.fromkeys([vault.events, *map(UUID, told), *signed, *known]):
            checkpoint = signed.get(ledger)
            if str(ledger) in frozen:
                continue
            if ledger not in known and str(ledger) not in told and checkpoint is not None and checkpoint.size == 0:
                continue  # what a crash before the ledger's first commit leaves behind
            report = _ledger(vault, connection, ledger, known.get(ledger), checkpoint, step, anchored)
            trust.check_note(report, vault.checkpoints, ledger, told_keys)
            if ledger == vault.events and forked is None:
                trust.check_keys(report, keys, told_keys)
            if ledger == vault.events and forked is not None and not report.counts:
                report.add(Verdict.FORKED, forked.seq, str(forked).partition(" at ledger")[0])
            reports.append(report)
    return Found(reports)


def _ledger(
    vault: Vault,
    connection: Connection,
    ledger: UUID,
    row: LedgerRow | None,
    signed: Checkpoint | None,
    step: Callable[[], None],
    anchored: Anchored,
) -> LedgerReport:
    report = LedgerReport(ledger, origin=vault.checkpoints.origin(ledger))
    head = store.read_head(connection, ledger)
    if row is None or head is None:
        what = "the ledger is gone from the database" if row is None else "no head row"
        report.add(Verdict.MISSING, None, what)
        return report
    report.name, report.kind = row.name, row.kind
    against_checkpoint(vault.checkpoints, report, head, signed)
    course = anchored.course(ledger, None if signed is None else signed.size)
    checker = Checker(report, vault.checkpoints.verifiers(ledger), None, course=course)
    frontier, last_hash = _recall(vault, ledger)
    checker.resume(frontier, last_hash)
    erased: Selection | None = None
    step()
    for number, entry in enumerate(store.stream_entries(connection, ledger, frontier.size), 1):
        if entry.sealed is None:
            # Asked for after the snapshot, so no disposal that it shows can be unknown.
            erased = _erased(vault, report) if erased is None else erased
            entry = entry._replace(beside=entry.seq not in erased)
        parsed = checker.take(entry)
        if ledger == vault.events and isinstance(parsed, EventLeaf):
            anchored.take(parsed)
        if number % _STEP == 0:
            step()
    checker.finish(head, row, _announced(vault, row))
    if not report.counts and checker.reached is not None:
        _remember(vault, ledger, *checker.reached)
    return report


def _announced(vault: Vault, row: LedgerRow) -> Announced | None:
    """What the events say by now: a ledger of the snapshot may have been told of after we began."""
    try:
        genesis = vault.register.standing().ledgers.get(str(row.ledger_id))
    except EvidenceError:
        return None  # the events ledger's own report says so
    return None if genesis is None else Announced(row.name, genesis)


def _erased(vault: Vault, report: LedgerReport) -> Selection:
    """Return the entries whose envelopes a disposal deleted, or is about to. A set that nobody can produce is told."""
    found = Selection()
    try:
        for disposal in vault.register.standing().governance.disposals.values():
            if disposal.ledger == str(report.ledger) and disposal.final:  # it began to destroy
                found |= selections.load(vault, report.ledger, disposal.final)
    except Missing as error:
        report.add(Verdict.MISSING, None, str(error).partition(" at ledger")[0])
    except Modified as error:
        report.add(Verdict.MODIFIED, None, str(error).partition(" at ledger")[0])
    except Forked:
        pass  # the events ledger's own report says so
    return found


def _recall(vault: Vault, ledger: UUID) -> tuple[Frontier, bytes]:
    """Return where the last run ended: the tree so far, and the hash of its last leaf."""
    text = vault.checkpoints.recall(ledger, NAME_OUTSIDE)
    try:
        version, place = (text or "").splitlines()
        size, last_hash, peaks = place.split(" ")
        if version == _VERSION:
            return Frontier.from_bytes(int(size), bytes.fromhex(peaks)), bytes.fromhex(last_hash)
    except (ValueError, Modified):
        pass  # none, or of another version of ours
    return Frontier(), b""


def _remember(vault: Vault, ledger: UUID, frontier: Frontier, last_hash: bytes) -> None:
    text = f"{_VERSION}\n{frontier.size} {last_hash.hex()} {frontier.to_bytes().hex()}\n"
    vault.checkpoints.remember(ledger, NAME_OUTSIDE, text)
