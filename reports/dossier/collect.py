"""Collecting a dossier: find the conversation, log the access, open what the grants open.

1. find it as whoever asks may find it; each look-up is an event (reports.dossier.find)
2. decide for each record, log the access (vault.openset)
3. open, mask where the grant masks, write the records' file; what is of another conversation is left out, since no
   leaf commits to a blind index
4. read the access log of exactly these records
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from reports.attach import Attachment
from reports.dossier import files
from reports.dossier.find import Found, find
from reports.dossier.model import Dossier, Step
from reports.dossier.steps import step_of
from reports.dossier.timeline import executed, timeline
from reports.gathering import private
from reports.identity import identify
from reports.kind import Progress, Wanted, the_ledger
from reports.model import Checkpoint
from reports.phrase import phrase
from vault import openset
from vault.context import Vault
from vault.core import masking
from vault.core.errors import KeyGone, Unknown
from vault.openset import Chosen, Opened

STEPS: Final = 12
MOMENTS: Final = 40
ACCESSES: Final = 14


@dataclass(frozen=True, slots=True)
class Collected:
    """A dossier with its files, and what may still be opened when it is handed out."""

    dossier: Dossier
    attachments: tuple[Attachment, ...]
    opened: Opened
    kept: tuple[Chosen, ...]


def collect_dossier(vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress) -> Collected:
    """Read one conversation; see ``reports.kind.Collect``.

    Raises:
        UsageError: not one conversation is named, or it is too long.
        Unknown, Denied: nothing of it may be opened; the events say who asked.
        Destroyed, Modified, Missing, Forked, Unavailable: as reading does.
    """
    ledger = the_ledger(wanted.ledger)
    grant = wanted.grant or wanted.options.get("grant")
    found = find(vault, ledger, wanted.options, wanted.purpose, grant)
    opened = openset.choose(vault, ledger, found.seqs, wanted.purpose, report=report, grant=grant)
    reading = _Reading(opened, found.conversation)
    with open(workdir / "records.jsonl", "xb", opener=private) as file:
        for at, record in enumerate(opened.records):
            file.writelines(reading.take(record))
            progress(ledger.row.name, at + 1, len(opened.records))
    if not reading.kept:
        raise Unknown("no record of this conversation lies within a grant of yours")
    log = files.logged(vault, opened)
    who = identify(vault, ledger, wanted.period, wanted.purpose, report)
    places = ", ".join(str(seq) for seq in sorted(opened.accesses.values()))
    who = replace(who, access_entry=f"events ledger, seq {places}")
    dossier = Dossier(
        identification=who,
        limits=tuple(_limits(reading, opened)),
        checkpoint=_checkpoint(vault, opened),
        **reading.told(opened, found, log),
    )
    attached = files.attachments(vault, opened, reading.kept, workdir / "records.jsonl", log)
    return Collected(dossier, tuple(attached), opened, tuple(reading.kept))


class _Reading:
    """Step 3."""

    def __init__(self, opened: Opened, conversation: str) -> None:
        self.kept: list[Chosen] = []
        self.steps: list[Step] = []
        self.gone = self.strangers = 0
        self._places: dict[str, int] = {}
        self._settles: set[str] = set()
        self._opened = opened
        self._conversation = conversation

    def take(self, record: Chosen) -> Iterator[bytes]:
        """Open one record; yield its line where it is kept."""
        try:
            raw = self._opened.open(record)
        except KeyGone:
            self.gone += 1  # a disposal was faster; its certificate tells of it
            return
        document: dict[str, Any] = msgspec.json.decode(raw)
        if document.get("conversation_id") != self._conversation:
            self.strangers += 1
            return
        masked = masking.mask(document) if record.masked else None
        shown: Mapping[str, Any] = document if masked is None else masked
        entry = record.entry
        assert entry.facets is not None
        self.kept.append(record)
        self._places[document["id"]] = record.seq
        self._settles.update(one["id"] for one in document.get("relates_to") or () if one["kind"] == "settles")
        self.steps.append(
            step_of(shown, entry.leaf, entry.data, entry.facets, masked=record.masked, grant=record.grant.id)
        )
        yield files.record_line(self._opened, record, raw, masked)

    def told(self, opened: Opened, found: Found, log: files.Logged) -> dict[str, Any]:
        """Return what the dossier says of it."""
        order = sorted(self.steps, key=lambda one: (one.step, one.occurred_at, one.attempt, one.seq))
        moments = timeline(order)
        masked = {record.masked for record in self.kept}
        visible = masking.shows(self._conversation, "conversation_id") or False in masked
        return {
            "conversation": self._conversation if visible else masking.MASKED,
            "steps": tuple(order[:STEPS]),
            "records": len(order),
            "timeline": tuple(moments[:MOMENTS]),
            "moments": len(moments),
            "executed": executed(order, {self._places[one] for one in self._settles if one in self._places}),
            "accesses": log.rows[-ACCESSES:],
            "access_count": len(log.rows),
            "own": tuple(sorted(opened.accesses.values())),
            "grants": tuple(sorted({record.grant.id for record in self.kept})),
            "closed": opened.closed,
            "uncovered": opened.uncovered + len(found.beside),
            "gone": opened.gone + self.gone,
            "strangers": self.strangers,
            "shows": "mixed" if len(masked) > 1 else "masked" if True in masked else "full",
        }


def _checkpoint(vault: Vault, opened: Opened) -> Checkpoint:
    return Checkpoint(
        origin=opened.checkpoint.origin,
        size=opened.checkpoint.size,
        root=opened.checkpoint.root,
        note=opened.note,
        verifier_key=str(vault.checkpoints.verifier(opened.ledger.id)),
    )


def _limits(reading: _Reading, opened: Opened) -> Iterator[str]:
    yield phrase(
        "That these are all records of the conversation. Those that no grant of whoever asked covers are neither shown "
        "nor counted, and of those that were destroyed nothing is left that says which conversation they were of; a "
        "decision that was never sent to the vault left no trace here."
    )
    yield phrase(
        "That a record is true. The vault keeps the bytes that the producer sent; whether the prompt, the answer, the "
        "score or the amount in them is what really happened is for the producer’s own controls."
    )
    if any(record.masked for record in reading.kept):
        yield phrase(
            "What masking hides. A masked record cannot be compared with the commitment to its text: what it shows is "
            "the vault’s word, and a grant that shows everything would prove it."
        )
    yield phrase(
        "When things happened beyond what records name. Times are those of the producers’ clocks; the order in the "
        "ledger is the order of arrival."
    )
    yield phrase(
        "Anything about this dossier’s own copies. It carries what it shows of the records out of the vault, and "
        "outlives their destruction: certificates of destruction list it as outstanding until its destruction is "
        "confirmed."
    )
