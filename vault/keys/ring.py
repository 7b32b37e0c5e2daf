"""The key ring: from a provider's key down to the key of one record.

    provider key (a tenant's)  -> ledger key: the HMAC key of id tags
    provider key (one a group) -> index key:  the HMAC key of blind indexes
                               -> epoch key (ledger, group, writer, day) -> record keys

A record costs no provider call: a writer makes one epoch a day for each group and wraps every record key of
that day under it. Rows of the database come in and go out as plain objects; nothing here knows SQL::

    group = ring.new_group(ledger, "2029-01.0")
    epoch = ring.new_epoch(group, "writer-1", "2026-03-14")
    wrapped = ring.wrap_record_key(epoch, record_key, commitment)
    assert ring.unwrap_record_key(epoch, wrapped, commitment) == record_key

A wrapped record key, 60 bytes:

    offset  size  field
         0    12  nonce, random
        12    32  AES-256-GCM ciphertext of the record key
        44    16  tag

    associated data = "reasonvault/ring/record/1" 00 || ledger 16 || epoch id u64 big-endian
                                                     || key commitment 32

It has no version byte of its own: the label in the associated data carries the version. The context of
everything that a provider wraps:

    "reasonvault/ring/1" 00 || u8 length of purpose || purpose || ledger 16
                            || u8 length of group || group || epoch id u64 big-endian

with purpose "epoch"; "index" (epoch id 0); or "ledger" (group empty, epoch id 0).

What a ring opened it uses for ``cache_seconds``, then asks the provider again and raises ``KeyUnavailable``
where that is out of reach: READ_SECONDS bounds how long a reader outlives its right to a key, WRITE_SECONDS
lets a writer with provisioned epochs outlast a provider for 72 hours.

Not checked here: that a group still takes records. A writer may hold an epoch of a group whose provider key
is destroyed meanwhile, so linking must look at the group's row in the transaction that stores the wrapped
keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import count
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.core import entropy
from vault.core.errors import KeyUnavailable, Modified, UsageError
from vault.keys.memory import refuse_pickle
from vault.keys.provider import SECRET_BYTES, KeyProvider, KeyRef, check_ref

READ_SECONDS = 300.0
WRITE_SECONDS = 96 * 3600.0  # 72 hours of outage, begun at the end of a provisioned day
COMMITMENT_BYTES = 32
WRAPPED_RECORD_KEY_BYTES = 12 + SECRET_BYTES + 16
# A quarter of the 2^32 that random nonces allow under one key (NIST SP 800-38D 8.3): each process counts for
# itself, and a forked worker starts from its parent's count.
MAX_EPOCH_USES = 1 << 30
MAX_CACHED = 4096

_CONTEXT_LABEL = b"reasonvault/ring/1\0"
_RECORD_LABEL = b"reasonvault/ring/record/1\0"
_GROUP = re.compile(r"(?:[0-9]{4}-(?:0[1-9]|1[0-2])|open|held)\.(?:0|[1-9][0-9]{0,8})")
_WRITER = re.compile(r"[A-Za-z0-9._:/+-]{1,64}")


@dataclass(frozen=True, slots=True)
class EpochRow:
    """An epoch key as the database keeps it. ``epoch_id`` is a random positive integer below 2^63."""

    ledger: UUID
    epoch_id: int
    group: str
    key_ref: KeyRef
    writer: str
    day: str  # YYYY-MM-DD
    wrapped: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group's provider key and its wrapped index key as the database keeps them."""

    ledger: UUID
    group: str
    key_ref: KeyRef
    index_key: bytes = field(repr=False)  # wrapped


class GroupKeys(NamedTuple):
    """What seals one group's records today."""

    group: GroupRow
    epoch: EpochRow


class _Epoch:
    """One opened epoch. It outlives its key: the count of uses must not restart when the key is reread."""

    __slots__ = ("cipher", "prefix", "row", "until", "uses", "wrote")

    def __init__(self, row: EpochRow) -> None:
        self.row = row
        self.prefix = _RECORD_LABEL + row.ledger.bytes + row.epoch_id.to_bytes(8, "big")
        self.cipher: AESGCM | None = None
        self.until = 0.0
        self.uses: Iterator[int] = count()
        self.wrote = False


class Ring:
    """Opens and makes keys for one process. Threads may share it; a forked worker may go on with its copy."""

    def __init__(
        self,
        provider: KeyProvider,
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes] = entropy.draw,
        cache_seconds: float = READ_SECONDS,
        max_epoch_uses: int = MAX_EPOCH_USES,
    ) -> None:
        """A ring with nothing opened yet.

        Args:
            clock: seconds that only go forward, such as ``time.monotonic``.
            random: n unpredictable bytes; never the same in two processes.
            cache_seconds: READ_SECONDS or WRITE_SECONDS.
            max_epoch_uses: how many record keys one epoch wraps here.
        """
        self._provider = provider
        self._clock = clock
        self._random = random
        self._cache_seconds = cache_seconds
        self._max_epoch_uses = max_epoch_uses
        self._epochs: dict[int, _Epoch] = {}
        self._secrets: dict[tuple[KeyRef, bytes, bytes], tuple[bytes, float]] = {}

    def new_tenant_key(self, tenant: KeyRef) -> None:
        """The provider key for a tenant's ledger keys. Nothing happens where it is there already."""
        self._provider.create_key(_check_tenant(tenant))

    def new_ledger_key(self, tenant: KeyRef, ledger: UUID) -> bytes:
        """A fresh 32-byte id-tag key, wrapped by the tenant's key."""
        return self._wrap_new(_check_tenant(tenant), _context("ledger", ledger))

    def open_ledger_key(self, tenant: KeyRef, ledger: UUID, wrapped: bytes) -> bytes:
        """The 32-byte id-tag key. Raises ``Modified`` for a key of another ledger or tenant."""
        return self._unwrap(_check_tenant(tenant), wrapped, _context("ledger", ledger))

    def new_group(self, ledger: UUID, group: str) -> GroupRow:
        """Make the group's provider key and a fresh index key.

        After a crash the same call finds the provider key and wraps another index key; only a stored row
        counts.

        Raises:
            UsageError: not ``<YYYY-MM>.<n>``, ``open.<n>`` or ``held.<n>``.
            KeyGone: this group's key was destroyed, or is about to be; take the next generation.
        """
        ref = group_ref(ledger, group)
        self._provider.create_key(ref)
        return GroupRow(ledger, group, ref, self._wrap_new(ref, _context("index", ledger, group)))

    def open_index_key(self, row: GroupRow) -> bytes:
        """The group's 32-byte index key. Raises ``Modified`` for a row whose parts do not belong together."""
        ref = _stored_ref(row)
        return self._unwrap(ref, row.index_key, _context("index", row.ledger, row.group))

    def renew_index_key(self, row: GroupRow) -> None:
        """Ask the provider for the index key again, so that the time it may be used begins anew. Where it cannot be
        asked, the old time goes on. Raises like ``open_index_key``."""
        ref, context = _stored_ref(row), _context("index", row.ledger, row.group)
        secret = self._provider.unwrap(ref, row.index_key, context)
        self._secrets[(ref, row.index_key, context)] = (secret, self._clock() + self._cache_seconds)

    def new_epoch(self, group: GroupRow, writer: str, day: str) -> EpochRow:
        """A fresh epoch key: one provider call. It may be made days ahead, and is opened already.

        ``day`` is the first day it may be used, YYYY-MM-DD. A writer that starts again makes a new epoch,
        since nobody remembers how often it used the old one.

        Raises:
            UsageError: a writer's name beyond 64 of ``A-Za-z0-9._:/+-``, or no such day.
        """
        ref = _stored_ref(group)
        if _WRITER.fullmatch(writer) is None:
            raise UsageError("a writer's name is 1 to 64 of A-Z, a-z, 0-9 and ._:/+-")
        _check_day(day)
        epoch_id = (int.from_bytes(self._random(8), "big") >> 1) or 1
        secret = self._random(SECRET_BYTES)
        wrapped = self._provider.wrap(ref, secret, _context("epoch", group.ledger, group.group, epoch_id))
        row = EpochRow(group.ledger, epoch_id, group.group, ref, writer, day, wrapped)
        self._keep_epoch(_Epoch(row), secret)
        return row

    def open_epoch(self, epoch: EpochRow) -> None:
        """Open an epoch key now, or find that it does not open.

        Raises:
            KeyGone: the group's provider key is not ENABLED. Where the key was opened before, only ``forget`` makes
                sure that the provider is asked.
            KeyUnavailable: the provider is out of reach, which says nothing about the key.
            Modified: the row's parts do not belong together.
        """
        self._open_epoch(epoch)

    def wrap_record_key(self, epoch: EpochRow, record_key: bytes, key_commitment: bytes) -> bytes:
        """Seal one record's key for its place: 60 bytes. About 2 us, and no provider call while the epoch is
        open.

        Raises:
            UsageError: a key or a commitment that is not 32 bytes.
            KeyUnavailable: the epoch is used up ("new epoch needed"), or its key is out of reach.
            KeyGone, Modified: like ``unwrap_record_key``, for the epoch itself.
        """
        if len(record_key) != SECRET_BYTES or len(key_commitment) != COMMITMENT_BYTES:
            raise UsageError("a record key and its commitment have exactly 32 bytes each")
        opened, cipher = self._open_epoch(epoch)
        opened.wrote = True
        if next(opened.uses) >= self._max_epoch_uses:
            raise KeyUnavailable(f"new epoch needed: this one wrapped {self._max_epoch_uses} keys")
        nonce = self._random(12)
        return nonce + cipher.encrypt(nonce, record_key, opened.prefix + key_commitment)

    def unwrap_record_key(self, epoch: EpochRow, wrapped: bytes, key_commitment: bytes) -> bytes:
        """The record's 32-byte key.

        Not checked: that the key matches its commitment; the envelope's reader derives and compares it.

        Raises:
            Modified: a key of another record, epoch or ledger, edited, or not 60 bytes; or an epoch row whose
                parts do not belong together.
            KeyGone: the group's provider key is not ENABLED.
            KeyUnavailable: the provider is out of reach and the epoch is not open.
        """
        opened, cipher = self._open_epoch(epoch)
        if len(wrapped) != WRAPPED_RECORD_KEY_BYTES:
            raise Modified("a wrapped record key does not have 60 bytes", str(epoch.ledger))
        try:
            return cipher.decrypt(wrapped[:12], wrapped[12:], opened.prefix + key_commitment)
        except InvalidTag:
            raise Modified("a wrapped record key does not open in its place", str(epoch.ledger)) from None

    def forget(self, ledger: UUID, group: str) -> None:
        """Drop a group's opened keys, so that the next use asks the provider. Shredding ends with this."""
        ref = group_ref(ledger, group)
        for epoch in list(self._epochs.values()):
            if epoch.row.key_ref == ref:
                epoch.cipher = None
        for key in [key for key in self._secrets if key[0] == ref]:
            self._secrets.pop(key, None)

    def close(self) -> None:
        """Drop every opened key; best effort, since the objects that held them cannot be wiped."""
        self._epochs.clear()
        self._secrets.clear()

    def __repr__(self) -> str:
        return f"Ring({self._provider.name})"

    def __reduce__(self) -> tuple[object, ...]:
        refuse_pickle(self)

    def _open_epoch(self, row: EpochRow) -> tuple[_Epoch, AESGCM]:
        """The hot path is the first return: the row seen before, in its time."""
        opened = self._epochs.get(row.epoch_id)
        if opened is not None and (opened.row is row or opened.row == row):
            cipher = opened.cipher
            if cipher is not None and self._clock() < opened.until:
                return opened, cipher
        else:
            _check_epoch_id(row)
            opened = _Epoch(row)
        context = _context("epoch", row.ledger, row.group, row.epoch_id)
        return opened, self._keep_epoch(opened, self._provider.unwrap(_stored_ref(row), row.wrapped, context))

    def _keep_epoch(self, epoch: _Epoch, secret: bytes) -> AESGCM:
        cipher = AESGCM(secret)
        epoch.cipher = cipher
        epoch.until = self._clock() + self._cache_seconds
        self._epochs[epoch.row.epoch_id] = epoch
        if len(self._epochs) > MAX_CACHED:
            self._drop_oldest_read()
        return cipher

    def _drop_oldest_read(self) -> None:
        """Epochs written with stay, for their count. There is one a day and group."""
        for epoch_id, epoch in list(self._epochs.items()):
            if not epoch.wrote:
                self._epochs.pop(epoch_id, None)
                return

    def _wrap_new(self, ref: KeyRef, context: bytes) -> bytes:
        return self._provider.wrap(ref, self._random(SECRET_BYTES), context)

    def _unwrap(self, ref: KeyRef, wrapped: bytes, context: bytes) -> bytes:
        key = (ref, wrapped, context)
        hit = self._secrets.get(key)
        if hit is not None and self._clock() < hit[1]:
            return hit[0]
        self._secrets.pop(key, None)
        secret = self._provider.unwrap(ref, wrapped, context)
        while len(self._secrets) >= MAX_CACHED:
            self._secrets.pop(next(iter(self._secrets)), None)
        self._secrets[key] = (secret, self._clock() + self._cache_seconds)
        return secret


def tenant_ref(tenant: UUID) -> KeyRef:
    """The reference of the provider key that wraps a tenant's ledger keys."""
    return f"tenant.{tenant}"


def group_ref(ledger: UUID, group: str) -> KeyRef:
    """The reference of a group's provider key. Raises ``UsageError`` for a name outside the grammar."""
    if _GROUP.fullmatch(group) is None:
        raise UsageError("a group is <YYYY-MM>.<n>, open.<n> or held.<n>")
    return f"group.{ledger}.{group}"


def _stored_ref(row: EpochRow | GroupRow) -> KeyRef:
    """The reference that ledger and group call for. The row's own is compared, never trusted."""
    if _GROUP.fullmatch(row.group) is None or row.key_ref != group_ref(row.ledger, row.group):
        raise Modified("a key row names the key of another group", str(row.ledger))
    return row.key_ref


def _check_tenant(ref: KeyRef) -> KeyRef:
    """Ledger keys outlive every group, so they are never wrapped by a key that disposal may destroy."""
    if not check_ref(ref).startswith("tenant."):
        raise UsageError("a ledger key is wrapped by a tenant's key, whose reference starts with 'tenant.'")
    return ref


def _check_day(day: str) -> None:
    try:
        same = date.fromisoformat(day).isoformat() == day
    except ValueError:
        same = False
    if not same:
        raise UsageError("an epoch's day is YYYY-MM-DD")


def _check_epoch_id(row: EpochRow) -> None:
    if not 0 < row.epoch_id < 1 << 63:
        raise Modified("an epoch id is not a positive 63-bit number", str(row.ledger))


def _context(purpose: str, ledger: UUID, group: str = "", epoch_id: int = 0) -> bytes:
    """Every part has a fixed length or stands behind its own, so no two meanings share their bytes."""
    named, within = purpose.encode("ascii"), group.encode("ascii")
    return b"".join(
        (
            _CONTEXT_LABEL,
            bytes((len(named),)),
            named,
            ledger.bytes,
            bytes((len(within),)),
            within,
            epoch_id.to_bytes(8, "big"),
        )
    )
