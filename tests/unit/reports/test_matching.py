"""Movements against records: every state by hand, and all of it against a naive model."""

from __future__ import annotations

import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.completeness import matching
from reports.completeness.matching import STATES, Matching
from reports.completeness.movements import Movement
from reports.completeness.rows import Logged
from reports.figures import Money

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2026, 2, 1, tzinfo=UTC)
INSIDE, BEFORE, AFTER = START + timedelta(days=3), START - timedelta(days=2), END
_names = count()


def moved(line: int, name: str, amount: str = "10", currency: str = "CNY", at: datetime = INSIDE) -> Movement:
    return Movement(line, name, Decimal(amount), currency, at)


def logged(seq: int, name: str | None, amount: str | None = "10", currency: str = "CNY", **changes: Any) -> Logged:
    """Return a record that says that money moved."""
    made = Logged(
        seq=seq,
        record_id=f"dec-{900 - seq}",  # in another order than the positions
        occurred_at=INSIDE,
        at=INSIDE,
        producer="psp-1",
        outcome="accepted",
        moved=True,
        opened=True,
        transaction_id=name,
        conversation_id=f"conv-{seq}",
        step=0,
        executed=None if amount is None else Money(Decimal(amount), currency),
    )
    return msgspec.structs.replace(made, **changes)


@contextmanager
def matched(
    folder: Path, movements: Iterable[Movement], records: Iterable[Logged], *period: datetime | None
) -> Iterator[Matching]:
    start, end = period or (START, END)
    with Matching(folder / f"matching-{next(_names)}.db", start, end) as found:
        for movement in movements:
            found.movement(movement)
        for record in records:
            found.record(record)
        found.settle()
        yield found


def state_of(folder: Path, movement: Movement, *records: Logged) -> str:
    with matched(folder, [movement], records) as found:
        (state,) = [state for state, number in found.states().items() if number]
        return state


@pytest.mark.parametrize(
    ("records", "state"),
    [
        ([], "unlogged"),
        ([logged(1, "tx-2")], "unlogged"),
        ([logged(1, "TX-1")], "unlogged"),
        ([logged(1, "tx-1 ")], "unlogged"),
        ([logged(1, None)], "unlogged"),
        ([logged(1, "tx-1")], "matched"),
        ([logged(1, "tx-1", "10.00")], "matched"),
        ([logged(1, "tx-1", "10.000000")], "matched"),
        ([logged(1, "tx-1", "010")], "matched"),
        ([logged(1, "tx-1", "10.000001")], "mismatched"),
        ([logged(1, "tx-1", currency="USD")], "mismatched"),
        ([logged(1, "tx-1", None)], "mismatched"),
        ([logged(1, "tx-1", "9"), logged(2, "tx-1")], "matched"),
        ([logged(1, "tx-1", "9"), logged(2, "tx-1", moved=False)], "mismatched"),
        ([logged(1, "tx-1", moved=False)], "denied"),
        ([logged(1, "tx-1", at=BEFORE)], "matched"),
        ([logged(1, "tx-1", at=AFTER)], "matched"),
        ([logged(1, None, None, opened=False)], "unlogged"),
    ],
)
def test_a_movement_comes_to_one_state(tmp_path: Path, records: list[Logged], state: str) -> None:
    assert state_of(tmp_path, moved(2, "tx-1"), *records) == state


def test_amounts_are_exact_to_the_last_digit(tmp_path: Path) -> None:
    for said, other in (("0.000001", "0.000002"), ("999999999999999999.999999", "999999999999999999.999998")):
        assert state_of(tmp_path, moved(2, "t", said), logged(1, "t", said)) == "matched"
        assert state_of(tmp_path, moved(2, "t", said), logged(1, "t", other)) == "mismatched"
    for zero in ("0", "0.00", "000.000000"):
        assert state_of(tmp_path, moved(2, "t", "0"), logged(1, "t", zero)) == "matched"


def test_what_lies_outside_the_period_is_matched_and_counted_nowhere(tmp_path: Path) -> None:
    movements = [moved(2, "before", at=BEFORE), moved(3, "late", at=AFTER), moved(4, "first", at=START)]
    records = [logged(1, "before"), logged(2, "early", at=BEFORE), logged(3, "after", at=AFTER)]
    with matched(tmp_path, movements, records) as found:
        assert found.states() == dict.fromkeys(STATES, 0) | {"unlogged": 1}
        assert found.outside() == 2
        assert found.count("unlisted") == 0, "its movement is in the list, though before the period"
        assert [row[1] for row in found.rows("unlogged")] == ["first"]
    with matched(tmp_path, movements, records, None, None) as found:
        assert (found.states()["matched"], found.states()["unlogged"], found.outside()) == (1, 2, 0)
        assert [row[1] for row in found.rows("unlisted")] == ["dec-898", "dec-897"]


def test_the_record_that_is_named_is_the_first_and_what_it_says_is_its_own(tmp_path: Path) -> None:
    movements = [moved(2, "a", "10"), moved(3, "b", "5")]
    records = [
        logged(1, "a", "7", moved=False),
        logged(2, "a", "8"),
        logged(3, "a", "9", "USD"),
        logged(4, "b", moved=False),
        logged(5, "b", moved=False),
    ]
    with matched(tmp_path, movements, records) as found:
        ((*_, seq, record, amount, currency),) = found.rows("mismatched")
        assert (seq, record, amount, currency) == (2, "dec-898", "8", "CNY")
        ((*_, seq, record, several),) = found.rows("denied")
        assert (seq, record, several) == (4, "dec-896", 2)


def test_one_movement_told_twice_is_not_two(tmp_path: Path) -> None:
    same: dict[str, Any] = {"conversation_id": "talk", "step": 1}
    records = [
        logged(1, "a", **same),
        logged(2, "a", **same),
        logged(3, "b", **same | {"step": 2}),
        logged(4, "c", moved=False, **same),
    ]
    with matched(tmp_path, [], records) as found:
        assert list(found.rows("doubled")) == []
    with matched(tmp_path, [], [*records, logged(5, "d", at=AFTER, **same)]) as found:
        assert list(found.rows("doubled")) == [("talk", 1, 2, 1, 5, "1,2,5")]
    outside = [logged(1, "a", at=AFTER, **same), logged(2, "b", at=AFTER, **same)]
    with matched(tmp_path, [], outside) as found:
        assert found.count("doubled") == 0
    with matched(tmp_path, [], [logged(1, None, **same), logged(2, None, **same)]) as found:
        assert [row[2] for row in found.rows("doubled")] == [2], "two that name none are two"


def test_records_that_did_not_open_are_no_findings(tmp_path: Path) -> None:
    shut: dict[str, Any] = {"opened": False, "conversation_id": "", "step": None}
    with matched(tmp_path, [], [logged(1, None, None, **shut), logged(2, None, None, **shut)]) as found:
        assert (found.count("doubled"), found.count("unlisted")) == (0, 0)


def test_what_the_list_has_twice(tmp_path: Path) -> None:
    movements = [moved(2, "a"), moved(3, "b"), moved(5, "a", "11"), moved(6, "c", at=AFTER), moved(7, "c", at=AFTER)]
    with matched(tmp_path, movements, [logged(1, "a")]) as found:
        assert list(found.rows("repeated")) == [("a", 2, 2, 5)]
        assert found.states() == {"matched": 1, "mismatched": 1, "denied": 0, "unlogged": 1}


def test_days_are_utc_whatever_the_list_spells(tmp_path: Path) -> None:
    shanghai = datetime.fromisoformat("2026-01-06T00:30:00+08:00")
    with matched(tmp_path, [moved(2, "a", at=shanghai.astimezone(UTC))], [logged(1, "b", at=shanghai)]) as found:
        assert found.by_day() == [("2026-01-05", "unlogged", 1)]
        assert [row[5] for row in found.rows("unlisted")] == ["2026-01-05T16:30:00+00:00"]


def test_sums_are_by_currency_and_rows_can_be_few(tmp_path: Path) -> None:
    movements = [moved(2, "a", "0.1"), moved(3, "b", "0.20"), moved(4, "c", "3", "USD")]
    with matched(tmp_path, movements, [logged(1, None, None)]) as found:
        assert found.sums("unlogged") == [("CNY", ["0.1", "0.2"]), ("USD", ["3"])]
        assert (len(list(found.rows("unlogged", 2))), found.count("unlogged")) == (2, 3)
        assert found.sums("unlisted") == []


def test_only_its_owner_reads_what_is_matched_and_no_file_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "matching.db"
    with Matching(path, None, None):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        Matching(path, None, None)


def test_batches_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_BATCH", 3)
    both = [moved(at + 2, f"tx-{at}") for at in range(10)], [logged(at, f"tx-{at}") for at in range(10)]
    with matched(tmp_path, *both) as found:
        assert found.states()["matched"] == 10


NAMES = st.sampled_from(["a", "b", "c"])
AMOUNTS = st.sampled_from(["1", "1.0", "2", "0.000001"])
CURRENCIES = st.sampled_from(["CNY", "USD"])
TIMES = st.sampled_from([BEFORE, START, INSIDE, END - timedelta(microseconds=1), END])
MOVEMENTS = st.lists(st.tuples(NAMES, AMOUNTS, CURRENCIES, TIMES), max_size=6)
BOOLEANS = st.booleans()
RECORDS = st.lists(
    st.tuples(
        st.none() | NAMES,
        st.none() | AMOUNTS,
        CURRENCIES,
        TIMES,
        st.booleans(),
        st.booleans(),
        NAMES,
        st.integers(0, 1),
    ),
    max_size=8,
)


@settings(max_examples=60)
@given(MOVEMENTS, RECORDS)
def test_a_naive_model_finds_the_same(tmp_path_factory: pytest.TempPathFactory, said: Any, told: Any) -> None:
    movements = [moved(line, *one) for line, one in enumerate(said, 2)]
    records = [
        logged(seq, name, amount, currency, at=at, moved=is_moved, opened=opened, conversation_id=talk, step=step)
        for seq, (name, amount, currency, at, is_moved, opened, talk, step) in enumerate(told, 1)
    ]
    with matched(tmp_path_factory.getbasetemp(), movements, records) as found:
        assert {one: [row[0] for row in found.rows(one)] for one in STATES} == _states(movements, records)
        assert [row[0] for row in found.rows("unlisted")] == _unlisted(movements, records)
        assert {(row[0], row[1]): row[2] for row in found.rows("doubled")} == _doubled(records)
        assert {row[0]: row[1] for row in found.rows("repeated")} == _repeated(movements)
        assert sum(found.states().values()) + found.outside() == len(movements)


def _inside(at: datetime) -> bool:
    return START <= at < END


def _states(movements: list[Movement], records: list[Logged]) -> dict[str, list[int]]:
    lines: dict[str, list[int]] = {state: [] for state in STATES}
    for one in filter(lambda one: _inside(one.moved_at), movements):
        about = [row for row in records if row.transaction_id == one.transaction_id]
        said = [row.executed for row in about if row.moved and row.opened]
        state = "mismatched" if said else "denied" if about else "unlogged"
        lines["matched" if Money(one.amount, one.currency) in said else state].append(one.line)
    return lines


def _unlisted(movements: list[Movement], records: list[Logged]) -> list[int]:
    listed = {one.transaction_id for one in movements}
    moved = [row for row in records if row.moved and row.opened and _inside(row.at)]
    return [row.seq for row in moved if row.transaction_id not in listed]


def _doubled(records: list[Logged]) -> dict[tuple[str, int | None], int]:
    groups: dict[tuple[str, int | None], list[Logged]] = defaultdict(list)
    for row in records:
        if row.moved and row.opened:
            groups[row.conversation_id, row.step].append(row)
    numbers = {place: len({row.transaction_id or row.record_id for row in rows}) for place, rows in groups.items()}
    within = {place for place, rows in groups.items() if any(_inside(row.at) for row in rows)}
    return {place: number for place, number in numbers.items() if number > 1 and place in within}


def _repeated(movements: list[Movement]) -> dict[str, int]:
    lines: dict[str, list[Movement]] = defaultdict(list)
    for one in movements:
        lines[one.transaction_id].append(one)
    return {
        name: len(some) for name, some in lines.items() if len(some) > 1 and any(_inside(one.moved_at) for one in some)
    }
