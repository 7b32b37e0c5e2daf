"""Sealing: one producer's line becomes an entry that only needs its place. Slow, free of locks, runs in parallel.

    parse -> guard -> keep -> seal

Nothing of a refused line leaves this module but its path, its reason and its id tag.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from vault.core import entropy, envelope, facets, guard, leaf
from vault.core.errors import KeyGone, RefusedInput
from vault.core.facets import Facets
from vault.core.flags import Flag
from vault.core.groups import generation_of, stem_of
from vault.core.keeping import Facts, Keeping
from vault.core.mac import hmac_sha256
from vault.core.parse import Parsed, parse
from vault.core.record import API_CODES, FIDELITY_CODES, OUTCOME_CODES, Record
from vault.core.record_rules import DEFAULT_THRESHOLD
from vault.db.copyrows import sealed_fields
from vault.keys.ring import GroupKeys, Ring
from vault.linking import Item

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is the same for every line of one ingest.

    Attributes:
        id_key: the ledger key, 32 bytes; makes id tags.
        producer: our id of who sends.
        keep: how long a record is kept.
        threshold: the ledger's, for records that name none.
        accept_cards: keep card data, flagged, where the ledger's policy says so; refuse it otherwise.
        imported: of an approved import, the first and last instant, in microseconds, at which its records occurred;
            their keeping counts from then, as if they had been received at once. None for everything else.
    """

    ledger: UUID
    id_key: bytes
    producer: str
    keep: Callable[[Facts], Keeping]
    rulebook: bytes
    threshold: float = DEFAULT_THRESHOLD
    accept_cards: bool = False
    imported: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"Terms(ledger={self.ledger}, producer={self.producer})"


class Refused(NamedTuple):
    """A line that cannot be kept. ``id_tag`` is None when the line has no readable id."""

    code: str
    path: str
    reason: str
    id_tag: bytes | None


class Waiting(NamedTuple):
    """A line that needs keys that were not provided yet.

    Attributes:
        stem: whose keys; see vault.core.groups.
        gone: the group that was written for the stem until now and takes nothing any more; "" where there is none.
    """

    stem: str
    gone: str = ""


Outcome = Item | Refused | Waiting
"""A line ready to be linked, one that cannot be kept, or one that needs other keys first."""


class Sealer:
    """Seals lines for one ledger and producer. One per process; ``provide`` it with keys as they come."""

    def __init__(self, ring: Ring, terms: Terms) -> None:
        self._ring = ring
        self._terms = terms
        self._keys: dict[str, tuple[GroupKeys, bytes]] = {}  # by stem, and the opened index key
        self._gone: dict[str, str] = {}  # stem -> group whose key is destroyed

    def sibling(self, producer: str) -> Sealer:
        """Return a sealer for another producer of the same ledger; keys provided to either serve both."""
        return self.under(replace(self._terms, producer=producer))

    def under(self, terms: Terms) -> Sealer:
        """Return a sealer of the same ledger under other terms; keys provided to either serve both."""
        twin = Sealer(self._ring, terms)
        twin._keys, twin._gone = self._keys, self._gone
        return twin

    def follow(self, rulebook: bytes, keep: Callable[[Facts], Keeping]) -> None:
        """Date by another rule book from now on."""
        if rulebook != self._terms.rulebook:
            self._terms = replace(self._terms, rulebook=rulebook, keep=keep)

    def provide(self, keys: Iterable[GroupKeys]) -> None:
        """Use these keys from now on; of one stem the highest generation wins, and of one group the latest."""
        for one in keys:
            stem = stem_of(one.group.group)
            known = self._keys.get(stem)
            if known is None or _follows(one, known[0]):
                try:
                    self._keys[stem] = (one, self._ring.open_index_key(one.group))
                except KeyGone:  # closed and destroyed since it was provisioned
                    self._gone[stem] = one.group.group

    def forget(self, names: Collection[str]) -> None:
        """Seal nothing under these groups any more: they are closed."""
        for stem, (keys, _) in list(self._keys.items()):
            if keys.group.group in names:
                self._keys.pop(stem, None)

    def seal(self, lines: Iterable[bytes], now_us: int) -> list[Outcome]:
        """Return one outcome a line. ``now_us`` is when they were received."""
        received_at = leaf.instant_ms(now_us)
        return [self._one(line, now_us, received_at) for line in lines]

    def _one(self, raw: bytes, now_us: int, received_at: str) -> Outcome:
        terms = self._terms
        try:
            parsed = parse(raw, now_us=now_us, default_threshold=terms.threshold)
            noticed = _guarded(raw, parsed, accept_cards=terms.accept_cards)
            facts = _facts(parsed, now_us) if terms.imported is None else _facts_of_old(parsed, *terms.imported)
            keeping = terms.keep(facts)
        except RefusedInput as refusal:
            return Refused(refusal.code, refusal.path, refusal.reason, _id_tag_of(raw, terms.id_key))
        stem = keeping.group.partition(".")[0]
        held = self._keys.get(stem)  # once: another thread may have it forgotten
        if held is None:
            return Waiting(stem, self._gone.get(stem, ""))
        flags = int(parsed.flags) | noticed | int(keeping.flags)
        if facts.dates_trigger:
            flags |= Flag.DATES_ANOTHER
        if terms.imported is not None:
            flags |= Flag.IMPORTED
        try:
            return self._sealed(raw, parsed, facets_of(parsed, flags), keeping, received_at, held)
        except KeyGone:
            return Waiting(stem, held[0].group.group)

    def _sealed(
        self,
        raw: bytes,
        parsed: Parsed,
        columns: Facets,
        keeping: Keeping,
        received_at: str,
        held: tuple[GroupKeys, bytes],
    ) -> Item:
        terms, record = self._terms, parsed.record
        keys, index_key = held
        record_key = entropy.draw(32)
        salt = entropy.draw(facets.SALT_BYTES)
        context = context_of(columns, terms.ledger, terms.producer, record.producer_seq, record.schema)
        sealed = envelope.seal(raw, record_key, context)
        tag = id_tag(terms.id_key, record.id)
        draft = leaf.record_draft(
            facets=facets.digest(columns, salt),
            group=keys.group.group,
            id_tag=tag,
            keep_until=keeping.keep_until,
            key=sealed.key_commitment,
            ledger=terms.ledger,
            parts=(sealed.part_digest,),
            plaintext=sealed.plaintext_commitment,
            producer=terms.producer,
            producer_seq=record.producer_seq,
            received_at=received_at,
            rulebook=terms.rulebook,
            rules=keeping.rules,
        )
        row = sealed_fields(
            keys.epoch.epoch_id,
            self._ring.wrap_record_key(keys.epoch, record_key, sealed.key_commitment),
            sealed.envelope,
            salt,
            columns,
            blind_tags(index_key, record),
        )
        return Item(draft.head, draft.middle, tag, row, sealed.opening, keys.group.group)


def unsealed(outcomes: Iterable[Outcome], names: Collection[str]) -> list[Outcome]:
    """Return outcomes with those that are sealed under these groups, which are closed, waiting for other keys."""
    return [
        Waiting(stem_of(one.group), one.group) if isinstance(one, Item) and one.group in names else one
        for one in outcomes
    ]


def _follows(one: GroupKeys, known: GroupKeys) -> bool:
    if one.group.group == known.group.group:
        return one.epoch.epoch_id != known.epoch.epoch_id
    return generation_of(one.group.group) > generation_of(known.group.group)


def id_tag(id_key: bytes, record_id: str) -> bytes:
    """Return the tag under which a record id is unique in its ledger for ever: HMAC-SHA-256, first 16 bytes."""
    return hmac_sha256(id_key, record_id.encode())[: leaf.ID_TAG_BYTES]


def blind_tags(index_key: bytes, record: Record) -> tuple[int, int | None, int | None]:
    """Return the blind indexes of conversation, transaction and customer: HMAC-SHA-256, first 8 bytes, signed."""
    return (
        blind_tag(index_key, b"conversation", record.conversation_id),
        record.decision.transaction_id and blind_tag(index_key, b"transaction", record.decision.transaction_id),
        record.customer_ref and blind_tag(index_key, b"customer", record.customer_ref),
    )  # type: ignore[return-value]  # ids are never empty, so None is the only falsy value


def blind_tag(index_key: bytes, field: bytes, value: str) -> int:
    """Return one blind index; searching computes the same under each live group's index key."""
    return int.from_bytes(hmac_sha256(index_key, field + b"\0" + value.encode())[:8], signed=True)


def context_of(columns: Facets, ledger: UUID, producer: str, producer_seq: int | None, schema: str) -> envelope.Context:
    """Return the context a record is sealed under, from what stands beside its envelope."""
    return envelope.Context(
        ledger, columns.record_id, producer, producer_seq, schema, columns.record_class, columns.jurisdictions
    )


def from_columns(row: tuple[object, ...]) -> Facets:
    """Return the facets that column values spell, in the order of FACET_COLUMNS."""
    occurred_at = row[1]
    assert isinstance(occurred_at, datetime)
    return Facets(row[0], (occurred_at - _EPOCH) // _MICROSECOND, *row[2:])  # type: ignore[arg-type]  # COPY's types


def _guarded(raw: bytes, parsed: Parsed, *, accept_cards: bool) -> int:
    flags = 0  # plain integers: combining members of an IntFlag costs a microsecond each
    for finding in guard.inspect(raw, parsed.tree):
        if not guard.is_card_data(finding):
            flags |= Flag.IDENTITY_NUMBER
        elif accept_cards and finding.type == "card_number":
            flags |= Flag.CARD_DATA
        else:
            raise RefusedInput(
                f"{finding.type.replace('_', ' ')} found: redact it and send the record again with the same id",
                finding.path,
                finding.type,
            )
    return flags


def _facts(parsed: Parsed, now_us: int) -> Facts:
    record = parsed.record
    executed = record.decision.executed_at
    return Facts(
        parsed.occurred_at_us,
        now_us,
        None if executed is None else (executed - _EPOCH) // _MICROSECOND,
        tuple(record.jurisdictions),
        record.record_class,
        any(relation.kind == "dates" for relation in record.relates_to or ()),
    )


def _facts_of_old(parsed: Parsed, first: int, last: int) -> Facts:
    """Return the facts of a record that an import brings in: received when it occurred.

    Raises:
        RefusedInput: it did not occur within the time that was approved.
    """
    if not first <= parsed.occurred_at_us <= last:
        raise RefusedInput("lies outside the time that this import was approved for", "$.occurred_at", "import_period")
    return _facts(parsed, parsed.occurred_at_us)


def facets_of(parsed: Parsed, flags: int) -> Facets:
    """Return a record's facets; ``flags`` are all that was noticed at write."""
    record = parsed.record
    model, timing, confidence = record.model, record.timing, record.confidence
    return Facets(
        record.id,
        parsed.occurred_at_us,
        ",".join(record.jurisdictions),
        record.record_class,
        API_CODES[record.api],
        OUTCOME_CODES[record.decision.outcome],
        FIDELITY_CODES[record.source.fidelity],
        record.decision.money_moved,
        parsed.below_threshold,
        None if confidence is None else confidence.score,
        None if timing is None or timing.ai_ms is None else int(min(timing.ai_ms, 2**31 - 1)),
        flags,
        "" if model is None else model.served or model.requested or "",
    )


class _Id(msgspec.Struct):
    id: str


def _id_tag_of(raw: bytes, id_key: bytes) -> bytes | None:
    try:
        return id_tag(id_key, msgspec.json.decode(raw, type=_Id).id)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
