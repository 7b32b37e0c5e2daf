"""How results read on the terminal: words for people beside the document that ``--json`` prints."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from retention.keeping import Adoption
from vault.checkpoints import Checkpoints
from vault.core import canonical
from vault.core.errors import UsageError
from vault.core.succession import Frozen
from vault.ledgers import Ledger
from vault.succession import Step
from vault.verdict import Erasure, LedgerReport

SHOWN_FAULTS = 50


class LinesOut:
    """JSON lines to a file made at the first line, for its owner alone, or to a stream; to neither where both are None.

    A device, a pipe or a standard stream is written into: it is never replaced, and its mode stays what it is.

    Attributes:
        path: the file, None where there is none.
        written: whether a line was written.
    """

    def __init__(self, path: Path | None, stream: TextIO | None) -> None:
        self.path = path
        self.written = False
        self._stream = stream
        self._file: TextIO | None = None

    def __enter__(self) -> LinesOut:
        if self.path is not None:
            if self.path.is_dir():
                raise UsageError(f"{self.path} is a directory: name a file")
            if not _stays(self.path):
                self.path.unlink(missing_ok=True)  # what an earlier run wrote no longer holds
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def document(self, document: Mapping[str, Any]) -> None:
        """Write one document."""
        self.raw(json.dumps(document, ensure_ascii=False))

    def raw(self, line: str) -> None:
        """Write a line that is JSON already, without its line feed."""
        if self.path is not None and self._file is None:
            self._file = _opened(self.path)
        target = self._file or self._stream
        if target is not None:
            target.write(line + "\n")
            self.written = True


def refused_path(file: str, refused: Path | None, receipts: Path | None) -> Path | None:
    """Return where an ingest's refused lines go: as named, else beside the input; None for standard error.

    Raises:
        UsageError: two of the three files are one. Outputs replace what stands there, so the input would be gone.
    """
    if refused is None and file != "-":
        refused = Path(f"{file}.refused.jsonl")
    outputs = [path for path in (refused, receipts) if path is not None and not path.is_char_device()]
    named = [path.resolve() for path in (*([] if file == "-" else [Path(file)]), *outputs)]
    if len(set(named)) < len(named):
        raise UsageError("FILE, --refused and --receipts must be different files")
    return refused


def ingested(counts: Mapping[str, int], ledger: str, refused: Path | None) -> str:
    """Return one line about an ingest."""
    words = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    return f"{ledger}: {words}" + (f"; refused lines in {refused}" if refused else "")


def adoption_words(adoption: Adoption) -> str:
    """Return the retention rules a ledger lives by, one a line, and those it does not."""
    rows = [(rule, rule.instrument) for rule in adoption.adopted]
    taken = [f"  {rule.id:<14} {rule.minimum:<5} {rule.status:<11} {words}" for rule, words in rows]
    left = [f"  {rule.id:<14} {rule.minimum:<5} {rule.status:<11} {words}" for rule, words in adoption.not_adopted]
    return "\n".join(["Retention rules adopted:", *taken, "Not adopted:", *left])


def adoption_document(adoption: Adoption) -> dict[str, Any]:
    """Return the same for machines."""
    return {
        "rules": [
            {"id": rule.id, "status": rule.status, "minimum": rule.minimum, "trigger": rule.trigger}
            for rule in adoption.adopted
        ],
        "not_adopted": [{"id": rule.id, "status": rule.status, "reason": why} for rule, why in adoption.not_adopted],
    }


def verification_words(report: LedgerReport) -> str:
    """Return what verification found in one ledger: a line, and one a fault."""
    words = (
        f"{report.name} {report.ledger}: {report.entries:,} entries, {report.envelopes:,} envelopes, "
        f"{report.opened:,} opened, {report.erased:,} erased by policy, {report.unsealed:,} unsealed; "
        f"checkpoint of size {report.size:,}"
    )
    shown = [*_frozen_words(report), *_erasure_words(report), *(f"  problem: {one}" for one in report.problems)]
    shown += [f"  {fault}" for fault in report.faults[:SHOWN_FAULTS]]
    if len(report.faults) > SHOWN_FAULTS:
        shown.append(f"  and {sum(report.counts.values()) - SHOWN_FAULTS:,} more")
    if report.faults and not report.cleared:
        shown.append("  the entries are not the tree that was signed: those that are not named are not cleared either")
    return "\n".join([words, *shown])


def _frozen_words(report: LedgerReport) -> list[str]:
    """Return what is to be known of a frozen ledger, in lines."""
    if report.frozen is None:
        return []
    found, one = report.frozen.recovery, report.frozen
    lost = f"seq {found.size}-{found.end - 1} lost" if found.lost else "nothing lost"
    after = f"{one.successor_name} goes on" + ("" if one.succeeded else " once 'ledger succeed' is run to its end")
    words = [f"  FROZEN at {found.size:,} entries, {lost}: event {one.seq}; ledger {after}"]
    if found.proved < found.size:
        words.append(f"  seq {found.proved}-{found.size - 1} chain on, and no earlier signature covers them: unproved")
    if report.beyond:
        words.append(f"  {report.beyond:,} entries stand behind the good head: they count for nothing")
    return words


def ledger_words(found: Sequence[Ledger], frozen: Mapping[str, Frozen]) -> str:
    """Return the ledgers, one a line; frozen ones say what they lost, also where their rows are gone."""
    known = {str(one.id) for one in found}
    gone = [one for one in frozen.values() if one.recovery.ledger not in known]
    return "\n".join(
        [
            f"{one.row.name:<24} {one.size:>10} entries  {','.join(one.genesis.jurisdictions):<12} {one.id}"
            f"{_lineage(frozen.get(str(one.id)), one.genesis.predecessor or None)}"
            for one in found
        ]
        + [f"{one.recovery.name:<24} {'gone':>18}  {'':<12} {one.recovery.ledger}{_lineage(one, None)}" for one in gone]
    )


def ledger_rows(
    found: Sequence[Ledger], frozen: Mapping[str, Frozen], checkpoints: Checkpoints
) -> list[dict[str, Any]]:
    """Return the same for machines."""
    known = {str(one.id) for one in found}
    rows: list[dict[str, Any]] = [
        {
            "ledger": str(one.id),
            "name": one.row.name,
            "kind": one.row.kind,
            "entries": one.size,
            "jurisdictions": list(one.genesis.jurisdictions),
            "rules": list(one.genesis.rules),
            "verifier": str(checkpoints.verifier(one.id)),
            "predecessor": one.genesis.predecessor or None,
            "frozen": frozen_document(frozen.get(str(one.id))),
        }
        for one in found
    ]
    gone = [one for one in frozen.values() if one.recovery.ledger not in known]
    return rows + [
        {"ledger": one.recovery.ledger, "name": one.recovery.name, "entries": 0, "frozen": frozen_document(one)}
        for one in gone
    ]


def _lineage(frozen: Frozen | None, predecessor: str | None) -> str:
    words = "" if predecessor is None else f"  goes on for {predecessor.partition(':')[0]}"
    if frozen is None:
        return words
    found = frozen.recovery
    lost = f"seq {found.size}-{found.end - 1} lost" if found.lost else "nothing lost"
    return f"{words}  FROZEN, {lost}, {frozen.successor_name} goes on"


def recovery_words(step: Step) -> str:
    """Return what a step of a recovery came to, and what is to be done next."""
    found = step.recovery
    lost = f"seq {found.size}-{found.end - 1} lost ({found.lost:,} entries)" if found.lost else "nothing lost"
    if step.done == "requested":
        said = f"asked for: ledger {found.name} is to be frozen at {found.size:,} entries, {lost}"
        return f"{said}\nAnother officer runs the same command with their own --user."
    return (
        f"ledger {found.name} is frozen at {found.size:,} entries, {lost}\n"
        f"ledger {step.successor_name} goes on: point producers at it, and have them send again what was lost"
    )


def recovery_document(step: Step) -> dict[str, Any]:
    """Return the same for machines."""
    return step.recovery.facts() | {
        "done": step.done,
        "event": step.event,
        "lost": step.recovery.lost,
        "successor": step.successor_name,
        "successor_id": step.frozen.successor if step.frozen else None,
    }


def frozen_document(one: Frozen | None) -> dict[str, Any] | None:
    """Return what is to be known of a frozen ledger, for machines; None for any other."""
    if one is None:
        return None
    found = one.recovery
    said = {"good": found.size, "proved": found.proved, "lost_first": found.size, "lost_end": found.end}
    return said | {"event": one.seq, "successor": one.successor_name, "successor_id": one.successor}


def _erasure_words(report: LedgerReport) -> list[str]:
    """Return what became of the destroyed, in lines: who ordered what early, and whose word the times are."""
    words = [
        f"  ERASED-BY-POLICY {one.count:,} early, by order of {', '.join(one.approvers)}: disposal {one.disposal}"
        for one in report.erasures
        if one.early and one.count
    ]
    if report.erased > report.early:
        disposals = sum(1 for one in report.erasures if one.count and not one.early)
        by = f"{disposals:,} disposal{'s' if disposals > 1 else ''}"
        words.append(f"  ERASED-BY-POLICY {report.erased - report.early:,} when due, by {by}")
    if report.dying:
        words.append(f"  {report.dying:,} being destroyed: their keys are, their envelopes still stand there")
    gone = [one for one in report.erasures if one.count]
    words += [_seen_words(one) for one in gone if one.outside]
    if report.erased and not all(one.independent for one in gone):
        whose = "the" if not any(one.independent for one in gone) else "all other"
        words.append(
            f"  {whose} times of their destruction are self-asserted: nobody outside the vault vouches for them"
        )
    return words


def _seen_words(one: Erasure) -> str:
    whose = "" if one.independent else "the vault's own "
    return f"  disposal {one.disposal} had begun by {one.outside}, say {whose}{', '.join(one.outside_by)}"


def verification_document(report: LedgerReport) -> dict[str, Any]:
    """Return the same for machines, with every fault that was kept."""
    return {
        "ledger": str(report.ledger),
        "name": report.name,
        "entries": report.entries,
        "records": report.records,
        "envelopes": report.envelopes,
        "opened": report.opened,
        "erased_by_policy": report.erased,
        "being_destroyed": report.dying,
        "disposals": [
            {
                "disposal": one.disposal,
                "kind": one.kind,
                "count": one.count,
                "at": one.at,
                "time": "outside" if one.independent else "self-asserted",
                "outside_at": one.outside or None,
                "outside_by": list(one.outside_by),
                "approvers": list(one.approvers),
                "done": one.done,
            }
            for one in report.erasures
        ],
        "problems": list(report.problems),
        "frozen": frozen_document(report.frozen),
        "beyond": report.beyond,
        "unsealed": report.unsealed,
        "cleared": report.cleared,
        "checkpoint": {"size": report.size, "root": canonical.b64(report.root), "origin": report.origin},
        "faults": [
            {"verdict": fault.verdict.name, "seq": fault.seq, "last": fault.last, "what": fault.what}
            for fault in report.faults
        ],
        "counts": {verdict.name: count for verdict, count in report.counts.items()},
    }


def _stays(path: Path) -> bool:
    """Say whether an output is something other than a file of its own, which may be replaced."""
    return path.exists() and (not path.is_file() or _standard(path) is not None)


def _standard(path: Path) -> int | None:
    """Return which standard stream a path leads to: /dev/stderr does, also where that is a regular file."""
    found = path.stat()
    for descriptor in (2, 1):
        with suppress(OSError):  # it may be closed
            if os.path.samestat(found, os.fstat(descriptor)):
                return descriptor
    return None


def _opened(path: Path) -> TextIO:
    if not _stays(path):
        return open(path, "x", encoding="utf-8", opener=_private)
    standard = _standard(path)  # opened again it would be written from its beginning, and a socket cannot be
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY) if standard is None else os.dup(standard)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
