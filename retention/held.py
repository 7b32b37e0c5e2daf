"""Held: which open holds keep an entry, as of one reading of the events. What a disposal asks of every record.

    held = Held(vault, ledger.id, governance)
    held.of(seq, columns, record)      # ids of holds; empty: nothing keeps it

A hold's frozen set that is not there, or not the one its events name, stops whoever asks: nothing is destroyed by
guessing.
"""

from __future__ import annotations

from collections import defaultdict
from uuid import UUID

from vault import people, selections
from vault.context import Vault
from vault.core import hold
from vault.core.facets import Facets
from vault.core.governance import Governance, Hold
from vault.core.record import Record
from vault.core.selection import Selection


class Held:
    """Asks for the entries of one ledger, the events ledger too.

    Raises:
        Missing, Modified: the frozen set of an open hold is not whole.
    """

    def __init__(self, vault: Vault, ledger: UUID, governance: Governance) -> None:
        place = str(ledger)
        open_ = [one for one in governance.holds.values() if one.is_open]
        self._ledger = place
        self._sets = [(one.id, chosen) for one in open_ if (chosen := frozen(vault, ledger, one))]
        self._everything = _union([chosen for _, chosen in self._sets])
        scoped = [one for one in open_ if place in one.scope.ledgers]
        self._wide = [one for one in scoped if not one.scope.tags]
        self._named = [one for one in scoped if one.scope.tags]
        self._by_tag: dict[str, list[Hold]] = defaultdict(list)
        for one in self._named:
            for tag in one.scope.tags:
                self._by_tag[tag].append(one)
        self._key = hold.tag_key(people.person_key(vault)) if self._named else b""
        self._told: dict[int, list[str]] = defaultdict(list)
        if ledger == vault.events:
            for one in open_:
                self._told[one.seq].append(one.id)
                if one.release_seq is not None:
                    self._told[one.release_seq].append(one.id)

    def of(self, seq: int, columns: Facets | None = None, record: Record | None = None) -> tuple[str, ...]:
        """Return the ids of all open holds that keep an entry, sorted.

        Args:
            columns: a record's facets, compared with its leaf; None for an entry of the events ledger, of which the
                open holds keep what tells of themselves.
            record: as opened. None where it was not: a hold that names ids then keeps whatever meets its other terms.
        """
        keeping = set(self._told.get(seq, ()))
        if seq in self._everything:
            keeping |= {name for name, chosen in self._sets if seq in chosen}
        if columns is not None and (self._wide or self._named):
            codes = columns.jurisdictions.split(",")
            asked = [*self._wide, *self._answering(record)]
            keeping |= {one.id for one in asked if self._fits(one, columns, codes)}
        return tuple(sorted(keeping))

    def _answering(self, record: Record | None) -> list[Hold]:
        """Return the holds that name ids, one of which is the record's."""
        if not self._named or record is None:
            return self._named
        return [one for tag in hold.tags_of(self._key, record) for one in self._by_tag.get(tag, ())]

    def _fits(self, one: Hold, columns: Facets, codes: list[str]) -> bool:
        return hold.fits(one.scope, self._ledger, columns.occurred_at, columns.record_class, codes)


def frozen(vault: Vault, ledger: UUID, one: Hold) -> Selection:
    """Return the records of a ledger that a hold's events name.

    Raises:
        Missing, Modified: a set is not whole.
    """
    return _union([selections.load(vault, ledger, digest) for place, digest in one.sets if place == str(ledger)])


def held_count(vault: Vault, ledger: UUID, governance: Governance) -> int:
    """Return how many records of a ledger open holds name, each once. Those only a live scope keeps are not counted
    before they are inherited.

    Raises:
        Missing, Modified: a set is not whole.
    """
    return len(_union([frozen(vault, ledger, one) for one in governance.holds.values() if one.is_open]))


def _union(sets: list[Selection]) -> Selection:
    return Selection.of(()) if not sets else _merged(sets)


def _merged(sets: list[Selection]) -> Selection:
    """Halves, so that many small sets are not merged one by one into a large one."""
    if len(sets) == 1:
        return sets[0]
    middle = len(sets) // 2
    return _merged(sets[:middle]) | _merged(sets[middle:])
