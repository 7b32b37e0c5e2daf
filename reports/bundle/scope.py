"""Scope of a bundle: which entries of a ledger it is of, found before anything is decided or opened.

What occurred when, and in which conversation, is not in leaves: what is found here is what the columns say, each row
compared with its leaf. A record that was destroyed has no columns: it is found by its id, its position, or in the whole
ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from vault import matching
from vault.context import Vault
from vault.core import leaf, masking
from vault.core.errors import Modified, UsageError
from vault.core.facets import Facets
from vault.core.grant import Scope as Granted
from vault.core.selection import Selection
from vault.db import store
from vault.db.engine import transact
from vault.ledgers import Ledger
from vault.matching import Terms
from vault.sealing import id_tag

Kind = Literal["whole", "period", "record", "conversation", "positions"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked for. Times are microseconds since the epoch, the end excluded; None leaves that end open."""

    kind: Kind = "whole"
    start: int | None = None
    end: int | None = None
    record: str | None = None
    conversation: str | None = None
    positions: tuple[int, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as the manifest tells it; what was looked for is sealed."""
        bounds = {"from": _instant(self.start), "to": _instant(self.end)} if self.kind == "period" else {}
        return {"kind": self.kind, **bounds}

    def terms(self) -> dict[str, Any]:
        """Return what was looked for, for the sealed details of the access event."""
        said = {"record": self.record, "conversation": self.conversation}
        return self.document() | {name: one for name, one in said.items() if one is not None}


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a scope.

    Attributes:
        first, last: bounds of ``occurred_at``, both included; None where there are no facets.
        destroyed: some have no facets any more, so no period or class of a grant covers them.
    """

    chosen: Selection
    first: int | None = None
    last: int | None = None
    classes: frozenset[str] = frozenset()
    destroyed: bool = False

    def within(self, scope: Granted, ledger: str, *, whole: bool) -> bool:
        """Say whether a grant covers all of it."""
        if ledger not in scope.ledgers:
            return False
        if scope.start is None and scope.end is None and not scope.classes:
            return True
        if whole or self.destroyed or self.first is None or self.last is None:
            return False
        bounds = (self.first, self.last)
        return all(scope.covers(ledger, at, one) for at in bounds for one in self.classes)


def find(vault: Vault, ledger: Ledger, scope: Scope, size: int) -> Found | None:
    """Return what lies in a scope, below ``size``; None where there is nothing.

    Raises:
        UsageError: a position that is no record's.
        Modified: a row is not what its leaf says; nobody can say then where it belongs.
    """
    if scope.kind == "whole":
        return Found(Selection(((1, size - 1),)), destroyed=True) if size > 1 else None
    if scope.kind in ("record", "positions"):
        seqs = _of_id(vault, ledger, scope.record) if scope.record is not None else scope.positions
        if any(not 0 < seq < size for seq in seqs):
            raise UsageError(f"positions of records in {ledger.row.name} are from 1 to {size - 1}")
        return _gathered((one.leaf.seq, one.facets) for one in matching.entries(vault, ledger.id, Selection.of(seqs)))
    terms = Terms(
        conversations=() if scope.conversation is None else (scope.conversation,), start=scope.start, end=scope.end
    )
    return _gathered(_sound(ledger.id, matching.matching(vault, ledger.id, terms, 1, size)))


def why_masked(scope: Scope) -> str | None:
    """Return why a masked grant may not look for this, None when it may: it would confirm what it never shows."""
    if scope.conversation is not None and not masking.shows(scope.conversation, "conversation_id"):
        return "this grant masks such a conversation id: a bundle of it needs one that shows everything"
    return None


def _of_id(vault: Vault, ledger: Ledger, record: str) -> tuple[int, ...]:
    tag = id_tag(vault.ring.open_ledger_key(vault.tenant_key, ledger.id, ledger.row.id_key), record)
    return tuple(transact(vault.engine, lambda connection: store.find_tags(connection, ledger.id, [tag])).values())


def _sound(ledger: UUID, found: Iterable[matching.Match]) -> Iterable[tuple[int, Facets | None]]:
    for one in found:
        if one.facets is None:
            raise Modified("the facets are not those the leaf commits to", str(ledger), one.seq)
        yield one.seq, one.facets


def _gathered(found: Iterable[tuple[int, Facets | None]]) -> Found | None:
    """Gather positions that ascend, or begin again: as ranges, since there may be millions."""
    ranges: list[tuple[int, int]] = []
    chosen = Selection()
    first: int | None = None
    last: int | None = None
    classes: set[str] = set()
    destroyed = False
    for seq, facets in found:
        if ranges and seq == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], seq)
        elif ranges and seq <= ranges[-1][1]:
            chosen, ranges = chosen | Selection(tuple(ranges)), [(seq, seq)]
        else:
            ranges.append((seq, seq))
        if facets is None:
            destroyed = True
            continue
        first = facets.occurred_at if first is None else min(first, facets.occurred_at)
        last = facets.occurred_at if last is None else max(last, facets.occurred_at)
        classes.add(facets.record_class)
    chosen = chosen | Selection(tuple(ranges))
    return Found(chosen, first, last, frozenset(classes), destroyed) if chosen.ranges else None


def _instant(us: int | None) -> str | None:
    return None if us is None else leaf.instant(us // 1_000_000)
