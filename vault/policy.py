"""The policy of outside evidence: which witnesses and time-stamping authorities are asked, and how much is enough.

Where it stands written is the service's (``<home>/witness.toml``); the vault gets it as a value. Whoever has no address
any more is asked no more, and what they vouched for before still counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cryptography.x509 import Certificate

from vault.core.cosignature import CosignerKey

CLOCKS_APART: Final = timedelta(minutes=5)
"""How far an outside clock may be from ours before it is said: beyond any delay on the way, and no accident."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A C2SP witness. ``url`` is its submission prefix, empty where it is asked no more; ``own`` marks one that is run
    by whoever runs the vault, and so proves nothing against them."""

    key: CosignerKey
    url: str
    own: bool

    @property
    def name(self) -> str:
        return self.key.name


@dataclass(frozen=True, slots=True)
class Authority:
    """A time-stamping authority (RFC 3161). ``roots`` are the certificates that its own must lead to."""

    name: str
    url: str
    roots: tuple[Certificate, ...]
    own: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """What has to be had, and what happens without.

    Attributes:
        quorum: so many of the witnesses that are asked.
        closed: reports, bundles and the destruction of keys wait while the policy is not met; taking records in never
            does. Open: they go on, and say so.
        alarm_after: so old may the newest evidence be.
        stamp_every: time-stamps are asked for no more often.
    """

    witnesses: tuple[Witness, ...] = ()
    authorities: tuple[Authority, ...] = ()
    quorum: int = 0
    closed: bool = False
    alarm_after: timedelta = timedelta(minutes=60)
    stamp_every: timedelta = timedelta(minutes=15)

    @property
    def asked(self) -> tuple[Witness, ...]:
        """Return the witnesses that are asked."""
        return tuple(one for one in self.witnesses if one.url)

    @property
    def stamping(self) -> tuple[Authority, ...]:
        """Return the authorities that are asked, the first first."""
        return tuple(one for one in self.authorities if one.url)

    @property
    def active(self) -> bool:
        """Return whether anybody is asked."""
        return bool(self.asked or self.stamping)


NOBODY: Final = Policy()
