"""Looking: open every entry of some groups and judge it, in as many processes as there are cores.

    sight = look(vault, ledger, ["2026-10.0"], judge, progress)

Nobody is shown anything, so no access event is written: what comes of it (a plan, a destruction) is an event. What does
not open, or is not what its leaf commits to, ends the look: nothing is destroyed beside something that nobody can read.

Workers are forked (vault.forks) before the snapshot is opened. What comes back is positions, hashes and dates.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from itertools import islice
from typing import Final
from uuid import UUID

import msgspec

from retention.judging import Judge, Sight
from vault import forks
from vault.context import Vault
from vault.core import canonical, facets, leaf, packing
from vault.core.errors import Missing, Modified
from vault.core.leaf import GenesisLeaf
from vault.core.record import Record
from vault.core.tree import leaf_hash
from vault.db import store
from vault.db.engine import translated
from vault.db.store import AuditRow
from vault.opening import Opener
from vault.sealing import from_columns

CHUNK: Final = 500
_SMALL: Final = 2000  # entries; below this processes cost more than they give

Progress = Callable[[int, int | None], None]


def look(vault: Vault, ledger: UUID, groups: Sequence[str], judge: Judge, progress: Progress) -> Sight:
    """Judge every entry whose key is in one of these groups, as of one moment.

    Raises:
        Modified, Missing: an entry is not what was promised; the error names it.
        KeyUnavailable, KeyGone: an entry cannot be opened.
    """
    with translated(), vault.engine.connect() as connection:
        total = store.count_grouped(connection, ledger, groups)
    processes = 1 if total < _SMALL else min(os.cpu_count() or 1, 8)
    sight = Sight()
    with closing(_over(_Reader(vault, ledger, judge), processes, lambda: _chunks(vault, ledger, groups))) as parts:
        for part in parts:
            sight.add(part)
            progress(sight.looked, total)
    return sight


def look_at(vault: Vault, ledger: UUID, rows: Iterable[AuditRow], judge: Judge) -> Sight:
    """Judge a few entries in this process; raises like ``look``."""
    return _Reader(vault, ledger, judge).read(list(rows))


def _chunks(vault: Vault, ledger: UUID, groups: Sequence[str]) -> Iterator[list[AuditRow]]:
    """Read one snapshot: what a writer or another mover does meanwhile is for the next look."""
    with translated(), vault.engine.connect() as connection:
        rows = store.stream_grouped(connection, ledger, groups)
        while chunk := list(islice(rows, CHUNK)):
            yield chunk


class _Reader:
    def __init__(self, vault: Vault, ledger: UUID, judge: Judge) -> None:
        self._engine = vault.engine
        self._opener = Opener(vault.engine, vault.ring, ledger)
        self._opener.load()
        self._ledger = ledger
        self._judge = judge

    def after_fork(self) -> None:
        """Leave the parent's connections alone."""
        self._engine.dispose(close=False)

    def read(self, rows: list[AuditRow]) -> Sight:
        sight = Sight()
        for row in rows:
            self._one(sight, row)
        return sight

    def _one(self, sight: Sight, row: AuditRow) -> None:
        place = str(self._ledger)
        if row.leaf is None:
            raise Missing("the leaf of a sealed entry is not there", place, row.seq)
        if row.sealed is None:
            raise Missing("the entry is not there", place, row.seq)
        data = packing.unpack(row.leaf)
        found = leaf.parse(data)
        if isinstance(found, GenesisLeaf) or (found.ledger, found.seq) != (place, row.seq):
            raise Modified("the leaf is not this entry's", place, row.seq)
        raw = self._opener.open(found, row.sealed)
        group = self._opener.group_of(row.sealed)
        if isinstance(found, leaf.EventLeaf):
            self._judge.take(sight, found, leaf_hash(data), group)
            return
        stored, salt = row.sealed.facets, row.sealed.salt
        columns = None if stored is None else from_columns(stored)
        if columns is None or salt is None or facets.digest(columns, salt) != canonical.unb64(found.facets, 32):
            raise Modified("the facets are not those the leaf commits to", place, row.seq)
        try:
            record = msgspec.json.decode(raw, type=Record)
        except msgspec.MsgspecError:
            raise Modified("what was sealed is no record", place, row.seq) from None
        self._judge.take(sight, found, leaf_hash(data), group, columns, record)


def _over(reader: _Reader, processes: int, chunks: Callable[[], Iterator[list[AuditRow]]]) -> Generator[Sight]:
    """Yield what chunks come to, in their order. ``chunks`` is called once the workers are there."""
    if processes < 2:
        yield from map(reader.read, chunks())
        return
    with forks.pool(processes, _begin, (reader,)) as pool:
        waiting: deque[Future[bytes]] = deque()
        for chunk in chunks():
            waiting.append(pool.submit(_read, chunk))
            if len(waiting) > processes + 1:  # one chunk beyond the busy workers keeps them busy
                yield _decoder.decode(forks.result(waiting.popleft()))
        while waiting:
            yield _decoder.decode(forks.result(waiting.popleft()))


_decoder = msgspec.msgpack.Decoder(Sight)
_worker: _Reader | None = None


def _begin(reader: _Reader) -> None:
    global _worker
    reader.after_fork()
    _worker = reader


def _read(rows: list[AuditRow]) -> bytes:
    assert _worker is not None
    return msgspec.msgpack.encode(_worker.read(rows))
