"""Events: everything people and jobs do to the vault, in the tenant's own ledger.

An event's facts stand in clear for ever, so they hold governance only: ids, counts, digests. What could name a person
or quote a purpose goes into the sealed details, which follow the retention of the day they were written.

An event that announces an act (an access, a destruction) is committed and signed before the act: ``record`` returns
after the checkpoint, and raises where it could not be written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from vault.context import Vault
from vault.core import canonical, envelope, leaf
from vault.core.keeping import Facts
from vault.db.copyrows import sealed_fields
from vault.keys.ring import GroupRow
from vault.linking import Appended, Item, append
from vault.provision import GroupKeys, Provisioner

DETAIL_SCHEMA = "event-detail/1"


class Event(NamedTuple):
    """One act.

    Attributes:
        name: what happened, such as ``record.opened``.
        facts: words, integers and lists of them, in clear for ever.
        details: sealed; anything JSON can hold. None where the facts say all.
    """

    name: str
    facts: dict[str, Any]
    details: dict[str, Any] | None = None


def record(vault: Vault, name: str, facts: dict[str, Any], details: dict[str, Any] | None = None) -> Appended:
    """Commit one event. When this returns it is durable and under a checkpoint."""
    return record_all(vault, [Event(name, facts, details)])


def record_all(vault: Vault, happened: Sequence[Event]) -> Appended:
    """Commit events in one transaction."""
    now = vault.clock()
    keys: GroupKeys | None = None
    keeping = vault.keeper((), ())(Facts(now, now, None, (), "event"))
    if any(event.details is not None for event in happened):
        (keys,) = Provisioner(vault, vault.events, key_created(vault)).provide([keeping.group], now)
    items = []
    for event in happened:
        fields: dict[str, Any] = {
            "actor": vault.actor.name,
            "at": leaf.instant_ms(now),
            "event": event.name,
            "facts": {**event.facts, "break_glass": int(vault.actor.break_glass)},
            "kind": "event",
            "ledger": str(vault.events),
        }
        sealed = None
        if event.details is not None and keys is not None and keeping.keep_until is not None:
            sealed, promised = _seal(vault, event.details, keys)
            fields |= promised | {
                "group": keeping.group,
                "keep_until": leaf.instant(keeping.keep_until),
                "rulebook": canonical.b64(vault.rulebook),
                "rules": list(keeping.rules),
            }
        items.append(Item(*leaf.draft(fields), b"", sealed))
    return append(vault.engine, vault.checkpoints, vault.events, lambda _connection: items)


def key_created(vault: Vault) -> Callable[[GroupRow], None]:
    """Return what tells the events ledger of a new group key: an event without details, so it needs no key itself."""

    def tell(made: GroupRow) -> None:
        record(vault, "key.created", {"ledger": str(made.ledger), "group": made.group, "key": made.key_ref})

    return tell


def context(ledger: UUID) -> envelope.Context:
    """Return the context under which an event's details are sealed."""
    return envelope.Context(ledger, "", "", None, DETAIL_SCHEMA, "event", "")


def _seal(vault: Vault, details: dict[str, Any], keys: GroupKeys) -> tuple[bytes, dict[str, Any]]:
    record_key = os.urandom(32)
    sealed = envelope.seal(msgspec.json.encode(details), record_key, context(vault.events))
    wrapped = vault.ring.wrap_record_key(keys.epoch, record_key, sealed.key_commitment)
    promised = {
        "key": canonical.b64(sealed.key_commitment),
        "parts": [canonical.b64(sealed.part_digest)],
        "plaintext": canonical.b64(sealed.plaintext_commitment),
    }
    return sealed_fields(keys.epoch.epoch_id, wrapped, sealed.envelope, None, None, None), promised
