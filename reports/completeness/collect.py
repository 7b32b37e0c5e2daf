"""Collecting the completeness report: the list first, then the shared pass (reports.snapshot), then the matching.

Records are opened from some days before the period on, and all later ones: a log and its movement seldom have the same
instant, and either may lie on the other side of midnight. What lies outside the period is matched, and counted nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from reports import sheet
from reports.attach import JSON_LINES, Attachment
from reports.basis import basis
from reports.basis import files as basis_files
from reports.completeness import movements
from reports.completeness.matching import Matching
from reports.completeness.model import CompletenessReport, Day, Doubled, MovementRow, RecordRow, Repeated, Sums
from reports.completeness.rows import EXTRACTION, Logged
from reports.figures import Money
from reports.gathering import private
from reports.identity import identify
from reports.kind import Progress, Wanted, the_ledger
from reports.phrase import phrase
from reports.snapshot import take
from reports.tally import Sums as Adding
from reports.wording import amount
from vault.context import Vault
from vault.core.errors import UsageError

ROWS: Final = 24
DAYS: Final = 62
DEFAULT_GRACE: Final = 7
POPULATION: Final = "records.jsonl"
_RESULTS: Final = {
    "unlogged": (phrase("Movements without a record"), ("line", "transaction_id", "amount", "currency", "at")),
    "denied": (
        phrase("Movements whose records say that no money moved"),
        ("line", "transaction_id", "amount", "currency", "at", "seq", "record_id", "records"),
    ),
    "mismatched": (
        phrase("Movements whose records say another amount or currency"),
        ("line", "transaction_id", "amount", "currency", "at", "seq", "record_id", "logged_amount", "logged_currency"),
    ),
    "unlisted": (
        phrase("Records that say that money moved, without a movement in the list"),
        ("seq", "record_id", "transaction_id", "amount", "currency", "at", "producer"),
    ),
    "doubled": (
        phrase("Conversations and steps with more than one movement"),
        ("conversation_id", "step", "movements", "first_seq", "last_seq", "seqs"),
    ),
    "repeated": (
        phrase("Transaction ids that the list has more than once"),
        ("transaction_id", "count", "first_line", "last_line"),
    ),
}
_TABLES: Final = ("unlogged", "mismatched", "unlisted")
"""Results that people look into with a spreadsheet: attached as CSV as well."""


class _Counting:
    """Hands records to the matching."""

    def __init__(self, matching: Matching) -> None:
        self._matching = matching

    def add(self, row: Logged) -> None:
        """A record of the period, or of the days before it."""
        self._matching.record(row)

    def relate(self, row: Logged) -> None:
        """A later record: it may be the log of a movement of the period."""
        self._matching.record(row)


def collect(
    vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress
) -> tuple[CompletenessReport, list[Attachment], str | None]:
    """Match a list of movements with a ledger. Returns the model, its attachments, and the grant used.

    Raises:
        UsageError: no list, or a line of it that cannot be read; nothing was opened.
        Others as ``reports.snapshot.take``.
    """
    ledger, period = the_ledger(wanted.ledger), wanted.period
    path, grace = _asked(wanted)
    listed = movements.measure(path)
    opened = replace(period, start=None if period.start is None else period.start - timedelta(days=grace))
    with Matching(workdir / "matching.db", period.start, period.end) as matching:
        for one in movements.read(path):
            matching.movement(one)
        if movements.measure(path) != listed:
            raise UsageError("the list of movements changed while it was read: run the same command again")
        taken = take(
            vault,
            ledger.id,
            opened,
            wanted.purpose,
            report,
            workdir / POPULATION,
            count=_Counting(matching),
            extraction=EXTRACTION,
            grant=wanted.grant,
            progress=progress,
        )
        matching.settle()
        gathered = taken.gathered
        based = basis(vault, ledger, taken)
        model = CompletenessReport(
            identification=identify(vault, ledger, period, wanted.purpose, report, taken.access),
            basis=based,
            listed=listed,
            states=matching.states(),
            outside=matching.outside(),
            grace_days=grace if period.start is not None else 0,
            counts={name: matching.count(name) for name in _RESULTS},
            unlogged=tuple(MovementRow(*_typed(row, 2, 4)) for row in matching.rows("unlogged", ROWS)),
            unlogged_sums=_sums(matching, "unlogged"),
            denied=tuple(MovementRow(*_typed(row[:7], 2, 4)) for row in matching.rows("denied", ROWS)),
            mismatched=tuple(_mismatched(row) for row in matching.rows("mismatched", ROWS)),
            unlisted=tuple(RecordRow(*_typed(row, 3, 5)) for row in matching.rows("unlisted", ROWS)),
            unlisted_sums=_sums(matching, "unlisted"),
            doubled=tuple(
                Doubled(row[0], row[1], row[2], _shortened(row[5])) for row in matching.rows("doubled", ROWS)
            ),
            repeated=tuple(Repeated(*row) for row in matching.rows("repeated", ROWS)),
            days=_days(matching),
            refusals=gathered.history.refusals(vault, details=taken.access is not None),
            conflicts=gathered.history.conflicts,
            sequences=gathered.sequences.result(),
            kept=gathered.inside + gathered.outside + based.destroyed,
        )
        attachments = list(_files(matching, model, workdir))
    return model, attachments, taken.grant


def _asked(wanted: Wanted) -> tuple[Path, int]:
    path, grace = wanted.options.get("movements"), wanted.options.get("grace", DEFAULT_GRACE)
    if not isinstance(path, Path):
        raise UsageError("a completeness report needs the payment system's list of movements: --movements FILE")
    return path, int(grace)


def _typed(row: tuple[Any, ...], amount: int, at: int) -> Iterator[Any]:
    """A result's row with the amount and the instant that stand at these places."""
    for place, value in enumerate(row):
        if place == amount and value is not None:
            yield Decimal(value)
        else:
            yield datetime.fromisoformat(value) if place == at else value


def _mismatched(row: tuple[Any, ...]) -> MovementRow:
    logged = phrase("no amount") if row[7] is None else f"{row[8]} {amount(Decimal(row[7]))}"
    return MovementRow(*_typed((*row[:7], logged), 2, 4))


def _shortened(seqs: str) -> str:
    some = seqs.split(",")
    return ", ".join(some[:6]) + (f" +{len(some) - 6}" if len(some) > 6 else "")


def _sums(matching: Matching, name: str) -> Sums:
    adding = Adding()
    for currency, amounts in matching.sums(name):
        for one in amounts:
            adding.add(Money(Decimal(one), currency))
    return adding.result()


def _days(matching: Matching) -> tuple[Day, ...]:
    """By day, the last ``DAYS`` of them; by month where there are more days than that."""
    found: dict[str, dict[str, int]] = {}
    told = matching.by_day()
    length = 10 if len({day for day, _, _ in told}) <= DAYS else 7
    for day, state, count in told:
        cells = found.setdefault(day[:length], {})
        cells[state] = cells.get(state, 0) + count
    return tuple(
        Day(
            label,
            cells.get("matched", 0),
            cells.get("mismatched", 0) + cells.get("denied", 0),
            cells.get("unlogged", 0),
        )
        for label, cells in list(found.items())[-DAYS:]
    )


def _files(matching: Matching, model: CompletenessReport, workdir: Path) -> Iterator[Attachment]:
    for name, (what, columns) in _RESULTS.items():
        lines, table = workdir / f"{name}.jsonl", workdir / f"{name}.csv"
        with open(lines, "xb", opener=private) as file, open(table, "xb", opener=private) as spread:
            spread.write(sheet.line(columns))
            for row in matching.rows(name):
                file.write(msgspec.json.encode(dict(zip(columns, row, strict=True))) + b"\n")
                spread.write(sheet.line(row))
        yield Attachment(f"{name}.jsonl", what, JSON_LINES, lines)
        if name in _TABLES:
            yield Attachment(f"{name}.csv", what, sheet.MEDIA_TYPE, table)
    yield Attachment(
        POPULATION, phrase("Every record that was looked at: its leaf’s hash, and what was compared"), JSON_LINES,
        workdir / POPULATION,
    )  # fmt: skip
    yield from basis_files(model.basis.checkpoint)
