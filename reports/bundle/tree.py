"""Leaves of a bundle, and the hashes that lead from them to the signed root.

    1. write the leaves, one a line, and keep their hashes: 40 bytes a leaf
    2. read the root of every largest range of the tree without a leaf of the bundle: from stored subtree roots
    3. compute the root of both, as whoever checks the bundle will. Stored roots are no evidence: where it is not the
       signed one, take the hashes from the leaves themselves, all of them read, and only they decide
    4. write the hashes

Format: docs/reference/bundle.md, "Leaves and their proof".
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

from sqlalchemy import Connection

from reports.bundle.zip import Archive
from vault import hashes
from vault.context import Vault
from vault.core import packing
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Forked, Missing, Modified
from vault.core.nodes import Range, range_root, range_spans
from vault.core.selection import Selection
from vault.core.tree import HASH_BYTES, leaf_hash, node_hash, root
from vault.db import store
from vault.db.engine import translated

_PAGE = 2000
"""Leaves, or ranges, that are read at once."""


class Proved:
    """The leaves of one ledger that are in the bundle. ``hash_of`` gives the hash of one of them."""

    def __init__(self, chosen: Selection) -> None:
        self.chosen = chosen
        self._positions = array("q")
        self._hashes = bytearray()

    def __len__(self) -> int:
        return len(self._positions)

    def take(self, seq: int, hashed: bytes) -> None:
        self._positions.append(seq)
        self._hashes += hashed

    def hash_of(self, seq: int) -> bytes:
        at = bisect_left(self._positions, seq)
        return self.at(at) if at < len(self._positions) and self._positions[at] == seq else b""

    def at(self, place: int) -> bytes:
        return bytes(self._hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES])

    def range(self, first: int, last: int) -> list[bytes]:
        return [self.at(place) for place in range(first, last)]

    def place(self, seq: int, low: int = 0, high: int | None = None) -> int:
        return bisect_left(self._positions, seq, low, len(self) if high is None else high)


def write_ledger(
    vault: Vault,
    archive: Archive,
    ledger: UUID,
    checkpoint: Checkpoint,
    chosen: Selection,
    seen: Callable[[bytes], None] = lambda _data: None,
) -> Proved:
    """Write ``leaves.jsonl`` and ``nodes.bin`` of a ledger; ``seen`` is shown each leaf.

    Raises:
        Missing: a leaf is not there.
        Forked: the entries are not the tree that was signed.
    """
    proved, folder = Proved(chosen), f"ledgers/{ledger}"
    following = iter(chosen)
    with archive.file(f"{folder}/leaves.jsonl") as lines, translated(), vault.engine.connect() as connection:
        for seq, stored in _leaves(connection, ledger, chosen):
            if seq != (expected := next(following)):
                raise Missing("an entry is not there", str(ledger), expected)
            data = packing.unpack(stored)
            lines.write(data + b"\n")
            proved.take(seq, leaf_hash(data))
            seen(data)
    if (absent := next(following, None)) is not None:
        raise Missing("an entry is not there", str(ledger), absent)
    nodes = _nodes(vault, ledger, checkpoint, proved)
    with archive.file(f"{folder}/nodes.bin", packs=False) as file:
        for node in nodes:
            file.write(node)
    return proved


def _leaves(connection: Connection, ledger: UUID, chosen: Selection) -> Iterator[tuple[int, bytes]]:
    """Yield stored leaves: long runs as a stream, what lies scattered a page at a time."""
    page: list[int] = []
    for first, last in chosen.ranges:
        if last - first < _PAGE:
            page += range(first, last + 1)
        if page and (len(page) >= _PAGE or last - first >= _PAGE):
            yield from store.fetch_leaves(connection, ledger, page)
            page = []
        if last - first >= _PAGE:
            yield from store.stream_leaves(connection, ledger, first, last + 1)
    yield from store.fetch_leaves(connection, ledger, page)


def _nodes(vault: Vault, ledger: UUID, checkpoint: Checkpoint, proved: Proved) -> list[bytes]:
    """Steps 2 and 3."""
    wanted = list(asides(proved.chosen, checkpoint.size))
    made: list[bytes] = []
    try:
        with translated(), vault.engine.connect() as connection:
            for at in range(0, len(wanted), _PAGE):
                part = wanted[at : at + _PAGE]
                _, found = hashes.fetch(connection, ledger, range_spans(part, checkpoint.size))
                made += [range_root(one, checkpoint.size, found) for one in part]
        if _root(checkpoint.size, proved, made) == checkpoint.root:
            return made
    except (KeyError, Modified):
        pass
    found = hashes.recomputed(vault, ledger, checkpoint, range_spans(wanted, checkpoint.size))
    made = [range_root(one, checkpoint.size, found) for one in wanted]
    if _root(checkpoint.size, proved, made) != checkpoint.root:
        raise Forked("the entries are not the tree that was signed", str(ledger), checkpoint.size)
    return made


def asides(chosen: Selection, size: int) -> Iterator[Range]:
    """Yield the largest ranges of a tree that RFC 6962 splits it into and that hold none of the positions, in order."""
    lasts = [last for _, last in chosen.ranges]
    waiting = [Range(0, size)]
    while waiting:
        low, high = waiting.pop()
        at = bisect_left(lasts, low)
        if at == len(lasts) or chosen.ranges[at][0] >= high:
            yield Range(low, high)
        elif chosen.ranges[at][0] > low or lasts[at] < high - 1:
            middle = low + (1 << (high - low - 1).bit_length() - 1)
            waiting += [Range(middle, high), Range(low, middle)]


def _root(size: int, proved: Proved, nodes: Sequence[bytes]) -> bytes:
    """Compute the root as a reader does."""
    following = iter(nodes)

    def of(low: int, high: int, first: int, last: int) -> bytes:
        if first == last:
            return next(following)
        if last - first == high - low:
            return root(proved.range(first, last))
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        cut = proved.place(middle, first, last)
        left = of(low, middle, first, cut)
        return node_hash(left, of(middle, high, cut, last))

    return of(0, size, 0, len(proved))
