"""Re-keying: everything in a group moves to the next generation of its stem, and the old provider key dies.

For a key that somebody may have seen, or to end every copy of it in backups of the key store.

    1. decide that whoever acts may: the passphrase's holder, or a compliance officer. Nobody may while a disposal
       of the ledger has begun to destroy: its doomed would get keys that nobody decided to destroy
    2. close the group    3. move all that is in it    4. destroy its key

Interrupted anywhere, the same call goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from vault import events, generations, journal, moving, shred
from vault.context import Vault
from vault.core import disposal
from vault.core.errors import Denied, Unavailable
from vault.core.groups import stem_of
from vault.core.standing import Standing
from vault.db.engine import transact
from vault.events import Ruling, refuse
from vault.reading import denial
from vault.shred import Destroyed
from vault.surveying import Progress, nothing_to_tell


@dataclass(frozen=True, slots=True)
class Rekeyed:
    """What came of it: ``moved`` entries are in ``target`` now, "" where there were none."""

    moved: int
    target: str
    destroyed: Destroyed


def rekey(vault: Vault, ledger: UUID, group: str, *, progress: Progress = nothing_to_tell) -> Rekeyed:
    """Give a group's entries another key.

    Raises:
        Denied: whoever acts may not; the denial's event is committed.
        Unavailable: a disposal of the ledger has begun to destroy, or somebody else works on its keys.
        UsageError: no such group, or no vault opened for retention.
        VaultError: as ``moving.move`` and ``shred.destroy``.
    """
    stem = stem_of(group)
    facts: dict[str, object] = {"ledger": str(ledger), "group": group}

    def decide(standing: Standing) -> Ruling[None]:
        if not (vault.actor.break_glass or "officer" in vault.actor.roles_by(standing)):
            words = "re-keying needs the passphrase's holder or a compliance officer"
            return refuse(Denied(words), denial("keys.rekey", "role", facts))
        for one in disposal.begun(standing.governance, ledger):
            raise Unavailable(f"disposal {one.id} of this ledger has begun to destroy: run it to its end first")
        return Ruling([], None)

    with journal.deciding(vault.rewraps, ledger):  # so no disposal gets to its commit point meanwhile
        events.rule(vault, decide)
        generations.close(vault, ledger, [group])
        reason = f"rekey:{group}"
        moved = []
        if transact(vault.engine, lambda connection: generations.states(connection, ledger))[group] == "closing":
            moved = moving.move(vault, ledger, [group], lambda _opened: stem, reason=reason, progress=progress)
        destroyed = shred.destroy(vault, ledger, [group], reason=reason, expect=None)
    return Rekeyed(sum(one.count for one in moved), moved[0].target if moved else "", destroyed)
