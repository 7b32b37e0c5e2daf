"""A disposal told step by step, lawful or not: the events are written and the rows deleted by hand.

What destroys for real is tried elsewhere; here is made what it leaves behind, so that each step can be left out,
forged or done twice.

    staged = Staged.begin(vault, "cn", range(3, 9))
    staged.run()
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.acting import hire, later
from tests.support.vault import Installation
from vault import events, ledgers, selections
from vault.context import Actor, Vault
from vault.core import canonical, leaf, packing
from vault.core.disposal import signed_bytes
from vault.core.leaf import EventLeaf, RecordLeaf
from vault.core.manifest import Manifest
from vault.core.selection import Selection
from vault.core.tree import leaf_hash
from vault.db import store

YEARS = 365 * 86_400_000_000
DISPOSAL = "d-2046-1"
COOLING = 72 * 3600


@dataclass
class Officer:
    """A compliance officer with a key of their own."""

    actor: Actor
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes_raw()


@dataclass
class Staged:
    """One disposal of some entries of a ledger; ``vault`` is twenty years on, when everything is due; ``today`` is not.

    Attributes:
        leaves: every leaf of the ledger that carries sealed bytes, by position, with its hash.
        planned, final: the entries.
    """

    vault: Vault
    today: Vault
    ledger: UUID
    leaves: dict[int, tuple[RecordLeaf | EventLeaf, bytes]]
    planner: Officer
    officers: list[Officer]
    planned: Selection
    final: Selection
    kind: str = "expiry"
    id: str = DISPOSAL
    approvals: list[int] = field(default_factory=list)

    @classmethod
    def begin(cls, vault: Vault, name: str, seqs: Iterable[int], **more: Any) -> Staged:
        """Hire three officers, register the keys of two, and go twenty years on."""
        planner, *officers = [Officer(hire(vault, f"{name}-{at}", "officer")) for at in range(3)]
        chosen = Selection.of(seqs)
        ledger = vault.events if name == "events" else ledgers.get(vault, name).id
        made = cls(vault, vault, ledger, _leaves(vault, ledger), planner, officers, chosen, chosen, **more)
        for officer in officers:
            made.register(officer)
        made.vault = later(vault, 20 * YEARS)
        return made

    def tell(self, event: str, facts: dict[str, Any], by: Officer | None = None) -> int:
        """Commit an event, and return its position."""
        vault = self.vault if by is None else self.vault.acting(by.actor)
        return events.record(vault, event, facts).seq

    def register(self, officer: Officer) -> None:
        facts = {"person": officer.actor.name, "public": canonical.b64(officer.public)}
        self.tell("approver.registered", facts, officer)

    @property
    def manifest(self) -> bytes:
        made = Manifest(self.ledger)
        for seq in self.planned:
            made.add(seq, self.leaves[seq][1])
        return made.digest()

    def keep(self, made: Selection) -> str:
        return selections.keep(self.vault, self.ledger, made)

    def plan(self, **more: Any) -> None:
        facts: dict[str, Any] = {
            "disposal": self.id,
            "kind": self.kind,
            "ledger": str(self.ledger),
            "manifest": canonical.b64(self.manifest),
            "selection": self.keep(self.planned),
            "count": len(self.planned),
            "groups": sorted(self.groups()),
            "cooling_off": COOLING,
            "rulebook": canonical.b64(self.vault.rulebook),
        }
        if self.kind == "expiry":
            facts["due"] = leaf.instant(self.vault.clock() // 1_000_000)
        self.tell("disposal.planned", facts | more, self.planner)

    def approve(self, officer: Officer, signer: Officer | None = None, **more: Any) -> None:
        """Sign as ``officer`` with the key of ``signer``."""
        signer = signer or officer
        told = self.vault.register.standing().governance.disposals[self.id]
        # What is planned here, whatever the plan's event says of it.
        mine = replace(told, manifest=canonical.b64(self.manifest), count=len(self.planned))
        said = signed_bytes(mine, self.vault.tenant, officer.actor.name)
        facts = {
            "disposal": self.id,
            "manifest": canonical.b64(self.manifest),
            "signature": canonical.b64(signer.key.sign(said)),
            "key": canonical.b64(officer.public),
        }
        self.approvals.append(self.tell("disposal.approved", facts | more, officer))

    def intend(self, cooling_off: int = COOLING) -> None:
        """Intend; time goes on until the cooling-off that is told here is over."""
        facts = {
            "disposal": self.id,
            "manifest": canonical.b64(self.manifest),
            "approvals": self.approvals,
            "not_before": leaf.instant(self.vault.clock() // 1_000_000 + cooling_off),
        }
        self.tell("disposal.intended", facts)
        self.vault = later(self.vault, (cooling_off + 1) * 1_000_000)

    def destroy(self, **more: Any) -> None:
        facts = {
            "disposal": self.id,
            "manifest": canonical.b64(self.manifest),
            "selection": self.keep(self.final),
            "count": len(self.final),
            "excepted": len(self.planned - self.final),
            "exceptions": self.keep(self.planned - self.final),
            "holds_at": self.vault.register.standing().size,
            "groups": sorted(self.groups()),
            "keys": [f"k-{group}" for group in sorted(self.groups())],
        }
        self.tell("disposal.destroying", facts | more)

    def groups(self) -> set[str]:
        return {str(self.leaves[seq][0].group) for seq in self.final}

    def kill(self, *groups: str) -> None:
        """Tell that the keys of groups are destroyed; of all of them where none is named."""
        for group in groups or sorted(self.groups()):
            facts = {
                "ledger": str(self.ledger),
                "group": group,
                "key": f"k-{group}",
                "provider": "keyfile",
                "for": self.id,
                "destroyed_at": leaf.instant(self.vault.clock() // 1_000_000),
            }
            self.tell("key.destroyed", facts)

    def done(self) -> None:
        facts = {
            "disposal": self.id,
            "manifest": canonical.b64(self.manifest),
            "count": len(self.final),
            "ledger": str(self.ledger),
            "deleted": len(self.final),
            "epochs_tried": 1,
            "size": len(self.leaves),
            "root": canonical.b64(bytes(32)),
        }
        self.tell("disposal.done", facts)

    def run(self) -> None:
        """Tell everything, without deleting a row."""
        self.plan()
        for officer in self.officers:
            self.approve(officer)
        self.intend()
        self.destroy()
        self.kill()
        self.done()

    def move(self, seqs: Iterable[int], group: str) -> None:
        moved = Selection.of(seqs)
        facts = {
            "ledger": str(self.ledger),
            "from": sorted(self.groups()),
            "to": group,
            "selection": self.keep(moved),
            "count": len(moved),
            "for": "r-1",
        }
        self.tell("keys.moved", facts)

    def hold(self, seqs: Iterable[int], hold: str = "h-1") -> None:
        facts = {
            "hold": hold,
            "case": "c-1",
            "ledgers": [str(self.ledger)],
            "selections": [self.keep(Selection.of(seqs))],
            "counts": [1],
            "tags": [],
            "classes": [],
            "jurisdictions": [],
            "looked": [0],
        }
        self.tell("hold.placed", facts, self.planner)


def delete_rows(installation: Installation, ledger: UUID, seqs: Iterable[int]) -> None:
    """Delete what stands beside entries, as somebody whom nothing stops."""
    with installation.tampering() as connection:
        statement = "DELETE FROM vault.sealed WHERE ledger_id = %s AND seq = ANY(%s)"
        assert connection.execute(statement, (ledger, list(seqs))).rowcount > 0


def _leaves(vault: Vault, ledger: UUID) -> dict[int, tuple[RecordLeaf | EventLeaf, bytes]]:
    found = {}
    with vault.engine.connect() as connection:
        for seq, stored in store.stream_leaves(connection, ledger, 0, None):
            data = packing.unpack(stored)
            parsed = leaf.parse(data)
            if isinstance(parsed, RecordLeaf | EventLeaf) and parsed.parts:
                found[seq] = (parsed, leaf_hash(data))
    return found


def restaged(staged: Staged, **more: Any) -> Staged:
    """Return another disposal by the same people."""
    return replace(staged, approvals=[], **more)
