"""Matching: which records of a ledger meet the terms of a hold or of somebody's request.

    for match in matching(vault, ledger.id, Terms(customers=("cus-7",)), 0, ledger.size): ...

No access event is written here: nobody is shown anything. What comes of it (a hold, a restriction, an export) is an
event that names the positions.

Facets are compared with the digest that the leaf commits to. A record whose facets, salt or leaf do not fit matches
all the same, marked unsound: a hold keeps it, since what was damaged must not be destroyed either. No leaf commits to
blind indexes, so whoever owns the database can have a customer find another's record, or not find one. A hold does not
rest on them alone: before anything is destroyed it is opened and asked again (retention.holding).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from vault import generations
from vault.context import Vault
from vault.core import canonical, facets, leaf, packing
from vault.core.errors import KeyGone, Missing, Modified
from vault.core.facets import Facets
from vault.core.leaf import RecordLeaf
from vault.core.record import Record
from vault.core.selection import Selection
from vault.db import finding, groups, store
from vault.db.engine import transact
from vault.db.groups import StoredGroup
from vault.db.store import SealedRow
from vault.keys.ring import GroupRow
from vault.opening import Opener
from vault.sealing import blind_tag, from_columns

_PAGE = 2000


@dataclass(frozen=True, slots=True)
class Terms:
    """What records must meet: all terms that are there; of several ids, classes or jurisdictions, one.

    Attributes:
        start, end: bounds of ``occurred_at``, microseconds since the epoch, the end excluded.
    """

    customers: tuple[str, ...] = ()
    conversations: tuple[str, ...] = ()
    transactions: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    jurisdictions: tuple[str, ...] = ()
    start: int | None = None
    end: int | None = None

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        """Return the ids by the field that holds them."""
        return {"customer": self.customers, "conversation": self.conversations, "transaction": self.transactions}


class Match(NamedTuple):
    """One record that matches. ``facets`` is None where they are not those that its leaf commits to."""

    seq: int
    leaf: RecordLeaf | None
    facets: Facets | None


class Entry(NamedTuple):
    """A record with what stands beside it; ``row`` and ``facets`` are None once that was destroyed.

    Attributes:
        data: the leaf's bytes.
    """

    data: bytes
    leaf: RecordLeaf
    row: SealedRow | None
    facets: Facets | None


def matching(vault: Vault, ledger: UUID, terms: Terms, first: int, size: int) -> Iterator[Match]:
    """Yield the records at positions from ``first`` and below ``size`` that match: ascending, and from the beginning
    again where records may have moved to a group that is new since.

    Raises:
        KeyUnavailable: ids are looked for, and the key of a group's blind indexes is out of reach.
    """
    known = _groups(vault, ledger)
    tags = _tags(vault, ledger, terms, known)
    wanted = finding.Matching(
        first,
        size,
        start=None if terms.start is None else _moment(terms.start),
        end=None if terms.end is None else _moment(terms.end),
        conversation_tags=tags["conversation"],
        transaction_tags=tags["transaction"],
        customer_tags=tags["customer"],
        by_tags=any(terms.named.values()),
        classes=terms.classes,
        jurisdictions=terms.jurisdictions,
    )
    while True:
        page = _page(vault, ledger, wanted)
        for row in page:
            yield _match(ledger, row)
        if len(page) < _PAGE:
            break
        wanted = replace(wanted, first_seq=page[-1].seq + 1)
    if wanted.by_tags and {one.name for one in _groups(vault, ledger)} != {one.name for one in known}:
        yield from matching(vault, ledger, terms, first, size)


def standing_of(vault: Vault, ledger: UUID, chosen: Selection) -> Selection:
    """Return which of these records were not destroyed yet."""
    left: list[int] = []
    for part in _parts(chosen):
        left += transact(vault.engine, partial(finding.present, ledger_id=ledger, seqs=part))
    return Selection.of(left)


def entries(vault: Vault, ledger: UUID, chosen: Selection) -> Iterator[Entry]:
    """Yield these records with what stands beside them, ascending.

    Raises:
        Missing: a position has no leaf.
        Modified: it is not a record's, or its facets are not those that the leaf commits to.
    """
    for part in _parts(chosen):
        rows = transact(vault.engine, partial(_fetched, ledger=ledger, seqs=part))
        found = {row.seq: row for row in rows}
        for seq in part:
            stored = found[seq].leaf if seq in found else None
            if stored is None:
                raise Missing("the leaf of a chosen record is not there", str(ledger), seq)
            place = _leaf(ledger, seq, stored)
            if place is None:
                raise Modified("the leaf is not a record's in its place", str(ledger), seq)
            row = found[seq].sealed
            columns = None if row is None or row.facets is None else _facets(place, row.facets, row.salt or b"")
            if row is not None and columns is None:
                raise Modified("the facets are not those the leaf commits to", str(ledger), seq)
            yield Entry(packing.unpack(stored), place, row, columns)


class Reader:
    """Opens records for decisions that show nobody anything: whose it is, how long it is kept."""

    def __init__(self, vault: Vault, ledger: UUID) -> None:
        self._opener = Opener(vault.engine, vault.ring, ledger)

    def raw(self, entry: Entry) -> bytes:
        """Return the exact bytes. Raises as ``Opener.open`` does; ``Missing`` where nothing is there to open."""
        if entry.row is None:
            raise Missing("the record is not there", entry.leaf.ledger, entry.leaf.seq)
        return self._opener.open(entry.leaf, entry.row)

    def record(self, entry: Entry) -> Record:
        """Return what was sealed."""
        return msgspec.json.decode(self.raw(entry), type=Record)


def _tags(vault: Vault, ledger: UUID, terms: Terms, known: list[StoredGroup]) -> dict[str, tuple[int, ...]]:
    """Return every id's blind index under the key of every group that can still hold a record."""
    keys = index_keys(vault, ledger, known) if any(terms.named.values()) else []
    return {
        name: tuple(blind_tag(key, name.encode(), value) for key in keys for value in values)
        for name, values in terms.named.items()
    }


def index_keys(vault: Vault, ledger: UUID, known: list[StoredGroup]) -> list[bytes]:
    """Return the keys of blind indexes of the groups that can still hold a record.

    A group whose key does not open and that no event tells of was made up by somebody: it holds nothing.
    """
    keys = []
    for one in known:
        if one.state == "destroyed" or not one.index_key:
            continue
        try:
            keys.append(vault.ring.open_index_key(GroupRow(ledger, one.name, one.key_ref, one.index_key)))
        except (KeyGone, Modified) as error:
            if isinstance(error, KeyGone) and one.state != "live":
                continue  # closed, and its key is dead already: whatever survives it was moved to another group before
            if generations.is_told(vault, ledger, one.name):
                raise
    return keys


def _groups(vault: Vault, ledger: UUID) -> list[StoredGroup]:
    return transact(vault.engine, lambda connection: groups.listing(connection, ledger))


def _page(vault: Vault, ledger: UUID, wanted: finding.Matching) -> list[finding.ScannedRow]:
    return transact(vault.engine, lambda connection: finding.scan(connection, ledger, wanted, _PAGE))


def _match(ledger: UUID, row: finding.ScannedRow) -> Match:
    place = None if row.leaf is None else _leaf(ledger, row.seq, row.leaf)
    return Match(row.seq, place, None if place is None else _facets(place, row.facets, row.salt))


def _leaf(ledger: UUID, seq: int, stored: bytes | None) -> RecordLeaf | None:
    try:
        found = None if stored is None else leaf.parse(packing.unpack(stored))
    except Modified:
        return None
    return found if isinstance(found, RecordLeaf) and (found.ledger, found.seq) == (str(ledger), seq) else None


def _facets(place: RecordLeaf, row: tuple[Any, ...], salt: bytes) -> Facets | None:
    try:
        columns = from_columns(row)
        return columns if facets.digest(columns, salt) == canonical.unb64(place.facets, 32) else None
    except (Modified, AssertionError):
        return None


def _fetched(connection: Connection, ledger: UUID, seqs: list[int]) -> list[store.AuditRow]:
    return list(store.fetch_entries(connection, ledger, seqs))


def _parts(chosen: Iterable[int]) -> Iterator[list[int]]:
    part: list[int] = []
    for seq in chosen:
        part.append(seq)
        if len(part) == _PAGE:
            yield part
            part = []
    if part:
        yield part


def _moment(us: int) -> datetime:
    """Return a bound as the database can compare it; one beyond the calendar bounds nothing less for that."""
    try:
        return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)
    except (ValueError, OverflowError, OSError):
        return (datetime.max if us > 0 else datetime.min).replace(tzinfo=UTC)
