"""Requests for access: everything that is kept about one person, opened under a grant and written into one file.

    1. refuse whoever has no grant for one of the ledgers; find the customer's records within the grants
    2. decide under the events ledger's lock that the grants still hold, and what is restricted; commit one
       ``access.requested`` a ledger, which names the records that will be opened. Only then is anything opened
    3. open each and write the file, where only its owner can read it (retention.exportfile)
    4. decide once more that the grants hold; commit one ``access.exported`` a ledger with the file's digest: the commit
       point. Then the file gets its name

A crash before 4 leaves a hidden directory that the next export into the same place sweeps away; one after it an event
whose file was not handed out.

A masked grant must not say whose a record is (vault.search), and an export does: it needs a legal duty beside it. So do
restricted records under any grant; without one they stay closed, and are counted.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from retention.erasure import check_customer, new_name
from retention.exportfile import Part, write
from retention.saving import size_of
from vault import chronicle, events, matching, people, reading, selections
from vault.context import Vault
from vault.core import canonical, hold
from vault.core.errors import Denied, Stale, Unavailable, UsageError
from vault.core.grant import Grant
from vault.core.request import why_no_export
from vault.core.selection import Selection
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.ledgers import Ledger
from vault.matching import Terms
from vault.restricting import Restricted

_HIDDEN: Final = ".reasonvault-export."
_FILE: Final = "export.zip"


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was handed out.

    Attributes:
        exported: ledger's uuid -> records in the file.
        closed: ledger's uuid -> records that are restricted, and no duty asked for.
        unsound: records that are not what their leaf says, and are not in the file.
        destroyed: records that an earlier request named and that are gone since.
        event: position of the first ``access.exported``.
    """

    request: str
    path: Path
    sha256: bytes
    exported: Mapping[str, int]
    closed: Mapping[str, int]
    unsound: int
    destroyed: int
    event: int


def export(
    vault: Vault, *, ledgers: Sequence[Ledger], customer: str, out: Path, random: Callable[[int], bytes]
) -> Exported:
    """Export what is kept about a customer, as an auditor, replacing a file of that name.

    Raises:
        UsageError: no login, no customer, no ledger, or the file cannot be written there; nothing was opened.
        Denied: no grant for one of the ledgers, or not any more, or one that masks without a duty; there is no file.
        Modified, Missing, Forked: a record is not what was promised; there is no file.
        Unavailable: the database or the keys are out of reach, a disk is full; there is no file.
    """
    if vault.actor.break_glass:
        raise UsageError("an export opens somebody's records under a grant: log in as an auditor (--user)")
    check_customer(customer)
    named = {str(one.id): one for one in ledgers}
    if not named:
        raise UsageError("name at least one ledger")
    for place, one in named.items():
        reading.require_grant(vault, one.id, "access.request", {"ledger": place})
    name = new_name(random)
    tag = hold.tag(hold.tag_key(people.person_key(vault)), "customer", customer)
    with _beside(out) as workdir:
        while True:
            parts = [_look(vault, one, customer, tag) for one in named.values()]
            try:
                events.rule(vault, partial(_may_open, vault, name, tag, customer, parts))
            except Stale:
                continue  # an erasure was asked for meanwhile
            break
        file = workdir / _FILE
        written = write(vault, file, parts, customer, name)
        sha256 = _digest(file)
        kept = {place: selections.keep(vault, UUID(place), chosen) for place, chosen in written.exported.items()}
        counts = {place: len(chosen) for place, chosen in written.exported.items()}
        told, _ = events.rule(vault, partial(_may_hand_out, vault, name, parts, kept, counts, sha256))
        os.replace(file, out)
        _sync(out.absolute().parent)
    destroyed = sum(len(part.gone) for part in parts)
    return Exported(name, out, sha256, counts, written.closed, written.unsound, destroyed, told.seq)


def _look(vault: Vault, ledger: Ledger, customer: str, tag: str) -> Part:
    """Step 1 for one ledger.

    Raises:
        Denied: no grant that will do; the denial's event is committed.
    """
    place = str(ledger.id)
    grant = _grant(vault, place)
    scope, size = grant.scope, size_of(vault, place)
    terms = Terms((customer,), classes=scope.classes, start=scope.start, end=scope.end)
    found = {match.seq: match for match in matching.matching(vault, ledger.id, terms, 0, size)}
    restricted = Restricted.of(vault, ledger.id)
    sound = {seq: match.facets for seq, match in found.items() if match.facets is not None}
    covered = [seq for seq, one in sound.items() if scope.covers(place, one.occurred_at, one.record_class)]
    closed = [seq for seq in covered if not scope.duty and restricted.has(seq, sound[seq].flags)]
    chosen = Selection.of(covered) - Selection.of(closed)
    return Part(
        ledger,
        grant,
        size,
        chosen,
        Selection.of(closed),
        Selection.of(found.keys() - sound.keys()),
        _gone(vault, ledger.id, tag),
        restricted,
        selections.keep(vault, ledger.id, chosen),
    )


def _grant(vault: Vault, place: str) -> Grant:
    """Return the grant to use: one that names a duty before one that does not, a full one before a masked one."""

    def decide(standing: Standing) -> Ruling[Grant]:
        held = reading.held_grants(vault, standing, place, None)
        if not held:
            return refuse(reading.no_grant(standing, vault), _denial("grant", place))
        best = min(held, key=lambda one: (not one.scope.duty, one.scope.fields != "full", one.id))
        if (why := why_no_export(best.scope)) is not None:
            return refuse(Denied(why), _denial("fields", place))
        return Ruling([], best)

    return events.rule(vault, decide)[1]


def _gone(vault: Vault, ledger: UUID, tag: str) -> dict[int, str]:
    """Return the records that an earlier request of the same person named and that are gone, with the disposal."""
    told, _ = chronicle.read(vault, {"erasure.requested", "access.requested"})
    named = Selection()
    for one in told:
        if one.facts.get("tag") == tag and one.facts.get("ledger") == str(ledger):
            named = named | selections.load(vault, ledger, one.facts["selection"])
    gone = named - matching.standing_of(vault, ledger, named)
    if not gone:
        return {}
    disposals = vault.register.standing().governance.disposals.values()
    ended = [one for one in disposals if one.ledger == str(ledger) and one.final]  # those that began to destroy
    by = {one.id: selections.load(vault, ledger, one.final) for one in ended}
    return {seq: next((name for name, final in by.items() if seq in final), "") for seq in gone}


def _may_open(
    vault: Vault, name: str, tag: str, customer: str, parts: Sequence[Part], standing: Standing
) -> Ruling[None]:
    """Step 2."""
    happened = []
    for part in parts:
        part.restricted.require_current(standing.governance)
        if (denied := _not_any_more(vault, part, standing)) is not None:
            return denied
        facts = {
            **_facts(name, part),
            "fields": part.grant.scope.fields,
            "tag": tag,
            "count": len(part.chosen),
            "selection": part.selection,
        }
        happened.append(Event("access.requested", facts, {"customer": customer}))
    return Ruling(happened, None)


def _may_hand_out(
    vault: Vault,
    name: str,
    parts: Sequence[Part],
    kept: Mapping[str, str],
    counts: Mapping[str, int],
    sha256: bytes,
    standing: Standing,
) -> Ruling[None]:
    """Step 4."""
    happened = []
    for part in parts:
        if (denied := _not_any_more(vault, part, standing)) is not None:
            return denied
        place = str(part.ledger.id)
        facts = {"count": counts[place], "selection": kept[place], "sha256": canonical.b64(sha256)}
        happened.append(Event("access.exported", _facts(name, part) | facts))
    return Ruling(happened, None)


def _not_any_more(vault: Vault, part: Part, standing: Standing) -> Ruling[None] | None:
    place = str(part.ledger.id)
    if reading.held_grants(vault, standing, place, part.grant.id):
        return None
    return refuse(reading.no_grant(standing, vault), _denial("grant", place))


def _facts(name: str, part: Part) -> dict[str, Any]:
    facts = {"request": name, "ledger": str(part.ledger.id), "grant": part.grant.id}
    return facts | ({"duty": part.grant.scope.duty} if part.grant.scope.duty else {})


def _denial(code: str, place: str) -> Event:
    return reading.denial("access.request", code, {"ledger": place})


def _digest(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A private directory beside the file: on the same file system. It is locked while it is in use."""
    if out.exists() and not out.is_file():  # a device, too, would be replaced
        raise UsageError(f"{out} is no file: name one for the export")
    parent = out.absolute().parent
    try:
        _sweep(parent)
        place = tempfile.TemporaryDirectory(prefix=_HIDDEN, dir=parent)
    except OSError as error:
        raise UsageError(f"cannot write an export to {out}: {error.strerror}") from None
    try:
        with place as workdir, _locked(Path(workdir)):
            yield Path(workdir)
    except OSError as error:
        raise Unavailable(f"cannot write the export: {error.strerror or error}") from None


def _sweep(parent: Path) -> None:
    """Delete what exports that died left behind: directories with a file in them, and nobody who holds their lock."""
    for one in parent.glob(f"{_HIDDEN}*"):
        with suppress(OSError):  # not ours, or in use
            if (one / _FILE).exists() and not one.is_symlink():  # it is locked before there is a file
                with _locked(one):
                    shutil.rmtree(one)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
