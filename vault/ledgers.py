"""Ledgers: made once, announced in the tenant's events ledger, never dropped.

    1. sign the checkpoint of the empty tree outside the database
    2. COMMIT ledger row, head and genesis leaf: the ledger exists
    3. sign the checkpoint of size 1
    4. record ``ledger.created`` with the genesis leaf's hash in the events ledger

A crash after 2 leaves a ledger that nobody has written to yet; making it again, or the first ingest, finishes 3 and 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

from vault import events
from vault.context import Vault
from vault.core import canonical, leaf, packing
from vault.core.errors import EvidenceError, Forked, LedgerFrozen, Missing, Modified, UsageError
from vault.core.iso import COUNTRIES
from vault.core.leaf import EventLeaf, GenesisLeaf
from vault.core.tree import Frontier, leaf_hash
from vault.db import store
from vault.db.engine import transact, translated
from vault.db.store import HeadRow, LedgerRow
from vault.linking import append

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
EVENTS = "events"


@dataclass(frozen=True, slots=True)
class Ledger:
    """One ledger: its row and the genesis leaf that says what it is. ``size`` of a frozen one is its good head's."""

    row: LedgerRow
    genesis: GenesisLeaf
    size: int

    @property
    def id(self) -> UUID:
        return self.row.ledger_id


def create(vault: Vault, name: str, jurisdictions: tuple[str, ...], rules: tuple[str, ...]) -> Ledger:
    """Make a decisions ledger, or finish and return the one of the same name and terms.

    Raises:
        UsageError: a bad name, no jurisdiction, a rule that does not exist, or the name is taken on other terms.
    """
    require_name(name)
    if not jurisdictions:
        raise UsageError("a ledger needs at least one --jurisdiction")
    for code in jurisdictions:
        if code not in COUNTRIES:
            raise UsageError(f"{code[:8]!r} is no ISO 3166-1 code")
    told = vault.register.standing()  # which rule book is in force
    vault.keeper(jurisdictions, rules)  # refuses rules that do not exist
    if any(one.successor_name == name and not one.succeeded for one in told.frozen.values()):
        raise UsageError(f"the name {name} is promised to a successor: 'reasonvault ledger succeed' makes it")
    with translated(), vault.engine.connect() as connection:
        # The events ledger's head lock stands in for a unique name: no key may span ledgers to enforce one.
        store.lock_head(connection, vault.events)
        if find(vault, name) is None:
            make(vault, uuid4(), name, "decisions", jurisdictions, rules)
    standing = get(vault, name)
    require_open(vault, standing.id)
    if (standing.genesis.jurisdictions, standing.genesis.rules) != (jurisdictions, rules):
        raise UsageError(f"ledger {name} exists with other jurisdictions or rules; they are frozen in its genesis")
    announce(vault, standing)
    return standing


def make(
    vault: Vault,
    ledger: UUID,
    name: str,
    kind: str,
    jurisdictions: tuple[str, ...],
    rules: tuple[str, ...],
    predecessor: str | None = None,
) -> None:
    """Steps 1 to 3: write a ledger of either kind. ``predecessor``: the word that names the one it goes on for."""
    genesis = canonical.encode(
        ({} if predecessor is None else {"predecessor": predecessor})
        | {
            "created_at": leaf.instant_ms(vault.clock()),
            "jurisdictions": list(jurisdictions),
            "kind": "genesis",
            "ledger": str(ledger),
            "ledger_kind": kind,
            "name": name,
            "region": vault.region,
            "rulebook": canonical.b64(vault.rulebook),
            "rules": list(rules),
            "seq": 0,
            "tenant": vault.tenant,
            "v": leaf.VERSION,
            "verifiers": [str(key) for key in vault.checkpoints.in_force(ledger)],
        }
    )
    id_key = vault.ring.new_ledger_key(vault.tenant_key, ledger)
    frontier = Frontier()
    frontier.append(leaf_hash(genesis))
    first = HeadRow(1, leaf_hash(genesis), frontier.to_bytes())
    vault.checkpoints.begin(ledger)
    row = LedgerRow(ledger, vault.tenant, kind, name, id_key)
    vault.checkpoints.announce(ledger, first)
    transact(vault.engine, lambda connection: store.create_ledger(connection, row, packing.pack(genesis), first))
    vault.checkpoints.publish(ledger, frontier)


def announce(vault: Vault, ledger: Ledger) -> None:
    """Step 4, and step 3 where a crash left it out. Running it again changes nothing."""
    append(vault.engine, vault.checkpoints, ledger.id, lambda _connection: ())
    if not any(told.facts.get("ledger") == str(ledger.id) for told in created(vault)):
        facts = {
            "ledger": str(ledger.id),
            "name": ledger.row.name,
            "genesis": canonical.b64(leaf_hash(genesis_bytes(vault, ledger.id))),
            "jurisdictions": list(ledger.genesis.jurisdictions),
            "rules": list(ledger.genesis.rules),
            "rulebook": ledger.genesis.rulebook,
        }
        events.record(vault, "ledger.created", facts)


def listing(vault: Vault) -> list[Ledger]:
    """Return every ledger the database has, by name, but for frozen ones of which nothing can be read."""
    rows = transact(vault.engine, store.ledgers)
    found = []
    for row in rows:
        try:
            found.append(_read(vault, row))
        except EvidenceError:
            if str(row.ledger_id) not in vault.register.standing().frozen:
                raise  # what a frozen ledger lost is known, and may be its genesis leaf
    return found


def find(vault: Vault, name: str) -> Ledger | None:
    """Return the ledger of this name, None when there is none."""
    rows = [row for row in transact(vault.engine, store.ledgers) if row.name == name and row.tenant == vault.tenant]
    if len(rows) > 1:
        raise Forked(f"{len(rows)} ledgers are named {name}")
    return _read(vault, rows[0]) if rows else None


def get(vault: Vault, name: str) -> Ledger:
    """Return the ledger of decisions of this name.

    Raises:
        UsageError: there is none, or the name is that of the events.
    """
    found = find(vault, name)
    if found is None:
        raise UsageError(f"no ledger is named {name}: see 'reasonvault ledger list'")
    if found.row.kind != "decisions":
        raise UsageError(f"ledger {name} holds what people and jobs did, and no records")
    return found


def require_name(name: str) -> None:
    """Raise ``UsageError`` unless a ledger of decisions can have this name."""
    if _NAME.fullmatch(name) is None or name == EVENTS:
        raise UsageError("a ledger's name is 1 to 63 of a-z, 0-9 and '-', and not 'events'")


def require_open(vault: Vault, ledger: UUID) -> None:
    """Refuse a frozen ledger, before anything is made ready to be appended to it.

    Raises:
        LedgerFrozen: it is; the error names its successor.
    """
    frozen = vault.register.standing().frozen.get(str(ledger))
    if frozen is not None:
        raise LedgerFrozen(frozen.successor_name, str(ledger))


def created(vault: Vault) -> Iterator[EventLeaf]:
    """Yield the ``ledger.created`` events."""
    return history(vault, "ledger.created")


def history(vault: Vault, *names: str) -> Iterator[EventLeaf]:
    """Yield the events of these names, in order."""
    # Canonical JSON has one spelling, so a leaf without the name's own is another event and need not be parsed.
    marks = [canonical.encode({"event": name})[1:-1] for name in names]
    with vault.engine.connect() as connection:
        for _, stored in store.stream_leaves(connection, vault.events, 0, None):
            data = packing.unpack(stored)
            if not any(mark in data for mark in marks):
                continue
            told = leaf.parse(data)
            if isinstance(told, EventLeaf) and told.event in names:
                yield told


def genesis_bytes(vault: Vault, ledger: UUID) -> bytes:
    """Return the genesis leaf's bytes.

    Raises:
        Missing: there is none.
    """
    stored = transact(vault.engine, lambda connection: store.fetch_leaf(connection, ledger, 0))
    if stored is None:
        raise Missing("the genesis leaf is missing", str(ledger), 0)
    return packing.unpack(stored)


def _read(vault: Vault, row: LedgerRow) -> Ledger:
    """Return a ledger whose row says what its genesis leaf says, and that leaf is the one that was announced.

    The row alone is whatever the database's owner makes it: grants and keys name ledgers by uuid, people by name, and
    two rows that traded their names would open one ledger to the auditors of the other. A ledger that a crash left
    unannounced has no announcement to compare with; nothing is written to it before it has.
    """
    place = str(row.ledger_id)
    data = genesis_bytes(vault, row.ledger_id)
    genesis = leaf.parse(data)
    if not isinstance(genesis, GenesisLeaf) or genesis.ledger != place:
        raise Modified("the genesis leaf is not this ledger's", place, 0)
    if (row.name, row.kind, row.tenant) != (genesis.name, genesis.ledger_kind, genesis.tenant):
        raise Modified("the ledger's row is not what its genesis leaf says", place, 0)
    if row.tenant == vault.tenant and row.ledger_id != vault.events:
        announced = vault.register.standing().ledgers.get(place)
        if announced not in (None, canonical.b64(leaf_hash(data))):
            raise Forked("the genesis leaf is not the one that was announced", place, 0)
    if (frozen := vault.register.latest.frozen.get(place)) is not None:
        return Ledger(row, genesis, frozen.recovery.size)
    head = transact(vault.engine, lambda connection: store.read_head(connection, row.ledger_id))
    return Ledger(row, genesis, head.size if head else 0)
