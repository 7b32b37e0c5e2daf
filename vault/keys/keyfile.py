"""The embedded key provider: a directory of sealed key files, outside the database and outside its backups.

    with KeyDirectory.open(home / "keys", passphrase, clock=time.monotonic) as keys:
        keys.create_key("group.0b0c....2029-01.0")
        wrapped = keys.wrap("group.0b0c....2029-01.0", epoch_key, context)

A secret wrapped by it, 61 bytes:

    offset  size  field
         0     1  version, 1; another version is refused
         1    12  nonce, random
        13    32  AES-256-GCM ciphertext
        45    16  tag

    associated data = "reasonvault/keyfile/wrap/1" 00 || u8 length of reference || reference || context

A group's key wraps one secret per writer and day, far below the 2^32 that random nonces allow. GCM does not
commit to its key: who holds two keys can make one blob that opens under both. The commitment in the leaf is
what stops that.

An opened key is kept until ``cache_seconds`` after it was read, however long the directory is out of reach
after that it answers ``KeyUnavailable``. A process that another process's destruction concerns drops its
opened keys at its next call; one that never calls again keeps them in memory until it ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.core.errors import KeyGone, Modified, UsageError
from vault.keys import disk, slots
from vault.keys.manifest import Purpose, Recovery, in_utc
from vault.keys.memory import refuse_pickle, wipe
from vault.keys.provider import (
    SECRET_BYTES,
    KeyDescription,
    KeyRef,
    KeyState,
    check_context,
    check_ref,
    check_secret,
)
from vault.keys.rootstore import OpenedKey, RandomBytes, RootStore
from vault.keys.sealedfile import NONCE_BYTES, TAG_BYTES
from vault.keys.slots import STANDARD_COST, Argon2Cost

WRAPPED_VERSION = 1
WRAPPED_BYTES = 1 + NONCE_BYTES + SECRET_BYTES + TAG_BYTES
CACHE_SECONDS = 300.0

_WRAP_LABEL = b"reasonvault/keyfile/wrap/1\0"
_VERSION = bytes((WRAPPED_VERSION,))
_RECOVERY_FILE_LIMIT = 4096


class KeyDirectory:
    """A ``KeyProvider`` and ``Signer`` over one key directory.

    Several processes may have it open, and a forked worker may go on with the one it inherited. Threads may
    share it. References, states and errors are those of ``vault.keys.provider``.
    """

    def __init__(self, store: RootStore, clock: Callable[[], float], random: RandomBytes, cache_seconds: float) -> None:
        """For the class methods below, which open the store."""
        self._store = store
        self._clock = clock
        self._random = random
        self._cache_seconds = cache_seconds

    @classmethod
    def create(
        cls,
        path: Path,
        passphrase: bytes,
        *,
        clock: Callable[[], float],
        random: RandomBytes = os.urandom,
        cost: Argon2Cost = STANDARD_COST,
        cache_seconds: float = CACHE_SECONDS,
    ) -> Self:
        """Make a new store in ``path``, which is absent or empty, and open it.

        Losing the passphrase now loses every key: export a recovery file next.

        Args:
            clock: seconds that only go forward, such as ``time.monotonic``; measures the cache's age.
            random: n unpredictable bytes.

        Raises:
            UsageError: something is there already, or the passphrase is empty.
        """
        return cls(RootStore.create(path, passphrase, cost, random), clock, random, cache_seconds)

    @classmethod
    def open(
        cls,
        path: Path,
        passphrase: bytes,
        *,
        clock: Callable[[], float],
        random: RandomBytes = os.urandom,
        cache_seconds: float = CACHE_SECONDS,
    ) -> Self:
        """Open a store. Takes about 0.1 s and 64 MiB, once.

        Raises:
            Denied: wrong passphrase.
            KeyUnavailable: missing, unreadable, or open to other users.
            Modified: the manifest or the slot is not what this store wrote.
        """
        return cls(RootStore.open(path, passphrase, random), clock, random, cache_seconds)

    @classmethod
    def open_with_recovery(
        cls,
        path: Path,
        recovery: Path | BinaryIO,
        passphrase: bytes,
        *,
        clock: Callable[[], float],
        random: RandomBytes = os.urandom,
        cost: Argon2Cost = STANDARD_COST,
        cache_seconds: float = CACHE_SECONDS,
    ) -> Self:
        """Open a store whose passphrase is lost, and give it a new passphrase and a new root.

        The recovery file goes on working.

        Raises:
            UsageError: not a recovery file, or another store's.
            KeyUnavailable: the store has no slot for it: it was revoked, or its export never finished.
        """
        if isinstance(recovery, Path):
            raw, _mark = disk.read_file(recovery, _RECOVERY_FILE_LIMIT, private=False)
        else:
            raw = recovery.read(_RECOVERY_FILE_LIMIT)
        content = slots.parse_recovery_file(raw)
        try:
            store = RootStore.recover(path, content, passphrase, cost, random)
        finally:
            wipe(content.secret)
        return cls(store, clock, random, cache_seconds)

    @property
    def name(self) -> str:
        return "keyfile"

    @property
    def serial(self) -> int:
        """Commits the store has seen. One that shows fewer than before was restored from a copy."""
        return self._store.fresh().manifest.serial

    @property
    def custodians(self) -> tuple[str, ...]:
        """Who holds a recovery file; empty means that losing the passphrase loses everything."""
        return tuple(recovery.custodian for recovery in self._store.fresh().manifest.recoveries)

    def create_key(self, ref: KeyRef) -> None:
        self._create(ref, "wrap")

    def wrap(self, ref: KeyRef, secret: bytes, context: bytes) -> bytes:
        check_secret(secret)
        check_context(context)
        cipher, nonce = self._cipher(ref), self._random(NONCE_BYTES)
        return _VERSION + nonce + cipher.encrypt(nonce, secret, _associated(ref, context))

    def unwrap(self, ref: KeyRef, wrapped: bytes, context: bytes) -> bytes:
        check_context(context)
        cipher = self._cipher(ref)
        if len(wrapped) != WRAPPED_BYTES or wrapped[0] != WRAPPED_VERSION:
            raise Modified(f"a secret said to be wrapped by key {ref} has another length or version")
        try:
            return cipher.decrypt(wrapped[1:13], wrapped[13:], _associated(ref, context))
        except InvalidTag:
            raise Modified(f"a wrapped secret does not open with key {ref} in its context") from None

    def rewrap(self, ref: KeyRef, wrapped: bytes, context: bytes) -> bytes:
        return self.wrap(ref, self.unwrap(ref, wrapped, context), context)

    def describe(self, ref: KeyRef) -> KeyDescription:
        """A key that lost its file is UNKNOWN, never DESTROYED. Not checked: that the file opens."""
        return self._store.describe(check_ref(ref))

    def disable(self, ref: KeyRef) -> None:
        """Refuse every use until ``enable``. Nothing happens where it is disabled already."""
        with self._store.writing() as manifest:
            self._store.commit(manifest.with_disabled(check_ref(ref), True))

    def enable(self, ref: KeyRef) -> None:
        """Allow a disabled key's use again. A scheduled destruction stays scheduled."""
        with self._store.writing() as manifest:
            self._store.commit(manifest.with_disabled(check_ref(ref), False))

    def schedule_destroy(self, ref: KeyRef, at: datetime) -> None:
        """A key whose file was lost can be scheduled too: the new root ends whatever copy of it exists."""
        with self._store.writing() as manifest:
            self._store.commit(manifest.with_schedule(check_ref(ref), at))

    def cancel_destroy(self, ref: KeyRef) -> None:
        with self._store.writing() as manifest:
            self._store.commit(manifest.without_schedule(check_ref(ref)))

    def destroy_due(self, now: datetime) -> list[KeyRef]:
        """Carry the survivors under a new root, remove the old one, then record the tombstones.

        1. Mark what is due and rotate; the manifest's replacement is the commit point of the destruction.
        2. The old generation is removed. A crash here leaves the keys PENDING_DESTROY, past cancelling.
        3. The tombstones are recorded, together with those of a call that crashed in 2.

        Raises:
            KeyGone: a survivor's file is missing. KeyUnavailable: an unknown file stands in the directory, or
                an I/O error. Modified: a survivor does not open. Nothing was destroyed then, or the next call
                ends it.
        """
        now = in_utc(now)
        with self._store.writing() as manifest:
            if due := manifest.due(now):
                self._store.rotate(manifest.with_destroying(due))
            manifest = self._store.fresh().manifest
            destroyed = manifest.destroying()
            self._store.commit(manifest.with_destroyed(destroyed, now))
        return sorted(destroyed)

    def create_signing_key(self, ref: KeyRef) -> bytes:
        self._create(ref, "sign")
        return self.public_key(ref)

    def public_key(self, ref: KeyRef) -> bytes:
        return self._signer(ref).public_key().public_bytes_raw()

    def sign(self, ref: KeyRef, message: bytes) -> bytes:
        return self._signer(ref).sign(message)

    def export_recovery(self, target: Path | BinaryIO, custodian: str) -> None:
        """Write a recovery file and give the store a slot for it.

        Whoever holds the file and a copy of the directory reads every key of that copy, with no passphrase. A
        path is created 0600 and never overwritten. The file comes first: after a crash it may open nothing,
        and then ``custodians`` does not list it.

        Raises:
            UsageError: the custodian's name is no single printable line.
        """
        secret = bytearray(self._random(slots.PUBLIC_KEY_BYTES))
        try:
            with self._store.writing() as manifest:
                recovery = slots.RecoveryFile(self._store.fresh().store, custodian, secret)
                content = slots.format_recovery_file(recovery)
                if isinstance(target, Path):
                    disk.write_new_file(target, content)
                else:
                    with disk.reaching(Path("the recovery file")):
                        target.write(content)
                        target.flush()
                self._store.add_recovery(manifest, Recovery(recovery.public, custodian))
        finally:
            wipe(secret)

    def revoke_recovery(self, custodian: str) -> None:
        """Shut every recovery file of this custodian out, under a new root. Old copies of the directory stay
        open to it, and count as outstanding."""
        with self._store.writing() as manifest:
            self._store.rotate(manifest.without_recovery(custodian))

    def change_passphrase(self, passphrase: bytes, cost: Argon2Cost = STANDARD_COST) -> None:
        """A new passphrase and a new root. Other processes that have the store open must be started again."""
        slot_key = slots.derive_passphrase_key(passphrase, self._random(slots.SALT_BYTES), cost)
        with self._store.writing() as manifest:
            self._store.rotate(manifest, slot_key)

    def rotate(self) -> None:
        """A new root, under which every key is sealed anew, and the end of the old one here. Old copies of the
        directory stay what they are, and open nothing that is made from now on."""
        with self._store.writing() as manifest:
            self._store.rotate(manifest)

    def close(self) -> None:
        """Wipe root and slot key, best effort. Every later call raises ``KeyUnavailable``."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"KeyDirectory({self._store!r})"

    def __reduce__(self) -> tuple[object, ...]:
        refuse_pickle(self)

    def _create(self, ref: KeyRef, purpose: Purpose) -> None:
        check_ref(ref)
        with self._store.writing() as manifest:
            if not manifest.has_key(ref, purpose):
                self._store.add_key(manifest, ref, purpose)
            elif self._store.describe(ref).state is KeyState.UNKNOWN:
                raise KeyGone(f"the file of key {ref} is missing from the key store: restore it, nobody destroyed it")

    def _cipher(self, ref: KeyRef) -> AESGCM:
        key = self._opened(ref, "wrap")
        if not isinstance(key, AESGCM):
            raise UsageError(f"key {ref} is made to sign, not to wrap")
        return key

    def _signer(self, ref: KeyRef) -> Ed25519PrivateKey:
        key = self._opened(ref, "sign")
        if not isinstance(key, Ed25519PrivateKey):
            raise UsageError(f"key {ref} is made to wrap, not to sign")
        return key

    def _opened(self, ref: KeyRef, purpose: Purpose) -> OpenedKey:
        hit = self._store.view().opened.get(ref)
        if hit is not None and self._clock() < hit[1]:
            return hit[0]
        view, secret = self._store.open_key(check_ref(ref), purpose)
        key: OpenedKey = AESGCM(secret) if purpose == "wrap" else Ed25519PrivateKey.from_private_bytes(bytes(secret))
        wipe(secret)
        view.opened[ref] = (key, self._clock() + self._cache_seconds)
        return key


def _associated(ref: KeyRef, context: bytes) -> bytes:
    return _WRAP_LABEL + bytes((len(ref),)) + ref.encode("ascii") + context
