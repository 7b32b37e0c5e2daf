"""Restriction: records that are kept but no longer used, unless a legal duty asks for them.

A record is restricted where its law was in conflict when it was written (Flag.ERASURE_CONFLICT: some rule demanded
erasure before keeping ended), where a rule book that was adopted later brings such a conflict (``in_conflict``), or
where somebody asked for its erasure (``erasure.requested`` names a set of records). It is kept, counted and found like
any other; opening it needs a duty that somebody named (vault.reading).

What a later book says depends on the content. So whoever opens a record asks for it; a search by customer, which opens
nothing, knows the other two only.

    restricted = Restricted.of(vault, ledger)
    restricted.require_current(standing.governance)    # under the events ledger's lock
    restricted.has(seq, flags)
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from vault import selections
from vault.context import Vault
from vault.core import canonical
from vault.core.errors import Stale
from vault.core.facets import Facets
from vault.core.flags import Flag
from vault.core.governance import Governance
from vault.core.leaf import RecordLeaf
from vault.core.record import Record
from vault.core.selection import Selection
from vault.ledgers import Ledger

CODE = "restricted"
"""Of the denial's event."""

_CONFLICT = int(Flag.ERASURE_CONFLICT)


@dataclass(frozen=True, slots=True)
class Restricted:
    """Which records of one ledger are restricted, by the requests of some moment."""

    ledger: str
    digests: frozenset[str]
    asked: tuple[Selection, ...]

    @classmethod
    def of(cls, vault: Vault, ledger: UUID) -> Restricted:
        """Return them as of now.

        Raises:
            Missing, Modified: the set of a request is not whole; nobody can say then what is restricted.
        """
        named = _named(vault.register.standing().governance, str(ledger))
        return cls(str(ledger), named, tuple(selections.load(vault, ledger, digest) for digest in sorted(named)))

    def has(self, seq: int, flags: int) -> bool:
        """Say whether a record is restricted; ``flags`` are those of its facets."""
        return bool(flags & _CONFLICT) or any(seq in one for one in self.asked)

    def require_current(self, governance: Governance) -> None:
        """Raise ``Stale`` where somebody asked for an erasure since."""
        if _named(governance, self.ledger) != self.digests:
            raise Stale("an erasure was asked for meanwhile")


def in_conflict(vault: Vault, ledger: Ledger, leaf: RecordLeaf, columns: Facets, record: Record) -> bool:
    """Say whether the law in force brings a record, opened and verified, into conflict. Events that were reported about
    it since do not count, as with the flag of the day it was written.

    Raises:
        Missing: its leaf names a rule book that was never in force.
    """
    law = vault.law()
    if leaf.rulebook == canonical.b64(law.rulebook):
        return False  # the flag says it
    return law.conflict(ledger.genesis.jurisdictions, ledger.genesis.rules)(leaf, columns, record)


def _named(governance: Governance, ledger: str) -> frozenset[str]:
    return frozenset(one.selection for one in governance.restrictions if one.ledger == ledger)
