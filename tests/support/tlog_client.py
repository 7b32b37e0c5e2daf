"""Somebody else's log reader: C2SP tlog-tiles, signed notes and RFC 6962 from their specifications, nothing of ours.

    client = TlogClient(over_http(url, token), origin, verifier)
    size, root = client.checkpoint()
    client.check_everything(size, root)

It fetches what the specification says a tree of that size has, at the widths it has then, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import urllib.request
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Fetch = Callable[[str], bytes]
"""What stands at a path below the log's prefix."""


def over_http(prefix: str, token: str) -> Fetch:
    """Return a fetcher of a log at a URL, without trailing slash."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def fetch(path: str) -> bytes:
        request = urllib.request.Request(f"{prefix}/{path}", headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - a service that the test itself started
        with opener.open(request, timeout=60) as answer:
            return bytes(answer.read())

    return fetch


class TlogClient:
    """A client of one log. ``fetched`` counts requests; tiles are kept, as a cache would."""

    def __init__(self, fetch: Fetch, origin: str, verifier: str) -> None:
        self._fetch = fetch
        self._origin = origin
        name, key_id, key = verifier.split("+", 2)
        assert name == origin
        self._key_id = bytes.fromhex(key_id)
        self._public = base64.b64decode(key)[1:]
        assert hashlib.sha256(f"{name}\n".encode() + b"\x01" + self._public).digest()[:4] == self._key_id
        self._kept: dict[str, bytes] = {}

    @property
    def fetched(self) -> int:
        return len(self._kept)

    def checkpoint(self) -> tuple[int, bytes]:
        """Return size and root of the newest checkpoint, its signature verified."""
        return self.opened(self._fetch("checkpoint").decode())

    def opened(self, note: str) -> tuple[int, bytes]:
        text, signatures = note.rsplit("\n\n", 1)
        text += "\n"
        origin, size, root = text.splitlines()
        assert origin == self._origin
        lines = [line.split(" ") for line in signatures.splitlines()]
        (ours,) = [base64.b64decode(blob) for dash, name, blob in lines if (dash, name) == ("—", origin)]
        assert ours[:4] == self._key_id
        Ed25519PublicKey.from_public_bytes(self._public).verify(ours[4:], text.encode())
        return int(size), base64.b64decode(root)

    def check_everything(self, size: int, root: bytes) -> None:
        """Check that all tiles of a tree hang together, up to the root, and that every entry hashes to its leaf."""
        level = 0
        while size >> 8 * level:
            count = size >> 8 * level
            for place in range(-(-count // 256)):
                tile = self.tile(level, place, size)
                assert len(tile) == min(256, count - place * 256)
                if len(tile) == 256:
                    assert self.tile(level + 1, place // 256, size)[place % 256] == mth(tile)
                if level == 0:
                    assert [leaf_hash(entry) for entry in self.entries(place, size)] == tile
            level += 1
        assert self.root(0, size, size) == root

    def tile(self, level: int, place: int, size: int) -> list[bytes]:
        """Return a tile's hashes, as wide as it is in a tree of ``size``."""
        data = self._at(f"tile/{level}", place, size >> 8 * level)
        assert len(data) % 32 == 0
        return [data[at : at + 32] for at in range(0, len(data), 32)]

    def entries(self, place: int, size: int) -> list[bytes]:
        """Return the entries of a bundle."""
        data = self._at("tile/entries", place, size)
        found = []
        while data:
            length = int.from_bytes(data[:2], "big")
            assert len(data) >= 2 + length
            found.append(data[2 : 2 + length])
            data = data[2 + length :]
        return found

    def _at(self, kind: str, place: int, count: int) -> bytes:
        assert place * 256 < count, "no such tile: an empty one is not served"
        digits = f"{place:03d}"
        digits = "0" * (-len(digits) % 3) + digits
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
        path = f"{kind}/{name}" + ("" if (place + 1) * 256 <= count else f".p/{count % 256}")
        if path not in self._kept:
            self._kept[path] = self._fetch(path)
        return self._kept[path]

    def root(self, low: int, high: int, size: int) -> bytes:
        """Return MTH(D[low:high]) out of tiles, for a range that RFC 6962 splits a tree into."""
        width = high - low
        if width & (width - 1) == 0 and low % width == 0:
            level = (width.bit_length() - 1) // 8
            first, count = low >> 8 * level, width >> 8 * level
            tile = self.tile(level, first // 256, size)
            return mth(tile[first % 256 : first % 256 + count])
        split = _split(width)
        return node_hash(self.root(low, low + split, size), self.root(low + split, high, size))

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return PATH(index, D[0:size]) out of tiles."""

        def path(low: int, high: int) -> list[bytes]:
            if high - low == 1:
                return []
            middle = low + _split(high - low)
            if index < middle:
                return [*path(low, middle), self.root(middle, high, size)]
            return [*path(middle, high), self.root(low, middle, size)]

        return path(0, size)

    def consistency(self, old: int, size: int) -> list[bytes]:
        """Return PROOF(old, D[0:size]) out of tiles."""

        def sub(end: int, low: int, high: int, whole: bool) -> list[bytes]:
            if end == high:
                return [] if whole else [self.root(low, high, size)]
            middle = low + _split(high - low)
            if end <= middle:
                return [*sub(end, low, middle, whole), self.root(middle, high, size)]
            return [*sub(end, middle, high, False), self.root(low, middle, size)]

        return sub(old, 0, size, True)


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def mth(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    split = _split(len(hashes))
    return node_hash(mth(hashes[:split]), mth(hashes[split:]))


def root_from_inclusion(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    """Return the root that a path leads to; the number of hashes must be right."""
    inner = (index ^ (size - 1)).bit_length()
    assert len(path) == inner + (index >> inner).bit_count()
    node = leaf
    for height, sibling in enumerate(path):
        node = node_hash(sibling, node) if height >= inner or index >> height & 1 else node_hash(node, sibling)
    return node


def roots_from_consistency(old: int, new: int, old_root: bytes, path: list[bytes]) -> tuple[bytes, bytes]:
    """Return the old and the new root that a proof leads to, by its definition."""
    hashes = list(path)

    def sub(end: int, low: int, high: int, whole: bool) -> tuple[bytes, bytes]:
        if end == high:
            known = old_root if whole else hashes.pop(0)
            return known, known
        middle = low + _split(high - low)
        if end <= middle:
            was, now = sub(end, low, middle, whole)
            return was, node_hash(now, hashes.pop(0))
        was, now = sub(end, middle, high, False)
        left = hashes.pop(0)
        return node_hash(left, was), node_hash(left, now)

    found = sub(old, 0, new, True)
    assert not hashes
    return found


def _split(size: int) -> int:
    split = 1
    while split * 2 < size:
        split *= 2
    return split
