"""Linking: give drafts their place in a ledger. The only writer of entries, for records and events alike.

    1. lock the head row; compare it with the checkpoint outside the database
    2. let the caller choose, under the lock, which drafts are new
    3. refuse drafts that are sealed under a group which is closed: closing takes the same lock (vault.generations)
    4. spell each leaf with its position and the hash of the leaf before it; hash it into the frontier
    5. COPY leaves and sealed rows, note the subtrees they complete; move the head by compare-and-swap; announce the
       new head outside the database
    6. COMMIT: the commit point. Before it nothing happened; after it the entries are there, whatever dies next
    7. sign the new head and write the checkpoint

A crash between 6 and 7 leaves announced entries that the next append signs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Engine

from vault.checkpoints import Checkpoints
from vault.core import packing
from vault.core.errors import Unavailable
from vault.core.leaf import at
from vault.core.proof import Proof
from vault.core.tree import Frontier, appended_paths, leaf_hash
from vault.db import groups, nodes, store
from vault.db.engine import transact
from vault.db.store import HeadRow


class Item(NamedTuple):
    """One entry to append. Flat, since records cross from one process to another in this shape.

    Attributes:
        draft: head and middle of the leaf (vault.core.leaf.Draft).
        id_tag: 16 bytes, empty for events.
        sealed: what stands beside the leaf, as COPY spells it; None where nothing does.
        opening: the producer's secret, for its receipt; never stored.
        group: whose key ``sealed`` is under; "" where nothing is sealed.
    """

    head: bytes
    middle: bytes
    id_tag: bytes
    sealed: bytes | None
    opening: bytes | None = None
    group: str = ""

    def __repr__(self) -> str:
        return "Item(...)"


class GroupsClosed(Unavailable):
    """Drafts are sealed under groups that are closed. Nothing was written; sealed again, they find their place."""

    def __init__(self, groups: frozenset[str]) -> None:
        super().__init__("groups were closed while records were on their way into them: send the records again")
        self.groups = groups

    def __reduce__(self) -> tuple[type[GroupsClosed], tuple[frozenset[str]]]:
        return type(self), (self.groups,)


@dataclass(frozen=True, slots=True)
class Appended:
    """What one commit appended.

    Attributes:
        before: the frontier before it.
        after: the frontier that the checkpoint signs.
        leaves: the new leaves' bytes, the first at position ``before.size``.
        hashes: their RFC 6962 hashes.
        checkpoint: the signed note that covers exactly this commit; "" when nothing was appended.
    """

    before: Frontier
    after: Frontier
    leaves: tuple[bytes, ...]
    hashes: tuple[bytes, ...]
    checkpoint: str = ""

    def proofs(self) -> list[Proof]:
        """Return one inclusion proof for each new leaf, to this commit's checkpoint."""
        first = self.before.size
        paths = appended_paths(self.before, self.hashes)
        return [Proof(first + at, tuple(path), self.checkpoint) for at, path in enumerate(paths)]


def append(
    engine: Engine, checkpoints: Checkpoints, ledger: UUID, choose: Callable[[Connection], Sequence[Item]]
) -> Appended:
    """Append what ``choose`` returns. It runs under the head's lock, and again where the server asks for a retry.

    Returns:
        The appended leaves, durable and signed.

    Raises:
        Forked: the database is not the one this vault last wrote; ``LedgerFrozen``: it was, and takes nothing any more.
        GroupsClosed: some items are sealed under groups that take nothing any more; nothing was appended.
        Unavailable, UnknownOutcome: nothing may be acknowledged; the same call can be made again.
    """

    def work(connection: Connection) -> Appended:
        head = store.lock_head(connection, ledger)
        checkpoints.require_open(ledger)
        before = checkpoints.require_consistent(ledger, head)
        items = choose(connection)
        if not items:
            return Appended(before, before, (), ())
        _require_live(connection, ledger, items)
        frontier = before.copy()
        leaves, hashes = _spell(head, items)
        completed = frontier.extend_noting(hashes)
        first = head.size
        store.copy_entries(
            connection,
            ledger,
            ((first + at, item.id_tag, packing.pack(leaves[at])) for at, item in enumerate(items)),
        )
        store.copy_sealed(
            connection,
            ledger,
            ((first + at, item.sealed) for at, item in enumerate(items) if item.sealed is not None),
        )
        nodes.insert(connection, ledger, completed)
        moved = HeadRow(frontier.size, hashes[-1], frontier.to_bytes())
        store.move_head(connection, ledger, head, moved)
        checkpoints.announce(ledger, moved)
        return Appended(before, frontier, tuple(leaves), tuple(hashes))

    appended = transact(engine, work)
    return replace(appended, checkpoint=checkpoints.publish(ledger, appended.after))


def _require_live(connection: Connection, ledger: UUID, items: Sequence[Item]) -> None:
    """A statement of its own: it must see what was committed while this transaction waited for the lock."""
    named = {item.group for item in items if item.sealed is not None}
    closed = named - groups.live(connection, ledger, named) if named else named
    if closed:
        raise GroupsClosed(frozenset(closed))


def _spell(head: HeadRow, items: Sequence[Item]) -> tuple[list[bytes], list[bytes]]:
    leaves: list[bytes] = []
    hashes: list[bytes] = []
    previous = head.last_hash
    for seq, item in enumerate(items, head.size):
        leaf = at(item.head, item.middle, seq, previous)
        previous = leaf_hash(leaf)
        leaves.append(leaf)
        hashes.append(previous)
    return leaves, hashes
