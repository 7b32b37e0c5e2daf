"""Reading: nobody reads unseen, and nobody reads more than a grant says.

    1. refuse whoever has no grant for the ledger at all
    2. find the entry by the record's id; fetch leaf, envelope and facets
    3. verify it: the leaf is under a signed checkpoint, the facets are those it commits to. Only then is what they say
       (when it happened, of which class) good enough to decide by
    4. decide under the events ledger's lock whether a grant opens it, and commit and sign the access event, or the
       denial's; where that fails no plaintext leaves. A restricted record (vault.restricting) is opened for a legal
       duty only: the grant's, or the one that the passphrase's holder names. Whether a rule book that is younger than
       the record restricts it depends on its content, which is looked at for that alone
    5. open with every commitment
    6. hand out exactly the stored bytes, or, under a masked grant, what masking lets through

A crash after 4 leaves an access that did not happen, which is harmless; there is no order in which plaintext leaves
first. Whoever holds the passphrase reads without a grant, marked break-glass, until a grant policy is adopted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from vault import erasure, events, proving
from vault.context import Vault
from vault.core import canonical, facets, leaf, masking, packing, receipt
from vault.core.envelope import opening as opening_of
from vault.core.errors import (
    Denied,
    Destroyed,
    EvidenceError,
    Forked,
    KeyGone,
    Missing,
    Modified,
    Stale,
    Unknown,
    UsageError,
)
from vault.core.facets import Facets
from vault.core.grant import NO_AUDITOR, Grant, that_opens
from vault.core.leaf import RecordLeaf
from vault.core.proof import Proof
from vault.core.record import Record
from vault.core.standing import Standing
from vault.core.tree import leaf_hash
from vault.db import store
from vault.db.engine import transact
from vault.db.store import SealedRow
from vault.events import Event, Ruling, Told, refuse
from vault.grants import require_duty
from vault.ledgers import Ledger
from vault.linking import append
from vault.opening import Opener
from vault.restricting import CODE, Restricted, in_conflict
from vault.sealing import from_columns, id_tag

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Reading:
    """One record, opened.

    Attributes:
        raw: exactly what the producer sent; empty where ``masked`` stands instead.
        masked: the record as a masked grant shows it, None where the grant shows everything.
        receipt: what the producer took home, with a path to the newest checkpoint; without the opening under a masked
            grant, since with it a guess of the text can be tested.
        grant: the grant's id, "" for whoever holds the passphrase.
        access: position of the access event.
        checkpoint_size: of the signed tree that the leaf was found under.
    """

    raw: bytes = field(repr=False)
    masked: dict[str, Any] | None = field(repr=False)
    seq: int
    leaf: RecordLeaf
    leaf_hash: bytes
    receipt: bytes = field(repr=False)
    grant: str
    access: int
    checkpoint_size: int


@dataclass(frozen=True, slots=True)
class _Verified:
    """An entry whose leaf is under a signed checkpoint and whose facets are the leaf's."""

    leaf: RecordLeaf
    data: bytes
    proof: Proof
    checkpoint_size: int
    row: SealedRow
    columns: Facets


def read(
    vault: Vault, ledger: Ledger, record_id: str, purpose: str, grant: str | None = None, duty: str = ""
) -> Reading:
    """Open one record.

    Args:
        purpose: why; under a grant it may be empty, since the grant has its own.
        grant: id of the grant to use; None takes one that opens the record, a full one before a masked one.
        duty: the legal duty for which the passphrase's holder opens a restricted record; a grant has its own.

    Raises:
        UsageError: no purpose, no text, a duty that is no word or stands beside a login; or no such record in this
            ledger (the look-up is an event as well).
        Unknown: the same for whoever reads under a grant, and also where no grant of theirs reaches the record.
        Denied: whoever reads has no grant for this ledger, or the record is restricted and no duty is named.
        Destroyed: the record was destroyed by policy; under a grant only where it has neither period nor classes, since
            nobody can say any more whether the record lay within.
        Modified, Missing, Forked: what is stored is not what was promised.
    """
    if vault.actor.break_glass and not purpose.strip():
        raise UsageError("--purpose must say why the record is opened")
    if not _is_text(record_id + purpose):
        raise UsageError("record id and --purpose must be UTF-8 text")
    require_duty(duty)
    if duty and not vault.actor.break_glass:
        raise UsageError("the duty is named by the grant, and approved with it: leave --duty out")
    tag = id_tag(vault.ring.open_ledger_key(vault.tenant_key, ledger.id, ledger.row.id_key), record_id)
    require_grant(vault, ledger.id, "record.open", {"ledger": str(ledger.id), "id_tag": canonical.b64(tag)}, grant)
    seq = transact(vault.engine, lambda connection: store.find_tags(connection, ledger.id, [tag])).get(tag)
    facts: dict[str, object] = {"ledger": str(ledger.id), "id_tag": canonical.b64(tag)}
    details = {"purpose": purpose} if purpose else None
    if seq is None:
        return _not_there(vault, ledger, facts, details, grant)
    try:
        found = _verified(vault, ledger, seq)
        conflict = _in_conflict(vault, ledger, found)
    except Destroyed as gone:
        return _gone(vault, ledger, facts | {"seq": seq, "disposal": gone.disposal}, details, grant, gone)
    except EvidenceError as error:  # whoever looked must be seen here too
        facts |= {"seq": seq, "verdict": type(error).__name__.lower()}
        events.record(vault, "record.unsound", facts, details)
        raise

    def decide(restricted: Restricted, standing: Standing) -> Ruling[Grant | None]:
        restricted.require_current(standing.governance)
        closed = conflict or restricted.has(seq, found.columns.flags)
        at = {**facts, "seq": seq}
        if reads_freely(vault, standing):
            if closed and not duty:
                return refuse(_restricted("name it with --duty"), denial("record.open", CODE, at))
            return Ruling([Event("record.opened", at | ({"duty": duty} if closed else {}), details)], None)
        held = held_grants(vault, standing, str(ledger.id), grant)
        if not held:
            return refuse(no_grant(standing, vault), denial("record.open", "grant", facts))
        columns = found.columns
        used, covering = that_opens(held, str(ledger.id), columns.occurred_at, columns.record_class, restricted=closed)
        if used is not None:
            told = at | {"grant": used.id, "fields": used.scope.fields}
            told |= {"duty": used.scope.duty} if closed else {}
            return Ruling([Event("record.opened", told, details)], used)
        if covering is not None:
            why = "ask for a grant that names it (--duty), and have it approved"
            return refuse(_restricted(why), denial("record.open", CODE, at | {"grant": covering.id}))
        return refuse(_unknown(), denial("record.open", "scope", at))

    told, used = rule_restricted(vault, ledger.id, decide)
    opener = Opener(vault.engine, vault.ring, ledger.id)
    raw = opener.open(found.leaf, found.row)
    if msgspec.json.decode(raw, type=_Identified).id != record_id:
        raise Modified("the record at this id's place has another id", str(ledger.id), seq)
    masked = None if used is None or used.scope.fields == "full" else masking.mask(msgspec.json.decode(raw))
    opening = opening_of(opener.record_key(found.leaf, found.row)) if masked is None else None
    return Reading(
        raw if masked is None else b"",
        masked,
        seq,
        found.leaf,
        leaf_hash(found.data),
        receipt.issue(found.data, opening, found.proof),
        "" if used is None else used.id,
        told.seq,
        found.checkpoint_size,
    )


def rule_restricted(vault: Vault, ledger: UUID, decide: Callable[[Restricted, Standing], Ruling[R]]) -> tuple[Told, R]:
    """Decide as ``vault.events.rule`` does, by what is restricted at that very moment: ``decide`` is asked again while
    it raises ``Stale``, with what is restricted by then."""
    while True:
        decided = partial(decide, Restricted.of(vault, ledger))
        try:
            return events.rule(vault, decided)
        except Stale:
            continue


def require_whole(vault: Vault, ledger: Ledger) -> None:
    """Let whoever acts go on to open a whole ledger, as a report does, before any work is done for them. What opens it
    decides again: ``tell_whole``.

    Raises:
        Denied: they may not; the denial's event is committed.
    """
    events.rule(vault, lambda standing: _whole(vault, standing, str(ledger.id), None, lambda _facts: []))


def tell_whole(
    vault: Vault, ledger: UUID, grant: str | None, happened: Callable[[dict[str, object]], Event]
) -> tuple[Told, str]:
    """Commit an event about a whole ledger if whoever acts may open it at that very moment: the passphrase's holder, or
    an auditor whose grant has neither period nor classes and shows everything.

    Args:
        grant: id of the grant to use; None takes one that will do.
        happened: the event, given the facts that name the grant.

    Returns:
        Where the event stands, and the grant's id, "" for whoever holds the passphrase.

    Raises:
        Denied: they may not, or not any more; the denial's event is committed.
    """
    return events.rule(
        vault, lambda standing: _whole(vault, standing, str(ledger), grant, lambda facts: [happened(facts)])
    )


def _whole(
    vault: Vault,
    standing: Standing,
    place: str,
    grant: str | None,
    happened: Callable[[dict[str, object]], Sequence[Event]],
) -> Ruling[str]:
    if reads_freely(vault, standing):
        return Ruling(happened({}), "")
    held = held_grants(vault, standing, place, grant)
    if not held:
        return refuse(no_grant(standing, vault), denial("report.request", "grant", {"ledger": place}))
    for one in held:
        if one.scope.covers_ledger(place):
            return Ruling(happened({"grant": one.id}), one.id)
    words = "a report opens the whole ledger: it needs a grant that shows everything, without period and classes"
    return refuse(Denied(words), denial("report.request", "scope", {"ledger": place}))


def require_grant(vault: Vault, ledger: UUID, act: str, facts: dict[str, object], grant: str | None = None) -> None:
    """Refuse whoever has no grant for a ledger, before anything of it is looked at: neither an answer nor the time it
    takes tells them what is there. That a grant does cover what is asked for is decided later.

    Raises:
        Denied: no grant; the denial's event is committed.
    """

    def may(standing: Standing) -> bool:
        return reads_freely(vault, standing) or bool(held_grants(vault, standing, str(ledger), grant))

    def decide(standing: Standing) -> Ruling[None]:
        return Ruling([], None) if may(standing) else refuse(no_grant(standing, vault), denial(act, "grant", facts))

    if not may(vault.register.standing()):
        events.rule(vault, decide)


def reads_freely(vault: Vault, standing: Standing) -> bool:
    """Say whether whoever acts needs no grant: the passphrase's holder, while no grant policy is adopted."""
    return vault.actor.break_glass and not standing.grants_required


def held_grants(vault: Vault, standing: Standing, ledger: str, grant: str | None) -> list[Grant]:
    """Return the grants of whoever acts that hold now and name a ledger, those that show most first."""
    if "auditor" not in vault.actor.roles_by(standing):
        return []
    held = standing.grants_of(vault.actor.name, vault.clock())
    return [one for one in held if ledger in one.scope.ledgers and grant in (None, one.id)]


def no_grant(standing: Standing, vault: Vault) -> Denied:
    """Return what is said to whoever has no grant: what is missing, and nothing of what is there."""
    if vault.actor.break_glass:
        return Denied("a grant policy is adopted here: log in as an auditor with a grant (--user)")
    if "auditor" not in vault.actor.roles_by(standing):
        return Denied(NO_AUDITOR)
    return Denied("no grant of yours that holds now names this ledger: ask for one, and have it approved")


def denial(act: str, code: str, facts: dict[str, object]) -> Event:
    """Return the event of a refused access."""
    return Event("access.denied", {"act": act, "code": code, **facts})


def _not_there(
    vault: Vault, ledger: Ledger, facts: dict[str, object], details: dict[str, Any] | None, grant: str | None
) -> Reading:
    def decide(standing: Standing) -> Ruling[Reading]:
        if reads_freely(vault, standing):
            error = UsageError(f"ledger {ledger.row.name} has no record with this id")
            return refuse(error, Event("record.not_found", facts, details))
        if not held_grants(vault, standing, str(ledger.id), grant):
            return refuse(no_grant(standing, vault), denial("record.open", "grant", facts))
        return refuse(_unknown(), Event("record.not_found", facts, details))

    _, nothing = events.rule(vault, decide)
    return nothing


def _gone(
    vault: Vault,
    ledger: Ledger,
    facts: dict[str, object],
    details: dict[str, Any] | None,
    grant: str | None,
    gone: Destroyed,
) -> Reading:
    def decide(standing: Standing) -> Ruling[Reading]:
        if reads_freely(vault, standing):
            return refuse(gone, Event("record.gone", facts, details))
        held = held_grants(vault, standing, str(ledger.id), grant)
        if not held:
            return refuse(no_grant(standing, vault), denial("record.open", "grant", facts))
        for one in held:
            if one.scope.start is None and one.scope.end is None and not one.scope.classes:
                return refuse(gone, Event("record.gone", {**facts, "grant": one.id}, details))
        return refuse(_unknown(), denial("record.open", "scope", facts))

    _, nothing = events.rule(vault, decide)
    return nothing


def _restricted(what: str) -> Denied:
    return Denied(f"this record is restricted: it is opened for a legal duty only; {what}")


def _unknown() -> Unknown:
    return Unknown("no record with this id lies within a grant of yours")


def _verified(vault: Vault, ledger: Ledger, seq: int) -> _Verified:
    """Step 3."""
    place = str(ledger.id)
    rows = transact(vault.engine, lambda connection: list(store.fetch_entries(connection, ledger.id, [seq])))
    if not rows or rows[0].leaf is None:
        raise Missing("the entry of a known id is not there", place, seq)
    stored, row = packing.unpack(rows[0].leaf), rows[0].sealed
    found = leaf.parse(stored)
    if not isinstance(found, RecordLeaf) or (found.ledger, found.seq) != (place, seq):
        raise Modified("the leaf is not this record's", place, seq)
    note, size = _checkpoint(vault, ledger, seq)
    data, proof = proving.prove(vault, ledger.id, [seq], note)[seq]
    if data != stored:
        raise Modified("the leaf changed while it was read", place, seq)
    if row is None or erasure.Explainer(vault, ledger.id).is_destroyed(found):
        told = erasure.explain(vault, ledger.id, found)
        raise Destroyed(told.disposal, told.at)
    if row.facets is None or None in row.facets[:4] or row.salt is None:
        raise Modified("the facets are missing", place, seq)
    columns = from_columns(row.facets)
    if facets.digest(columns, row.salt) != canonical.unb64(found.facets, 32):
        raise Modified("the facets are not those the leaf commits to", place, seq)
    return _Verified(found, data, proof, size, row, columns)


def _in_conflict(vault: Vault, ledger: Ledger, found: _Verified) -> bool:
    """Say whether a rule book that is younger than a record restricts it. Nobody is shown anything here."""
    if found.leaf.rulebook == canonical.b64(vault.rulebook):
        return False
    try:
        raw = Opener(vault.engine, vault.ring, ledger.id).open(found.leaf, found.row)
        record = msgspec.json.decode(raw, type=Record)
    except KeyGone:
        return False  # it will not open then either
    except msgspec.MsgspecError:
        raise Modified("what was sealed is no record", found.leaf.ledger, found.leaf.seq) from None
    return in_conflict(vault, ledger, found.leaf, found.columns, record)


def _checkpoint(vault: Vault, ledger: Ledger, seq: int) -> tuple[str, int]:
    """Return a checkpoint that covers an entry, and its size; one that a commit has still to sign is signed here."""
    checkpoint, note = vault.checkpoints.read(ledger.id), vault.checkpoints.note(ledger.id)
    if checkpoint is None or note is None:
        raise Forked("the checkpoint outside the database is missing", str(ledger.id))
    if checkpoint.size > seq:
        return note, checkpoint.size
    appended = append(vault.engine, vault.checkpoints, ledger.id, lambda _connection: ())
    return appended.checkpoint, appended.after.size


def _is_text(words: str) -> bool:
    """Say whether words can be written down: bytes of a command line that are no UTF-8 come as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in words)


class _Identified(msgspec.Struct):
    id: str
