"""Finding a conversation: by its id, or by a record or a transaction of it; each look-up is an event (vault.search).

What is found is what searching would show to whoever asks, under the grants that they hold, and not more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vault import events, reading, search
from vault.context import Vault
from vault.core import masking
from vault.core.errors import Denied, Unknown, UsageError
from vault.core.grant import Grant
from vault.events import refuse
from vault.ledgers import Ledger
from vault.openset import ACT

MOST: Final = 5_000
"""Records that a dossier is made of; a longer conversation is a matter for a bundle."""


@dataclass(frozen=True, slots=True)
class Found:
    """A conversation.

    Attributes:
        conversation: its id.
        seqs: positions that were found under the grant, or under any where none was named.
        beside: positions that only other grants of the same person would show.
    """

    conversation: str
    seqs: frozenset[int]
    beside: frozenset[int]


def find(vault: Vault, ledger: Ledger, options: Mapping[str, Any], purpose: str, grant: str | None) -> Found:
    """Find the conversation that ``options`` name: ``conversation``, ``record`` or ``transaction``.

    Raises:
        UsageError: not exactly one of them, or a conversation that is too long.
        Unknown: nothing that is looked for lies within a grant.
        Denied, Destroyed, Modified, Missing, Forked: as ``vault.search.search`` and ``vault.reading.read``.
    """
    named = {name: options[name] for name in ("conversation", "record", "transaction") if options.get(name) is not None}
    if len(named) != 1:
        raise UsageError("a dossier is of one conversation: name it with --conversation, --record or --transaction")
    (name, value), *_ = named.items()
    conversation = value if name == "conversation" else _conversation(vault, ledger, name, value, purpose, grant)
    held = reading.held_grants(vault, vault.register.standing(), str(ledger.id), None)
    # A masked grant that would refuse the term is not asked: the refusal is an event, though another grant may serve.
    able = [one for one in held if one.scope.fields == "full" or masking.shows(conversation, "conversation_id")]
    chosen = [one for one in able if grant in (None, one.id)]
    seqs = _all(vault, ledger, conversation, chosen) if chosen else _page(vault, ledger, conversation, grant)
    if not seqs:
        raise Unknown("no record of this conversation lies within a grant of yours")
    others = [one for one in able if one not in chosen]
    return Found(conversation, seqs, _all(vault, ledger, conversation, others) - seqs)


def _conversation(vault: Vault, ledger: Ledger, name: str, value: str, purpose: str, grant: str | None) -> str:
    """Return the conversation of a record or a transaction: the record itself says it, so one is opened."""
    record = value
    if name == "transaction":
        rows = search.search(vault, ledger, search.Wanted(transaction=value, limit=1), grant).rows
        if not rows:
            raise Unknown("no record with this transaction lies within a grant of yours")
        record = rows[0].facets.record_id
    read = reading.read(vault, ledger, record, purpose, grant)
    document = msgspec.json.decode(read.raw) if read.masked is None else read.masked
    if name == "transaction" and document["decision"].get("transaction_id") != value:
        raise Unknown("no record with this transaction lies within a grant of yours")  # no leaf commits to an index
    if read.masked is not None and document["conversation_id"] == masking.MASKED:
        told = reading.denial(ACT, "fields", {"ledger": str(ledger.id), "grant": read.grant})
        words = "this grant masks such a conversation id: a dossier of it needs one that shows everything"
        events.rule(vault, lambda _standing: refuse(Denied(words), told))
    return str(document["conversation_id"])


def _all(vault: Vault, ledger: Ledger, conversation: str, grants: Sequence[Grant]) -> frozenset[int]:
    found: frozenset[int] = frozenset()
    for one in grants:
        found |= _page(vault, ledger, conversation, one.id)
    return found


def _page(vault: Vault, ledger: Ledger, conversation: str, grant: str | None) -> frozenset[int]:
    seqs: set[int] = set()
    cursor: str | None = None
    while True:
        wanted = search.Wanted(conversation=conversation, cursor=cursor, limit=search.MOST)
        page = search.search(vault, ledger, wanted, grant)
        seqs.update(row.seq for row in page.rows)
        cursor = page.cursor
        if len(seqs) > MOST:
            raise UsageError(f"the conversation has more than {MOST:,} records: make a bundle of it instead")
        if cursor is None:
            return frozenset(seqs)
