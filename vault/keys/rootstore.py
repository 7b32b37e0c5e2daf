"""The key directory as one thing: generations of sealed files under one root each, and a manifest that says
which generation is live. ``layout`` says where the files stand.

Readers take no lock: they read the manifest, then a file it names; where that is gone meanwhile they start
again. Writers hold the lock. A destroyed key dies with its generation: the survivors are sealed under a new
root, the manifest moves over, and the old generation with its slots is removed. So no copy of a single file
brings a key back; a copy of a whole old directory, opened with the passphrase or a recovery file, does. Keep
it out of ordinary backups, and count such copies as outstanding.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.core.errors import KeyGone, KeyUnavailable, Modified, UsageError
from vault.keys import disk, slots
from vault.keys.layout import PASSPHRASE_SLOT, Layout, key_name, keyless_generation, recovery_slot_name
from vault.keys.manifest import Manifest, Purpose, Recovery, decode_manifest
from vault.keys.memory import refuse_pickle, wipe
from vault.keys.provider import SECRET_BYTES, KeyDescription, KeyRef, KeyState
from vault.keys.sealedfile import ID_BYTES, ROOT_BYTES, FileKind, Place, claimed_place, seal, unseal

RandomBytes = Callable[[int], bytes]
OpenedKey = AESGCM | Ed25519PrivateKey

_MANIFEST_LIMIT = 64 * 1024 * 1024
_FILE_LIMIT = 4096
_KIND: dict[Purpose, FileKind] = {"wrap": FileKind.WRAPPING_KEY, "sign": FileKind.SIGNING_KEY}
# A reader starts again when a writer replaced the generation under it. Three in a row is no race any more.
_READ_TRIES = 3


@dataclass(slots=True, eq=False)
class View:
    """One manifest as read, its root, and the keys opened since, each with the time it may be used until."""

    mark: disk.Mark
    store: bytes
    generation: bytes
    manifest: Manifest
    root: bytearray = field(repr=False)
    opened: dict[KeyRef, tuple[OpenedKey, float]] = field(default_factory=dict, repr=False)

    def place(self, kind: FileKind, ref: KeyRef = "") -> Place:
        return Place(self.store, self.generation, kind, ref)

    def __reduce__(self) -> tuple[object, ...]:
        refuse_pickle(self)


class RootStore:
    """An opened key directory. Threads may share it; a forked child may go on using its copy."""

    def __init__(self, path: Path, slot_key: slots.PassphraseKey, random: RandomBytes) -> None:
        self._layout = Layout(path)
        self._slot_key = slot_key
        self._random = random
        self._view: View | None = None
        self._lock = threading.RLock()
        self._pid = os.getpid()

    @classmethod
    def create(cls, path: Path, passphrase: bytes, cost: slots.Argon2Cost, random: RandomBytes) -> RootStore:
        """Make a store in ``path``, which is absent (its parent exists) or empty. The manifest is the commit
        point.

        Raises:
            UsageError: a store is there already, or keys without their manifest, or anything else.
        """
        slot_key = slots.derive_passphrase_key(passphrase, random(slots.SALT_BYTES), cost)
        if not disk.exists(path):
            disk.make_directory(path)
        disk.check_directory(path)
        store = cls(path, slot_key, random)
        with store._alone(), disk.locked(store._layout.lock):
            begun = store._refuse_used()
            place = Place(random(ID_BYTES), random(ID_BYTES), FileKind.MANIFEST)
            root = bytearray(random(ROOT_BYTES))
            store._build(place, root, slot_key, Manifest(), {})
            store._commit(Manifest().with_stale(begun), place, root)
        return store

    @classmethod
    def open(cls, path: Path, passphrase: bytes, random: RandomBytes) -> RootStore:
        """Raises ``Denied`` for a wrong passphrase, ``KeyUnavailable`` where the directory cannot be read."""
        disk.check_directory(path)
        layout = Layout(path)
        for _ in range(_READ_TRIES):
            raw, _mark = disk.read_file(layout.manifest, _MANIFEST_LIMIT)
            slot = layout.passphrase_slot(claimed_place(raw).generation)
            try:
                salt, cost = slots.passphrase_slot_terms(disk.read_file(slot, _FILE_LIMIT)[0])
            except disk.Absent:
                continue
            store = cls(path, slots.derive_passphrase_key(passphrase, salt, cost), random)
            store._load(store._root_by_passphrase)
            return store
        raise KeyUnavailable(f"key store: {slot} is missing; a recovery file can still open the store")

    @classmethod
    def recover(
        cls,
        path: Path,
        recovery: slots.RecoveryFile,
        passphrase: bytes,
        cost: slots.Argon2Cost,
        random: RandomBytes,
    ) -> RootStore:
        """Open by recovery file and put a new passphrase, with a new root, in the place of the lost one.

        Raises:
            UsageError: the file belongs to another store.
            KeyUnavailable: the slot is missing: the file was revoked, or its export never finished.
        """
        disk.check_directory(path)
        store = cls(path, slots.derive_passphrase_key(passphrase, random(slots.SALT_BYTES), cost), random)

        def root_by_recovery(place: Place) -> bytearray:
            if place.store != recovery.store:
                raise UsageError("this recovery file belongs to another key store")
            slot = store._layout.recovery_slot(place.generation, recovery.public)
            raw = disk.read_file(slot, _FILE_LIMIT)[0]
            return slots.open_recovery_slot(recovery, raw, place.store, place.generation)

        store._load(root_by_recovery)
        with store.writing() as manifest:
            store.rotate(manifest, store._slot_key)
        return store

    def close(self) -> None:
        """Wipe what can be wiped. Every later call raises ``KeyUnavailable``."""
        with self._alone():
            view, self._view = self._view, None
            if view is not None:
                view.opened.clear()
                wipe(view.root)
            self._slot_key.wipe()

    def view(self) -> View:
        """The view for keys that are opened already: one ``stat``.

        A change made by anybody shows at the next call. While the directory cannot be reached the last view
        goes on, and with it the opened keys until their own time limit.
        """
        view = self._view
        if view is not None:
            try:
                same = disk.mark(self._layout.manifest) == view.mark
            except KeyUnavailable:
                return view
            if same:
                return view
        return self.fresh()

    def fresh(self) -> View:
        """What the disk says now. Raises ``KeyUnavailable`` where it cannot be asked."""
        with self._alone():
            view = self._live()
            if disk.mark(self._layout.manifest) == view.mark:
                return view
            return self._load(self._root_by_passphrase)

    def open_key(self, ref: KeyRef, purpose: Purpose) -> tuple[View, bytearray]:
        """The key's 32 bytes, for the caller to wipe, and the view it belongs to.

        Raises:
            KeyGone: not ENABLED, or its file is missing although nobody destroyed it.
            Modified: the file does not open.
        """
        with self._alone():
            for _ in range(_READ_TRIES):
                view = self.fresh()
                view.manifest.usable(ref, purpose)
                try:
                    return view, self._read_key(view, ref, purpose)
                except disk.Absent:
                    continue
        raise KeyGone(f"the file of key {ref} is missing from the key store: restore it, nobody destroyed it")

    def describe(self, ref: KeyRef) -> KeyDescription:
        """What the manifest says of ``ref``; UNKNOWN where it lists a key whose file is missing."""
        with self._alone():
            for _ in range(_READ_TRIES):
                view = self.fresh()
                if not view.manifest.holds(ref) or disk.exists(self._layout.key(view.generation, ref)):
                    return view.manifest.describe(ref)
        return KeyDescription(KeyState.UNKNOWN)

    @contextmanager
    def writing(self) -> Iterator[Manifest]:
        """Be the one writer. Yields the manifest as it is now, with no stale generation left on disk."""
        with self._alone(), disk.locked(self._layout.lock):
            self.fresh()
            self.sweep()
            yield self._live().manifest

    def add_key(self, manifest: Manifest, ref: KeyRef, purpose: Purpose) -> None:
        """Inside ``writing``: a fresh random key. A crash before the commit leaves an unlisted file."""
        view, secret = self._live(), bytearray(self._random(SECRET_BYTES))
        raw = seal(view.root, view.place(_KIND[purpose], ref), secret, self._random)
        wipe(secret)
        disk.write_file(self._layout.key(view.generation, ref), raw)
        self.commit(manifest.with_key(ref, purpose))

    def add_recovery(self, manifest: Manifest, recovery: Recovery) -> None:
        """Inside ``writing``: a slot for a recovery file that is safe with its custodian already."""
        view = self._live()
        raw = slots.seal_recovery_slot(recovery.public, view.root, view.store, view.generation)
        disk.write_file(self._layout.recovery_slot(view.generation, recovery.public), raw)
        self.commit(manifest.with_recovery(recovery))

    def commit(self, manifest: Manifest) -> None:
        """Inside ``writing``: make ``manifest`` the store's state. Nothing is written if nothing changed."""
        view = self._live()
        if manifest != view.manifest:
            self._commit(manifest, view.place(FileKind.MANIFEST), view.root)

    def rotate(self, manifest: Manifest, slot_key: slots.PassphraseKey | None = None) -> None:
        """Inside ``writing``: carry what ``manifest`` lists under a new root, and let the old root die.

        1. Refuse where anything unknown stands in the directory: it may be a copy of keys.
        2. Open every survivor. A single one that does not open stops here: its file may still be restored,
           but only under the old root.
        3. Record the new generation's id as stale, so that a crash leaves nothing unrecorded.
        4. Write slots and survivors into the new generation.
        5. Replace the manifest. COMMIT POINT: before it the old generation lives, after it the new one.
        6. Overwrite and remove the old generation. A crash before its end leaves it recorded as stale: the
           next writer removes it, and until then nothing of it is called destroyed.
        """
        view = self._live()
        self._refuse_strangers(view)
        keys: dict[KeyRef, tuple[Purpose, bytearray]] = {}
        try:
            for ref, entry in manifest.survivors():
                keys[ref] = (entry.purpose, self._read_survivor(view, ref, entry.purpose))
            place = Place(view.store, self._random(ID_BYTES), FileKind.MANIFEST)
            root = bytearray(self._random(ROOT_BYTES))
            self.commit(view.manifest.with_stale([place.generation]))
            self._build(place, root, slot_key or self._slot_key, manifest, keys)
            self._commit(manifest.with_stale([view.generation]), place, root)
        finally:
            for _purpose, secret in keys.values():
                wipe(secret)
        if slot_key is not None and slot_key is not self._slot_key:
            self._slot_key.wipe()
            self._slot_key = slot_key
        wipe(view.root)
        self.sweep()

    def sweep(self) -> None:
        """Inside ``writing``: remove the generations recorded as stale, then forget them."""
        manifest = self._live().manifest
        for generation in manifest.stale:
            disk.destroy_directory(self._layout.generation(generation))
        self.commit(manifest.with_stale(()))

    def __repr__(self) -> str:
        return f"RootStore({str(self._layout.path)!r})"

    def __reduce__(self) -> tuple[object, ...]:
        refuse_pickle(self)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread at a time. A lock that another thread held while this process was forked is never
        released here, so a child starts with its own."""
        if self._pid != os.getpid():
            self._pid, self._lock = os.getpid(), threading.RLock()
        with self._lock:
            yield

    def _live(self) -> View:
        if self._view is None:
            raise KeyUnavailable(f"the key store {self._layout.path} is closed")
        return self._view

    def _load(self, open_root: Callable[[Place], bytearray]) -> View:
        """Read the manifest and make it the view.

        Raises:
            Modified: edited, of another store, or older than what was seen before.
        """
        known = self._view
        for _ in range(_READ_TRIES):
            raw, mark = disk.read_file(self._layout.manifest, _MANIFEST_LIMIT)
            place = claimed_place(raw)
            if known is not None and place.store != known.store:
                raise Modified("key store: another store stands in the place of the one that was opened")
            try:
                same_root = known is not None and place.generation == known.generation
                root = known.root if known is not None and same_root else open_root(place)
            except disk.Absent as error:
                missing = error
                continue
            manifest = decode_manifest(unseal(root, place, raw))
            if known is not None and manifest.serial < known.manifest.serial:
                raise Modified(
                    f"key store: it went back in time, from commit {known.manifest.serial} to {manifest.serial}"
                )
            self._view = View(mark, place.store, place.generation, manifest, root)
            if known is not None and not same_root:
                wipe(known.root)
            return self._view
        raise missing

    def _root_by_passphrase(self, place: Place) -> bytearray:
        raw = disk.read_file(self._layout.passphrase_slot(place.generation), _FILE_LIMIT)[0]
        if slots.passphrase_slot_terms(raw)[0] != self._slot_key.salt:
            raise KeyUnavailable("the key store's passphrase was changed since this process opened it: start it again")
        return slots.open_passphrase_slot(self._slot_key, raw, place.store, place.generation)

    def _commit(self, manifest: Manifest, place: Place, root: bytearray) -> None:
        serial = self._view.manifest.serial + 1 if self._view is not None else 1
        manifest = msgspec.structs.replace(manifest, serial=serial)
        disk.write_file(self._layout.manifest, seal(root, place, manifest.encode(), self._random))
        self._view = View(disk.mark(self._layout.manifest), place.store, place.generation, manifest, root)

    def _build(
        self,
        place: Place,
        root: bytearray,
        slot_key: slots.PassphraseKey,
        manifest: Manifest,
        keys: dict[KeyRef, tuple[Purpose, bytearray]],
    ) -> None:
        """A whole generation beside the live one; durable when this returns."""
        directory = self._layout.generation(place.generation)
        disk.make_directory(directory)
        files = {
            PASSPHRASE_SLOT: slots.seal_passphrase_slot(slot_key, root, place.store, place.generation, self._random)
        }
        for recovery in manifest.recoveries:
            files[recovery_slot_name(recovery.public)] = slots.seal_recovery_slot(
                recovery.public, root, place.store, place.generation
            )
        for ref, (purpose, secret) in keys.items():
            key_place = Place(place.store, place.generation, _KIND[purpose], ref)
            files[key_name(ref)] = seal(root, key_place, secret, self._random)
        for name, raw in files.items():
            disk.write_file(directory / name, raw, sync=False)
        disk.sync_directory(directory)

    def _read_key(self, view: View, ref: KeyRef, purpose: Purpose) -> bytearray:
        raw, _mark = disk.read_file(self._layout.key(view.generation, ref), _FILE_LIMIT)
        secret = unseal(view.root, view.place(_KIND[purpose], ref), raw)
        if len(secret) != SECRET_BYTES:
            raise Modified(f"key store: the file of key {ref} does not hold a key of {SECRET_BYTES} bytes")
        return secret

    def _read_survivor(self, view: View, ref: KeyRef, purpose: Purpose) -> bytearray:
        try:
            return self._read_key(view, ref, purpose)
        except disk.Absent:
            raise KeyGone(
                f"the file of key {ref} is missing, and a new root would end every copy of it:"
                " restore it or schedule it for destruction; nothing was destroyed"
            ) from None

    def _refuse_strangers(self, view: View) -> None:
        for stranger in self._layout.strangers(view.generation):
            raise KeyUnavailable(
                f"key store: {stranger} does not belong here and may hold a copy of keys:"
                " move it away; nothing was destroyed"
            )

    def _refuse_used(self) -> list[bytes]:
        """The keyless generations that a crashed ``create`` left; ``UsageError`` for anything else."""
        if disk.exists(self._layout.manifest):
            raise UsageError(f"{self._layout.path} holds a key store already")
        begun = []
        for stranger in self._layout.strangers(None):
            generation = keyless_generation(stranger)
            if generation is None:
                raise UsageError(
                    f"{self._layout.path} holds {stranger.name} but no manifest:"
                    " restore the manifest, or use another path"
                )
            begun.append(generation)
        return begun
