"""Surveying: open every entry whose key is in some groups, in parallel, and keep what a judge says of each.

    for seq, group, verdict in survey(vault, ledger, ["2029-01.0"], judge): ...

    1. read their leaves once; believe them only where they stand in the tree that was signed (vault.leaves)
    2. a batch of entries at a time, in forked workers: compare each leaf with what 1 saw, open the entry with every
       commitment, compare the facets with the leaf's digest, ask the judge
    3. hand out the answers in order of position

So what the judge sees (leaf, facets, plaintext) is what was promised when the entry was written. One entry that does
not hold stops the survey. The judge runs in the workers where there are many entries: what it changes there nobody
sees, what it returns must be something that can be pickled, and small. It may use the vault's database.

Not checked: blind indexes; no leaf commits to them. No access event is written: nobody is shown anything.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar
from uuid import UUID

import msgspec

from vault import forks, leaves
from vault.context import Vault
from vault.core import canonical, facets, leaf, packing
from vault.core.errors import Forked, KeyGone, Missing, Modified, VaultError
from vault.core.facets import Facets
from vault.core.leaf import EventLeaf, RecordLeaf
from vault.core.record import Record
from vault.core.tree import HASH_BYTES, leaf_hash
from vault.db import groups, moving, store
from vault.db.engine import transact
from vault.db.store import AuditRow, SealedRow
from vault.keys.ring import EpochRow
from vault.opening import Opener, commitment
from vault.sealing import from_columns

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called with (entries done, entries to do)."""

BATCH: Final = 500
SMALL: Final = 1000
"""Entries; below this a pool costs more than it gives."""


@dataclass(frozen=True, slots=True)
class Opened:
    """One entry, opened and held against everything its leaf commits to.

    Attributes:
        facets: None beside an event, as is ``record``.
        raw: the exact bytes that were sealed.
        group: where its key is now; ``leaf.group`` is the one at write.
    """

    seq: int
    leaf: RecordLeaf | EventLeaf
    facets: Facets | None
    record: Record | None = field(repr=False)
    raw: bytes = field(repr=False)
    group: str
    leaf_hash: bytes


def nothing_to_tell(_done: int, _total: int) -> None:
    """Tell nobody how far it is."""


def survey(
    vault: Vault,
    ledger: UUID,
    names: Sequence[str],
    judge: Callable[[Opened], T],
    *,
    processes: int = 2,
    progress: Progress = nothing_to_tell,
) -> Iterator[tuple[int, str, T]]:
    """Yield (position, group it is in now, what the judge said) of every entry in these groups, ascending.

    Raises:
        Modified, Missing, Forked: an entry is not what was promised; the error names ledger and position.
        KeyGone, KeyUnavailable: an entry's key does not open.
        Whatever the judge raises.
    """
    seqs = transact(vault.engine, lambda connection: moving.seqs_in(connection, ledger, names))
    hashes = _signed_hashes(vault, ledger, seqs)
    reader = Reader(vault, ledger, names)

    def batches() -> Iterator[tuple[array[int], bytes]]:
        for start in range(0, len(seqs), BATCH):
            yield seqs[start : start + BATCH], hashes[start * HASH_BYTES : (start + BATCH) * HASH_BYTES]

    done = 0
    job = _Judging(reader, judge)
    for answers in forks.each(job, batches(), processes=processes if len(seqs) >= SMALL else 1):
        yield from answers
        done += len(answers)
        progress(done, len(seqs))


class Reader:
    """Fetches and opens entries of some groups. A forked worker goes on with its copy."""

    def __init__(self, vault: Vault, ledger: UUID, names: Sequence[str]) -> None:
        self._vault = vault
        self._ledger = ledger
        self._names = frozenset(names)
        self._opener = Opener(vault.engine, vault.ring, ledger)
        self._opener.load()
        rows = transact(vault.engine, lambda connection: list(groups.epochs(connection, ledger)))
        for epoch in (EpochRow(ledger, *row) for row in rows if row[1] in self._names):
            with suppress(VaultError):  # one that does not open is told of where an entry needs it
                vault.ring.open_epoch(epoch)

    def after_fork(self) -> None:
        """Leave the parent's connections alone."""
        self._vault.engine.dispose(close=False)

    def read(self, seqs: Sequence[int]) -> list[tuple[Opened, SealedRow]]:
        """Return entries, opened, by position.

        Raises:
            Modified, Missing, KeyGone: one does not hold; the error names it.
            Forked: one is in none of the groups any more.
        """
        rows = transact(
            self._vault.engine, lambda connection: list(store.fetch_entries(connection, self._ledger, seqs))
        )
        found = {row.seq: row for row in rows}
        return [self._one(seq, found.get(seq)) for seq in seqs]

    def record_key(self, parsed: RecordLeaf | EventLeaf, row: SealedRow) -> tuple[bytes, bytes]:
        """Return an entry's record key and the commitment to it."""
        return self._opener.record_key(parsed, row), commitment(parsed)

    def _one(self, seq: int, row: AuditRow | None) -> tuple[Opened, SealedRow]:
        place = str(self._ledger)
        if row is None or row.leaf is None or row.sealed is None:
            raise Missing("the entry, or what stands beside it, is not there", place, seq)
        data, sealed = packing.unpack(row.leaf), row.sealed
        parsed = leaf.parse(data)
        if not isinstance(parsed, RecordLeaf | EventLeaf) or (parsed.ledger, parsed.seq) != (place, seq):
            raise Modified("the leaf is not in its place", place, seq)
        group = self._opener.group_of(sealed)
        if group not in self._names:
            raise Forked("the entry went to another group while it was looked at", place, seq)
        try:
            raw = self._opener.open(parsed, sealed)
        except KeyGone as error:
            raise KeyGone(f"the entry at ledger {place} seq {seq} cannot be opened: {error}") from None
        columns, record = None, None
        if isinstance(parsed, RecordLeaf):
            columns, record = _facets(parsed, sealed), _record(parsed, raw)
        return Opened(seq, parsed, columns, record, raw, group, leaf_hash(data)), sealed


class _Judging(Generic[T]):
    """Step 2, for one batch: positions, and the hashes of their leaves as step 1 saw them."""

    def __init__(self, reader: Reader, judge: Callable[[Opened], T]) -> None:
        self._reader = reader
        self._judge = judge
        self.after_fork = reader.after_fork

    def __call__(self, batch: tuple[array[int], bytes]) -> list[tuple[int, str, T]]:
        seqs, hashes = batch
        answers = []
        for at, (opened, _row) in enumerate(self._reader.read(seqs)):
            if opened.leaf_hash != hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES]:
                raise Modified("the leaf changed while it was read", opened.leaf.ledger, opened.seq)
            answers.append((opened.seq, opened.group, self._judge(opened)))
        return answers


def _facets(parsed: RecordLeaf, sealed: SealedRow) -> Facets:
    """Return the facets of a row that opened, so they are there, held against the leaf's digest."""
    if sealed.facets is None or sealed.salt is None:
        raise Modified("the facets or their salt are missing", parsed.ledger, parsed.seq)
    columns = from_columns(sealed.facets)
    if facets.digest(columns, sealed.salt) != canonical.unb64(parsed.facets, HASH_BYTES):
        raise Modified("the facets are not those the leaf commits to", parsed.ledger, parsed.seq)
    return columns


def _record(parsed: RecordLeaf, raw: bytes) -> Record:
    try:
        return msgspec.json.decode(raw, type=Record)
    except msgspec.MsgspecError:
        raise Modified("what was sealed is no record", parsed.ledger, parsed.seq) from None


def _signed_hashes(vault: Vault, ledger: UUID, seqs: array[int]) -> bytes:
    """Step 1: return the hashes of these positions' leaves, joined."""
    return b"".join(hashed for _, _, hashed in leaves.signed(vault, ledger, seqs))
