"""Collecting the integrity report: one run of the verifier, and what is kept of outside evidence. Nothing is opened."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import msgspec

from reports.attach import JSON_LINES, Attachment
from reports.gathering import private
from reports.identity import identify, now
from reports.integrity.model import Anchored, Destruction, IntegrityReport, Key, LedgerState, Seen
from reports.kind import Progress, Wanted
from reports.model import Fault
from reports.phrase import phrase
from reports.verdicts import EntryVerdicts
from vault import outside
from vault.audit import audit
from vault.context import Vault
from vault.core import anchor
from vault.core.leaf import EventLeaf, Leaf
from vault.db.store import AuditRow
from vault.verdict import Depth, Erasure, LedgerReport
from vault.verdict import Fault as Found

FAULTS, LEDGERS, SEEN, DESTRUCTIONS, NOTES = 24, 30, 12, 20, 40
"""Rows that are printed, and checkpoints that are attached one by one; the attachments have all of the rest."""

_DEPTH = Depth.ENVELOPES


class _Anchors:
    """What the events say of anchors, as they pass: per ledger how many, and how far apart."""

    def __init__(self, events: UUID) -> None:
        self._events = events
        self.found: dict[str, Anchored] = {}

    def take(self, ledger: UUID, _row: AuditRow, leaf: Leaf | None) -> None:
        if ledger != self._events or not isinstance(leaf, EventLeaf) or leaf.event != anchor.EVENT:
            return
        named, size, at = str(leaf.facts.get("ledger")), leaf.facts.get("size"), datetime.fromisoformat(leaf.at)
        known = self.found.get(named)
        gap = timedelta() if known is None or known.last is None else max(known.gap, at - known.last)
        first, count = (at, 1) if known is None else (known.first, known.count + 1)
        self.found[named] = Anchored("", count, first, at, size if isinstance(size, int) else 0, gap)


def collect(
    vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress
) -> tuple[IntegrityReport, list[Attachment]]:
    """Verify one ledger and the events, or all of them, and return what was found."""
    anchors = _Anchors(vault.events)
    ledger = wanted.ledger
    found = audit(
        vault.engine,
        vault.checkpoints,
        vault.events,
        _DEPTH,
        only=None if ledger is None else str(ledger.id),
        watch=anchors.take,
        progress=progress,
    )
    states = [_state(vault, one) for one in found]
    states.sort(key=lambda one: (one.kind != "events", one.verdict == "OK"))
    faults = [(one.name, fault) for one in found for fault in one.faults]
    faults.sort(key=lambda pair: pair[1].verdict.rank)
    destructions = [_destruction(one.name, erasure) for one in found for erasure in one.erasures]
    seen = list(_seen(vault))
    names = {str(one.ledger): one.name for one in found}
    made = IntegrityReport(
        identification=identify(vault, ledger, wanted.period, wanted.purpose, report),
        depth=_DEPTH.value,
        checked_at=now(vault),
        ledgers=tuple(states),
        total_ledgers=len(states),
        faults=tuple(_fault(name, fault) for name, fault in faults[:FAULTS]),
        total_faults=sum(sum(one.counts.values()) for one in found),
        anchored=tuple(_named(names[uuid], one) for uuid, one in anchors.found.items() if uuid in names)[:LEDGERS],
        seen=tuple(seen[-SEEN:][::-1]),
        total_seen=len(seen),
        longest_unseen=_longest(seen),
        destructions=tuple(destructions[-DESTRUCTIONS:][::-1]),
        total_destructions=len(destructions),
        keys=tuple(_keys(vault)),
        problems=tuple(dict.fromkeys(words for one in found for words in one.problems)),
    )
    return made, list(_attachments(vault, made, found, seen, workdir))


def _state(vault: Vault, found: LedgerReport) -> LedgerState:
    frozen = found.frozen
    kept = vault.checkpoints.note(found.ledger) if found.size else None
    return LedgerState(
        name=found.name,
        ledger=str(found.ledger),
        kind=found.kind,
        entries=found.entries,
        records=found.records,
        envelopes=found.envelopes,
        size=found.size,
        root=found.root,
        origin=found.origin,
        note=kept or "",
        keys=tuple(str(key) for key in vault.checkpoints.verifiers(found.ledger)),
        verdicts=EntryVerdicts(found, found.size).counts() | {"UNSEALED": found.unsealed},
        lost=None if frozen is None else (frozen.recovery.size, frozen.recovery.end - 1),
        successor="" if frozen is None else frozen.successor_name,
    )


def _fault(name: str, fault: Found) -> Fault:
    through = "" if fault.last in (None, fault.seq) else f", up to seq {fault.last}"
    return Fault(fault.verdict.name, fault.seq, f"{name}: {fault.what}{through}")


def _destruction(name: str, erasure: Erasure) -> Destruction:
    return Destruction(
        erasure.disposal,
        name,
        erasure.kind,
        erasure.count,
        erasure.at,
        len(erasure.approvers),
        erasure.outside if erasure.independent else "",
        erasure.done,
    )


def _named(name: str, one: Anchored) -> Anchored:
    return Anchored(name, one.count, one.first, one.last, one.size, one.gap)


def _seen(vault: Vault) -> Iterator[Seen]:
    for one in outside.kept(vault, vault.events):
        for cosigned in one.cosignatures:
            yield Seen(one.size, cosigned.at, cosigned.name, "witness", cosigned.own)
        if one.stamp is not None:
            yield Seen(one.size, one.stamp.at, one.stamp.authority, "time-stamp", one.stamp.own)


def _longest(seen: list[Seen]) -> timedelta | None:
    """The longest time between two moments at which anybody outside looked; None where nobody did twice."""
    times = sorted(one.at for one in seen)
    return max((later - earlier for earlier, later in pairwise(times)), default=None)


def _keys(vault: Vault) -> Iterator[Key]:
    told = vault.register.standing().signers
    for one in vault.checkpoints.signers():
        known = told.get(one.public)
        added, retired = (known.added_at, known.retired_at) if known else (0, 0)
        yield Key(one.public_key, _moment(added), _moment(retired))


def _moment(microseconds: int) -> datetime | None:
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC) if microseconds else None


def _attachments(
    vault: Vault, made: IntegrityReport, found: list[LedgerReport], seen: list[Seen], workdir: Path
) -> Iterator[Attachment]:
    faults = workdir / "faults.jsonl"
    with open(faults, "xb", opener=private) as file:
        for one in found:
            for fault in one.faults:
                line = {"verdict": fault.verdict.name, "ledger": str(fault.ledger), "seq": fault.seq}
                file.write(msgspec.json.encode(line | {"last": fault.last, "what": fault.what}) + b"\n")
    yield Attachment("faults.jsonl", phrase("Every fault that was found, one a line"), JSON_LINES, faults)
    ledgers = b"".join(msgspec.json.encode(state) + b"\n" for state in made.ledgers)
    yield Attachment(
        "ledgers.jsonl", phrase("Each ledger with its checkpoint, its keys and its verdicts"), JSON_LINES, ledgers
    )
    rows = b"".join(msgspec.json.encode(one) + b"\n" for one in seen)
    yield Attachment("outside.jsonl", phrase("Every checkpoint that somebody outside vouched for"), JSON_LINES, rows)
    for state in made.ledgers[:NOTES]:
        if state.note:
            what = phrase("The signed checkpoint of ledger {name}, with its keys", name=state.name)
            text = state.note + "".join(f"\n{key}" for key in state.keys) + "\n"
            yield Attachment(f"checkpoint-{state.name}.txt", what, "text/plain", text.encode())
    kept = outside.kept(vault, vault.events)
    if kept:
        yield Attachment(
            "witnessed.txt",
            phrase("The newest checkpoint of the events ledger with what its witnesses signed"),
            "text/plain",
            kept[-1].note.encode(),
        )
