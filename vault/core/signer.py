"""Signers: the keys that sign a vault's checkpoints, all that there ever were, oldest first.

    begin     current                     ->  current, joining     both sign
    finish    current, joining            ->  retired, current     the new one signs

A key that was retired goes on vouching for what it signed while it was current: no receipt is orphaned. It vouches for
nothing that came after, so each retired key carries how large every ledger was when it stopped. Whoever steals an old
key can sign with it what he likes, and nobody has to believe more than that size.

Pure: the list is kept in ``vault.json`` and told in the events ledger (vault.rotating).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import msgspec

from vault.core import canonical
from vault.core.errors import Modified, RefusedInput
from vault.core.note import VerifierKey

State = Literal["current", "joining", "retired"]
FIRST: Final = "checkpoint.1"
"""Reference, in the key store, of the key that a vault begins with."""


class Signer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key.

    Attributes:
        name: its reference in the key store, ``checkpoint.<n>``.
        public: 32 bytes in hex.
        sizes: of a retired one: ledger uuid -> leaves that the ledger had. No entry means none.
    """

    name: str
    public: str
    state: State
    sizes: dict[str, int] = {}

    @property
    def public_key(self) -> bytes:
        """Return the public half, 32 bytes."""
        return bytes.fromhex(self.public)

    def vouches(self, ledger: str, size: int) -> bool:
        """Say whether a checkpoint of this size may stand on this key's signature alone."""
        return self.state != "retired" or size <= self.sizes.get(ledger, 0)


Signers = tuple[Signer, ...]


def founding(public: str) -> Signers:
    """Return the list of a vault that never rotated."""
    return (Signer(FIRST, public, "current"),)


def current(signers: Signers) -> Signer:
    """Return the key that must have signed a new head."""
    return next(one for one in signers if one.state == "current")


def joining(signers: Signers) -> Signer | None:
    """Return the key that signs beside the current one; None outside a rotation."""
    return next((one for one in signers if one.state == "joining"), None)


def in_force(signers: Signers) -> Signers:
    """Return the keys that sign now, the current one first."""
    return tuple(one for one in signers if one.state != "retired")


def begun(signers: Signers, name: str, public: bytes) -> Signers:
    """Return the list with a key that joins."""
    return (*signers, Signer(name, public.hex(), "joining"))


def finished(signers: Signers, sizes: dict[str, int]) -> Signers:
    """Return the list with the joining key current, and the one before it retired at these sizes."""
    *before, old, new = signers
    return (*before, Signer(old.name, old.public, "retired", sizes), Signer(new.name, new.public, "current"))


def check(signers: Signers) -> None:
    """Raise Modified where no rotation makes this list: retired keys, the current one, perhaps one that joins."""
    states = [one.state for one in signers if one.state != "retired"]
    if states not in (["current"], ["current", "joining"]) or in_force(signers) != signers[-len(states) :]:
        raise Modified("not one key is current, or the keys are out of order")
    if len({one.public for one in signers}) != len(signers):
        raise Modified("a key is there twice")
    try:
        for one in signers:
            VerifierKey.from_public("origin", one.public_key)
    except (ValueError, RefusedInput):
        raise Modified("a public key is none") from None


def keys(origin: str, signers: Sequence[Signer]) -> tuple[VerifierKey, ...]:
    """Return the keys under a ledger's origin, in the same order."""
    return tuple(VerifierKey.from_public(origin, one.public_key) for one in signers)


@dataclass(frozen=True, slots=True)
class Told:
    """What the events ledger says of a key: ``signer.added``, ``signer.retired``.

    Attributes:
        public: in hex.
        added, retired: position of the event; None where there is none, as for the first key's beginning.
        added_at, retired_at: microseconds since the epoch; 0 where there is no event.
        sizes: ledger uuid -> leaves that it had when the key was retired.
    """

    name: str
    public: str
    added: int | None = None
    added_at: int = 0
    retired: int | None = None
    retired_at: int = 0
    sizes: dict[str, int] = field(default_factory=dict)


def told_added(known: Told | None, facts: Mapping[str, Any], seq: int, at: int) -> Told:
    """Return what is known of a key after ``signer.added``. Several of these events may name one key's ledgers."""
    public, _ = _public_and_sizes(facts)
    return known or Told(facts["signer"], public, seq, at)


def told_retired(known: Told | None, facts: Mapping[str, Any], seq: int, at: int) -> Told:
    """Return what is known of a key after ``signer.retired``. The first event counts; further ones of the same run add
    ledgers, and never raise what one named before."""
    public, sizes = _public_and_sizes(facts)
    before = known or Told(facts["signer"], public)
    first = (seq, at) if before.retired is None else (before.retired, before.retired_at)
    return replace(before, retired=first[0], retired_at=first[1], sizes={**sizes, **before.sizes})


def _public_and_sizes(facts: Mapping[str, Any]) -> tuple[str, dict[str, int]]:
    sizes = dict(zip(facts["ledgers"], facts["sizes"], strict=True))
    if not (isinstance(facts["signer"], str) and all(type(size) is int for size in sizes.values())):
        raise TypeError("not the facts of a signer")
    return canonical.unb64(facts["public"], 32).hex(), sizes
