"""Holds for tests: placed in one line, asked of a record as a disposal asks."""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID

from retention import held, holding
from retention.holding import Held, Placed
from vault import ledgers, matching
from vault.context import Vault
from vault.core.selection import Selection

CASE, REASON = "Arbeitsgericht 4711/26 Müller", "letter of the court in Xi'an"


def placed(vault: Vault, names: list[str], **more: Any) -> Placed:
    """Place a hold; ``more`` are arguments of ``holding.place``."""
    wanted: dict[str, Any] = {"case": CASE, "reason": REASON, "random": os.urandom}
    return holding.place(vault, ledgers=[ledgers.get(vault, name) for name in names], **wanted | more)


def frozen(vault: Vault, ledger: UUID, name: str) -> list[int]:
    """Return the records of a ledger that a hold's events name."""
    return list(held.frozen(vault, ledger, vault.register.standing().governance.holds[name]))


def keepers(vault: Vault, ledger: UUID, seq: int, *, opened: bool = True) -> tuple[str, ...]:
    """Return the holds that keep a record, as a disposal finds them."""
    asked = Held(vault, ledger, vault.register.standing().governance)
    (entry,) = matching.entries(vault, ledger, Selection.of([seq]))
    record = matching.Reader(vault, ledger).record(entry) if opened else None
    return asked.of(seq, entry.facets, record)
