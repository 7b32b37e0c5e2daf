"""Records of a bundle: sealed rows in, lines of ``records.jsonl`` out, opened in parallel.

    with Opening(vault, ledger.id, rule, processes=2) as opening:
        for row in rows:
            for done in opening.take(row): ...     # runs of lines, in the order of the rows
        for done in opening.finish(): ...

The access must have been logged before: this is only the mechanism. Workers are forked and inherit the opened key ring,
as in reports.opened. What does not open stops everything: a bundle holds what was promised, or is not made.

Format: docs/reference/bundle.md, "Records".
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from vault.context import Vault
from vault.core import canonical, envelope, facets, leaf, masking, packing
from vault.core.errors import KeyGone, Missing, Modified, Unavailable, VaultError
from vault.core.facets import Facets
from vault.core.leaf import RecordLeaf
from vault.core.record import Record
from vault.db.store import SealedRow
from vault.erasure import Explainer
from vault.ledgers import Ledger
from vault.opening import Opener
from vault.restricting import Restricted, in_conflict
from vault.sealing import from_columns

CHUNK = 200
_MODEL = ("model", "served")
_Lines = tuple[bytes, list[tuple[int, str, str]]]


class Item(NamedTuple):
    """One entry in scope: its stored leaf, and what stands beside it."""

    seq: int
    leaf: bytes
    sealed: SealedRow | None


@dataclass(frozen=True, slots=True)
class Rule:
    """What a bundle may show.

    Attributes:
        full: exact bytes; else their masked form.
        duty: the legal duty that restricted records are opened for; "" leaves them closed.
        conversation: the one that all of them must be of; None asks for none. No leaf commits to a blind index, so what
            it finds may be another's.
        restricted: as it was when the access was decided.
    """

    full: bool
    duty: str
    conversation: str | None
    restricted: Restricted


class Done(NamedTuple):
    """A run of lines, and (position, state, disposal or "") of each."""

    lines: bytes
    states: list[tuple[int, str, str]]


class Opening:
    """Worker processes that open records of one ledger. ``processes`` below 2 opens in this process."""

    def __init__(self, vault: Vault, ledger: Ledger, rule: Rule, *, processes: int) -> None:
        self._reader = _Reader(vault, ledger, rule)
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: deque[Future[_Lines]] = deque()
        self._most = processes + 1  # one chunk beyond the busy workers keeps them busy
        self._items: list[Item] = []
        if processes > 1:
            fork = multiprocessing.get_context("fork")
            self._pool = ProcessPoolExecutor(processes, mp_context=fork, initializer=_begin, initargs=(self._reader,))
            _result(self._pool.submit(_read, []))  # forks all of them now

    def __enter__(self) -> Opening:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def take(self, item: Item) -> Iterator[Done]:
        """Take the next entry; yield the runs that are finished by now.

        Raises:
            Modified, Missing: a record is not what was promised, or is not there and no erasure explains it.
        """
        self._items.append(item)
        if len(self._items) >= CHUNK:
            yield from self._submit()

    def finish(self) -> Iterator[Done]:
        """Yield the remaining runs."""
        yield from self._submit()
        while self._waiting:
            yield Done(*_result(self._waiting.popleft()))

    def _submit(self) -> Iterator[Done]:
        items, self._items = self._items, []
        if self._pool is None:
            yield Done(*self._reader.read(items))
            return
        self._waiting.append(self._pool.submit(_read, items))
        if len(self._waiting) > self._most:
            yield Done(*_result(self._waiting.popleft()))


_worker: _Reader | None = None


def _begin(reader: _Reader) -> None:
    global _worker
    reader.after_fork()
    _worker = reader


def _read(items: Sequence[Item]) -> _Lines:
    assert _worker is not None
    return _worker.read(items)


def _result(future: Future[_Lines]) -> _Lines:
    try:
        return future.result()
    except BrokenProcessPool:
        raise Unavailable("a process that opened records died; no bundle was made: run the command again") from None


class _Reader:
    """Spells the line of each entry."""

    def __init__(self, vault: Vault, ledger: Ledger, rule: Rule) -> None:
        self._vault = vault
        self._ledger = ledger
        self._rule = rule
        self._rulebook = canonical.b64(vault.rulebook)
        self._explainer = Explainer(vault, ledger.id)
        self._opener = Opener(vault.engine, vault.ring, ledger.id)
        self._opener.load()

    def after_fork(self) -> None:
        """Leave the parent's connections alone; a new one is made if a selection or a rule book has to be read."""
        self._vault.engine.dispose(close=False)

    def read(self, items: Sequence[Item]) -> _Lines:
        lines, states = [], []
        for item in items:
            place = leaf.parse(packing.unpack(item.leaf))
            if not isinstance(place, RecordLeaf) or (place.ledger, place.seq) != (str(self._ledger.id), item.seq):
                raise Modified("the leaf is not a record's in its place", str(self._ledger.id), item.seq)
            document = self._document(place, item)
            lines.append(msgspec.json.encode(document) + b"\n")
            states.append((item.seq, str(document["state"]), str(document.get("disposal", ""))))
        return b"".join(lines), states

    def _document(self, place: RecordLeaf, item: Item) -> dict[str, Any]:
        if item.sealed is None or self._explainer.is_destroyed(place):
            told = self._explainer.of(place)
            if isinstance(told, str):
                raise Missing(told, place.ledger, place.seq)
            return {"seq": place.seq, "state": "erased", "disposal": told.disposal}
        columns = _facets(place, item.sealed)
        if not self._rule.duty and self._rule.restricted.has(place.seq, columns.flags):
            return {"seq": place.seq, "state": "closed"}
        try:
            raw, record_key = self._opened(place, item.sealed)
            if not self._rule.duty and self._is_restricted_since(place, columns, raw):
                return {"seq": place.seq, "state": "closed"}
        except KeyGone as error:
            raise Missing(f"it cannot be opened: {error}", place.ledger, place.seq) from None
        if self._rule.conversation not in (None, _conversation(raw)):
            raise Modified("a blind index finds a record of another conversation", place.ledger, place.seq)
        salt = canonical.b64(item.sealed.salt or b"")
        if self._rule.full:
            return {
                "seq": place.seq,
                "state": "full",
                "facets": shown(columns),
                "salt": salt,
                "opening": canonical.b64(envelope.opening(record_key)),
                "record": raw.decode(),
            }
        visible = _masked(columns)
        document = {"seq": place.seq, "state": "masked", "facets": shown(visible)}
        # With the salt, a guess of what is masked could be tested.
        document |= {"salt": salt} if visible == columns else {}
        return document | {"masked": masking.mask(msgspec.json.decode(raw))}

    def _opened(self, place: RecordLeaf, row: SealedRow) -> tuple[bytes, bytes]:
        try:
            return self._opener.open(place, row), self._opener.record_key(place, row)
        except KeyGone:  # perhaps moved to another key since the epochs were read: the database knows
            again = Opener(self._vault.engine, self._vault.ring, self._ledger.id)
            return again.open(place, row), again.record_key(place, row)

    def _is_restricted_since(self, place: RecordLeaf, columns: Facets, raw: bytes) -> bool:
        if place.rulebook == self._rulebook:
            return False
        try:
            return in_conflict(self._vault, self._ledger, place, columns, msgspec.json.decode(raw, type=Record))
        except msgspec.MsgspecError:
            raise Modified("what was sealed is no record", place.ledger, place.seq) from None


class _Conversed(msgspec.Struct):
    conversation_id: str


def _conversation(raw: bytes) -> str:
    return msgspec.json.decode(raw, type=_Conversed).conversation_id


def shown(columns: Facets) -> dict[str, Any]:
    """Return facets as a bundle spells them: the numbers and texts of the table in FORMAT.md."""
    below = columns.below_threshold
    return columns._asdict() | {
        "money_moved": int(columns.money_moved),
        "below_threshold": 2 if below is None else int(below),
        "ai_ms": -1 if columns.ai_ms is None else columns.ai_ms,
    }


def _facets(place: RecordLeaf, row: SealedRow) -> Facets:
    try:
        if row.facets is None or None in row.facets[:4] or row.salt is None:
            raise Modified("the facets are missing")
        columns = from_columns(row.facets)
        if facets.digest(columns, row.salt) != canonical.unb64(place.facets, 32):
            raise Modified("the facets are not those the leaf commits to")
    except VaultError as error:
        raise Modified(str(error), place.ledger, place.seq) from None
    return columns


def _masked(columns: Facets) -> Facets:
    def visible(value: str, *path: str) -> str:
        return value if not value or masking.shows(value, *path) else masking.MASKED

    return columns._replace(
        record_id=visible(columns.record_id, "id"),
        record_class=visible(columns.record_class, "record_class"),
        model=visible(columns.model, *_MODEL),
    )
