"""Searches below the verb: right for every combination of conditions, in pages, by index on a long ledger."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Connection, Engine, event

from tests.support.postgres import Database, Run
from vault.core.errors import Missing
from vault.db.engine import connect
from vault.db.finding import FoundRow, Wanted, find
from vault.db.tables import FACET_COLUMNS

ROWS = 60_000
OURS, THEIRS = UUID(int=1), UUID(int=2)
"""Two ledgers of equal content, but that their blind indexes differ."""
BASE = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
END = BASE + ROWS * MINUTE
AT = FACET_COLUMNS.index("occurred_at")
MAKE = """
    INSERT INTO vault.sealed (ledger_id, seq, epoch_id, occurred_at, conversation_tag, transaction_tag, customer_tag,
        flags, api, outcome, fidelity, money_moved, record_id, record_class, jurisdictions, model, salt, wrapped_key,
        envelope)
    SELECT %(ledger)s, n, 1, '2026-01-05 00:00Z'::timestamptz + (n / 3 * 3) * interval '1 minute',
        n / 2 * %(sign)s, CASE WHEN n %% 2 = 0 THEN n * %(sign)s END, n %% 5000 * %(sign)s,
        n %% 8, 1 + n %% 5, 1 + n %% 6, 1, true, 'dec-' || n, 'class-' || n %% 3, 'CN', 'model-' || n %% 4,
        decode(md5(n::text), 'hex'), repeat('k', 60)::bytea, repeat('e', 700)::bytea
    FROM generate_series(1, %(rows)s) n"""
"""Three neighbours share a time, so that the order needs the position too."""
MAKE_ENTRIES = """
    INSERT INTO vault.entry (ledger_id, seq, id_tag, leaf)
    SELECT %(ledger)s, n, decode(md5(n::text), 'hex'), ('leaf ' || n)::bytea FROM generate_series(1, %(rows)s) n"""


@pytest.fixture(scope="module")
def filled(postgres_run: Run) -> Iterator[Database]:
    """A database with two long ledgers and no statistics yet."""
    with postgres_run.database(durable=False) as made:
        with psycopg.connect(made.superuser_dsn) as connection:
            connection.execute("ALTER TABLE vault.sealed SET (autovacuum_enabled = off)")
            connection.execute("ALTER TABLE vault.entry SET (autovacuum_enabled = off)")
            for ledger, sign in ((OURS, 1), (THEIRS, -1)):
                parameters = {"ledger": ledger, "sign": sign, "rows": ROWS}
                connection.execute(MAKE, parameters)
                connection.execute(MAKE_ENTRIES, parameters)
        yield made


@pytest.fixture(scope="module")
def engine(filled: Database) -> Iterator[Engine]:
    made = connect(filled.app_dsn)
    yield made
    made.dispose()


def seqs(engine: Engine, wanted: Wanted, limit: int = ROWS, ledger: UUID = OURS) -> list[int]:
    with engine.connect() as connection:
        return [row.seq for row in find(connection, ledger, wanted, None, limit)]


def test_a_row_comes_with_its_leaf_salt_and_facets(engine: Engine) -> None:
    with engine.connect() as connection:
        (row,) = find(connection, OURS, Wanted(ROWS + 1, id_tag=tag(7)), None, 10)
    assert row.seq == 7
    assert row.leaf == b"leaf 7"
    assert row.salt == tag(7)
    assert len(row.facets) == len(FACET_COLUMNS)
    assert dict(zip(FACET_COLUMNS, row.facets, strict=True)) == {
        "record_id": "dec-7",
        "occurred_at": BASE + 6 * MINUTE,
        "jurisdictions": "CN",
        "record_class": "class-1",
        "api": 3,
        "outcome": 2,
        "fidelity": 1,
        "money_moved": True,
        "below_threshold": None,
        "score": None,
        "ai_ms": None,
        "flags": 7,
        "model": "model-3",
    }


CONDITIONS: list[tuple[dict[str, Any], Any]] = [
    ({"end_seq": 500}, lambda n: n < 500),
    ({"start": BASE + 90 * MINUTE}, lambda n: n // 3 * 3 >= 90),
    ({"end": BASE + 90 * MINUTE}, lambda n: n // 3 * 3 < 90),
    ({"conversation_tags": (20, 45, -9)}, lambda n: n // 2 in (20, 45)),
    ({"transaction_tags": (20, 21, 44)}, lambda n: n in (20, 44)),
    ({"customer_tags": (7, 8)}, lambda n: n % 5000 in (7, 8)),
    ({"apis": (1, 2)}, lambda n: 1 + n % 5 in (1, 2)),
    ({"outcomes": (6,)}, lambda n: n % 6 == 5),
    ({"model": "model-2"}, lambda n: n % 4 == 2),
    ({"classes": ("class-0", "class-9")}, lambda n: n % 3 == 0),
    ({"flags": 5}, lambda n: n % 8 & 5 == 5),
    ({"conversation_tags": ()}, lambda _n: False),
    ({"transaction_tags": ()}, lambda _n: False),
    ({"customer_tags": ()}, lambda _n: False),
    ({"apis": ()}, lambda _n: False),
    ({"outcomes": ()}, lambda _n: False),
    ({"classes": ()}, lambda _n: False),
    ({"model": "' OR true --"}, lambda _n: False),
    ({"classes": ("x') OR (true",)}, lambda _n: False),
]


@pytest.mark.parametrize(("condition", "fits"), CONDITIONS, ids=[str(condition) for condition, _ in CONDITIONS])
def test_each_condition_holds(engine: Engine, condition: dict[str, Any], fits: Any) -> None:
    wanted = replace(Wanted(2_000), **condition)
    assert seqs(engine, wanted) == [n for n in range(1, wanted.end_seq) if fits(n)]


@pytest.mark.parametrize("seed", range(20))
def test_conditions_hold_together(engine: Engine, seed: int) -> None:
    chosen = random.Random(seed).sample(CONDITIONS[:11], 3)
    wanted = Wanted(400)
    for condition, _ in chosen:
        wanted = replace(wanted, **condition)
    expected = [n for n in range(1, wanted.end_seq) if all(fits(n) for _, fits in chosen)]
    assert seqs(engine, wanted) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_pages_follow_each_other_without_gap_or_repetition(engine: Engine, size: int) -> None:
    wanted = Wanted(200, apis=(1, 2, 3))
    pages: list[FoundRow] = []
    after = None
    with engine.connect() as connection:
        while page := find(connection, OURS, wanted, after, size):
            assert len(page) <= size
            pages += page
            after = (page[-1].facets[AT], page[-1].seq)
    assert [row.seq for row in pages] == seqs(engine, wanted)


def test_another_ledgers_rows_are_not_found(engine: Engine) -> None:
    assert seqs(engine, Wanted(ROWS, conversation_tags=(-20, -21))) == []
    assert seqs(engine, Wanted(ROWS, conversation_tags=(-20,)), ledger=THEIRS) == [40, 41]
    assert seqs(engine, Wanted(ROWS), ledger=UUID(int=3)) == []


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "0044-03-15 BC", "NULL"])
def test_a_time_that_nobody_sealed_is_not_found_and_stops_no_search(filled: Database, moment: str) -> None:
    with psycopg.connect(filled.superuser_dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        literal = "NULL" if moment == "NULL" else f"'{moment}'"
        connection.execute(f"UPDATE vault.sealed SET occurred_at = {literal} WHERE ledger_id = %s AND seq = 9", [OURS])
        connection.commit()
        own = connect(filled.app_dsn)
        try:
            assert seqs(own, Wanted(12)) == [1, 2, 3, 4, 5, 6, 7, 8, 10, 11]
            assert seqs(own, Wanted(12, id_tag=tag(9))) == []
        finally:
            own.dispose()
            connection.execute(
                "UPDATE vault.sealed SET occurred_at = %s WHERE ledger_id = %s AND seq = 9", [BASE + 9 * MINUTE, OURS]
            )


def test_a_row_whose_leaf_is_gone_is_missing(filled: Database) -> None:
    with psycopg.connect(filled.superuser_dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("CREATE TABLE kept AS SELECT * FROM vault.entry WHERE ledger_id = %s AND seq = 9", [OURS])
        connection.execute("DELETE FROM vault.entry WHERE ledger_id = %s AND seq = 9", [OURS])
        connection.commit()
        own = connect(filled.app_dsn)
        try:
            with pytest.raises(Missing, match="seq 9"):
                seqs(own, Wanted(12))
        finally:
            own.dispose()
            connection.execute("INSERT INTO vault.entry TABLE kept")
            connection.execute("DROP TABLE kept")


SEARCHES = pytest.mark.parametrize(
    ("condition", "index"),
    [
        ({"start": BASE + 9 * MINUTE}, "sealed_ledger_id_occurred_at_idx"),
        ({"start": BASE + 9 * MINUTE, "end": BASE + 99 * MINUTE}, "sealed_ledger_id_occurred_at_idx"),
        ({}, "sealed_ledger_id_occurred_at_idx"),
        ({"outcomes": (3,), "flags": 1}, "sealed_ledger_id_occurred_at_idx"),
        ({"id_tag": b"\0" * 16}, "entry_ledger_id_id_tag_key"),
        ({"conversation_tags": (4, 5, 6)}, "sealed_conversation_tag_idx"),
        ({"transaction_tags": (4, 5, 6)}, "sealed_transaction_tag_idx"),
        ({"customer_tags": (4, 5, 6)}, "sealed_customer_tag_idx"),
        ({"customer_tags": (4,), "apis": (1,), "start": BASE, "end": END}, "sealed_customer_tag_idx"),
    ],
)
PAGES = pytest.mark.parametrize("after", [None, (BASE + 99 * MINUTE, 100)])


@SEARCHES
@PAGES
def test_a_ledger_without_statistics_is_searched_by_index(
    filled: Database, condition: dict[str, Any], index: str, after: tuple[datetime, int] | None
) -> None:
    """A database that was just filled or restored has none."""
    assert not {"Seq Scan"} & by_index(filled, condition, index, after)


@SEARCHES
@PAGES
def test_a_ledger_with_statistics_is_searched_by_index(
    filled: Database, condition: dict[str, Any], index: str, after: tuple[datetime, int] | None
) -> None:
    with psycopg.connect(filled.superuser_dsn) as connection:
        connection.execute("ANALYZE vault.sealed, vault.entry")
    assert not {"Seq Scan"} & by_index(filled, condition, index, after)


def by_index(filled: Database, condition: dict[str, Any], index: str, after: tuple[datetime, int] | None) -> set[str]:
    """Search, require that an index was used, and return the kinds of plan nodes there were."""
    own = connect(filled.app_dsn)
    try:
        with own.connect() as connection:
            used = plans(connection, Wanted(ROWS, **condition), after)
    finally:
        own.dispose()
    assert index in {node.get("Index Name") for node in used}
    return {node["Node Type"] for node in used}


def plans(connection: Connection, wanted: Wanted, after: tuple[datetime, int] | None) -> list[dict[str, Any]]:
    """Search, and return the nodes of the plans of every statement that it took."""
    asked: list[tuple[str, Any]] = []

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        asked.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", keep)
    find(connection, OURS, wanted, after, 50)
    event.remove(connection, "before_cursor_execute", keep)
    nodes: list[dict[str, Any]] = []
    for statement, parameters in asked:
        answer = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
        waiting = [(answer if isinstance(answer, list) else json.loads(answer))[0]["Plan"]]
        while waiting:
            node = waiting.pop()
            nodes.append(node)
            waiting += node.get("Plans", [])
    return nodes


def tag(number: int) -> bytes:
    """The id tag, and the salt, of an entry here."""
    return hashlib.md5(str(number).encode(), usedforsecurity=False).digest()
