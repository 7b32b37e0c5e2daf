"""What the vault asks of a place that keeps keys, whoever runs it.

A provider key never leaves its provider. The vault hands over a 32-byte secret (an epoch key, an index key, a
ledger key) together with a context that says what the secret is for, and gets back bytes that only this key
and this context open again::

    provider.create_key("group.0b0c....2029-01.0")
    wrapped = provider.wrap("group.0b0c....2029-01.0", epoch_key, context)
    assert provider.unwrap("group.0b0c....2029-01.0", wrapped, context) == epoch_key

Rules that every provider keeps, held by ``tests/unit/keys/provider_contract.py``:

- The reference names the key. It comes from the caller's own allow-list, never out of a wrapped secret, and
  it is bound into what is wrapped, as is the context.
- Wrapping, unwrapping and describing never create a key. A destroyed reference can never be created again.
- Only an ENABLED key works. PENDING_DESTROY is as unusable as DESTROYED, so whoever still needs the key
  notices while it can be brought back.
- ``KeyUnavailable`` may pass by waiting or repair, ``KeyGone`` does not. Neither proves destruction: that is
  only ever concluded from ``describe`` and from the vault's own record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol, runtime_checkable

from vault.core.errors import UsageError

SECRET_BYTES = 32
SIGNATURE_BYTES = 64
MAX_CONTEXT_BYTES = 1024

KeyRef = str
_KEY_REF = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")


class KeyState(Enum):
    """What can be done with a key now."""

    ENABLED = "enabled"
    DISABLED = "disabled"  # unusable until somebody enables it again
    PENDING_DESTROY = "pending_destroy"  # unusable; falls due at ``destroy_at``, until then it can be cancelled
    DESTROYED = "destroyed"  # the provider remembers having destroyed it
    UNKNOWN = "unknown"  # never seen, or lost without a recorded destruction


@dataclass(frozen=True)
class KeyDescription:
    """State of one key.

    ``destroy_at`` is aware and in UTC: when a PENDING_DESTROY key falls due, when a DESTROYED key was
    destroyed, ``None`` in every other state.
    """

    state: KeyState
    destroy_at: datetime | None = None


class KeyProvider(Protocol):
    """Wrapping keys that never leave their provider.

    Every method raises ``UsageError`` for a reference outside the grammar ``[a-z0-9][a-z0-9._-]{0,127}``,
    ``KeyUnavailable`` when the provider cannot be reached and ``KeyGone`` where the key is not ENABLED,
    unless it says otherwise.
    """

    @property
    def name(self) -> str:
        """The provider's kind, as printed in events and certificates; not secret."""
        ...

    def create_key(self, ref: KeyRef) -> None:
        """Make a fresh key. Nothing happens where ``ref`` is ENABLED already.

        Raises:
            KeyGone: ``ref`` is disabled, due for destruction, destroyed or lost; it is never made anew.
        """
        ...

    def wrap(self, ref: KeyRef, secret: bytes, context: bytes) -> bytes:
        """Seal a secret of exactly 32 bytes under ``ref`` for ``context`` (1 to 1,024 bytes, public)."""
        ...

    def unwrap(self, ref: KeyRef, wrapped: bytes, context: bytes) -> bytes:
        """Open what ``wrap`` made with the same ``ref`` and ``context``: exactly 32 bytes.

        Raises:
            Modified: other key, other context, edited, cut or foreign bytes.
        """
        ...

    def rewrap(self, ref: KeyRef, wrapped: bytes, context: bytes) -> bytes:
        """Open and seal again under the newest version of the same key. Raises like ``unwrap``."""
        ...

    def describe(self, ref: KeyRef) -> KeyDescription:
        """The key's state now, never from a cache. Raises ``KeyUnavailable``, but ``KeyGone`` never."""
        ...

    def schedule_destroy(self, ref: KeyRef, at: datetime) -> None:
        """Stop ``ref`` at once and mark it for destruction from the aware time ``at`` on.

        The same time again changes nothing; another time raises ``UsageError`` until ``cancel_destroy``.
        A DISABLED key can be scheduled as well.
        """
        ...

    def cancel_destroy(self, ref: KeyRef) -> None:
        """Bring a PENDING_DESTROY key back to what it was before. Any other living key stays as it is."""
        ...

    def destroy_due(self, now: datetime) -> list[KeyRef]:
        """Destroy every key whose time has come (``destroy_at <= now``).

        Returns the sorted references that are DESTROYED from this call on. All or none: after an error none
        of them counts as destroyed, and the next call finishes the work.
        """
        ...


@runtime_checkable
class Signer(Protocol):
    """Ed25519 keys (RFC 8032) in the same store, under the same references, states and errors."""

    def create_signing_key(self, ref: KeyRef) -> bytes:
        """Make a key, or find the ENABLED one. Returns its 32-byte public half."""
        ...

    def public_key(self, ref: KeyRef) -> bytes:
        """The 32-byte public half of an ENABLED key."""
        ...

    def sign(self, ref: KeyRef, message: bytes) -> bytes:
        """A 64-byte Ed25519 signature over ``message`` as it is."""
        ...


def check_ref(ref: KeyRef) -> KeyRef:
    """``ref`` itself, or ``UsageError``. References become file names and paths, so nothing else may pass."""
    if not isinstance(ref, str) or _KEY_REF.fullmatch(ref) is None:
        raise UsageError("a key reference is 1 to 128 characters of a-z, 0-9, '.', '_', '-', not led by '.', '_', '-'")
    return ref


def check_secret(secret: bytes) -> None:
    """Refuse to wrap anything but 32 bytes: a shorter secret is a fault upstream, a longer one no key."""
    if len(secret) != SECRET_BYTES:
        raise UsageError(f"a secret to wrap has exactly {SECRET_BYTES} bytes, not {len(secret)}")


def check_context(context: bytes) -> None:
    """An empty context would let secrets move between purposes; the upper bound is for remote providers."""
    if not 1 <= len(context) <= MAX_CONTEXT_BYTES:
        raise UsageError(f"a wrapping context has 1 to {MAX_CONTEXT_BYTES} bytes, not {len(context)}")
