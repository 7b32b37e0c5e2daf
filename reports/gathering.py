"""Gathering: what the one pass over a snapshot leaves behind, entry by entry.

Entries come from the verifier (vault.audit's ``watch``), so what is counted is what was verified. Facets decide whether
a record lies in the period; where they were edited, the verifier says so about the same entry.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from reports.deflated import Deflated, Pieces
from reports.history import History
from reports.model import Period
from reports.opened import Chunk, Extraction, Failure, Item, Opening, has_facets
from reports.period import contains
from reports.sequences import SequenceCount
from vault.context import Vault
from vault.core.leaf import EventLeaf, Leaf, RecordLeaf, parse
from vault.core.packing import unpack
from vault.db import store
from vault.db.engine import transact
from vault.db.store import AuditRow
from vault.erasure import Explainer
from vault.verdict import LedgerReport, Verdict

_SMALL = 200  # records; below this processes cost more than they give


class Counting(Protocol):
    """What a kind of report counts, one row of its extraction after the other."""

    def add(self, row: Any, /) -> None:
        """A record of the period."""
        ...

    def relate(self, row: Any, /) -> None:
        """A record after it, for what it says about others."""
        ...


C = TypeVar("C", bound=Counting)


class Gathering(Generic[C]):
    """Counts one ledger's population and spools it to a file.

    Args:
        size: entries under the report's checkpoint; what was appended since is left aside.
        opening: how many records will be opened; 0 opens none, whatever the period holds.
        access: position of the access event, None where nothing is opened.
        count: takes the rows.
        extraction: what makes them of records.
        file: where the population's lines go; made here, readable by its owner alone. Where the kind attaches them as
            they are, a second file beside it has them deflated.

    Attributes:
        governance, inside, outside: entries that are no records, records of the period, records outside it.
        opened: records of the period that opened.
        related: records after the period that were opened for their relations.
        unopened: the records that did not open, as the verifier would tell of them.
        dying: records that did not open because a disposal destroyed their keys; their envelopes still stand there.
        deflated: the second file; None where there is none, or before ``finish``.
    """

    def __init__(
        self,
        vault: Vault,
        ledger: UUID,
        period: Period,
        size: int,
        *,
        opening: int,
        access: int | None,
        file: Path,
        count: C,
        extraction: Extraction,
    ) -> None:
        self.governance = self.inside = self.outside = self.opened = self.related = self.dying = 0
        self.unopened = LedgerReport(ledger)
        self.count = count
        self.sequences = SequenceCount()
        self.history = History(ledger, period, access)
        self._vault = vault
        self._ledger = ledger
        self._period = period
        self._size = size
        self._opens = access is not None
        self._path = file
        self._gone: list[Failure] = []
        self._places = array("Q", [0])  # where each line of the file ends
        self.deflated: Deflated | None = None
        self._pieces: Pieces | None = None
        self._stack = ExitStack()
        with ExitStack() as stack:
            self._file = stack.enter_context(open(file, "xb", opener=private))
            if extraction.attached:
                beside = file.with_suffix(".deflated")
                self._pieces = Pieces(beside, stack.enter_context(open(beside, "xb", opener=private)))
            processes = min(os.cpu_count() or 1, 8) if opening >= _SMALL else 1
            self._opening = stack.enter_context(Opening(vault, ledger, processes=processes, extraction=extraction))
            self._stack = stack.pop_all()

    def __enter__(self) -> Gathering[C]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def take(self, ledger: UUID, row: AuditRow, leaf: Leaf | None) -> None:
        """Take the next entry of either ledger."""
        if ledger == self._vault.events:
            if isinstance(leaf, EventLeaf):
                self.history.take(leaf)
        elif ledger == self._ledger and row.seq < self._size and leaf is not None:
            if isinstance(leaf, RecordLeaf):
                self._record(row, leaf)
            else:
                self.governance += 1

    def finish(self) -> None:
        """Count what is still being opened, and close the file."""
        self._count(self._opening.finish())
        self._file.close()
        if self._pieces is not None:
            self.deflated = self._pieces.finish()
        self._explain()

    def __len__(self) -> int:
        """Lines of the population."""
        return len(self._places) - 1

    def line(self, position: int) -> bytes:
        """Return a line of the population, the first at position 0; only after ``finish``."""
        start, end = self._places[position], self._places[position + 1]
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def _record(self, row: AuditRow, leaf: RecordLeaf) -> None:
        self.sequences.add(leaf.producer, None if leaf.producer_seq is msgspec.UNSET else leaf.producer_seq)
        if row.leaf is None or row.sealed is None or row.sealed.facets is None or not has_facets(row.sealed):
            return  # destroyed, or without readable facets: the verifier tells which
        occurred_at = row.sealed.facets[1]
        inside = contains(self._period, occurred_at)
        self.inside += inside
        self.outside += not inside
        if self._opens and (inside or (self._period.end is not None and occurred_at >= self._period.end)):
            self._count(self._opening.take(Item(row.seq, row.leaf, row.sealed, inside)))

    def _count(self, chunks: Iterable[Chunk[Any]]) -> None:
        for chunk in chunks:
            for row in chunk.rows:
                self.count.add(row)
            self.opened += chunk.opened
            for row in chunk.related:
                self.count.relate(row)
            self.related += len(chunk.related)
            for line in chunk.lines:
                self._places.append(self._places[-1] + len(line))
            text = b"".join(chunk.lines)
            self._file.write(text)
            if self._pieces is not None and text:
                self._pieces.add(text, chunk.deflated)
            for failure in chunk.failures:
                if failure.gone:
                    self._gone.append(failure)
                else:
                    self.unopened.add(Verdict[failure.verdict], failure.seq, failure.what)

    def _explain(self) -> None:
        """Tell records whose keys a disposal destroyed, perhaps while they were read, from those that lost theirs."""
        if not self._gone:
            return
        explainer = Explainer(self._vault, self._ledger)
        for start in range(0, len(self._gone), _SMALL):
            part = {failure.seq: failure for failure in self._gone[start : start + _SMALL]}
            for row in transact(self._vault.engine, partial(_entries, self._ledger, list(part))):
                place = parse(unpack(row.leaf)) if row.leaf is not None else None
                if isinstance(place, RecordLeaf) and explainer.is_destroyed(place):
                    self.dying += 1
                    del part[row.seq]
            for failure in part.values():
                self.unopened.add(Verdict[failure.verdict], failure.seq, failure.what)


def _entries(ledger: UUID, seqs: list[int], connection: Connection) -> list[AuditRow]:
    return list(store.fetch_entries(connection, ledger, seqs))


def private(path: str, flags: int) -> int:
    """An opener for ``open``: whoever reads facets in clear has to be the file's owner."""
    return os.open(path, flags, 0o600)
