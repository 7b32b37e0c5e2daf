"""Inheriting: records that arrived after a hold was placed, and belong to it, are frozen into it.

Nothing depends on how often this runs: until then the hold's live scope keeps them (retention.held). It makes the hold
say so itself, in events that last.

    hold by hold, ledger by ledger:
    1. find what matches since the position up to which the hold has looked
    2. freeze it
    3. decide under the events ledger's lock that the hold is still open, and has looked no further meanwhile; commit
       ``hold.inherited``

Two workers find the same and store the same set; the second one's event is not written.
"""

from __future__ import annotations

from typing import Any, Final

from retention.saving import Saved, find, save, size_of, terms_of, unchanged
from vault import events, trace
from vault.context import Vault
from vault.core.errors import Stale
from vault.core.governance import Hold
from vault.core.standing import Standing
from vault.events import Event, Ruling

_WORTH: Final = 100_000
"""Entries without a match after which it is written down that they were looked at."""


def inherit_all(vault: Vault) -> dict[str, int]:
    """Freeze what every open hold has inherited since it last looked.

    Returns:
        ``holds`` that are open, ``records`` inherited, ``events`` written, ``unreadable``: holds whose terms cannot be
        opened, so that their live scope alone keeps what arrives.

    Raises:
        KeyUnavailable: a key of the blind indexes is out of reach; what was inherited before that stays so.
    """
    open_ = [one for one in vault.register.standing().governance.holds.values() if one.is_open]
    sealed = trace.details(vault, [one.seq for one in open_])
    done = {"holds": len(open_), "records": 0, "events": 0, "unreadable": 0}
    for one in open_:
        told = sealed.get(one.seq)
        if told is None:
            done["unreadable"] += 1
            continue
        for ledger in one.scope.ledgers:
            if (count := _inherit(vault, one, ledger, told)) is not None:
                done["records"] += count
                done["events"] += 1
    return done


def _inherit(vault: Vault, one: Hold, ledger: str, told: dict[str, Any]) -> int | None:
    """Return how many records were inherited; None where no event was written."""
    first, size = dict(one.looked).get(ledger, 0), size_of(vault, ledger)
    if size <= first:
        return None
    found = find(vault, ledger, terms_of(told["terms"]), first, size)
    if not found.records and size - first < _WORTH:
        return None
    while True:
        saved = save(vault, ledger, found.records)
        facts = {
            "hold": one.id,
            "ledger": ledger,
            "selection": saved.selection,
            "count": saved.count,
            "upto": size,
        }

        def decide(standing: Standing, saved: Saved = saved, facts: dict[str, Any] = facts) -> Ruling[int | None]:
            now = standing.governance.holds[one.id]
            if not now.is_open or dict(now.looked).get(ledger, 0) != first:
                return Ruling([], None)
            unchanged(standing.governance, saved)
            return Ruling([Event("hold.inherited", facts)], saved.count)

        try:
            return events.rule(vault, decide)[1]
        except Stale:
            continue
