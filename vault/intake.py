"""Intake: lines in, receipts out. Streams; seals in parallel processes; links one batch a transaction.

    read a batch -> seal it (any process, no lock) -> link it (head lock, COMMIT, checkpoint) -> tell conflicts and
    refusals to the events ledger -> report the batch

A line is reported as accepted only when its entry is durable and under a signed checkpoint. A run that dies leaves
whole batches; running the same file again reports those as duplicates and completes the rest.
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

from vault import events, ledgers
from vault.context import Keeper, Vault
from vault.core.errors import Denied, KeyUnavailable, RefusedInput, Unavailable
from vault.core.imports import why_not_approved
from vault.core.standing import Standing
from vault.forks import end_with_parent, lifeline
from vault.keys.ring import GroupKeys
from vault.ledgers import Ledger
from vault.linking import GroupsClosed
from vault.provision import Provisioner
from vault.sealing import Outcome, Sealer, Terms, Waiting, unsealed
from vault.settling import Batch, Sent, Settler

BATCH = 1000
TRIES = 10
"""How often a batch is sealed again because groups were closed meanwhile, each time others."""
_SMALL = 200  # lines; below this a pool costs more than it gives

Line = tuple[int, bytes]
"""Line number from 1, and the line's bytes without its line feed."""


def ingest(
    vault: Vault,
    ledger: Ledger,
    lines: Iterable[Line],
    producer: str,
    *,
    processes: int = 2,
    accept_cards: bool = False,
    imported: str | None = None,
) -> Iterator[Batch]:
    """Take numbered lines in and yield one report a batch, each after its commit.

    Args:
        imported: id of the import that the lines come in with; their keeping counts from their own dates. Not checked:
            that they are the lines of its file (retention.imports).

    Raises:
        Denied: the events ledger tells of no such import that is approved, not done, and this producer's and ledger's.
        LedgerFrozen: another ledger goes on in its place; nothing was taken.
        Unavailable, UnknownOutcome, Forked: the batch at hand is not acknowledged; batches yielded before it stand.
        RefusedInput: the stream of lines is damaged; everything before the damage was yielded.
    """
    standing = vault.register.standing()  # which rule book is in force, and which imports are approved
    ledgers.require_open(vault, ledger.id)
    terms = terms_of(vault, ledger, producer, accept_cards=accept_cards)
    if imported is not None:
        terms = replace(terms, imported=_period_of(standing, imported, ledger, producer))
    linker = _Linker(vault, ledger, terms)
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


def _period_of(standing: Standing, imported: str, ledger: Ledger, producer: str) -> tuple[int, int]:
    asked = standing.governance.imports.get(imported)
    why = "there is no such import" if asked is None else why_not_approved(asked, str(ledger.id), producer)
    if asked is None or why is not None:
        raise Denied(why or "")
    return asked.first, asked.last


def terms_of(vault: Vault, ledger: Ledger, producer: str, *, accept_cards: bool = False) -> Terms:
    """Return what is the same for all lines of a producer into a ledger while one rule book is in force."""
    law = vault.law()
    return Terms(
        ledger=ledger.id,
        id_key=vault.ring.open_ledger_key(vault.tenant_key, ledger.id, ledger.row.id_key),
        producer=producer,
        keep=law.keeper(ledger.genesis.jurisdictions, ledger.genesis.rules),
        rulebook=law.rulebook,
        accept_cards=accept_cards,
    )


def _ingest_in_parallel(
    linker: _Linker, batches: Iterable[list[Line]], vault: Vault, terms: Terms, processes: int
) -> Iterator[Batch]:
    # Forked, not spawned: the workers inherit the opened key ring, so no key is ever pickled or put on a command line.
    fork = multiprocessing.get_context("fork")
    global _worker
    _worker = Sealer(vault.ring, terms)
    waiting: deque[tuple[list[Line], Future[list[Outcome]]]] = deque()
    with lifeline() as ends, ProcessPoolExecutor(processes, fork, end_with_parent, ends) as pool:
        for batch in batches:
            raw = [line for _, line in batch]
            waiting.append((batch, pool.submit(_seal_in_worker, raw, vault.clock(), linker.keys(), linker.newer())))
            # One batch beyond the busy workers keeps them busy; more would only hold memory.
            if len(waiting) > processes + 1:
                yield linker.link(*_finished(waiting))
        while waiting:
            yield linker.link(*_finished(waiting))


_worker: Sealer | None = None


def _seal_in_worker(
    raw: list[bytes], now_us: int, keys: list[GroupKeys], newer: tuple[bytes, Keeper] | None
) -> list[Outcome]:
    assert _worker is not None
    if newer is not None:
        _worker.follow(*newer)
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
    """The serial half: provides keys, and settles one batch after the other."""

    def __init__(self, vault: Vault, ledger: Ledger, terms: Terms) -> None:
        self._vault = vault
        self._producer = terms.producer
        self._genesis = ledger.genesis
        self._rulebook = terms.rulebook
        self._newer: tuple[bytes, Keeper] | None = None
        self._sealer = Sealer(vault.ring, terms)
        self._provisioner = Provisioner(vault, terms.ledger, events.key_created(vault))
        self._settler = Settler(vault, terms.ledger)

    def prime(self, lines: Sequence[Line]) -> None:
        """Provide the keys that these lines need, so that the pool's first batches do not all come back without."""
        now = self._vault.clock()
        outcomes = self._sealer.seal([raw for _, raw in lines], now)
        self._provisioner.provide({one.stem for one in outcomes if isinstance(one, Waiting)}, now)

    def keys(self) -> list[GroupKeys]:
        return self._provisioner.ready(self._vault.clock())

    def newer(self) -> tuple[bytes, Keeper] | None:
        """Return digest and keeper of the rule book that was adopted since this ingest began, None while there is none.

        Small and without keys, so it may go to a worker with every batch.
        """
        self._vault.register.standing()
        law = self._vault.law()
        if law.rulebook != self._rulebook:
            keep = law.keeper(self._genesis.jurisdictions, self._genesis.rules)
            self._rulebook, self._newer = law.rulebook, (law.rulebook, keep)
            self._sealer.follow(law.rulebook, keep)
        return self._newer

    def seal(self, batch: Sequence[Line]) -> list[Outcome]:
        self.newer()
        return self._sealer.seal([raw for _, raw in batch], self._vault.clock())

    def link(self, batch: Sequence[Line], outcomes: list[Outcome]) -> Batch:
        sent = [Sent(number, raw, self._producer) for number, raw in batch]
        settled = self._settled(batch, sent, outcomes)
        self._settler.tell(sent, settled.results)
        return settled

    def _settled(self, batch: Sequence[Line], sent: Sequence[Sent], outcomes: list[Outcome]) -> Batch:
        """Link; what was sealed under a group that is closed by now is sealed again, under the next one."""
        for _ in range(TRIES):
            outcomes = self._provided(batch, outcomes)
            try:
                return self._settler.link(sent, outcomes)
            except GroupsClosed as closed:
                outcomes = unsealed(outcomes, closed.groups)
        raise Unavailable("groups were closed again and again: nothing of this batch was kept, run the command again")

    def _provided(self, batch: Sequence[Line], outcomes: list[Outcome]) -> list[Outcome]:
        """Seal again, with their keys, the lines whose stem nobody had keys for."""
        for _ in range(TRIES):
            waiting = [one for one in outcomes if isinstance(one, Waiting)]
            if not waiting:
                return outcomes
            gone = {one.gone for one in waiting if one.gone}
            self._provisioner.forget(gone)
            self._sealer.forget(gone)
            now = self._vault.clock()
            self._provisioner.provide({one.stem for one in waiting}, now)
            self._sealer.provide(self._provisioner.ready(now))
            for at, one in enumerate(outcomes):
                if isinstance(one, Waiting):
                    (outcomes[at],) = self._sealer.seal([batch[at][1]], now)
        raise KeyUnavailable("a group's key is gone as soon as it is provided: nothing of this batch was kept")
