"""Evidence bundles: a zip that a stranger checks without us. Format: docs/reference/bundle.md.

    1. refuse whoever has no grant; see that the file can be written where it is wanted
    2. sign what a crash left unsigned; read the checkpoint that the bundle will stand under; find what lies in scope
    3. decide under the events ledger's lock that a grant covers all of it, and which records are restricted; commit the
       access event, which names the records, and sign it. Where that fails nothing is opened
    4. write leaves, proofs and records (opened in parallel, verified as they pass), the events that concern them,
       everything that others said, and the manifest, signed with the key that signs checkpoints
    5. decide once more that the grant holds and that nothing of it was restricted since, and commit ``bundle.issued``
       with the file's digest: the commit point
    6. rename the file into its place

A crash before 5 leaves a hidden directory beside the file, which may hold text: certificates of destruction list it,
by the access event, as outstanding; one between 5 and 6 an event whose bundle was never handed out. In no order is
there a bundle without its event. Whatever does not verify stops it: a bundle holds what was promised, or is not made.

A restricted record without a duty stays closed: its leaf is in the bundle, and nothing else of it.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from reports.beside import beside, put
from reports.bundle.scope import Found, Scope, find, why_masked
from reports.bundle.write import Made, Opened, write
from vault import events, hashes, outside, reading, selections
from vault.context import Vault
from vault.core import canonical
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Denied, EvidenceError, Forked, Unknown, UsageError
from vault.core.grant import Grant
from vault.core.selection import Selection
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.grants import require_duty
from vault.ledgers import Ledger
from vault.linking import append
from vault.restricting import CODE, Restricted

ACT = "bundle.make"
_NOTHING = "nothing in this scope lies within a grant of yours"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Issued:
    """A bundle in its place.

    Attributes:
        states: how many records are ``full``, ``masked``, ``erased`` or ``closed``.
        access, event: positions of ``records.opened`` and ``bundle.issued`` in the events ledger.
        fingerprint: of the key that signed the manifest: what its reader has to be told on another way.
    """

    path: Path
    bundle: str
    sha256: bytes
    size: int
    states: Counter[str]
    checkpoint: Checkpoint
    access: int
    event: int
    fingerprint: str


def make_bundle(
    vault: Vault,
    ledger: Ledger,
    scope: Scope,
    purpose: str,
    out: Path,
    *,
    full: bool = False,
    grant: str | None = None,
    duty: str = "",
    processes: int | None = None,
    progress: Progress = lambda _name, _done, _total: None,
) -> Issued:
    """Make a bundle of records of one ledger and hand it out as ``out``, replacing a file of that name.

    Args:
        full: exact bytes, which needs a grant that shows everything; else their masked form.
        grant: id of the grant to use; None takes one that covers the scope.
        duty: the legal duty for which the passphrase's holder opens restricted records; a grant has its own.
        processes: that open records; None takes what the machine has.

    Raises:
        UsageError: no purpose, nothing in scope, or the file cannot be written there; nothing was opened.
        Denied: no grant covers the scope, or not any more; there is no bundle.
        Modified, Missing, Forked: something is not what was promised; there is no bundle.
        Unavailable: the database or the keys are out of reach, a disk is full, or the policy of witnesses says to wait;
            there is no bundle.
    """
    if not purpose.strip():
        raise UsageError("--purpose must say why the records are opened")
    require_duty(duty)
    if duty and not vault.actor.break_glass:
        raise UsageError("the duty is named by the grant, and approved with it: leave --duty out")
    if ledger.row.kind != "decisions":
        raise UsageError("a bundle is of a ledger of records: the events that concern them come along")
    place = str(ledger.id)
    reading.require_grant(vault, ledger.id, ACT, {"ledger": place}, grant)
    _require_shown(vault, place, scope, grant)
    outside.require_met(vault)
    with beside(out) as workdir:
        checkpoint, note = _signed(vault, ledger.id)
        try:
            found = find(vault, ledger, scope, checkpoint.size)
        except EvidenceError as error:  # whoever looked must be seen here too
            seen = {"ledger": place, "verdict": type(error).__name__.lower()}
            at = {} if error.seq is None else {"seq": error.seq}
            events.record(vault, "record.unsound", seen | at, {"purpose": purpose})
            raise
        if found is None:
            raise _nothing(vault, ledger, scope, grant)
        opened = _open(vault, ledger, scope, found, checkpoint, purpose, full=full, grant=grant, duty=duty)
        workers = processes or min(os.cpu_count() or 1, 8)
        file = workdir / "bundle.zip"
        made = write(vault, ledger, scope, found.chosen, checkpoint, note, opened, file, workers, progress)
        sha256 = _digest(file)
        told = _hand_out(vault, ledger.id, found.chosen, opened, made, sha256)
        size = file.stat().st_size
        put(file, out)
    return Issued(out, opened.bundle, sha256, size, made.states, checkpoint, opened.access, told, made.fingerprint)


def _signed(vault: Vault, ledger: UUID) -> tuple[Checkpoint, str]:
    """Step 2."""
    with suppress(EvidenceError):  # a ledger that takes nothing any more has its last checkpoint all the same
        append(vault.engine, vault.checkpoints, ledger, lambda _connection: ())
    hashes.read_signed(vault, ledger)
    note = vault.checkpoints.note(ledger)
    if note is None:
        raise Forked("the checkpoint outside the database is missing", str(ledger))
    return vault.checkpoints.open(ledger, note), note


def _open(
    vault: Vault,
    ledger: Ledger,
    scope: Scope,
    found: Found,
    checkpoint: Checkpoint,
    purpose: str,
    *,
    full: bool,
    grant: str | None,
    duty: str,
) -> Opened:
    """Step 3."""
    place, bundle = str(ledger.id), f"bu-{uuid4()}"
    selection = selections.keep(vault, ledger.id, found.chosen)
    facts: dict[str, object] = {
        "ledger": place,
        "bundle": bundle,
        "first": found.chosen.ranges[0][0],
        "last": found.chosen.ranges[-1][1],
        "count": len(found.chosen),
        "selection": selection,
        "size": checkpoint.size,
        "root": canonical.b64(checkpoint.root),
        "fields": "full" if full else "masked",
    }
    details = {"purpose": purpose, **scope.terms()}

    def decide(restricted: Restricted, standing: Standing) -> Ruling[Opened | None]:
        restricted.require_current(standing.governance)
        used = _used(vault, standing, place, scope, found, full=full, grant=grant)
        if isinstance(used, Ruling):
            return used
        named = duty if used is None else used.scope.duty
        by = {} if used is None else {"grant": used.id}
        told = facts | by | ({"duty": named} if named else {})
        made = Opened(bundle, 0, selection, full, "" if used is None else used.id, named, restricted)
        return Ruling([Event("records.opened", told, details)], made)

    told, made = reading.rule_restricted(vault, ledger.id, decide)
    assert made is not None
    return Opened(bundle, told.seq, selection, full, made.grant, made.duty, made.restricted)


def _used(
    vault: Vault, standing: Standing, place: str, scope: Scope, found: Found, *, full: bool, grant: str | None
) -> Grant | Ruling[Opened | None] | None:
    """Return the grant to use, None where whoever holds the passphrase needs none, or the refusal."""
    if vault.actor.break_glass and not standing.grants_required:
        return None
    held = reading.held_grants(vault, standing, place, grant)
    if not held:
        return refuse(reading.no_grant(standing, vault), reading.denial(ACT, "grant", {"ledger": place}))
    covering = [one for one in held if found.within(one.scope, place, whole=scope.kind == "whole")]
    if why_masked(scope):
        covering = [one for one in covering if one.scope.fields == "full"]
    if not covering:
        if scope.kind in ("record", "conversation"):  # the same as where there is none
            return refuse(Unknown(_NOTHING), _out_of_scope(place, grant))
        words = "no grant of yours covers everything in this scope"
        return refuse(Denied(words), reading.denial(ACT, "scope", {"ledger": place}))
    fitting = [one for one in covering if one.scope.fields == "full" or not full]
    if not fitting:
        words = "the bundle's --full needs a grant that shows everything"
        return refuse(Denied(words), reading.denial(ACT, "fields", {"ledger": place, "grant": covering[0].id}))
    return fitting[0]


def _require_shown(vault: Vault, place: str, scope: Scope, grant: str | None) -> None:
    """Refuse to look for what no grant of theirs shows, whether or not it is there: a found one would be confirmed.

    Raises:
        Denied: the denial's event is committed.
    """
    words = why_masked(scope)
    if words is None:
        return

    def decide(standing: Standing) -> Ruling[None]:
        held = reading.held_grants(vault, standing, place, grant)
        if not held or any(one.scope.fields == "full" for one in held):
            return Ruling([], None)  # the passphrase's holder has none
        return refuse(Denied(words), reading.denial(ACT, "fields", {"ledger": place, "grant": held[0].id}))

    events.rule(vault, decide)


def _nothing(vault: Vault, ledger: Ledger, scope: Scope, grant: str | None) -> UsageError | Unknown:
    """Return what is said where nothing lies in scope: under a grant, the same as where none of it may be seen."""
    place = str(ledger.id)
    if vault.actor.break_glass and not vault.register.standing().grants_required:
        return UsageError(f"nothing in ledger {ledger.row.name} lies in this scope")
    events.record_all(vault, [_out_of_scope(place, grant)])
    return Unknown(_NOTHING)


def _out_of_scope(place: str, grant: str | None) -> Event:
    by: dict[str, object] = {"grant": grant} if grant else {}
    return reading.denial(ACT, "scope", {"ledger": place, **by})


def _hand_out(vault: Vault, ledger: UUID, chosen: Selection, opened: Opened, made: Made, sha256: bytes) -> int:
    """Step 5."""
    place = str(ledger)
    facts = {
        "ledger": place,
        "bundle": opened.bundle,
        "sha256": canonical.b64(sha256),
        "count": sum(made.states.values()),
        "selection": opened.selection,
        "fields": "full" if opened.full else "masked",
        "recipient": vault.actor.name,
    }

    def decide(restricted: Restricted, standing: Standing) -> Ruling[None]:
        restricted.require_current(standing.governance)
        if not opened.duty and _asked_since(opened.restricted, restricted, chosen):
            words = "an erasure of some of these records was asked for meanwhile: run the same command again"
            return refuse(Denied(words), reading.denial(ACT, CODE, {"ledger": place}))
        if not opened.grant:
            if not (vault.actor.break_glass and not standing.grants_required):
                return refuse(reading.no_grant(standing, vault), reading.denial(ACT, "grant", {"ledger": place}))
            return Ruling([Event("bundle.issued", facts)], None)
        if not reading.held_grants(vault, standing, place, opened.grant):
            return refuse(reading.no_grant(standing, vault), reading.denial(ACT, "grant", {"ledger": place}))
        return Ruling([Event("bundle.issued", facts | {"grant": opened.grant})], None)

    return reading.rule_restricted(vault, ledger, decide)[0].seq


def _asked_since(before: Restricted, now: Restricted, chosen: Selection) -> bool:
    """Say whether somebody asked for the erasure of one of the chosen records since."""
    sets = zip(sorted(now.digests), now.asked, strict=True)
    return any((one & chosen).ranges for digest, one in sets if digest not in before.digests)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
