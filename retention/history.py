"""History: what the events ledger says about rule books, dates, keys and disposals, from its first entry on.

    history = History.read(vault)
    history.datings[str(ledger.id)].get(seq, ())

``vault.core.standing`` holds what decisions need at any moment. This is the rest: too much to keep in memory, read in
one pass when a plan, a certificate or a report is made. It stands still: ``size`` says up to where it was read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from vault import chronicle
from vault.context import Vault
from vault.core.canonical import unb64
from vault.core.errors import Modified
from vault.core.leaf import EventLeaf, microseconds


class Adopted(NamedTuple):
    """A rule book in force from an event on: ``vault.initialised`` for the first, ``rules.adopted`` for the others.

    Attributes:
        digest: SHA-256 of the book, 32 bytes.
        at: microseconds since the epoch.
        seq: position of the event.
        by: who adopted it.
    """

    digest: bytes
    at: int
    seq: int
    by: str


class Dating(NamedTuple):
    """One report of an event that starts a period.

    Attributes:
        trigger: as a rule book names it.
        at: when it happened, microseconds since the epoch.
        event: position of ``record.dated``.
        by: position of the follow-up record in the same ledger; 0 where a person told it.
    """

    trigger: str
    at: int
    event: int
    by: int


class Followed(NamedTuple):
    """Up to where the follow-ups of a ledger were looked at, and which of them wait for a record that was not there."""

    size: int
    waiting: tuple[int, ...]


class Moved(NamedTuple):
    """Records that went to another group. ``of`` is what they moved for: a disposal or a re-keying."""

    ledger: str
    sources: tuple[str, ...]
    to: str
    selection: str
    number: int
    of: str
    seq: int
    at: int


class KeyEvent(NamedTuple):
    """A provider key made or destroyed. ``facts`` are the event's own."""

    ledger: str
    group: str
    key: str
    seq: int
    at: int
    facts: Mapping[str, Any]


class Step(NamedTuple):
    """One event of a disposal."""

    name: str
    actor: str
    seq: int
    at: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class History:
    """All of it. Ledgers are named by their uuid as text.

    Attributes:
        size: of the events ledger when it was read.
        books: in the order in which they came into force; each digest once.
        datings: ledger -> position -> what dated that record, in the order it was told.
        followed: ledger -> up to where follow-ups were read for datings.
        moves: ledger -> moves, in order.
        created, destroyed: (ledger, group) -> the key that was made, or destroyed.
        disposals: disposal -> its events, in order; a certificate's among them.
    """

    size: int
    books: tuple[Adopted, ...]
    datings: Mapping[str, Mapping[int, tuple[Dating, ...]]]
    followed: Mapping[str, Followed]
    moves: Mapping[str, tuple[Moved, ...]]
    created: Mapping[tuple[str, str], KeyEvent]
    destroyed: Mapping[tuple[str, str], KeyEvent]
    disposals: Mapping[str, tuple[Step, ...]]

    @classmethod
    def read(cls, vault: Vault) -> History:
        """Read the events ledger.

        Raises:
            Forked, Missing, Modified: it is not the one this vault wrote.
        """
        told, size = chronicle.read(vault, NAMES)
        return cls.of(told, size)

    @classmethod
    def of(cls, told: Iterable[EventLeaf], size: int) -> History:
        """Return what events say. Pure.

        Raises:
            Modified: an event of ours without the facts that it is written with.
        """
        made = _Making()
        for event in told:
            try:
                made.take(event)
            except (KeyError, TypeError, ValueError):
                raise Modified(f"the event {event.event} does not have its facts", event.ledger, event.seq) from None
        return cls(
            size,
            tuple(made.books.values()),
            {ledger: {seq: tuple(all_) for seq, all_ in of.items()} for ledger, of in made.datings.items()},
            made.followed,
            {ledger: tuple(all_) for ledger, all_ in made.moves.items()},
            made.created,
            made.destroyed,
            {disposal: tuple(all_) for disposal, all_ in made.disposals.items()},
        )

    def dated(self, ledger: str) -> Mapping[int, tuple[Dating, ...]]:
        """Return what dated the records of a ledger, by position."""
        return self.datings.get(ledger, {})


_DISPOSALS: Final = frozenset(
    {
        "disposal.planned",
        "disposal.approved",
        "disposal.cancelled",
        "disposal.intended",
        "disposal.destroying",
        "disposal.done",
        "certificate.issued",
    }
)
NAMES: Final = _DISPOSALS | {
    "vault.initialised",
    "rules.adopted",
    "record.dated",
    "followups.read",
    "keys.moved",
    "key.created",
    "key.destroyed",
}
"""The events that a history is made of."""


class _Making:
    def __init__(self) -> None:
        self.books: dict[bytes, Adopted] = {}
        self.datings: dict[str, dict[int, list[Dating]]] = defaultdict(lambda: defaultdict(list))
        self.followed: dict[str, Followed] = {}
        self.moves: dict[str, list[Moved]] = defaultdict(list)
        self.created: dict[tuple[str, str], KeyEvent] = {}
        self.destroyed: dict[tuple[str, str], KeyEvent] = {}
        self.disposals: dict[str, list[Step]] = defaultdict(list)

    def take(self, event: EventLeaf) -> None:
        facts, at = event.facts, microseconds(event.at)
        if event.event in _DISPOSALS:
            self.disposals[facts["disposal"]].append(Step(event.event, event.actor, event.seq, at, facts))
        elif event.event in ("vault.initialised", "rules.adopted"):
            digest = unb64(facts["rulebook"], 32)
            if event.event == "rules.adopted" or not self.books:  # a crash may have the first told twice
                self.books.setdefault(digest, Adopted(digest, at, event.seq, event.actor))
        elif event.event == "record.dated":
            dating = Dating(facts["trigger"], microseconds(_text(facts["at"])), event.seq, facts["by"])
            self.datings[facts["ledger"]][facts["seq"]].append(dating)
        elif event.event == "followups.read":
            self.followed[facts["ledger"]] = Followed(facts["size"], tuple(facts["waiting_for"]))
        elif event.event == "keys.moved":
            self._moved(event, at)
        else:
            kept = self.created if event.event == "key.created" else self.destroyed
            one = KeyEvent(facts["ledger"], facts["group"], facts["key"], event.seq, at, facts)
            kept.setdefault((one.ledger, one.group), one)

    def _moved(self, event: EventLeaf, at: int) -> None:
        facts = event.facts
        source = facts["from"]
        sources = (source,) if isinstance(source, str) else tuple(source)
        self.moves[facts["ledger"]].append(
            Moved(
                facts["ledger"], sources, facts["to"], facts["selection"], facts["count"], facts["for"], event.seq, at
            )
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
