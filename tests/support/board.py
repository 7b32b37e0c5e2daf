"""A board: compliance officers with approver's keys, and a vault in which everything is due.

board = Board.of(vault)                 # three officers; vault.clock goes on from today
vault = board.due                       # twenty years later
made = board.planned("cn")              # by the first officer
board.approve(made)                     # by the other two
destroying.run(board.cooled, made.id)   # after cooling-off
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from retention import approvers, disposal
from retention.plan import Plan, plan
from tests.support.acting import hire, later
from tests.support.vault import Installation
from vault import ledgers
from vault.context import Actor, Vault
from vault.core.governance import Disposal
from vault.db.engine import transact
from vault.db.store import fetch_entries

YEARS = 20 * 365 * 86_400_000_000
COOLING = 73 * 3_600_000_000
NAMES = ("olaf", "petra", "rita")


def _key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))


@dataclass(frozen=True)
class Board:
    """Officers and their keys.

    Attributes:
        today: the vault as it was opened.
        due: the same, when everything in it is due.
    """

    today: Vault
    officers: tuple[Actor, ...]

    @classmethod
    def of(cls, vault: Vault) -> Board:
        """Hire them and register their keys."""
        officers = tuple(hire(vault, name, "officer") for name in NAMES)
        for name, officer in zip(NAMES, officers, strict=True):
            approvers.register(vault.acting(officer), _key(name).public_key().public_bytes_raw())
        return cls(vault, officers)

    def on(self, vault: Vault) -> Board:
        """Return the same people before another opened vault."""
        return replace(self, today=vault)

    @property
    def due(self) -> Vault:
        return later(self.today, YEARS)

    @property
    def cooled(self) -> Vault:
        return later(self.today, YEARS + COOLING)

    def acting(self, at: int, vault: Vault | None = None) -> Vault:
        """Return the vault as officer number ``at`` uses it, when everything is due."""
        return (vault or self.due).acting(self.officers[at])

    def key(self, at: int) -> Ed25519PrivateKey:
        return _key(NAMES[at])

    def planned(self, ledger: str, **more: Any) -> Plan:
        """Plan as the first officer."""
        vault = self.acting(0)
        found = ledgers.find(vault, ledger)
        assert found is not None
        return plan(vault, found, **more)

    def approve(self, made: Plan) -> Disposal:
        """Approve as the other two."""
        disposal.approve(self.acting(1), made.id, self.key(1))
        return disposal.approve(self.acting(2), made.id, self.key(2))

    def intended(self, ledger: str, **more: Any) -> Plan:
        """Plan and approve."""
        made = self.planned(ledger, **more)
        self.approve(made)
        return made


def standing(installation: Installation, vault: Vault, ledger: str) -> set[int]:
    """Return the positions of a ledger that still have something sealed beside them."""
    place = installation.ledger(ledger)
    seqs = range(1, installation.size(ledger))
    rows = transact(vault.engine, lambda connection: list(fetch_entries(connection, place, seqs)))
    return {row.seq for row in rows if row.sealed is not None}
