"""Settling: sealed lines get their place, or are told why they have none. The serial half of intake.

    0. which ids does a ledger know that this one goes on for (vault.forebears)
    1. under the head's lock: which ids are new, which does the ledger know
    2. append the new ones (vault.linking)
    3. an id that came again: the same bytes are a duplicate, others a conflict, whoever sent them
    4. commit an event for every refusal and conflict, before anybody hears of it

Files come through here (vault.intake), and so do groups of single requests (vault.recordline).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from vault import events
from vault.context import Actor, Vault
from vault.core import canonical, leaf, packing
from vault.core.errors import KeyGone, Missing, VaultError
from vault.core.leaf import RecordLeaf
from vault.core.proof import Proof
from vault.db import store
from vault.db.engine import transact
from vault.db.store import AuditRow
from vault.erasure import Explainer
from vault.forebears import Forebears, Known
from vault.linking import Appended, Item, append
from vault.opening import Opener
from vault.sealing import Outcome, Refused, Waiting


class Status(Enum):
    """What became of a line; the values are the keys that the command line prints."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICTING = "conflicting"
    REFUSED = "refused"


class Result(NamedTuple):
    """One line's fate. ``seq`` unless refused; ``code``, ``path`` and ``reason`` for refused and conflicting lines.
    ``before`` where it stands in a ledger that this one goes on for (vault.forebears): ``seq`` is a position there."""

    line: int
    status: Status
    seq: int | None = None
    code: str = ""
    path: str = ""
    reason: str = ""
    id_tag: bytes | None = None
    opening: bytes | None = None
    before: UUID | None = None

    @property
    def has_receipt_again(self) -> bool:
        """Whether an earlier commit gave a receipt for this very record, or for one that is destroyed by now."""
        return self.status is Status.DUPLICATE or (self.code == "gone" and self.seq is not None)

    def __repr__(self) -> str:
        return f"Result(line={self.line}, status={self.status.value}, seq={self.seq}, code={self.code!r})"


@dataclass(frozen=True, slots=True)
class Batch:
    """One commit's worth of lines, in the order they came."""

    results: list[Result]
    appended: Appended

    def receipts(self) -> Iterator[tuple[Result, bytes, Proof]]:
        """Yield (result, leaf, proof) of the accepted lines."""
        proofs = self.appended.proofs()
        first = self.appended.before.size
        for result in self.results:
            if result.status is Status.ACCEPTED and result.seq is not None:
                yield result, self.appended.leaves[result.seq - first], proofs[result.seq - first]


class Sent(NamedTuple):
    """One line as it came: its number in the file, batch or group, its bytes, and the producer's id."""

    number: int
    raw: bytes
    producer: str

    def __repr__(self) -> str:
        return f"Sent(number={self.number}, producer={self.producer!r})"


class Settler:
    """Gives sealed lines of one ledger their place, settles duplicates, tells the events ledger."""

    def __init__(self, vault: Vault, ledger: UUID) -> None:
        self._vault = vault
        self._ledger = ledger
        self._opener = Opener(vault.engine, vault.ring, ledger)
        self._gone: Explainer | None = None
        self._forebears: Forebears | None = None
        self._elsewhere: dict[UUID, Settler] = {}

    def link(
        self, batch: Sequence[Sent], outcomes: Sequence[Outcome], failed: dict[int, VaultError] | None = None
    ) -> Batch:
        """Link what can be linked and return the fate of every line; nothing is told yet.

        Args:
            failed: takes the error of each line whose id is known and that cannot be compared with what was sealed
                then, by position: its key is out of reach, say. Its result means nothing. None raises instead, though
                new lines of the same batch are in the vault by then. Lines that wait for keys are passed over if they
                stand in it already.
        """
        before = self._before(batch, outcomes)
        known: dict[bytes, int] = {}  # id tag -> position since an earlier commit
        fresh: dict[bytes, int] = {}  # id tag -> index of the line that takes it now

        def choose(connection: Connection) -> list[Item]:
            known.clear()
            fresh.clear()
            mine = [(at, one) for at, one in enumerate(outcomes) if isinstance(one, Item) and at not in before]
            tags = [one.id_tag for _, one in mine]
            known.update(store.find_tags(connection, self._ledger, tags))
            items = []
            for at, one in mine:
                if one.id_tag not in known and one.id_tag not in fresh:
                    fresh[one.id_tag] = at
                    items.append(one)
            return items

        appended = append(self._vault.engine, self._vault.checkpoints, self._ledger, choose)
        taken = {tag: seq for seq, tag in enumerate(fresh, appended.before.size)}
        seen = self._seen(known.values())
        self._gone = None  # what the events say moves on between batches
        results: list[Result] = []
        for at, ((number, raw, _), one) in enumerate(zip(batch, outcomes, strict=True)):
            if isinstance(one, Waiting) and failed is not None and at in failed:
                results.append(Result(number, Status.REFUSED))
            elif not isinstance(one, Item):
                results.append(refused(number, one))
            elif fresh.get(one.id_tag) == at:
                results.append(
                    Result(number, Status.ACCEPTED, taken[one.id_tag], id_tag=one.id_tag, opening=one.opening)
                )
            elif one.id_tag in taken:
                results.append(_again(number, one.id_tag, taken[one.id_tag], batch[fresh[one.id_tag]].raw == raw))
            else:
                try:
                    results.append(self._settled(number, one.id_tag, before.get(at), known, seen, raw))
                except VaultError as error:
                    if failed is None:
                        raise
                    failed[at] = error
                    results.append(Result(number, Status.REFUSED))
        return Batch(results, appended)

    def tell(self, batch: Sequence[Sent], results: Sequence[Result], actor: Actor | None = None) -> None:
        """Commit an event for every refusal and conflict, before anybody hears of it.

        Args:
            actor: who sent them, where that is not who acts.
        """
        happened = []
        for sent, result in zip(batch, results, strict=True):
            if result.status in (Status.REFUSED, Status.CONFLICTING):
                facts: dict[str, Any] = {
                    "ledger": str(self._ledger),
                    "producer": sent.producer,
                    "line": result.line,
                    "code": result.code,
                }
                if result.id_tag is not None:
                    facts["id_tag"] = canonical.b64(result.id_tag)
                if result.seq is not None:
                    facts["seq"] = result.seq
                if result.before is not None:
                    facts["predecessor"] = str(result.before)
                name = "record.refused" if result.status is Status.REFUSED else "record.conflict"
                happened.append(events.Event(name, facts, {"path": result.path, "reason": result.reason}))
        if happened:
            events.record_all(self._vault if actor is None else self._vault.acting(actor), happened)

    def _before(self, batch: Sequence[Sent], outcomes: Sequence[Outcome]) -> dict[int, Known]:
        """Step 0, by position in the batch."""
        if self._forebears is None:
            self._forebears = Forebears(self._vault, self._ledger)
        return self._forebears.known({at: batch[at].raw for at, one in enumerate(outcomes) if isinstance(one, Item)})

    def _settled(
        self,
        number: int,
        tag: bytes,
        before: Known | None,
        known: Mapping[bytes, int],
        seen: Mapping[int, AuditRow],
        raw: bytes,
    ) -> Result:
        """Settle a line whose id is known here, or in a ledger that this one goes on for."""
        if before is None:
            return self._settle(number, tag, known[tag], seen, raw)
        there = self._elsewhere.setdefault(before.ledger, Settler(self._vault, before.ledger))
        there._gone = None
        found = there._settle(number, before.tag, before.seq, there._seen([before.seq]), raw)
        return found._replace(before=before.ledger)

    def _seen(self, seqs: Iterable[int]) -> dict[int, AuditRow]:
        """Read the entries whose ids came again."""
        wanted = list(seqs)
        if not wanted:
            return {}
        rows = transact(
            self._vault.engine, lambda connection: list(store.fetch_entries(connection, self._ledger, wanted))
        )
        return {row.seq: row for row in rows}

    def _explainer(self) -> Explainer:
        """Return what explains the records of this batch that are gone, made when the first of them is met."""
        if self._gone is None:
            self._gone = Explainer(self._vault, self._ledger)
        return self._gone

    def _settle(self, number: int, tag: bytes, seq: int, seen: Mapping[int, AuditRow], raw: bytes) -> Result:
        """Settle a line whose id an earlier commit took: the same bytes, other bytes, or destroyed."""
        row = seen.get(seq)
        place = None if row is None or row.leaf is None else leaf.parse(packing.unpack(row.leaf))
        if row is None or not isinstance(place, RecordLeaf):
            raise Missing("the entry of a known id is not there", str(self._ledger), seq)
        if row.sealed is None:
            known = self._explainer().is_destroyed(place)
            return _gone(number, tag, place.seq, "" if known else "is not there any more: verify the ledger")
        try:
            return _again(number, tag, place.seq, self._opener.same_bytes(place, row.sealed, raw))
        except KeyGone:
            if not self._explainer().is_destroyed(place):
                raise
            return _gone(number, tag, place.seq)


def _gone(number: int, tag: bytes, seq: int, became: str = "") -> Result:
    reason = f"this id belongs to a record that {became or 'was destroyed by policy'}"
    return Result(number, Status.REFUSED, seq, "gone", "$.id", reason, id_tag=tag)


def _again(number: int, tag: bytes, seq: int, same: bool) -> Result:
    if same:
        return Result(number, Status.DUPLICATE, seq, id_tag=tag)
    reason = "this id already belongs to a record with other bytes"
    return Result(number, Status.CONFLICTING, seq, "conflict", "$.id", reason, id_tag=tag)


def refused(number: int, outcome: Refused | Waiting) -> Result:
    """Return the fate of a line that cannot be kept."""
    assert isinstance(outcome, Refused)
    return Result(number, Status.REFUSED, None, outcome.code, outcome.path, outcome.reason, id_tag=outcome.id_tag)
