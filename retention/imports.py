"""Imports: old records come in with their own dates, once a second person approved exactly these.

    1. request   read the file once: its digest, its lines, the time its records span; ``import.requested``
    2. approve   another person, a compliance officer; ``import.approved``
    3. run       hash the file: it must be the one that was approved
    4.           take its lines in, block by block; each must be what it was in step 3 before a line of it is sealed
    5.           ``import.done``; from here on the import lets nothing in any more

The digest is SHA-256 of the lines, unpacked: what ``sha256sum`` prints of the plain file. A run that dies between 4 and
5 leaves records in the vault; running it again reports those as duplicates and completes the rest, as for any ingest.

What an import changes: ``keep_until`` counts from ``occurred_at`` where it would count from the receipt, and the record
carries Flag.IMPORTED. What it does not: the leaf's ``received_at`` is the true one.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from vault import events, intake, ledgers, lines, trace
from vault.context import Vault
from vault.core import canonical, leaf
from vault.core import imports as deciding
from vault.core.errors import Denied, RefusedInput, Unknown, UsageError
from vault.core.governance import Import
from vault.core.parse import parse
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.grants import require_text
from vault.intake import Line
from vault.ledgers import Ledger
from vault.settling import Batch, Status

_BLOCK: Final = 1000  # lines between two looks at whether the file is still the same
_FIRST_DAY, _LAST_DAY = 0, 253_402_300_799_000_000  # what a record can say, in microseconds


class Told(NamedTuple):
    """An import with what its request seals: both empty where whoever looks may not see it."""

    asked: Import
    reason: str
    file: str


@dataclass(slots=True)
class Run:
    """One run of an import, as far as it came.

    Attributes:
        lines, kept: lines that were settled, and those of them that are in the vault, from this run or an earlier one.
        first, last: positions between which the latter stand; None while there are none.
        event: where ``import.done`` stands; 0 before.
    """

    asked: Import
    lines: int = 0
    kept: int = 0
    first: int | None = None
    last: int | None = None
    event: int = 0

    def take(self, batch: Batch) -> None:
        self.lines += len(batch.results)
        for one in batch.results:
            if one.status in (Status.ACCEPTED, Status.DUPLICATE) and one.seq is not None:
                self.kept += 1
                self.first = one.seq if self.first is None else min(self.first, one.seq)
                self.last = one.seq if self.last is None else max(self.last, one.seq)


def request(
    vault: Vault, ledger: Ledger, file: Path, producer: str, reason: str, random: Callable[[int], bytes]
) -> Told:
    """Ask for an import (step 1).

    Args:
        producer: our id of who sent the records, a word.
        reason: why they come so late; sealed.

    Raises:
        UsageError: no such word, no reason, no readable file, or no record in it.
        RefusedInput: the file is damaged.
        Denied: whoever asks is neither an officer nor the passphrase's holder.
    """
    if not canonical.is_word(producer) or not 0 < len(producer) <= 64:
        raise UsageError("a producer is a word of up to 64 of A-Z a-z 0-9 . _ : / + -")
    require_text("reason", reason)
    _require(vault, vault.register.standing(), "import.request")
    found = _surveyed(file, vault.clock())
    name = "i-" + b32encode(random(10)).decode().lower()
    facts: dict[str, Any] = {
        "import": name,
        "ledger": str(ledger.id),
        "producer": producer,
        "sha256": canonical.b64(found.sha256),
        "count": found.lines,
        "first": leaf.instant(found.first // 1_000_000),
        "last": leaf.instant(-(-found.last // 1_000_000)),
    }

    def decide(standing: Standing) -> Ruling[None]:
        roles = vault.actor.roles_by(standing)
        why = deciding.why_no_request(roles, vault.actor.break_glass, found.lines, found.first, found.last)
        if why is not None:
            return _refusal("import.request", why, {})
        return Ruling([Event("import.requested", facts, {"reason": reason, "file": file.name})], None)

    events.rule(vault, decide)
    return Told(vault.register.standing().governance.imports[name], reason, file.name)


def approve(vault: Vault, name: str) -> Told:
    """Approve somebody else's import (step 2).

    Raises:
        Unknown: there is no such import.
        Denied: whoever approves is no officer who logged in, or asked for it; or it is approved already.
    """

    def decide(standing: Standing) -> Ruling[None]:
        roles, asked = vault.actor.roles_by(standing), standing.governance.imports.get(name)
        if asked is None:
            return _unknown("import.approve")
        why = deciding.why_no_approval(asked, vault.actor.name, roles)
        if why is not None:
            return _refusal("import.approve", why, {"import": name})
        return Ruling([Event("import.approved", {"import": name, "request": asked.request})], None)

    events.rule(vault, decide)
    return _told(vault, [vault.register.standing().governance.imports[name]])[0]


def run(vault: Vault, name: str, file: Path, *, processes: int = 2) -> Iterator[tuple[Run, Batch | None]]:
    """Take the records of an approved import in (steps 3 to 5); yield each batch after its commit.

    Yields:
        The run so far and the batch; in the end once without a batch, when the import is done.

    Raises:
        Unknown: there is no such import.
        Denied: it is not approved, is done, or this is not its file; or whoever runs it may not.
        UsageError: the file changed while it was read; what came in before that was approved.
        Unavailable, UnknownOutcome, Forked: as ``vault.intake.ingest``.
    """
    if name not in vault.register.standing().governance.imports:
        events.rule(vault, lambda _standing: _unknown("import.run"))
    marks = _Marks()
    marks.follow(file)

    def decide(standing: Standing) -> Ruling[Import]:
        asked, roles = standing.governance.imports[name], vault.actor.roles_by(standing)
        why = deciding.why_no_run(asked, roles, vault.actor.break_glass, canonical.b64(marks.whole))
        return Ruling([], asked) if why is None else _refusal("import.run", why, {"import": name})

    _, asked = events.rule(vault, decide)
    ledger = next((one for one in ledgers.listing(vault) if str(one.id) == asked.ledger), None)
    if ledger is None:
        raise UsageError("the import's ledger is not there: verify the vault")
    going = Run(asked)
    read = _unchanged(file, marks)
    for batch in intake.ingest(vault, ledger, read, asked.producer, processes=processes, imported=asked.id):
        going.take(batch)
        yield going, batch
    going.event = _finish(vault, going)
    yield going, None


def listing(vault: Vault) -> list[Told]:
    """Return every import, the newest first; an event. Auditors do not see what the requests seal.

    Raises:
        Denied: neither an officer, an auditor nor the passphrase's holder.
    """

    def decide(standing: Standing) -> Ruling[tuple[list[Import], bool]]:
        roles = vault.actor.roles_by(standing)
        if (why := deciding.why_no_look(roles, vault.actor.break_glass)) is not None:
            return _refusal("import.list", why, {})
        found = sorted(standing.governance.imports.values(), key=lambda one: -one.request)
        all_said = vault.actor.break_glass or "officer" in roles
        return Ruling([Event("imports.listed", {"count": len(found)})], (found, all_said))

    _, (found, all_said) = events.rule(vault, decide)
    return _told(vault, found) if all_said else [Told(one, "", "") for one in found]


class _Surveyed(NamedTuple):
    """What a file is: its digest, its lines, and when the earliest and the latest record occurred."""

    sha256: bytes
    lines: int
    first: int
    last: int


def _surveyed(file: Path, now_us: int) -> _Surveyed:
    """Read a file once. Lines that are no record are counted, and dated by nobody: they will be refused."""
    hashed = hashlib.sha256()
    count, first, last = 0, _LAST_DAY, _FIRST_DAY - 1
    with lines.opened(file) as stream:
        for _, line in lines.numbered(stream, taste=hashed.update):
            count += 1
            try:
                occurred = parse(line, now_us=now_us).occurred_at_us
            except RefusedInput:
                continue
            first, last = min(first, occurred), max(last, occurred)
    if last < first:
        raise UsageError(f"{file.name} has no line that is a record: 'reasonvault ingest' says what is wrong with them")
    return _Surveyed(hashed.digest(), count, first, last)


@dataclass(slots=True)
class _Marks:
    """A file's digest, and what it was after each block of lines: 32 bytes for a thousand records."""

    after: list[bytes] = field(default_factory=list)
    whole: bytes = b""

    def follow(self, file: Path) -> None:
        hashed = hashlib.sha256()
        with lines.opened(file) as stream:
            read = lines.numbered(stream, taste=hashed.update)
            while sum(1 for _ in islice(read, _BLOCK)):
                self.after.append(hashed.digest())
        self.whole = hashed.digest()


def _unchanged(file: Path, marks: _Marks) -> Iterator[Line]:
    """Yield the lines of a file as long as they are those that were hashed.

    A block is held back until it is known to be the same, so nothing that was slipped in meanwhile is ever sealed.
    """
    hashed = hashlib.sha256()
    with lines.opened(file) as stream:
        read = lines.numbered(stream, taste=hashed.update)
        for mark in marks.after:
            block = list(islice(read, _BLOCK))
            if hashed.digest() != mark:
                raise _changed(file)
            yield from block
        if next(read, None) is not None or hashed.digest() != marks.whole:
            raise _changed(file)


def _changed(file: Path) -> UsageError:
    return UsageError(f"{file.name} changed while it was read: what came in was approved; run it again with the file")


def _finish(vault: Vault, going: Run) -> int:
    """Step 5. Two runs at once end alike: the first is told."""
    asked = going.asked
    facts: dict[str, Any] = {"import": asked.id, "ledger": asked.ledger, "count": going.kept}
    if going.first is not None and going.last is not None:
        facts |= {"first": going.first, "last": going.last}

    def decide(standing: Standing) -> Ruling[bool]:
        done = standing.governance.imports[asked.id].done
        return Ruling([] if done else [Event("import.done", facts)], not done)

    told, first = events.rule(vault, decide)
    going.asked = replace(asked, done=True)
    return told.seq if first else 0


def _require(vault: Vault, standing: Standing, act: str) -> None:
    """Refuse whoever may not ask, before a file of theirs is read."""
    if "officer" not in vault.actor.roles_by(standing) and not vault.actor.break_glass:
        events.rule(vault, lambda _standing: _refusal(act, deciding.NO_REQUESTER, {}))


def _refusal(act: str, why: str, facts: dict[str, Any]) -> Ruling[Any]:
    code = "role" if why in deciding.ROLE else "four_eyes" if why == deciding.OWN else "unfit"
    return refuse(Denied(why), Event("access.denied", {"act": act, "code": code, **facts}))


def _unknown(act: str) -> Ruling[Any]:
    error = Unknown("there is no such import: see 'reasonvault import list'")
    return refuse(error, Event("access.denied", {"act": act, "code": "unknown"}))


def _told(vault: Vault, found: list[Import]) -> list[Told]:
    """Return imports with what their requests seal."""
    sealed = trace.details(vault, [one.request for one in found])
    words = [sealed.get(one.request, {}) for one in found]
    return [
        Told(one, str(said.get("reason", "")), str(said.get("file", "")))
        for one, said in zip(found, words, strict=True)
    ]
