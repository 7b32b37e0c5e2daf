"""Leaves of a ledger, believed only where they stand in the tree that was signed.

    for seq, data, hashed in signed(vault, ledger, [7, 9, 1204]): ...

    1. open the checkpoint: its signature says which tree is meant
    2. read the stored roots of all subtrees of 256 leaves, and the leaves behind the last of them. Where they lead to
       the signed root, each of them is right, since none can be exchanged without changing it
    3. read the subtrees that hold a wanted leaf, whole, and compare the root of each with the stored one
    4. where 2 fails, the stored roots are wrong or missing, which proves nothing: read all leaves instead

Not checked: leaves of subtrees that nobody asked for; that is for the verifier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from vault.context import Vault
from vault.core import packing
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Forked, Missing
from vault.core.tree import HASH_BYTES, TILE_HEIGHT, Frontier, leaf_hash
from vault.db import nodes, store
from vault.db.engine import translated
from vault.linking import append

_WIDTH: Final = 1 << TILE_HEIGHT

Read = tuple[int, bytes, bytes]
"""Position, leaf, its hash."""


def signed(vault: Vault, ledger: UUID, wanted: Sequence[int]) -> Iterator[Read]:
    """Yield (position, leaf, its hash) of entries under the last checkpoint, which must reach the last of them.

    Args:
        wanted: positions, ascending, each once.

    Nothing may be believed before the end was reached.

    Raises:
        Forked: the entries are not the tree that was signed; known at the end.
        Missing: nothing signed stands at the last position.
        Modified: a leaf cannot be read.
    """
    if not wanted:
        return
    checkpoint = _checkpoint(vault, ledger, wanted[-1])
    with translated(), vault.engine.connect() as connection:
        known = _known(connection, ledger, checkpoint)
        found = _all(connection, ledger, checkpoint) if known is None else _some(connection, ledger, wanted, known)
        following = iter(wanted)
        seq = next(following)
        for read in found:
            if read[0] == seq:
                yield read
                seq = next(following, -1)
    if seq != -1:
        raise _forked(ledger, seq)


class _Known(NamedTuple):
    """What was found to lead to the signed root: the root of every whole subtree, joined, and the leaves behind."""

    roots: bytes
    behind: list[Read]


def _checkpoint(vault: Vault, ledger: UUID, last: int) -> Checkpoint:
    checkpoint = vault.checkpoints.read(ledger)
    if checkpoint is not None and checkpoint.size <= last and vault.checkpoints.is_frozen(ledger):
        what = "entries stand behind the good head of a frozen ledger: keep a copy, and delete their rows as the owner"
        raise Missing(what, str(ledger), checkpoint.size)
    if checkpoint is None or checkpoint.size <= last:  # a commit that died left entries unsigned
        append(vault.engine, vault.checkpoints, ledger, lambda _connection: ())
        checkpoint = vault.checkpoints.read(ledger)
    if checkpoint is None or checkpoint.size <= last:
        raise Missing("no signed entry is there", str(ledger), last)
    return checkpoint


def _known(connection: Connection, ledger: UUID, checkpoint: Checkpoint) -> _Known | None:
    """Step 2."""
    whole = checkpoint.size // _WIDTH
    roots = nodes.fetch_nodes(connection, ledger, 1, 0, whole)
    if len(roots) != whole * HASH_BYTES:
        return None
    above = Frontier()
    above.extend(roots[at : at + HASH_BYTES] for at in range(0, len(roots), HASH_BYTES))
    # A subtree root counts as many leaves as it stands for, so the peaks above are the peaks of all of them.
    frontier = Frontier.from_bytes(whole * _WIDTH, above.to_bytes())
    behind = list(_read(connection, ledger, whole * _WIDTH, checkpoint.size))
    if len(behind) != checkpoint.size - frontier.size:
        return None
    frontier.extend(hashed for _, _, hashed in behind)
    return _Known(roots, behind) if frontier.root() == checkpoint.root else None


def _some(connection: Connection, ledger: UUID, wanted: Sequence[int], known: _Known) -> Iterator[Read]:
    """Step 3."""
    end = len(known.roots) // HASH_BYTES
    for first, last in _runs(seq // _WIDTH for seq in wanted):
        some: list[Read] = []
        place = first
        for read in _read(connection, ledger, first * _WIDTH, min(last + 1, end) * _WIDTH):
            some.append(read)
            if len(some) < _WIDTH:
                continue
            frontier = Frontier()
            frontier.extend(hashed for _, _, hashed in some)
            if frontier.root() != known.roots[place * HASH_BYTES : (place + 1) * HASH_BYTES]:
                raise _forked(ledger, place * _WIDTH)
            yield from some
            some.clear()
            place += 1
        if place != min(last + 1, end):
            raise _forked(ledger, place * _WIDTH)
    yield from known.behind


def _all(connection: Connection, ledger: UUID, checkpoint: Checkpoint) -> Iterator[Read]:
    """Step 4."""
    frontier, some = Frontier(), list[bytes]()
    for read in _read(connection, ledger, 0, checkpoint.size):
        yield read
        some.append(read[2])
        if len(some) == _WIDTH:
            frontier.extend(some)
            some.clear()
    frontier.extend(some)
    if frontier.size != checkpoint.size or frontier.root() != checkpoint.root:
        raise _forked(ledger, checkpoint.size)


def _read(connection: Connection, ledger: UUID, first: int, end: int) -> Iterator[Read]:
    if first < end:
        for seq, stored in store.stream_leaves(connection, ledger, first, end):
            data = packing.unpack(stored)
            yield seq, data, leaf_hash(data)


def _runs(places: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of ascending numbers without a gap; a number may come more than once."""
    first = last = next(places)
    for place in places:
        if place > last + 1:
            yield first, last
            first = place
        last = place
    yield first, last


def _forked(ledger: UUID, seq: int) -> Forked:
    return Forked("the entries are not the tree that was signed", str(ledger), seq)
