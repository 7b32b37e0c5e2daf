"""The manifest: which keys a store has, in which state, and which it destroyed. Pure: it decides,
``rootstore`` does.

It is the store's memory. A key whose file is gone is noticed because the manifest still lists it, and
DESTROYED is said only of references it lists as destroyed. Inside its seal it is JSON of the shape below;
``v`` counts format versions, an unknown field or version is refused, and a new field with a default does not
need a new version.

A destruction passes three states, so that nothing is called destroyed before every file with the old root is
gone:

    scheduled     destroy_at is set                  the key can still be brought back
    destroying    the live generation has it no more the old generation may still be on disk
    destroyed     in ``destroyed``, with its time    no generation that ever held it exists here
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from vault.core.errors import KeyGone, Modified, UsageError
from vault.keys.provider import KeyDescription, KeyRef, KeyState

Purpose = Literal["wrap", "sign"]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key that is not destroyed yet. ``destroy_at`` is in UTC."""

    purpose: Purpose
    disabled: bool = False
    destroy_at: datetime | None = None
    destroying: bool = False

    @property
    def state(self) -> KeyState:
        if self.destroy_at is not None:
            return KeyState.PENDING_DESTROY
        return KeyState.DISABLED if self.disabled else KeyState.ENABLED


class Recovery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recovery file that somebody holds: its X25519 public key, 32 bytes, and its custodian's name.

    The keys stand here, under the seal, because a new root is sealed to every one of them: taken from the
    slots themselves, a planted slot would be handed the next root.
    """

    public: bytes
    custodian: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One state of the store. ``serial`` counts the commits, so that going back in time shows."""

    v: Literal[1] = 1
    serial: int = 0
    keys: dict[KeyRef, Entry] = {}
    destroyed: dict[KeyRef, datetime] = {}
    recoveries: tuple[Recovery, ...] = ()
    stale: tuple[bytes, ...] = ()  # generations to be removed: replaced, or begun and perhaps never finished

    def encode(self) -> bytes:
        return msgspec.json.encode(self, order="sorted")

    def describe(self, ref: KeyRef) -> KeyDescription:
        if ref in self.destroyed:
            return KeyDescription(KeyState.DESTROYED, self.destroyed[ref])
        entry = self.keys.get(ref)
        return KeyDescription(entry.state, entry.destroy_at) if entry else KeyDescription(KeyState.UNKNOWN)

    def holds(self, ref: KeyRef) -> bool:
        """Whether the live generation should have a file for ``ref``."""
        entry = self.keys.get(ref)
        return entry is not None and not entry.destroying

    def usable(self, ref: KeyRef, purpose: Purpose) -> None:
        """Raises ``KeyGone`` unless ``ref`` is ENABLED, ``UsageError`` for a key of the other purpose."""
        entry = self._living(ref)
        if entry.state is not KeyState.ENABLED:
            raise KeyGone(f"key {ref} is {entry.state.value}")
        if entry.purpose != purpose:
            raise UsageError(f"key {ref} is made to {entry.purpose}, not to {purpose}")

    def has_key(self, ref: KeyRef, purpose: Purpose) -> bool:
        """Whether ``ref`` is made already. Raises like ``usable`` where it is listed but does not work."""
        if ref not in self.keys and ref not in self.destroyed:
            return False
        self.usable(ref, purpose)
        return True

    def with_key(self, ref: KeyRef, purpose: Purpose) -> Manifest:
        return self._with(keys=self.keys | {ref: Entry(purpose)})

    def with_disabled(self, ref: KeyRef, disabled: bool) -> Manifest:
        return self._with_entry(ref, msgspec.structs.replace(self._living(ref), disabled=disabled))

    def with_schedule(self, ref: KeyRef, at: datetime) -> Manifest:
        """Raises ``UsageError`` where another time is set already."""
        entry, at = self._living(ref), in_utc(at)
        if entry.destroy_at not in (None, at):
            raise UsageError(f"key {ref} is due for destruction at another time already: cancel that first")
        return self._with_entry(ref, msgspec.structs.replace(entry, destroy_at=at))

    def without_schedule(self, ref: KeyRef) -> Manifest:
        return self._with_entry(ref, msgspec.structs.replace(self._living(ref), destroy_at=None))

    def due(self, now: datetime) -> frozenset[KeyRef]:
        """The keys that must not reach the next generation."""
        now = in_utc(now)
        return frozenset(
            ref
            for ref, entry in self.keys.items()
            if entry.destroy_at is not None and entry.destroy_at <= now and not entry.destroying
        )

    def destroying(self) -> frozenset[KeyRef]:
        return frozenset(ref for ref, entry in self.keys.items() if entry.destroying)

    def survivors(self) -> Iterable[tuple[KeyRef, Entry]]:
        """What the live generation holds."""
        return ((ref, entry) for ref, entry in self.keys.items() if not entry.destroying)

    def with_destroying(self, refs: frozenset[KeyRef]) -> Manifest:
        marked = {ref: msgspec.structs.replace(self.keys[ref], destroying=True) for ref in refs}
        return self._with(keys=self.keys | marked)

    def with_destroyed(self, refs: frozenset[KeyRef], now: datetime) -> Manifest:
        """Only after every stale generation is gone."""
        left = {ref: entry for ref, entry in self.keys.items() if ref not in refs}
        return self._with(keys=left, destroyed=self.destroyed | dict.fromkeys(refs, in_utc(now)))

    def with_recovery(self, recovery: Recovery) -> Manifest:
        return self._with(recoveries=(*self.recoveries, recovery))

    def without_recovery(self, custodian: str) -> Manifest:
        left = tuple(recovery for recovery in self.recoveries if recovery.custodian != custodian)
        if left == self.recoveries:
            raise UsageError(f"no recovery file was exported to {custodian}")
        return self._with(recoveries=left)

    def with_stale(self, generations: Iterable[bytes]) -> Manifest:
        return self._with(stale=tuple(sorted(generations)))

    def _living(self, ref: KeyRef) -> Entry:
        if ref in self.destroyed:
            raise KeyGone(f"key {ref} was destroyed")
        entry = self.keys.get(ref)
        if entry is None:
            raise KeyGone(f"key {ref} is not known to this key store")
        if entry.destroying:
            raise KeyGone(f"key {ref} is being destroyed")
        return entry

    def _with_entry(self, ref: KeyRef, entry: Entry) -> Manifest:
        return self if entry == self.keys[ref] else self._with(keys=self.keys | {ref: entry})

    def _with(self, **changed: object) -> Manifest:
        return msgspec.structs.replace(self, **changed)


def decode_manifest(raw: bytes | bytearray) -> Manifest:
    """Raises ``Modified`` for anything but version 1. ``raw`` comes out of a seal."""
    try:
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError:
        raise Modified("key store: the manifest is of a version this program does not read") from None


def in_utc(moment: datetime) -> datetime:
    """Raises ``UsageError`` for a time without offset: nobody knows when that is."""
    if moment.tzinfo is None:
        raise UsageError("times of destruction carry an offset")
    return moment.astimezone(UTC)
