"""What the events ledger tells of one ledger: accesses, conflicts, and refusals that are open or closed.

A refusal does not consume a record's id. It is closed when an entry with its id tag stands in the ledger; until then a
log is missing. The same record refused ten times is one refusal; lines without a readable id cannot be told apart, so
each of them counts, and none of them can ever be closed.

Memory grows with the number of distinct refused records, some 300 bytes each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec

from reports.figures import Count
from reports.model import Period, Refusal, Refusals
from reports.period import contains
from vault.context import Vault
from vault.core import canonical, leaf, packing
from vault.core.errors import EvidenceError, KeyGone, Modified
from vault.core.leaf import EventLeaf
from vault.db import store
from vault.db.engine import transact
from vault.opening import Opener

ACCESSES = frozenset({"record.opened", "records.opened"})
EXAMPLES = 6
REASONS = 12
_LOOKED_UP = 1000


class _Refused(NamedTuple):
    seq: int  # of the event
    at: str
    producer: str
    line: int
    code: str


class History:
    """Takes the entries of the events ledger in order.

    Args:
        ledger: the ledger that is reported on.
        own: position of this report's own access event, which counts whatever the period; None where there is none.
    """

    def __init__(self, ledger: UUID, period: Period, own: int | None) -> None:
        self.accesses = 0
        self.conflicts = 0
        self._ledger = ledger
        self._period = period
        self._own = own
        self._refused: dict[bytes | int, _Refused] = {}  # by id tag, by position where there is none

    def take(self, told: EventLeaf) -> None:
        """Count one event."""
        facts = told.facts
        if facts.get("ledger") != str(self._ledger):
            return
        if told.event in ACCESSES:
            self.accesses += told.seq == self._own or contains(self._period, _instant(told.at))
        elif told.event == "record.conflict":
            self.conflicts += 1
        elif told.event == "record.refused":
            key = _tag(facts.get("id_tag")) or told.seq
            if key not in self._refused:
                self._refused[key] = _Refused(
                    told.seq,
                    told.at,
                    str(facts.get("producer", "?")),
                    _integer(facts.get("line")),
                    str(facts.get("code", "?")),
                )

    def refusals(self, vault: Vault, *, details: bool) -> Refusals:
        """Tell open refusals from closed ones.

        Args:
            details: open the sealed details of the examples, for path and reason; only where an access event says so.
        """
        here = self._resent(vault)
        still = [refused for key, refused in self._refused.items() if key not in here]
        reasons = Counter(refused.code.replace("_", " ") for refused in self._refused.values())
        examples = still[:EXAMPLES]
        told = _details(vault, [refused.seq for refused in examples]) if details else {}
        return Refusals(
            open=len(still),
            closed=len(self._refused) - len(still),
            by_reason=tuple(Count(code, count) for code, count in reasons.most_common(REASONS)),
            examples=tuple(_example(refused, told.get(refused.seq)) for refused in examples),
        )

    def _resent(self, vault: Vault) -> set[bytes | int]:
        """The id tags among the refused that stand in the ledger by now."""
        tags = [tag for tag in self._refused if isinstance(tag, bytes)]
        found: set[bytes | int] = set()
        for part in _parts(tags, _LOOKED_UP):
            found.update(transact(vault.engine, partial(store.find_tags, ledger_id=self._ledger, id_tags=part)))
        return found


class _Details(msgspec.Struct):
    path: str = "$"
    reason: str = ""


def _details(vault: Vault, seqs: Sequence[int]) -> dict[int, _Details]:
    """Open the details of a few events; those that do not open are left out, since the verifier tells of them."""
    rows = transact(vault.engine, lambda connection: list(store.fetch_entries(connection, vault.events, seqs)))
    opener = Opener(vault.engine, vault.ring, vault.events)
    found: dict[int, _Details] = {}
    for row in rows:
        try:
            told = leaf.parse(packing.unpack(row.leaf or b""))
            if isinstance(told, EventLeaf) and row.sealed is not None:
                found[row.seq] = msgspec.json.decode(opener.open(told, row.sealed), type=_Details)
        except (EvidenceError, KeyGone, msgspec.MsgspecError):
            continue
    return found


def _example(refused: _Refused, details: _Details | None) -> Refusal:
    place = f"line {refused.line}" if refused.line else "no line"
    reason = refused.code.replace("_", " ")
    if details is not None:
        place, reason = f"{place}, {details.path}", details.reason or reason
    return Refusal(_instant(refused.at), refused.producer, place, reason)


def _parts(tags: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (tags[at : at + size] for at in range(0, len(tags), size))


def _tag(spelled: object) -> bytes | None:
    try:
        return canonical.unb64(spelled, leaf.ID_TAG_BYTES) if isinstance(spelled, str) else None
    except Modified:
        return None


def _integer(value: object) -> int:
    return value if isinstance(value, int) else 0


def _instant(text: str) -> datetime:
    """Read an event's time; an edited one, of which the verifier tells, is taken for the beginning of time."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime(1, 1, 1, tzinfo=UTC)
