"""Collecting for the threshold report: the shared pass (reports.snapshot), then one over what lay below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from reports import sheet
from reports.basis import basis, limits
from reports.gathering import private
from reports.identity import identify
from reports.kind import Progress, Wanted, the_ledger
from reports.model import Identification, Period
from reports.phrase import phrase
from reports.snapshot import Taken, take
from reports.tally import LABELS, OTHERS, Sums
from reports.threshold.count import AGREED, ALONE, OVERRULED, Asked, ThresholdCount, amount
from reports.threshold.model import Executed, Review, Share, ThresholdReport
from reports.threshold.rows import EXTRACTION, Decided
from vault.context import Vault
from vault.core.errors import UsageError

ROWS: Final = 40
SLICES: Final = 12
MONTHS: Final = 24
DEFAULT_WHAT_IF: Final = (0.80,)
ADD: Final = 0.05

POPULATION, BELOW = "decisions.jsonl", "below.jsonl"
EXECUTED, EXECUTED_CSV = "executed-below.jsonl", "executed-below.csv"
_COLUMNS: Final = (
    *("seq", "record_id", "occurred_at", "api", "model", "jurisdictions", "outcome", "score", "threshold"),
    *("threshold_stated", "review", "executed_amount", "executed_currency"),
)


def collect_threshold(
    vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress
) -> tuple[ThresholdReport, str | None]:
    """Read a ledger for a threshold report; its files lie in ``workdir``. Returns the model, and the grant used.

    Raises:
        UsageError: another threshold that does not lie between 0 and 1.
        Others as ``reports.snapshot.take``.
    """
    ledger = the_ledger(wanted.ledger)
    asked = asked_of(wanted.options.get("what_if", ()))
    count = ThresholdCount(ZoneInfo(wanted.period.zone), asked, workdir / "waiting.jsonl")
    try:
        taken = take(
            vault,
            ledger.id,
            wanted.period,
            wanted.purpose,
            report,
            workdir / POPULATION,
            count=count,
            extraction=EXTRACTION,
            grant=wanted.grant,
            progress=progress,
        )
    finally:
        count.close()
    who = identify(vault, ledger, wanted.period, wanted.purpose, report, taken.access)
    return _model(vault, wanted, taken, who, workdir), taken.grant


def asked_of(thresholds: Sequence[float]) -> tuple[Asked, ...]:
    """Return what is to be tried: these thresholds or the default one, and every decision's own with a little more."""
    for one in thresholds:
        if not 0 < one <= 1:
            raise UsageError("--what-if is a threshold above 0, at most 1")
    return (*(Asked(one) for one in dict.fromkeys(thresholds or DEFAULT_WHAT_IF)), Asked(add=ADD))


def _model(
    vault: Vault, wanted: Wanted, taken: Taken[ThresholdCount], who: Identification, workdir: Path
) -> ThresholdReport:
    count, found = taken.gathered.count, _Below(taken.gathered.count)
    found.read(workdir)
    in_use, in_use_total, changed = count.in_use()
    base = basis(vault, the_ledger(wanted.ledger), taken)
    return ThresholdReport(
        identification=who,
        basis=base,
        decisions=count.decisions,
        others=count.others,
        usable=count.usable,
        unusable=count.unusable,
        defaulted=count.defaulted,
        alone=found.review(ALONE),
        overruled=found.review(OVERRULED),
        agreed=found.review(AGREED),
        rows=tuple(found.rows),
        sums=found.sums.result(),
        without_amount=found.without_amount,
        models=found.shares(count.models, "model"),
        apis=found.shares(count.apis, "api"),
        jurisdictions=found.shares(count.jurisdictions, "jurisdiction"),
        months=found.months(count.months),
        near=count.near(),
        what_if=count.what_if(),
        in_use=in_use,
        in_use_total=in_use_total,
        changed=changed,
        limits=(*_limits(wanted.period, base.related), *limits(base, who)),
    )


def _limits(period: Period, related: int) -> Sequence[str]:
    said = [
        phrase(
            "That a score means what its name says, or that a threshold is the right one. Each decision is judged by "
            "the score and the threshold that its record states; a score that is missing or off its scale counts as "
            "below."
        ),
        phrase(
            "What another threshold would have led to. “What if” counts decisions that would have gone to review; how "
            "a reviewer would have decided, nobody knows."
        ),
        phrase(
            "That bunching above a threshold is wrong. Scores may crowd there for reasons of the model; the chart "
            "shows where to ask."
        ),
    ]
    if period.end is not None:
        said.append(
            phrase(
                "That no review came later than this report: {count:,} records after the period were opened for their "
                "reviews, and those that are still to come are not known.",
                count=related,
            )
        )
    return said


class _Below:
    """The second pass: decisions below their threshold, each with its state of review."""

    def __init__(self, count: ThresholdCount) -> None:
        self.rows: list[Executed] = []
        self.sums = Sums()
        self.without_amount = 0
        self._count = count
        self._states: Counter[tuple[str, bool]] = Counter()
        self._cells: dict[str, dict[str, list[int]]] = {"model": {}, "api": {}, "jurisdiction": {}, "month": {}}

    def read(self, workdir: Path) -> None:
        """Read them, and write the attachments."""
        with (
            open(workdir / BELOW, "xb", opener=private) as below,
            open(workdir / EXECUTED, "xb", opener=private) as executed,
            open(workdir / EXECUTED_CSV, "xb", opener=private) as table,
        ):
            table.write(sheet.line(_COLUMNS))
            for row, state in self._count.waiting():
                document = _document(row, state)
                line = msgspec.json.encode(document) + b"\n"
                below.write(line)
                self._add(row, state)
                if row.moved and state != AGREED:
                    executed.write(line)
                    table.write(sheet.line(_cells(document, row)))
                    self._print(row, state)

    def review(self, state: str) -> Review:
        return Review(self._states[state, True], self._states[state, False])

    def shares(self, counted: Counter[str], name: str) -> tuple[Share, ...]:
        """The largest, then one line for all the others."""
        order = sorted(counted, key=lambda label: (-counted[label], label))
        if len(order) <= SLICES:
            return tuple(self._share(label, counted[label], name, (label,)) for label in order)
        rest = order[SLICES - 1 :]
        last = phrase("{count} others", count=len(rest))
        return (
            *(self._share(label, counted[label], name, (label,)) for label in order[: SLICES - 1]),
            self._share(last, sum(counted[label] for label in rest), name, rest),
        )

    def months(self, counted: Counter[str]) -> tuple[Share, ...]:
        """In order; those before the last ``MONTHS`` in one line."""
        order = sorted(counted)
        early, shown = order[:-MONTHS], order[-MONTHS:]
        if not early:
            return tuple(self._share(label, counted[label], "month", (label,)) for label in shown)
        before = self._share(
            phrase("before {month}", month=shown[0]), sum(counted[label] for label in early), "month", early
        )
        return (before, *(self._share(label, counted[label], "month", (label,)) for label in shown))

    def _share(self, label: str, count: int, name: str, of: Sequence[str]) -> Share:
        cells = [sum(column) for column in zip(*(self._cells[name].get(one, [0] * 4) for one in of), strict=True)]
        return Share(label, count, sum(cells), *cells)

    def _add(self, row: Decided, state: str) -> None:
        self._states[state, row.moved] += 1
        at = (ALONE, OVERRULED, AGREED).index(state) if row.moved else 3
        for name, counted, label in (
            ("model", self._count.models, row.model or "–"),
            ("api", self._count.apis, row.api),
            ("month", self._count.months, self._count.month(row)),
            *(("jurisdiction", self._count.jurisdictions, code) for code in row.jurisdictions),
        ):
            known = label if label in counted or len(counted) < LABELS else OTHERS
            self._cells[name].setdefault(known, [0, 0, 0, 0])[at] += 1

    def _print(self, row: Decided, state: str) -> None:
        if row.executed is None:
            self.without_amount += 1
        else:
            self.sums.add(row.executed)
        if len(self.rows) < ROWS:
            self.rows.append(
                Executed(
                    row.seq,
                    row.record_id,
                    row.occurred_at,
                    row.api,
                    row.model,
                    row.score,
                    row.threshold,
                    row.executed,
                    state == OVERRULED,
                )
            )


def _document(row: Decided, state: str) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "record_id": row.record_id,
        "occurred_at": row.occurred_at.astimezone(UTC),
        "api": row.api,
        "model": row.model,
        "jurisdictions": row.jurisdictions,
        "outcome": row.outcome,
        "score": row.score,
        "threshold": row.threshold,
        "threshold_stated": not row.defaulted,
        "money_moved": row.moved,
        "executed": row.executed,
        "review": state,
    }


def _cells(document: Mapping[str, Any], row: Decided) -> list[object]:
    spelled: dict[str, Callable[[], object]] = {
        "occurred_at": lambda: document["occurred_at"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        "jurisdictions": lambda: " ".join(row.jurisdictions),
        "threshold_stated": lambda: "no" if row.defaulted else "yes",
        "executed_amount": lambda: row.executed and amount(row.executed.amount),
        "executed_currency": lambda: row.executed and row.executed.currency,
    }
    return [spelled[name]() if name in spelled else document[name] for name in _COLUMNS]
