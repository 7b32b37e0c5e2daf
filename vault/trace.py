"""The trace: who did what, read back from the events ledger, newest first. Reading it is an event as well.

A page looks at ``SCAN`` entries at the most, so a filter that nothing fits costs no more than one that everything
fits; it may then be short or empty and still say where to go on. Whether the ledger is whole is not checked here:
that is what ``vault.audit`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec

from vault import events
from vault.context import Vault
from vault.core import leaf, packing
from vault.core.errors import Denied, EvidenceError, KeyGone, UsageError
from vault.core.leaf import EventLeaf, microseconds
from vault.core.standing import Standing
from vault.db import store
from vault.db.engine import transact, translated
from vault.events import Event, Ruling, refuse
from vault.opening import Opener

SCAN = 20_000
MOST = 500
_BLOCK = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events. None means any; times are microseconds since the epoch, the end excluded.

    Attributes:
        ledger: uuid of a ledger that the event's facts name, alone or among others.
        before: only events below this position; None starts at the newest.
    """

    event: str | None = None
    actor: str | None = None
    ledger: str | None = None
    start: int | None = None
    end: int | None = None
    before: int | None = None
    limit: int = 100

    def fits(self, told: EventLeaf) -> bool:
        at = microseconds(told.at)
        return (
            (self.event is None or told.event == self.event)
            and (self.actor is None or told.actor == self.actor)
            and (self.ledger is None or self.ledger in (told.facts.get("ledger"), *told.facts.get("ledgers", ())))
            and (self.start is None or at >= self.start)
            and (self.end is None or at < self.end)
        )


class Shown(NamedTuple):
    """One event; ``details`` is None where it has none, or where whoever asks may not see them."""

    seq: int
    leaf: EventLeaf
    details: dict[str, Any] | None


class Page(NamedTuple):
    """Events, newest first. ``before`` goes on where the page ended; None when the beginning was reached."""

    shown: list[Shown]
    before: int | None
    access: int


def page(vault: Vault, wanted: Wanted) -> Page:
    """Return a page of the trace. An event is committed first, so it is part of the next page.

    Details (purposes, names, paths) are opened for compliance officers and the passphrase's holder only.

    Raises:
        UsageError: a limit that is not 1 to ``MOST``.
        Denied: whoever asks is neither of them, nor an auditor.
    """
    if not 1 <= wanted.limit <= MOST:
        raise UsageError(f"a page has 1 to {MOST} events")
    actor = vault.actor
    filters = {key: getattr(wanted, key) for key in ("event", "actor", "ledger") if getattr(wanted, key) is not None}

    def decide(standing: Standing) -> Ruling[frozenset[str]]:
        roles = actor.roles_by(standing)
        if not actor.break_glass and not roles & {"auditor", "officer"}:
            denial = Event("access.denied", {"act": "events.read", "code": "role"})
            return refuse(Denied("only auditors and compliance officers see the trace"), denial)
        return Ruling([Event("events.read", {"limit": wanted.limit}, filters or None)], roles)

    told, roles = events.rule(vault, decide)
    bounded = replace(wanted, before=min(told.seq, told.seq if wanted.before is None else wanted.before))
    found, before = _scan(vault, bounded)
    opened = details(vault, [seq for seq, _ in found]) if actor.break_glass or "officer" in roles else {}
    return Page([Shown(seq, one, opened.get(seq)) for seq, one in found], before, told.seq)


def details(vault: Vault, seqs: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the sealed details of events, by position. Those that cannot be opened any more are left out."""
    rows = transact(vault.engine, lambda connection: list(store.fetch_entries(connection, vault.events, seqs)))
    opener = Opener(vault.engine, vault.ring, vault.events)
    opened: dict[int, dict[str, Any]] = {}
    for row in rows:
        if row.leaf is None or row.sealed is None:
            continue
        told = leaf.parse(packing.unpack(row.leaf))
        try:
            if isinstance(told, EventLeaf):
                opened[row.seq] = msgspec.json.decode(opener.open(told, row.sealed), type=dict[str, Any])
        except (EvidenceError, KeyGone):
            continue
    return opened


def _scan(vault: Vault, wanted: Wanted) -> tuple[list[tuple[int, EventLeaf]], int | None]:
    found: list[tuple[int, EventLeaf]] = []
    end = wanted.before or 0
    lowest = max(0, end - SCAN)
    with translated(), vault.engine.connect() as connection:
        while end > lowest:
            first = max(lowest, end - _BLOCK)
            block = list(store.stream_leaves(connection, vault.events, first, end))
            for seq, stored in reversed(block):
                told = leaf.parse(packing.unpack(stored))
                if not isinstance(told, EventLeaf):
                    continue
                if wanted.start is not None and microseconds(told.at) < wanted.start:
                    return found, None  # times of one ledger ascend, but for a clock that was set back
                if wanted.fits(told):
                    found.append((seq, told))
                    if len(found) == wanted.limit:
                        return found, seq
            end = first
    return found, end if end > 0 else None
