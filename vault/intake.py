"""Intake: lines in, receipts out. Streams; seals in parallel processes; links one batch a transaction.

    read a batch -> seal it (any process, no lock) -> link it (head lock, COMMIT, checkpoint) -> tell conflicts and
    refusals to the events ledger -> report the batch

A line is reported as accepted only when its entry is durable and under a signed checkpoint. A run that dies leaves
whole batches; running the same file again reports those as duplicates and completes the rest.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import Connection

from vault import events, ledgers
from vault.context import Vault
from vault.core import canonical, leaf, packing
from vault.core.errors import Missing, RefusedInput, Unavailable
from vault.core.leaf import RecordLeaf
from vault.core.proof import Proof
from vault.db import store
from vault.db.engine import transact
from vault.db.store import SealedRow
from vault.ledgers import Ledger
from vault.linking import Appended, Item, append
from vault.opening import Opener
from vault.provision import GroupKeys, Provisioner
from vault.sealing import Outcome, Refused, Sealer, Terms, Waiting

BATCH = 1000
_SMALL = 200  # lines; below this a pool costs more than it gives

Line = tuple[int, bytes]
"""Line number from 1, and the line's bytes without its line feed."""


class Status(Enum):
    """What became of a line; the values are the keys that the command line prints."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICTING = "conflicting"
    REFUSED = "refused"


class Result(NamedTuple):
    """One line's fate. ``seq`` unless refused; ``code``, ``path`` and ``reason`` for refused and conflicting lines."""

    line: int
    status: Status
    seq: int | None = None
    code: str = ""
    path: str = ""
    reason: str = ""
    id_tag: bytes | None = None
    opening: bytes | None = None

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


def ingest(
    vault: Vault,
    ledger: Ledger,
    lines: Iterable[Line],
    producer: str,
    *,
    processes: int = 2,
    accept_cards: bool = False,
) -> Iterator[Batch]:
    """Take numbered lines in and yield one report a batch, each after its commit.

    Raises:
        Unavailable, UnknownOutcome, Forked: the batch at hand is not acknowledged; batches yielded before it stand.
        RefusedInput: the stream of lines is damaged; everything before the damage was yielded.
    """
    terms = Terms(
        ledger=ledger.id,
        id_key=vault.ring.open_ledger_key(vault.tenant_key, ledger.id, ledger.row.id_key),
        producer=producer,
        keep=vault.keeper(ledger.genesis.jurisdictions, ledger.genesis.rules),
        rulebook=vault.rulebook,
        accept_cards=accept_cards,
    )
    linker = _Linker(vault, terms)
    if ledger.size <= 1:
        ledgers.announce(vault, ledger)  # its making may have ended half way
    damage: list[RefusedInput] = []
    lines = _before_damage(lines, damage)
    first = list(itertools.islice(lines, _SMALL))
    batches = _batches(itertools.chain(first, lines))
    if len(first) < _SMALL or processes < 2:
        for batch in batches:
            yield linker.link(batch, linker.seal(batch))
    else:
        linker.prime(first)
        yield from _ingest_in_parallel(linker, batches, vault, terms, processes)
    if damage:
        raise damage[0]


def _ingest_in_parallel(
    linker: _Linker, batches: Iterable[list[Line]], vault: Vault, terms: Terms, processes: int
) -> Iterator[Batch]:
    # Forked, not spawned: the workers inherit the opened key ring, so no key is ever pickled or put on a command line.
    fork = multiprocessing.get_context("fork")
    global _worker
    _worker = Sealer(vault.ring, terms)
    waiting: deque[tuple[list[Line], Future[list[Outcome]]]] = deque()
    with _lifeline() as ends, ProcessPoolExecutor(processes, fork, _end_with_parent, ends) as pool:
        for batch in batches:
            raw = [line for _, line in batch]
            waiting.append((batch, pool.submit(_seal_in_worker, raw, vault.clock(), linker.keys())))
            # One batch beyond the busy workers keeps them busy; more would only hold memory.
            if len(waiting) > processes + 1:
                yield linker.link(*_finished(waiting))
        while waiting:
            yield linker.link(*_finished(waiting))


@contextlib.contextmanager
def _lifeline() -> Iterator[tuple[int, int]]:
    """Yield a pipe whose writing end only this process keeps: it closes when this process ends, however that is."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def _end_with_parent(reading: int, writing: int) -> None:
    """In a worker: a parent that was killed must not leave processes behind that hold its opened keys."""
    os.close(writing)

    def wait() -> None:
        os.read(reading, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


_worker: Sealer | None = None


def _seal_in_worker(raw: list[bytes], now_us: int, keys: list[GroupKeys]) -> list[Outcome]:
    assert _worker is not None
    _worker.provide(keys)
    return _worker.seal(raw, now_us)


def _finished(waiting: deque[tuple[list[Line], Future[list[Outcome]]]]) -> tuple[list[Line], list[Outcome]]:
    batch, sealing = waiting.popleft()
    try:
        return batch, sealing.result()
    except BrokenProcessPool:
        raise Unavailable("a sealing process died; nothing of its batch was kept: run the same command again") from None


def _before_damage(lines: Iterable[Line], damage: list[RefusedInput]) -> Iterator[Line]:
    """Yield the lines that can be read. What stops the stream is kept for later: those lines come first."""
    try:
        yield from lines
    except RefusedInput as error:
        damage.append(error)


def _batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    lines = iter(lines)
    while batch := list(itertools.islice(lines, BATCH)):
        yield batch


class _Linker:
    """The serial half: gives sealed lines their place, settles duplicates, tells the events ledger."""

    def __init__(self, vault: Vault, terms: Terms) -> None:
        self._vault = vault
        self._ledger = terms.ledger
        self._producer = terms.producer
        self._sealer = Sealer(vault.ring, terms)
        self._provisioner = Provisioner(vault, terms.ledger, events.key_created(vault))
        self._opener = Opener(vault.engine, vault.ring, terms.ledger)

    def prime(self, lines: Sequence[Line]) -> None:
        """Provide the keys that these lines need, so that the pool's first batches do not all come back without."""
        now = self._vault.clock()
        outcomes = self._sealer.seal([raw for _, raw in lines], now)
        self._provisioner.provide({one.group for one in outcomes if isinstance(one, Waiting)}, now)

    def keys(self) -> list[GroupKeys]:
        return self._provisioner.ready(self._vault.clock())

    def seal(self, batch: Sequence[Line]) -> list[Outcome]:
        return self._sealer.seal([raw for _, raw in batch], self._vault.clock())

    def link(self, batch: Sequence[Line], outcomes: list[Outcome]) -> Batch:
        outcomes = self._provided(batch, outcomes)
        known: dict[bytes, int] = {}  # id tag -> position since an earlier commit
        fresh: dict[bytes, int] = {}  # id tag -> index of the line that takes it now

        def choose(connection: Connection) -> list[Item]:
            known.clear()
            fresh.clear()
            tags = [one.id_tag for one in outcomes if isinstance(one, Item)]
            known.update(store.find_tags(connection, self._ledger, tags))
            items = []
            for at, one in enumerate(outcomes):
                if isinstance(one, Item) and one.id_tag not in known and one.id_tag not in fresh:
                    fresh[one.id_tag] = at
                    items.append(one)
            return items

        appended = append(self._vault.engine, self._vault.checkpoints, self._ledger, choose)
        taken = {tag: seq for seq, tag in enumerate(fresh, appended.before.size)}
        seen = self._seen(known.values())
        results = []
        for at, ((number, raw), one) in enumerate(zip(batch, outcomes, strict=True)):
            if not isinstance(one, Item):
                results.append(_refused(number, one))
            elif fresh.get(one.id_tag) == at:
                results.append(
                    Result(number, Status.ACCEPTED, taken[one.id_tag], id_tag=one.id_tag, opening=one.opening)
                )
            elif one.id_tag in taken:
                results.append(_again(number, one.id_tag, taken[one.id_tag], batch[fresh[one.id_tag]][1] == raw))
            else:
                results.append(self._settle(number, one.id_tag, *seen[known[one.id_tag]], raw))
        self._tell(results)
        return Batch(results, appended)

    def _provided(self, batch: Sequence[Line], outcomes: list[Outcome]) -> list[Outcome]:
        """Seal again, with their keys, the lines whose group nobody had keys for."""
        missing = {one.group for one in outcomes if isinstance(one, Waiting)}
        now = self._vault.clock()
        self._sealer.provide([*self._provisioner.ready(now), *self._provisioner.provide(missing, now)])
        for at, one in enumerate(outcomes):
            if isinstance(one, Waiting):
                (outcomes[at],) = self._sealer.seal([batch[at][1]], now)
        return outcomes

    def _seen(self, seqs: Iterable[int]) -> dict[int, tuple[RecordLeaf, SealedRow | None]]:
        """Read the entries whose ids came again."""
        wanted = list(seqs)
        if not wanted:
            return {}
        rows = transact(
            self._vault.engine, lambda connection: list(store.fetch_entries(connection, self._ledger, wanted))
        )
        seen: dict[int, tuple[RecordLeaf, SealedRow | None]] = {}
        for row in rows:
            place = leaf.parse(packing.unpack(row.leaf or b""))
            if isinstance(place, RecordLeaf):
                seen[row.seq] = (place, row.sealed)
        for seq in wanted:
            if seq not in seen:
                raise Missing("the entry of a known id is not there", str(self._ledger), seq)
        return seen

    def _settle(self, number: int, tag: bytes, place: RecordLeaf, row: SealedRow | None, raw: bytes) -> Result:
        """Settle a line whose id an earlier commit took: the same bytes, other bytes, or destroyed."""
        if row is None:
            reason = "this id belongs to a record that is not there any more: verify the ledger"
            return Result(number, Status.REFUSED, place.seq, "gone", "$.id", reason, id_tag=tag)
        return _again(number, tag, place.seq, self._opener.same_bytes(place, row, raw))

    def _tell(self, results: Sequence[Result]) -> None:
        """Commit an event for every refusal and conflict, before anybody hears of it."""
        happened = []
        for result in results:
            if result.status in (Status.REFUSED, Status.CONFLICTING):
                facts: dict[str, Any] = {
                    "ledger": str(self._ledger),
                    "producer": self._producer,
                    "line": result.line,
                    "code": result.code,
                }
                if result.id_tag is not None:
                    facts["id_tag"] = canonical.b64(result.id_tag)
                if result.seq is not None:
                    facts["seq"] = result.seq
                name = "record.refused" if result.status is Status.REFUSED else "record.conflict"
                happened.append(events.Event(name, facts, {"path": result.path, "reason": result.reason}))
        if happened:
            events.record_all(self._vault, happened)


def _again(number: int, tag: bytes, seq: int, same: bool) -> Result:
    if same:
        return Result(number, Status.DUPLICATE, seq, id_tag=tag)
    reason = "this id already belongs to a record with other bytes"
    return Result(number, Status.CONFLICTING, seq, "conflict", "$.id", reason, id_tag=tag)


def _refused(number: int, outcome: Refused | Waiting) -> Result:
    assert isinstance(outcome, Refused)
    return Result(number, Status.REFUSED, None, outcome.code, outcome.path, outcome.reason, id_tag=outcome.id_tag)
