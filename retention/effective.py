"""How long a record is kept as of now: what its leaf froze, and everything that has lengthened it since.

    effective = Effective(vault, ledger, History.read(vault))
    effect = effective.of(leaf, columns, record)
    effect.keep_until      # None: open-ended, never due

The reckoning itself is pure and lies in ``retention.reckoning``; this reads what it needs.
"""

from __future__ import annotations

from retention.books import chain
from retention.history import History
from retention.reckoning import Effect, Reckoning
from vault.context import Vault
from vault.core.facets import Facets
from vault.core.leaf import EventLeaf, RecordLeaf
from vault.core.record import Record
from vault.ledgers import Ledger

__all__ = ["Effect", "Effective"]


class Effective:
    """Reckons for the entries of one ledger, the events ledger too, by what was decided up to a history's size.

    Raises:
        Missing, Modified: a rule book that was in force is not there, or is not the one that was adopted.
    """

    def __init__(self, vault: Vault, ledger: Ledger, history: History) -> None:
        books = chain(vault, [one.digest for one in history.books])
        genesis = ledger.genesis
        self._reckoning = Reckoning(books, genesis.jurisdictions, genesis.rules, history.dated(str(ledger.id)))

    def of(self, leaf: RecordLeaf | EventLeaf, columns: Facets | None = None, record: Record | None = None) -> Effect:
        """Return how long an entry is kept; ``columns`` and ``record`` for a record, both as opened and verified.

        Raises:
            Missing: the leaf names a rule book that was never in force here.
        """
        if isinstance(leaf, EventLeaf):
            return self._reckoning.of_event(leaf)
        assert columns is not None
        assert record is not None
        return self._reckoning.of_record(leaf, columns, record)
