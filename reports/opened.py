"""Opening the population: sealed rows in, rows for the statistics and lines for the attachment out, in parallel.

    with Opening(vault, ledger.id, processes=2) as opening:
        for item in items:
            for chunk in opening.take(item): ...     # chunks come in the order of the items
        for chunk in opening.finish(): ...

Workers are forked, not spawned: they inherit the opened key ring, so no key is ever pickled or put on a command line.
They are forked before the caller opens its snapshot, and make their own database connection should they ever need one.
Items and chunks travel as MessagePack: pickling them costs eight times as much.
Plaintext lives in a worker for as long as its record is read; what comes back is numbers, ids and relations.

A line of the attachment, without white space between its parts:

    {"seq":17,"leaf_hash":"<64 hex digits>","leaf":{...},"salt":"<base64url>","facets":{"record_id":...}}

The leaf stands there as stored, so its bytes are those that ``leaf_hash`` is made of. The salt lets a reader check the
facets against the leaf (FORMAT.md). Lines that are attached as they are come deflated, too (reports.deflated).

What is kept of a record is the kind's own affair: an ``Extraction``. Evidence's stands here.
"""

from __future__ import annotations

import fcntl
import gc
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from reports.deflated import deflate
from reports.figures import Money
from reports.rows import Opened, Row, confidence_position
from reports.told import Told
from vault.context import Vault
from vault.core import canonical, leaf, record_rules
from vault.core.errors import EvidenceError, KeyGone, Unavailable
from vault.core.flags import Flag
from vault.core.leaf import RecordLeaf
from vault.core.record import API_CODES, FIDELITY_CODES, OUTCOME_CODES, Confidence
from vault.core.record import Money as RecordMoney
from vault.core.tree import leaf_hash
from vault.db.store import SealedRow
from vault.db.tables import FACET_COLUMNS
from vault.opening import Opener
from vault.verdict import Verdict

CHUNK = 500
_APIS = {code: word for word, code in API_CODES.items()}
_OUTCOMES = {code: word for word, code in OUTCOME_CODES.items()}
_FIDELITIES = {code: word for word, code in FIDELITY_CODES.items()}
_FLAGS = tuple((flag.value, (flag.name or "").lower()) for flag in Flag)
R = TypeVar("R")
_OPTIONAL = frozenset({"below_threshold", "score", "ai_ms"})
_REQUIRED = tuple(at for at, name in enumerate(FACET_COLUMNS) if name not in _OPTIONAL)


class Item(NamedTuple):
    """One record to read. ``in_period`` is false for one that is only asked what it says about others."""

    seq: int
    leaf: bytes  # unpacked; vault.checking has seen that it is one
    sealed: SealedRow
    in_period: bool


class Failure(msgspec.Struct, frozen=True):
    """A record that did not open: a verdict's name and what was found. ``gone``: its key does not exist any more."""

    seq: int
    verdict: str
    what: str
    gone: bool = False


class Chunk(msgspec.Struct, Generic[R]):
    """What became of a run of items.

    Attributes:
        rows: the period's, in order.
        lines: the attachment's, one for each of ``rows``.
        deflated: all of ``lines``, where the kind attaches them as they are.
        related: of the others, those that opened.
        failures: every record that did not open.
        opened: how many of ``rows`` did.
    """

    rows: list[R] = []
    lines: list[bytes] = []
    related: list[R] = []
    failures: list[Failure] = []
    opened: int = 0
    deflated: bytes = b""


class Extraction(NamedTuple):
    """What a kind of report keeps of each record. It runs where records are opened, so it may look at all of one; what
    it returns leaves that process, so no text of the record may be in it.

    Attributes:
        of: what ``row`` and ``related`` return, a ``msgspec.Struct``.
        row: a record of the period, None where it did not open.
        related: a record after the period, for what it says about others.
        line: the attachment's line; given the leaf's bytes and the row.
        attached: whether the lines are attached as they are.
    """

    of: type[Any]
    row: Callable[[Item, RecordLeaf, Told | None], Any]
    related: Callable[[Item, RecordLeaf, Told], Any]
    line: Callable[[Item, bytes, Any], bytes]
    attached: bool = False


def has_facets(sealed: SealedRow | None) -> bool:
    """Say whether a row's facets can be read at all; edited ones may miss values, and the verifier tells of those."""
    return sealed is not None and sealed.facets is not None and all(sealed.facets[at] is not None for at in _REQUIRED)


class Opening:
    """Worker processes that open records of one ledger. ``processes`` below 2 opens in this process.

    The access must have been logged before: this is only the mechanism.
    """

    def __init__(self, vault: Vault, ledger: UUID, *, processes: int, extraction: Extraction) -> None:
        self._reader = _Reader(vault, ledger, extraction)
        self._decoder = msgspec.msgpack.Decoder(Chunk[extraction.of])  # type: ignore[name-defined]
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: deque[Future[bytes]] = deque()
        self._most = processes + 1  # one chunk beyond the busy workers keeps them busy
        self._items: list[Item] = []
        if processes > 1:
            fork = multiprocessing.get_context("fork")
            self._pool = ProcessPoolExecutor(processes, mp_context=fork, initializer=_begin, initargs=(self._reader,))
            _result(self._pool.submit(_nothing))  # forks all of them now
            _widen(self._pool)

    def __enter__(self) -> Opening:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def take(self, item: Item) -> Iterator[Chunk[Any]]:
        """Take the next item; yield the chunks that are finished by now."""
        self._items.append(item)
        if len(self._items) >= CHUNK:
            yield from self._submit()

    def finish(self) -> Iterator[Chunk[Any]]:
        """Yield the remaining chunks."""
        yield from self._submit()
        while self._waiting:
            yield self._decoder.decode(_result(self._waiting.popleft()))

    def _submit(self) -> Iterator[Chunk[Any]]:
        items, self._items = self._items, []
        if self._pool is None:
            yield self._reader.read(items)
            return
        self._waiting.append(self._pool.submit(_read, _packer.encode(items)))
        if len(self._waiting) > self._most:
            yield self._decoder.decode(_result(self._waiting.popleft()))


def _widen(pool: ProcessPoolExecutor) -> None:
    """Let a whole chunk into the pool's pipes: each time one is full, a thread waits for the interpreter to go on.

    Only a gain: half the switches, a twentieth of the processor time. Where pipes have no size to set, or the pool does
    not call them that, they stay as they are.
    """
    with suppress(AttributeError, OSError):
        for end in (pool._call_queue._writer, pool._result_queue._reader):  # type: ignore[attr-defined]
            fcntl.fcntl(end.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)


_PIPE = 1 << 20  # bytes: what Linux allows everybody
_worker: _Reader | None = None
_packer = msgspec.msgpack.Encoder()
_items = msgspec.msgpack.Decoder(list[Item])


def _begin(reader: _Reader) -> None:
    global _worker
    # What the parent left is neither garbage nor ours to visit: each look for cycles in it would copy its pages.
    gc.freeze()
    reader.after_fork()
    _worker = reader


def _nothing() -> bytes:
    return b""


def _read(items: bytes) -> bytes:
    assert _worker is not None
    return _packer.encode(_worker.read(_items.decode(items)))


def _result(future: Future[bytes]) -> bytes:
    try:
        return future.result()
    except BrokenProcessPool:
        raise Unavailable("a process that opened records died; no report was made: run the command again") from None


class _Reader:
    """Opens records and keeps of each what a report may hold."""

    def __init__(self, vault: Vault, ledger: UUID, extraction: Extraction) -> None:
        self._engine = vault.engine
        self._extraction = extraction
        self._opener = Opener(vault.engine, vault.ring, ledger)
        self._opener.load()

    def after_fork(self) -> None:
        """Leave the parent's connections alone; a new one is made if a row names an epoch that nobody knows."""
        self._engine.dispose(close=False)

    def read(self, items: Iterable[Item]) -> Chunk[Any]:
        chunk: Chunk[Any] = Chunk([], [], [], [])
        of = self._extraction
        for item in items:
            place = leaf.again(item.leaf)
            record = self._record(item, place, chunk.failures)
            if item.in_period:
                row = of.row(item, place, record)
                chunk.rows.append(row)
                chunk.lines.append(of.line(item, item.leaf, row))
                chunk.opened += record is not None
            elif record is not None:
                chunk.related.append(of.related(item, place, record))
        if of.attached and chunk.lines:
            chunk.deflated = deflate(b"".join(chunk.lines))
        return chunk

    def _record(self, item: Item, place: RecordLeaf, failures: list[Failure]) -> Told | None:
        try:
            return _told.decode(self._opener.open(place, item.sealed))
        except msgspec.MsgspecError:
            failures.append(Failure(item.seq, Verdict.MODIFIED.name, "what was sealed is no record"))
        except KeyGone as error:
            failures.append(Failure(item.seq, Verdict.MISSING.name, f"it cannot be opened: {error}", gone=True))
        except EvidenceError as error:
            failures.append(Failure(item.seq, Verdict.MODIFIED.name, str(error).partition(" at ledger")[0]))
        return None


_told = msgspec.json.Decoder(Told)


def _opened(record: Told) -> Opened:
    decision, review = record.decision, record.review
    return Opened(
        conversation_id=record.conversation_id,
        step=record.step,
        proposed=money_of(decision.proposed),
        executed=money_of(decision.executed),
        threshold=threshold_of(record.confidence) if record.is_ai else None,
        relates_to=tuple((relation.kind, relation.id) for relation in record.relates_to or ()),
        review_agreed=None if review is None else review.agreed,
    )


def money_of(said: RecordMoney | None) -> Money | None:
    """Return an amount as a decimal."""
    return None if said is None else Money(Decimal(said.amount), said.currency)


def score_of(confidence: Confidence | None) -> float | None:
    """Return a score on the scale of ``confidence_position``, None where it has no place there."""
    return None if confidence is None or confidence.score is None else _position(confidence, confidence.score)


def threshold_of(confidence: Confidence | None) -> float | None:
    """Return the threshold that counted, on the same scale: the default one where none is stated."""
    if confidence is None or confidence.threshold is None:
        return record_rules.DEFAULT_THRESHOLD
    return _position(confidence, confidence.threshold)


def _position(confidence: Confidence, value: float) -> float | None:
    minimum, maximum = record_rules.scale(confidence)
    upward = not record_rules.lower_is_better(confidence)
    return confidence_position(value, minimum=minimum, maximum=maximum, higher_is_better=upward)


def _row(item: Item, place: RecordLeaf, record: Told | None) -> Row:
    """``opened`` is None where the record did not open."""
    return _kept(
        item, place, None if record is None else _opened(record), score_of(record.confidence if record else None)
    )


def _related(item: Item, place: RecordLeaf, record: Told) -> Row:
    return _kept(item, place, _opened(record), None)


def _kept(item: Item, place: RecordLeaf, opened: Opened | None, score: float | None) -> Row:
    facets = item.sealed.facets
    assert facets is not None
    return Row(
        seq=item.seq,
        record_id=facets[0],
        occurred_at=facets[1],
        jurisdictions=_codes(facets[2]),
        record_class=facets[3],
        api=api_of(facets[4]),
        outcome=outcome_of(facets[5]),
        money_moved=facets[7],
        model=facets[12] or None,
        score=score,
        below_threshold=bool(facets[8]),
        ai_ms=facets[10],
        flags=facets[11],
        fidelity=_word(_FIDELITIES, facets[6]),
        keep_until=None if place.keep_until is msgspec.UNSET else _instant(place.keep_until),
        group=place.group,
        rules=place.rules,
        rulebook=place.rulebook,
        opened=opened,
    )


def _line(item: Item, data: bytes, row: Row) -> bytes:
    facets: dict[str, Any] = dict(zip(FACET_COLUMNS, item.sealed.facets or (), strict=True))
    facets["occurred_at"] = row.occurred_at.astimezone(UTC)
    facets["jurisdictions"] = row.jurisdictions
    facets["api"] = row.api
    facets["outcome"] = row.outcome
    facets["fidelity"] = row.fidelity
    facets["flags"] = _flags(row.flags)
    facets["model"] = row.model
    return b'{"seq":%d,"leaf_hash":"%b","leaf":%b,"salt":"%b","facets":%b}\n' % (
        item.seq,
        leaf_hash(data).hex().encode(),
        data,
        canonical.b64_bytes(item.sealed.salt or b""),
        _spelled(facets),
    )


_spelled = msgspec.json.Encoder().encode


@lru_cache(maxsize=1024)
def _codes(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


@lru_cache(maxsize=1024)
def _flags(bits: int) -> tuple[str, ...]:
    return tuple(name for value, name in _FLAGS if bits & value)


def api_of(code: int) -> str:
    """Return the API category of a facet's code."""
    return _word(_APIS, code)


def outcome_of(code: int) -> str:
    """Return the outcome of a facet's code."""
    return _word(_OUTCOMES, code)


def _word(words: dict[int, str], code: int) -> str:
    """An edited column may hold a code that nobody gave out; the verifier tells of it."""
    return words.get(code, f"code {code}")


@lru_cache(maxsize=4096)
def _instant(text: str) -> datetime | None:
    """An edited leaf may hold a date that is none; the verifier tells of it."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


EVIDENCE = Extraction(Row, _row, _related, _line, attached=True)
