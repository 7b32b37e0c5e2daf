"""The payment system's list: what is taken, what is refused and how, and that no refusal quotes what it refuses."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.completeness import movements
from reports.completeness.movements import MOST_BYTES_A_LINE, Movement
from vault.core.errors import UsageError

HEAD = "transaction_id,amount,currency,moved_at\n"
AT = "2026-01-05T16:01:10+08:00"
ROW = f"tx-1,10.50,CNY,{AT}\n"
MOVED = datetime(2026, 1, 5, 8, 1, 10, tzinfo=UTC)
SECRET = "Li Wei 6222"  # stands in whatever is refused


def read(folder: Path, data: str | bytes) -> list[Movement]:
    path = folder / "list"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(movements.read(path))


def said(**changes: Any) -> str:
    one = {"transaction_id": "tx-1", "amount": "10.50", "currency": "CNY", "moved_at": AT}
    return json.dumps(one | changes) + "\n"


def movement(line: int, name: str = "tx-1") -> Movement:
    return Movement(line, name, Decimal("10.50"), "CNY", MOVED)


CR_LF = (HEAD + ROW).replace("\n", "\r\n")
TAKEN: dict[str, tuple[str | bytes, list[Movement]]] = {
    "csv": (HEAD + ROW, [movement(2)]),
    "no line end at the end": (HEAD + ROW.strip(), [movement(2)]),
    "byte order mark": (b"\xef\xbb\xbf" + (HEAD + ROW).encode(), [movement(2)]),
    "cr lf": (CR_LF, [movement(2)]),
    "blank lines": (HEAD + "\n\n" + ROW + "\n", [movement(4)]),
    "quoted cells": (HEAD + f'"tx ""1"", a","10.50","CNY","{AT}"\n', [movement(2, 'tx "1", a')]),
    "another order of columns": (f"moved_at,currency,amount,transaction_id\n{AT},CNY,10.50,tx-1\n", [movement(2)]),
    "blanks around what is no id": (f"transaction_id, amount ,currency,moved_at\ntx-1, 10.50 , CNY,{AT} \n",
                                    [movement(2)]),
    "an id is taken as it is": (HEAD + ROW.replace("tx-1", " tx-1 "), [movement(2, " tx-1 ")]),
    "a cell that a spreadsheet would run": (HEAD + ROW.replace("tx-1", "=1+1"), [movement(2, "=1+1")]),
    "a blank that is no space": (HEAD + ROW.replace("tx-1", "tx\u00a01"), [movement(2, "tx\u00a01")]),
    "lines within a cell that nobody needs": (
        HEAD.strip() + ",conversation_id,step\n" + ROW.strip() + ',"a\nb",3\n' + ROW.strip() + ",,\n",
        [movement(3), movement(4)],
    ),
    "nothing but a header": (HEAD, []),
    "json lines": (said() + "\n" + said(transaction_id="tx-2", conversation_id="c", step=1.5),
                   [movement(1), movement(3, "tx-2")]),
    "json with a byte order mark and cr lf": (b"\xef\xbb\xbf" + said().strip().encode() + b"\r\n", [movement(1)]),
    "whole numbers in json": (said(transaction_id=17, amount=10),
                              [Movement(1, "17", Decimal(10), "CNY", MOVED)]),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken(tmp_path: Path, name: str) -> None:
    data, expected = TAKEN[name]
    assert read(tmp_path, data) == expected


WRONG: dict[str, tuple[str | bytes, int, str]] = {
    "empty": ("", 1, "transaction_id is missing"),
    "a column that nothing knows": (HEAD.strip() + f",{SECRET}\n", 1, "nothing knows"),
    "a column that is missing": ("transaction_id,amount,currency\n", 1, "moved_at is missing"),
    "two columns of one name": (HEAD.strip() + ", amount\n", 1, "two columns"),
    "too few cells": (HEAD + ROW + f"{SECRET},1\n", 3, "2 cells under 4 columns"),
    "too many cells": (HEAD + ROW.strip() + f",{SECRET}\n", 2, "5 cells"),
    "an open quote": (HEAD + ROW + f'"{SECRET},1,CNY,{AT}\n', 3, "no CSV"),
    "a quote within": (HEAD + f'"{SECRET}"x,1,CNY,{AT}\n', 2, "no CSV"),
    "an empty id": (HEAD + ROW.replace("tx-1", ""), 2, "transaction_id"),
    "a long id": (HEAD + ROW.replace("tx-1", SECRET + "x" * 128), 2, "transaction_id"),
    "nul": (HEAD + ROW.replace("tx-1", SECRET + "\0"), 2, "transaction_id"),
    "a mark that turns the direction": (HEAD + ROW.replace("tx-1", SECRET + "\u202e"), 2, "transaction_id"),
    "a sign": (HEAD + ROW.replace("10.50", "-10.50"), 2, "amount"),
    "thousands": (HEAD + ROW.replace("10.50", '"1,000.00"'), 2, "amount"),
    "an exponent": (HEAD + ROW.replace("10.50", "1e3"), 2, "amount"),
    "seven digits": (HEAD + ROW.replace("10.50", "0.0000001"), 2, "amount"),
    "digits of another script": (HEAD + ROW.replace("10.50", "\u0661\u0660"), 2, "amount"),
    "no amount": (HEAD + ROW.replace("10.50", "nan"), 2, "amount"),
    "a formula": (HEAD + ROW.replace("10.50", "=1+1"), 2, "amount"),
    "a currency in small letters": (HEAD + ROW.replace("CNY", "cny"), 2, "currency"),
    "no offset": (HEAD + ROW.replace("+08:00", ""), 2, "moved_at"),
    "no date": (HEAD + ROW.replace(AT, SECRET), 2, "moved_at"),
    "before time": (HEAD + ROW.replace(AT, "0001-01-01T00:00:00+08:00"), 2, "moved_at"),
    "after time": (HEAD + ROW.replace(AT, "9999-12-31T23:59:59-01:00"), 2, "moved_at"),
    "no utf-8": ((HEAD + ROW).encode() + f"{SECRET},".encode() + b"\xff\n", 3, "not UTF-8"),
    "utf-16": ((HEAD + ROW).encode("utf-16"), 1, "not UTF-8"),
    "a huge line": (HEAD + SECRET + "x" * MOST_BYTES_A_LINE, 2, "more than 65,536 bytes"),
    "a huge cell of many lines": (HEAD + '"' + f"{SECRET}\n" * 9_000 + f'",1,CNY,{AT}\n', 5463, "no CSV"),
    "json: not an object": (said() + '["x"]\n', 2, "no JSON object"),
    "json: broken": (said() + f'{{"{SECRET}": \n', 2, "no JSON object"),
    "json: deep": (said() + '{"step":' + "[" * 60_000 + "\n", 2, "no JSON object"),
    "json: true": (said() + said(step=True), 2, "no JSON object"),
    "json: a name twice": (said().replace("{", '{"amount": "11.50", '), 1, "each name once"),
    "json: a float": (said(amount=10.5), 1, "amount is a binary fraction"),
    "json: no number": (said(amount=float("nan")), 1, "amount is a binary fraction"),
    "json: an id that lost its digits": (said(transaction_id=1e22), 1, "transaction_id is a binary fraction"),
    "json: a number without end": (said().replace('"10.50"', "1" * 5_000), 1, "no JSON object"),
    "json: a half of a pair": (said(transaction_id="\ud800"), 1, "transaction_id"),
    "json: another name": (said(**{SECRET: 1}), 1, "nothing knows"),
    "json: a huge line": (said() + '{"' + "x" * MOST_BYTES_A_LINE, 2, "more than 65,536 bytes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_refusal_names_the_line_and_quotes_nothing(tmp_path: Path, name: str) -> None:
    data, line, what = WRONG[name]
    with pytest.raises(UsageError) as caught:
        read(tmp_path, data)
    message = str(caught.value)
    assert message.startswith(f"the list of movements, line {line}: ")
    assert what in message
    assert len(message) < 200
    assert SECRET[:6] not in message


def test_a_list_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for use in (movements.measure, lambda path: list(movements.read(path))):
        for path in (tmp_path / "nowhere", tmp_path):
            with pytest.raises(UsageError, match="cannot read the list of movements"):
                use(path)


def test_a_list_without_line_ends_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "list"
    with path.open("wb") as file:
        file.truncate(1 << 28)
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="line 1: more than"):
            list(movements.read(path))
        assert tracemalloc.get_traced_memory()[1] < 1 << 21
    finally:
        tracemalloc.stop()


def test_a_list_is_known_by_its_bytes(tmp_path: Path) -> None:
    read(tmp_path, HEAD)
    first = movements.measure(tmp_path / "list")
    assert (first.name, first.size) == ("list", len(HEAD))
    read(tmp_path, HEAD + "\n")
    assert movements.measure(tmp_path / "list").sha256 != first.sha256


IDS = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=128)
AMOUNTS = st.decimals(0, Decimal("999999999999999999"), places=6, allow_nan=False)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2900, 1, 1), timezones=ZONES)
MADE = st.builds(Movement, st.just(0), IDS, AMOUNTS, st.from_regex(r"[A-Z]{3}", fullmatch=True), INSTANTS)


@settings(max_examples=40)
@given(st.lists(MADE, min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_what_was_written_comes_back(tmp_path_factory: pytest.TempPathFactory, made: list[Movement], end: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    cells = [(one.transaction_id, f"{one.amount:f}", one.currency, one.moved_at.isoformat()) for one in made]
    table = io.StringIO()
    csv.writer(table, lineterminator=end).writerows([movements.REQUIRED, *cells])
    lines = [json.dumps(dict(zip(movements.REQUIRED, one, strict=True)), ensure_ascii=False) for one in cells]
    for data in (table.getvalue(), end.join(lines)):
        found = read(folder, data)
        assert [_without_line(one) for one in found] == [_without_line(one) for one in made]


def _without_line(one: Movement) -> tuple[str, Decimal, str, datetime]:
    return one.transaction_id, one.amount, one.currency, one.moved_at
