"""Checking: one ledger's entries, in order, against themselves, their neighbours and the checkpoint.

Decides only; vault.audit reads. For each entry:

    1. the stored leaf unpacks and is canonical
    2. it names this ledger and this position, and the id tag beside it is its own
    3. it carries the hash of the leaf before it; where it does not, that leaf (or this one) was edited
    4. it is the next leaf of the Merkle tree whose root the checkpoint signed
    5. what stands beside it, if read: facets against the salted digest, envelope against the part digest
    6. what does not stand there although the leaf promises it: whether it may be gone (vault.erasure)
    7. where keys are given: it opens, and facets and blind indexes derived from the plaintext are those in the columns
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import msgspec

from vault import opening, sealing
from vault.anchored import Anchored, Course
from vault.core import canonical, envelope, facets, leaf, packing
from vault.core.errors import EvidenceError, KeyGone, Modified, RefusedInput
from vault.core.facets import Facets
from vault.core.leaf import EventLeaf, GenesisLeaf, Leaf, RecordLeaf
from vault.core.note import VerifierKey
from vault.core.parse import parse
from vault.core.tree import Frontier, leaf_hash
from vault.db.store import AuditRow, HeadRow, LedgerRow, SealedRow
from vault.judge import Deferred, Judge, Unjudged
from vault.opening import Opener
from vault.sightings import Sightings
from vault.verdict import LedgerReport, Verdict


@dataclass(frozen=True, slots=True)
class Announced:
    """What the events ledger says of a ledger's creation."""

    name: str
    genesis: str


class Checker:
    """Takes one ledger's entries in order; ``finish`` draws the conclusions that need the whole.

    Args:
        verifiers: every key that was ever trusted for the ledger.
        judge: decides about what is not there; its own ``finish`` is the caller's.
        course: what the events anchored of it, or what others saw of the events; none where neither is known.

    Attributes:
        reached: the frontier at the checkpoint, and the hash of the leaf before it; None before it was reached.
        data: the last entry's leaf, unpacked.
        lost: entries whose key does not exist, and words for it: missing, unless a disposal destroyed it meanwhile. The
            caller tells.
    """

    def __init__(
        self,
        report: LedgerReport,
        verifiers: Collection[VerifierKey],
        opener: Opener | None,
        judge: Judge | Deferred | Unjudged | None = None,
        course: Course | Sightings | None = None,
    ) -> None:
        self.announced: dict[UUID, Announced] = {}
        self.reached: tuple[Frontier, bytes] | None = None
        self.lost: list[tuple[RecordLeaf | EventLeaf, str]] = []
        self._report = report
        self._verifiers = {str(key) for key in verifiers}
        self._opener = opener
        self._judge = judge or Unjudged()
        self._place = str(report.ledger)
        self._course: Course | Sightings = course or Anchored().course(report.ledger, None)
        self._frontier = Frontier()
        self._whole = True  # no gap so far, so the tree can be computed
        self._leaf_faults = False  # whether a leaf itself was found edited, which alone makes another tree
        self._next = 0
        self._last_hash = b""
        self._root_matches = report.size == 0
        self._genesis: tuple[GenesisLeaf, bytes] | None = None
        self.data = b""

    def resume(self, frontier: Frontier, last_hash: bytes) -> None:
        """Go on behind entries that were checked before. To be called before the first ``take``."""
        self._frontier, self._next, self._last_hash = frontier.copy(), frontier.size, last_hash
        self._look_at_root()

    def take(self, row: AuditRow) -> Leaf | None:
        """Check the next row of the stream. Returns its leaf, None where that cannot be read."""
        if row.leaf is None:
            self._report.add(Verdict.MODIFIED, row.seq, "an envelope stands where there is no leaf")
            return None
        self._report.entries += 1
        self._in_sequence(row.seq)
        data, parsed = row.leaf, None
        try:
            data = self.data = packing.unpack(row.leaf)
            parsed = leaf.parse(data)
            self._check_place(parsed, row)
        except Modified as error:
            self._leaf_faults = True
            self._report.add(Verdict.MODIFIED, row.seq, str(error))
        hashed = leaf_hash(data)
        in_place = parsed is not None and (parsed.ledger, parsed.seq) == (self._place, row.seq)
        self._link(parsed if in_place else None, row.seq)
        self._append(hashed)
        if parsed is not None:
            self._remember(parsed, row.seq, hashed)
            if row.beside:
                self._check_beside(parsed, row, hashed)
        return parsed

    @property
    def frontier(self) -> Frontier:
        """Return the frontier of the entries so far, a copy; nothing that means anything where some are missing."""
        return self._frontier.copy()

    @property
    def tenant(self) -> str:
        """Return the tenant that the genesis leaf names; "" without one."""
        return "" if self._genesis is None else self._genesis[0].tenant

    def _in_sequence(self, seq: int) -> None:
        if seq > self._next:
            self._report.add(Verdict.MISSING, self._next, "entries are not there", seq - 1)
            self._whole = False
            self._last_hash = b""
        self._next = seq + 1

    def _check_place(self, parsed: Leaf, row: AuditRow) -> None:
        if parsed.ledger != self._place or parsed.seq != row.seq:
            raise Modified("the leaf belongs to another ledger or position")
        tag = canonical.unb64(parsed.id_tag, leaf.ID_TAG_BYTES) if isinstance(parsed, RecordLeaf) else None
        if tag != row.id_tag:
            raise Modified("the id tag column is not the leaf's")

    def _link(self, parsed: Leaf | None, seq: int) -> None:
        """Compare the hash of the leaf before with what this one carries."""
        if parsed is None or not self._last_hash:
            return
        carried = "" if isinstance(parsed, GenesisLeaf) else parsed.prev
        if carried != canonical.b64(self._last_hash):
            self._leaf_faults = True
            self._report.add(
                Verdict.MODIFIED,
                seq - 1,
                f"its hash is not the one that seq {seq} carries: one of the two was edited",
            )

    def _append(self, hashed: bytes) -> None:
        self._last_hash = hashed
        if self._whole:
            self._frontier.append(hashed)
            self._look_at_root()

    def _look_at_root(self) -> None:
        if self._frontier.size >= self._course.next:
            self._course.look(self._frontier)
        if self._frontier.size == self._report.size:
            self._root_matches = hmac.compare_digest(self._frontier.root(), self._report.root)
            self.reached = self._frontier.copy(), self._last_hash

    def _remember(self, parsed: Leaf, seq: int, hashed: bytes) -> None:
        if isinstance(parsed, RecordLeaf):
            self._report.records += 1
        elif isinstance(parsed, GenesisLeaf):
            if seq == 0:
                self._genesis = (parsed, hashed)
            else:
                self._report.add(Verdict.MODIFIED, seq, "a genesis leaf that is not the first")
        elif parsed.event == "ledger.created":
            told = parsed.facts
            with suppress(KeyError, TypeError, ValueError, AttributeError):  # one that makes no sense announces nothing
                self.announced[UUID(told["ledger"])] = Announced(str(told["name"]), str(told["genesis"]))

    def _check_beside(self, parsed: Leaf, row: AuditRow, hashed: bytes) -> None:
        """Compare facets and envelope with the leaf's digests; open where keys are given."""
        report, sealed = self._report, row.sealed
        promised = () if isinstance(parsed, GenesisLeaf) or parsed.parts is msgspec.UNSET else parsed.parts
        missing = self._judge.take(parsed, hashed, sealed is not None or not promised)
        if sealed is None:
            if missing is not None:
                report.add(Verdict.MISSING, row.seq, missing)
            return
        if isinstance(parsed, GenesisLeaf) or not promised:
            report.add(Verdict.MODIFIED, row.seq, "an envelope stands beside a leaf that has none")
            return
        if len(promised) > 1:
            report.add(Verdict.MISSING, row.seq, "its parts after the first are not there: this version keeps none")
        before = len(report.counts) and sum(report.counts.values())
        try:
            if isinstance(parsed, RecordLeaf):
                columns = self._check_facets(parsed, sealed, row.seq)
                context = opening.record_context(parsed, report.ledger, columns)
            else:
                context = opening.context(parsed, sealed)
            if canonical.b64(envelope.part_digest(sealed.envelope, context)) != promised[0]:
                report.add(Verdict.MODIFIED, row.seq, "its envelope is not the one the leaf commits to")
        except Modified as error:
            report.add(Verdict.MODIFIED, row.seq, str(error).partition(" at ledger")[0])
        except KeyGone as error:
            report.add(Verdict.MISSING, row.seq, f"it cannot be checked: {error}")
        report.envelopes += 1
        if self._judge.is_dying(row.seq):
            return  # its keys are destroyed: that it does not open is as it must be
        if self._opener is not None and before == sum(report.counts.values()):
            self._check_opened(self._opener, parsed, sealed, row.seq)

    def _check_facets(self, parsed: RecordLeaf, sealed: SealedRow, seq: int) -> Facets:
        if sealed.facets is None or sealed.salt is None or None in sealed.facets[:4]:
            raise Modified("its facets or their salt are missing")
        columns = sealing.from_columns(sealed.facets)
        if canonical.b64(facets.digest(columns, sealed.salt)) != parsed.facets:
            self._report.add(Verdict.MODIFIED, seq, "its facets or their salt are not those the leaf commits to")
        return columns

    def _check_opened(self, opener: Opener, parsed: RecordLeaf | EventLeaf, sealed: SealedRow, seq: int) -> None:
        report = self._report
        try:
            raw = opener.open(parsed, sealed)
            if isinstance(parsed, RecordLeaf) and sealed.facets is not None:
                _compare_with_plaintext(opener, parsed, sealed, raw)
            report.opened += 1
        except KeyGone as error:
            if (moved := opener.moved(parsed, sealed)) is not None:  # while this ledger was read
                self._check_opened(opener, parsed, moved, seq)
                return
            self.lost.append((parsed, f"it cannot be opened: {error}"))
        except (EvidenceError, RefusedInput) as error:
            report.add(Verdict.MODIFIED, seq, str(error).partition(" at ledger")[0])

    def finish(self, head: HeadRow | None, row: LedgerRow | None, told: Announced | None) -> None:
        """Compare the whole with head, checkpoint, ledger row and the event of its creation."""
        report = self._report
        end = max(head.size if head else 0, report.size)
        if self._next < end:
            report.add(Verdict.MISSING, self._next, "the tail is not there", end - 1)
        elif head is not None and self._next > head.size:
            report.add(Verdict.FORKED, head.size, "entries stand beyond the head", self._next - 1)
        elif head is not None and self._last_hash and head.last_hash != self._last_hash:
            self._leaf_faults = True
            report.add(
                Verdict.MODIFIED,
                self._next - 1,
                "its hash is not the one the head holds: one of the two was edited",
            )
        report.unsealed = max(0, self._next - report.size)
        if self._whole and self._next >= end:
            self._check_tree(head)
        self._course.finish(report, leaves_are_whole=not self._leaf_faults)
        self._check_genesis(row, told)

    def _check_tree(self, head: HeadRow | None) -> None:
        """Compare the whole tree with the one that was signed, and with the one the head holds."""
        report = self._report
        report.cleared = self._root_matches
        if self._leaf_faults:
            return  # one edited leaf makes another tree; so do a thousand rewritten ones between two that are named
        if not self._root_matches:
            report.add(Verdict.FORKED, None, "the whole tree is another than the one that was signed")
        if head is not None and self._frontier.to_bytes() != head.frontier:
            report.add(Verdict.FORKED, None, "the head's frontier is not that of the entries")

    def _check_genesis(self, row: LedgerRow | None, told: Announced | None) -> None:
        report = self._report
        if self._genesis is None:
            return
        genesis, hashed = self._genesis
        if not self._verifiers.issuperset(genesis.verifiers) or not genesis.verifiers:
            report.add(Verdict.FORKED, 0, "the genesis leaf does not name this vault's verifier key")
        if row is not None and (row.name, row.kind, row.tenant) != (
            genesis.name,
            genesis.ledger_kind,
            genesis.tenant,
        ):
            report.add(Verdict.MODIFIED, 0, "the ledger's row says other than its genesis leaf")
        if told is not None and told.genesis != canonical.b64(hashed):
            report.add(Verdict.FORKED, 0, "the genesis leaf is not the one the events ledger announced")
        if told is None and genesis.ledger_kind != "events" and self._next > 1:
            report.add(Verdict.MISSING, 0, "the events ledger does not tell of this ledger's creation")


def _compare_with_plaintext(opener: Opener, parsed: RecordLeaf, sealed: SealedRow, raw: bytes) -> None:
    """Derive facets and blind indexes again.

    Raises:
        Modified: a column says other than the record. Flags are not derived again: they hold what the guard and the
            rules of that day noticed, and the leaf commits to them.
    """
    assert sealed.facets is not None
    columns = sealing.from_columns(sealed.facets)
    now_us = columns.occurred_at  # every age is accepted, so the record's own time stands in for the clock
    again = parse(raw, now_us=now_us)
    if sealing.facets_of(again, columns.flags) != columns:
        raise Modified("its facets are not those of its plaintext")
    if sealed.tags != opener.blind_tags(sealed, again.record):
        raise Modified("its blind indexes are not those of its plaintext")
