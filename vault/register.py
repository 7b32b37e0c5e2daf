"""The register: the tenant's events ledger as one process follows it and writes to it.

Following means: read every leaf since the last look, hash it into the frontier, and believe the outcome only where that
frontier is the head's and the head is the one this vault signed or announced. So a grant or a producer key counts only
if the chain says so; rows that somebody else put there, or took away, end in ``Forked`` and nobody gets in.

Writing goes in groups (vault.events). What was followed is remembered outside the database from time to time, signed,
so that the first look of a process need not read a ledger of millions: it goes on from there, and the frontier that it
ends with must be the head's all the same.
"""

from __future__ import annotations

import re
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
import zstandard
from sqlalchemy import Connection, Engine

from vault.checkpoints import Checkpoints
from vault.core import leaf, packing
from vault.core.errors import Forked, Modified, VaultError
from vault.core.leaf import EventLeaf
from vault.core.standing import Standing, interesting
from vault.core.tree import Frontier, leaf_hash
from vault.db import store
from vault.db.engine import translated
from vault.db.store import HeadRow
from vault.groupcommit import GroupCommit
from vault.keys.ring import GroupKeys

_NAME_OUTSIDE = "standing"
# Of what is remembered; an older one lacks what the standing has come to know since: 9 knows frozen
# ledgers, anchors and signers.
_VERSION_OUTSIDE = "9"
_WORTH = 5000  # events whose reading takes longer than remembering what they said
_MOST_OUTSIDE = 900_000  # bytes: more than a signed note holds is not remembered; some 1,900 disposals fit
# What a disposal says stands in the standing twice, megabytes apart: the window is made to reach back to it.
_PACKING = zstandard.ZstdCompressionParameters.from_level(9, window_log=25, enable_ldm=True)
_MOST = 256  # events of a group: some hundred kilobytes under the lock
# A leaf's members stand in canonical order, so its name can be told without parsing the leaf.
_NAME = re.compile(rb'\{"actor":"[^"]*","at":"[^"]*","event":"([a-z._]+)"')


class Register:
    """What one process knows of the events ledger. Threads share it.

    Args:
        commit: writes a group of tickets (vault.events.commit).

    Attributes:
        line: where events wait for their group.
        keys: what seals details, by stem and day.
        person_key: makes people's ids; None until first needed.
        observe: told the name of each event that this process wrote.
    """

    def __init__(
        self, engine: Engine, checkpoints: Checkpoints, events: UUID, commit: Callable[[list[Any]], None]
    ) -> None:
        self.line: GroupCommit[Any] = GroupCommit(commit, most=_MOST)
        self.keys: dict[tuple[str, str], GroupKeys] = {}
        self.person_key: bytes | None = None
        self.observe: Callable[[str], None] = lambda _name: None
        self._engine = engine
        self._checkpoints = checkpoints
        self._events = events
        self._lock = threading.Lock()
        self._standing = Standing()
        self._frontier = Frontier()
        self._head: HeadRow | None = None
        self._note: str | None = None  # the checkpoint before the last look
        self._remembered = 0  # size of what is remembered outside the database

    @property
    def latest(self) -> Standing:
        """The standing as of the last look: good enough to let in whoever will be looked at again before the commit."""
        return self._standing

    def standing(self) -> Standing:
        """Return the standing as of now, of all that was acknowledged to anybody.

        Whoever commits an event gets to know of it after its checkpoint lies outside the database, so a checkpoint that
        is still the one of the last look says that nothing was acknowledged since. The database is not asked then.

        Raises:
            Forked: the ledger is not the one this vault wrote; nobody may be let in.
            Unavailable: the database cannot be reached.
        """
        with self._lock:
            note = self._checkpoints.note(self._events)
            if note is not None and note == self._note:
                return self._standing
            earlier = self._checkpoints.read(self._events)
            with translated(), self._engine.connect() as connection:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
                head = store.read_head(connection, self._events)
                if head is None:
                    raise Forked("the events ledger has no head", str(self._events))
                self._checkpoints.require_consistent(self._events, head, earlier)
                if head != self._head:
                    self._recall()
                    try:
                        self._follow(connection, head)
                    except Forked:
                        if not self._remembered:
                            raise
                        self._forget()  # what was remembered may be of another history than the ledger's
                        self._follow(connection, head)
                self._note = note
            self._remember()
            return self._standing

    def standing_under_lock(self, connection: Connection) -> Standing:
        """Return the standing while the caller's transaction holds the head's lock, which compared the head already."""
        head = store.read_head(connection, self._events)
        assert head is not None
        with self._lock:
            return self._standing if head == self._head else self._follow(connection, head)

    def _follow(self, connection: Connection, head: HeadRow) -> Standing:
        standing, frontier = self._standing.copy(), self._frontier.copy()
        for seq, stored in store.stream_leaves(connection, self._events, standing.size, head.size):
            data = packing.unpack(stored)
            frontier.extend((leaf_hash(data),))
            if seq != standing.size:
                raise Forked("an entry of the events ledger is missing", str(self._events), standing.size)
            standing.size += 1
            found = _NAME.match(data)
            if found is not None and interesting(found[1].decode()):
                _take(standing, data, seq)
        if (frontier.size, frontier.to_bytes()) != (head.size, head.frontier):
            raise Forked("the events are not the tree that was signed: nobody is let in", str(self._events), head.size)
        self._standing, self._frontier, self._head = standing, frontier, head
        return standing

    def _recall(self) -> None:
        """Before the first look: begin where another process left off."""
        if self._head is None and (text := self._checkpoints.recall(self._events, _NAME_OUTSIDE)) is not None:
            try:
                version, peaks, document = text.splitlines()
                if version != _VERSION_OUTSIDE:
                    return
                standing = unpacked(document)
                self._frontier = Frontier.from_bytes(standing.size, bytes.fromhex(peaks))
            except (ValueError, msgspec.MsgspecError, zstandard.ZstdError, Modified):
                return  # of another version of ours
            self._standing, self._remembered = standing, standing.size

    def _forget(self) -> None:
        self._standing, self._frontier, self._head, self._remembered = Standing(), Frontier(), None, 0

    def _remember(self) -> None:
        """Leave what was followed for the next process, once that saves it something."""
        if self._standing.size - self._remembered < _WORTH:
            return
        document = packed(self._standing)
        if len(document) < _MOST_OUTSIDE:
            with suppress(VaultError):  # who cannot sign, or write, does without
                text = f"{_VERSION_OUTSIDE}\n{self._frontier.to_bytes().hex()}\n{document}\n"
                self._checkpoints.remember(self._events, _NAME_OUTSIDE, text)
        self._remembered = self._standing.size


def packed(standing: Standing) -> str:
    """Return a standing in one line: JSON, zstd, base64url."""
    frame = zstandard.ZstdCompressor(compression_params=_PACKING).compress(msgspec.json.encode(standing))
    return urlsafe_b64encode(frame).decode("ascii")


def unpacked(document: str) -> Standing:
    """Return what ``packed`` made a line of. Raises ``ValueError``, ``ZstdError`` or ``MsgspecError`` for any other."""
    frame = urlsafe_b64decode(document)
    return msgspec.json.decode(zstandard.ZstdDecompressor().decompress(frame), type=Standing)


def _take(standing: Standing, data: bytes, seq: int) -> None:
    told = leaf.parse(data)
    if not isinstance(told, EventLeaf) or told.seq != seq:
        raise Modified("an event is not in its place", told.ledger, seq)
    standing.take(told.event, told.actor, told.facts, seq, told.at)
