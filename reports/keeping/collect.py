"""Collecting the report on retention and holds: leaves and events, verified as they pass. No record is opened.

Dates are those that the leaves froze. What lengthens them since (a later book, a hold, a date told afterwards) is not
reckoned here for each record: that is done for every one of them before it is destroyed, and a record that is due by
its leaf may well have to stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from reports.attach import JSON_LINES, Attachment
from reports.gathering import private
from reports.identity import identify, now
from reports.keeping.model import DisposalState, HoldState, KeepingReport, LedgerKeeping, Month
from reports.kind import Progress, Wanted
from reports.model import BookInForce, Fault, Rule
from reports.period import contains
from reports.phrase import phrase
from reports.verdicts import EntryVerdicts
from retention import books
from retention.history import History
from retention.keeping import adopted, carried
from vault import ledgers, selections
from vault.audit import audit
from vault.context import Vault
from vault.core.governance import Governance, Hold
from vault.core.leaf import Leaf, RecordLeaf
from vault.core.selection import Selection
from vault.db.store import AuditRow
from vault.ledgers import Ledger
from vault.verdict import Depth, LedgerReport

ROWS: Final = 24


@dataclass(slots=True)
class _Group:
    kept: int = 0
    destroyed: int = 0
    latest: str = ""


@dataclass(slots=True)
class _Counting:
    """What passes by: records by ledger and group, and which of the kept ones are held."""

    held: dict[UUID, Selection]
    groups: dict[UUID, dict[str, _Group]] = field(default_factory=dict)
    held_due: Counter[UUID] = field(default_factory=Counter)
    today: str = ""

    def take(self, ledger: UUID, row: AuditRow, leaf: Leaf | None) -> None:
        if not isinstance(leaf, RecordLeaf):
            return
        group = self.groups.setdefault(ledger, {}).setdefault(leaf.group.partition(".")[0], _Group())
        if row.sealed is None:
            group.destroyed += 1
            return
        group.kept += 1
        until = leaf.keep_until or ""
        group.latest = max(group.latest, until)
        if until and until[:7] < self.today and row.seq in self.held.get(ledger, Selection()):
            self.held_due[ledger] += 1


def collect(
    vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress
) -> tuple[KeepingReport, list[Attachment]]:
    """Read one ledger and the events, or all of them, and return what is kept, held, due and gone."""
    governance = vault.register.standing().governance
    history = History.read(vault)
    moment = now(vault)
    wanted_ledgers = [wanted.ledger] if wanted.ledger else [
        one for one in ledgers.listing(vault) if one.row.kind == "decisions"
    ]  # fmt: skip
    held = {one.id: _held(vault, one, governance) for one in wanted_ledgers}
    counting = _Counting(held, today=moment.strftime("%Y-%m"))
    found = audit(
        vault.engine,
        vault.checkpoints,
        vault.events,
        Depth.ENVELOPES,
        only=None if wanted.ledger is None else str(wanted.ledger.id),
        watch=counting.take,
        progress=progress,
    )
    figures = [_ledger(vault, one, counting, governance, history) for one in wanted_ledgers]
    months = [month for one in wanted_ledgers for month in _months(one, counting)]
    months.sort(key=lambda one: (one.group, one.ledger))
    holds = [_hold(vault, one, moment) for one in governance.holds.values()]
    holds.sort(key=lambda one: (bool(one.released_by), one.placed_at))
    disposals = list(_disposals(governance, wanted, {str(one.id): one.row.name for one in wanted_ledgers}))
    chain = books.chain(vault, [one.digest for one in history.books]) or (wanted.book,)
    verdicts, faults = _verdicts(found)
    made = KeepingReport(
        identification=identify(vault, wanted.ledger, wanted.period, wanted.purpose, report),
        ledgers=tuple(figures),
        total_ledgers=len(figures),
        months=tuple(months[:ROWS]),
        total_months=len(months),
        holds=tuple(holds[:ROWS]),
        total_holds=len(holds),
        open_holds=sum(1 for one in holds if not one.released_by),
        disposals=tuple(disposals[-ROWS:][::-1]),
        total_disposals=len(disposals),
        books=tuple(
            BookInForce(one.version, one.digest, datetime.fromtimestamp(told.at // 1_000_000, UTC), 0)
            for one, told in zip(chain, history.books, strict=False)
        ),
        rulebook_version=wanted.book.version,
        rulebook_digest=wanted.book.digest,
        rules=tuple(_rules(wanted, wanted_ledgers)),
        verdicts=verdicts,
        faults=tuple(faults[:ROWS]),
    )
    return made, list(_attachments(made, months, holds, disposals, workdir))


def _held(vault: Vault, ledger: Ledger, governance: Governance) -> Selection:
    joined = Selection()
    for hold in governance.holds.values():
        if hold.is_open:
            for digest in sorted({digest for place, digest in hold.sets if place == str(ledger.id)}):
                joined |= selections.load(vault, ledger.id, digest)
    return joined


def _ledger(
    vault: Vault, ledger: Ledger, counting: _Counting, governance: Governance, history: History
) -> LedgerKeeping:
    groups = counting.groups.get(ledger.id, {})
    asked = Selection()
    for one in governance.restrictions:
        if one.ledger == str(ledger.id):
            asked |= selections.load(vault, ledger.id, one.selection)
    return LedgerKeeping(
        ledger.row.name,
        str(ledger.id),
        kept=sum(one.kept for one in groups.values()),
        destroyed=sum(one.destroyed for one in groups.values()),
        undated=groups["open"].kept if "open" in groups else 0,
        due=sum(one.kept for name, one in groups.items() if _ended(name, counting.today)),
        held=counting.held_due[ledger.id],
        asked=len(asked),
        dated=len(history.dated(str(ledger.id))),
        jurisdictions=ledger.genesis.jurisdictions,
    )


def _ended(stem: str, today: str) -> bool:
    return stem[:1].isdigit() and stem < today


def _months(ledger: Ledger, counting: _Counting) -> Iterator[Month]:
    for stem, one in counting.groups.get(ledger.id, {}).items():
        until = datetime.fromisoformat(one.latest) if one.latest else None
        yield Month(ledger.row.name, stem, one.kept, one.destroyed, until, _ended(stem, counting.today))


def _hold(vault: Vault, hold: Hold, moment: datetime) -> HoldState:
    records = 0
    for ledger in {place for place, _ in hold.sets}:
        joined = Selection()
        for digest in sorted({digest for place, digest in hold.sets if place == ledger}):
            joined |= selections.load(vault, UUID(ledger), digest)
        records += len(joined)
    review = None if hold.review_at is None else _moment(hold.review_at)
    return HoldState(
        hold.id,
        hold.case,
        hold.placed_by,
        _moment(hold.placed_at),
        records,
        len(hold.scope.ledgers),
        review,
        hold.is_open and review is not None and review <= moment,
        hold.release_by is not None and hold.is_open,
        hold.released_by or "",
    )


def _disposals(governance: Governance, wanted: Wanted, names: dict[str, str]) -> Iterator[DisposalState]:
    over = ("done", "cancelled")
    for one in governance.disposals.values():
        planned = _moment(one.planned_at)
        if one.ledger in names and (one.state not in over or contains(wanted.period, planned)):
            yield DisposalState(
                one.id, names[one.ledger], one.kind, one.state, one.count, planned, len(one.approvals), one.certified
            )


def _rules(wanted: Wanted, found: list[Ledger]) -> Iterator[Rule]:
    """Rules that some ledger of the report applies, and those that none of them does."""
    applying: dict[str, list[str]] = {}
    for ledger in found:
        book = carried((wanted.book,), ledger.genesis.rules)
        for rule in adopted(book, ledger.genesis.jurisdictions, ledger.genesis.rules).adopted:
            applying.setdefault(rule.id, []).append(ledger.row.name)
    for rule in wanted.book.rules.values():
        names = applying.get(rule.id, [])
        yield Rule(
            rule.id,
            rule.jurisdiction,
            rule.instrument,
            rule.minimum,
            rule.trigger,
            rule.erase,
            rule.status,
            bool(names),
            ", ".join(names[:4]) + (f" +{len(names) - 4}" if len(names) > 4 else "") if names else None,
        )


def _verdicts(found: list[LedgerReport]) -> tuple[dict[str, int], list[Fault]]:
    counts: Counter[str] = Counter()
    faults = []
    for one in found:
        counts.update(EntryVerdicts(one, one.size).counts())
        faults += [Fault(fault.verdict.name, fault.seq, f"{one.name}: {fault.what}") for fault in one.faults]
    return dict(counts), faults


def _attachments(
    made: KeepingReport, months: list[Month], holds: list[HoldState], disposals: list[DisposalState], workdir: Path
) -> Iterator[Attachment]:
    for name, what, rows in (
        ("ledgers.jsonl", phrase("Each ledger with its figures"), list(made.ledgers)),
        ("months.jsonl", phrase("Each month of each ledger: what is kept and what was destroyed"), months),
        ("holds.jsonl", phrase("Each hold, open or released"), holds),
        ("disposals.jsonl", phrase("Each disposal of the report"), disposals),
        ("rules.jsonl", phrase("Each rule of the book in force"), list(made.rules)),
    ):
        path = workdir / name
        with open(path, "xb", opener=private) as file:
            for row in rows:
                file.write(msgspec.json.encode(row) + b"\n")
        yield Attachment(name, what, JSON_LINES, path)


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC)
