"""Tiles: a ledger's tree and its entries as other people's tools read a log (C2SP tlog-tiles), never unsigned.

    1. read the last checkpoint: a tile that needs more entries than it has is not there yet
    2. read the tile's hashes: leaves hashed (level 0), or stored subtree roots, as many as the checkpoint's tree has
    3. read what leads from them to the root: the head's frontier, some hundred stored roots above a full tile
    4. compare with the signed root. Stored rows are no evidence: where they lead elsewhere, nothing is served
    5. cut the tile to the width that was asked for

So a tile costs the same in a ledger of a thousand entries and in one of ten million, and nothing is hashed but its own
256 hashes and those on its way up. Any width that the tree has reached is served, also once the tile is full: the
client may have an older checkpoint.

Missing subtree roots (a ledger from before they were stored) are made good once, by reading all leaves. Wrong ones
stay, and their tiles are refused: to read all leaves for each of them would let anybody keep the vault busy.
"""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from sqlalchemy import Connection

from vault import hashes
from vault.context import Vault
from vault.core import tree
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Missing, Modified, Unknown
from vault.core.nodes import Span, range_root, range_spans, subtree_ranges
from vault.core.tilepath import ENTRIES, FULL, TilePath
from vault.core.tree import TILE_HEIGHT, Frontier, verify_inclusion
from vault.db.engine import translated


def tile(vault: Vault, ledger: UUID, wanted: TilePath) -> bytes:
    """Return a tile's hashes, joined, or an entry bundle: entries as canonical leaves, each behind its length (uint16,
    big-endian).

    Raises:
        Unknown: the last checkpoint's tree has no such tile, or not yet that wide a one.
        Modified: what is stored does not lead to the signed root, or a leaf cannot be read.
        Missing: an entry is not there.
        Forked: there is no checkpoint of this vault, or the entries are not the tree that was signed.
    """
    signed = hashes.read_signed(vault, ledger)
    level = max(wanted.level, 0)
    reach = signed.size >> level * TILE_HEIGHT
    if wanted.end > reach:
        raise Unknown(f"the last checkpoint, of {signed.size} entries, has no such tile")
    own = Span(level, wanted.first, min(wanted.first + FULL, reach))
    leaves, found = _sound(vault, ledger, signed, own)
    if wanted.level == ENTRIES:
        return b"".join(len(leaves[seq]).to_bytes(2, "big") + leaves[seq] for seq in range(wanted.first, wanted.end))
    return b"".join(found[: wanted.width])


Own = tuple[dict[int, bytes], list[bytes]]
"""Leaves by position, at level 0, and a tile's hashes."""


def _sound(vault: Vault, ledger: UUID, signed: Checkpoint, own: Span) -> Own:
    """Steps 2 to 4."""
    try:
        return _read(vault, ledger, signed, own)
    except KeyError as missing:
        level, place = missing.args[0]
        if level == 0:
            raise Missing("an entry is not there", str(ledger), place) from None
    hashes.recomputed(vault, ledger, signed, ())
    try:
        return _read(vault, ledger, signed, own)
    except KeyError:
        raise _unsound(ledger) from None


def _read(vault: Vault, ledger: UUID, signed: Checkpoint, own: Span) -> Own:
    """Raises ``KeyError`` with level and place of a hash that is not there."""
    is_full = own.end - own.first == FULL
    above = subtree_ranges(own.level + 1, own.first // FULL, signed.size) if is_full else []
    with translated(), vault.engine.connect() as connection:
        frontier = hashes.frontier_at(connection, ledger, signed) or _edge(connection, ledger, signed)
        leaves, found = hashes.fetch(connection, ledger, [own], range(own.first, own.end) if own.level == 0 else ())
        _, higher = hashes.fetch(connection, ledger, range_spans(above, signed.size, peaks=False))
    tile = [found[own.level, at] for at in range(own.first, own.end)]
    try:
        if is_full:
            way = [range_root(one, signed.size, higher, frontier) for one in above]
            subtrees = -(-signed.size >> (own.level + 1) * TILE_HEIGHT)  # those begun included
            verify_inclusion(own.first // FULL, subtrees, tree.root(tile), way, signed.root)
        elif _peaks(tile) != _band(frontier, own.level):
            raise Modified("the tile is not the tree's right edge")
    except Modified:
        raise _unsound(ledger) from None
    return leaves, tile


def _edge(connection: Connection, ledger: UUID, signed: Checkpoint) -> Frontier:
    """Return the checkpoint's frontier from the partial tiles at the tree's right edge: the head may be ahead of it."""
    needed = [
        Span(level, signed.size >> (level + 1) * TILE_HEIGHT << TILE_HEIGHT, signed.size >> level * TILE_HEIGHT)
        for level in range(-(-signed.size.bit_length() // TILE_HEIGHT))
    ]
    _, found = hashes.fetch(connection, ledger, needed)
    parts = [_peaks([found[level, at] for at in range(first, end)]) for level, first, end in reversed(needed)]
    with suppress(Modified):
        frontier = Frontier.from_bytes(signed.size, b"".join(parts))
        if frontier.root() == signed.root:
            return frontier
    raise _unsound(ledger)


def _band(frontier: Frontier, level: int) -> bytes:
    """Return the peaks that a level's partial tile folds into."""
    heights = range((level + 1) * TILE_HEIGHT - 1, level * TILE_HEIGHT - 1, -1)
    return b"".join(frontier.peak(height) or b"" for height in heights)


def _peaks(tile: list[bytes]) -> bytes:
    frontier = Frontier()
    frontier.extend(tile)
    return frontier.to_bytes()


def _unsound(ledger: UUID) -> Modified:
    return Modified(
        "stored hashes do not lead to the signed root, so they are not served: 'reasonvault verify' says whether"
        " entries were changed, or only the stored subtree roots",
        str(ledger),
    )
