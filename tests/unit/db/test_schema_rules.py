"""The rules that let the same schema run on Citus, held without Citus."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import ForeignKeyConstraint, PrimaryKeyConstraint, Table, UniqueConstraint, Uuid

from vault.db import tables

ROOT = Path(__file__).parents[3]
SOURCES = [*sorted((ROOT / "vault" / "db").rglob("*.py")), *sorted((ROOT / "vault").glob("*.py"))]
MIGRATIONS = sorted((ROOT / "vault" / "db" / "migrations" / "versions").glob("r*.py"))


@pytest.mark.parametrize("table", tables.ALL, ids=lambda table: table.name)
def test_the_ledger_leads_every_key(table: Table) -> None:
    """Rule 1: rows of one ledger lie together, and nothing is unique across ledgers."""
    assert isinstance(table.c.ledger_id.type, Uuid)
    keys = (PrimaryKeyConstraint, UniqueConstraint, ForeignKeyConstraint)
    own = ("epoch_id", *tables.TAG_COLUMNS)
    for constraint in (one for one in table.constraints if isinstance(one, keys)):
        assert next(iter(constraint.columns)).name == "ledger_id", constraint.name
    for index in table.indexes:
        # An index that is no key may leave the ledger out where its values are a ledger's own: blind indexes are
        # digests under the ledger's keys, epochs are drawn at random, and bytes of an index are paid for in every
        # record (decision 10).
        assert not index.unique, index.name
        first = next(iter(index.columns)).name
        assert first == "ledger_id" or ([first] == index.columns.keys() and first in own), index.name


@pytest.mark.parametrize("table", tables.ALL, ids=lambda table: table.name)
def test_no_number_is_drawn_globally(table: Table) -> None:
    """Rule 2: no sequences, no defaults that count."""
    for column in table.columns:
        assert column.default is None
        # A group begins to live in every row alike; that word counts nothing.
        assert column.server_default is None or (table.name, column.name) == ("key_group", "state")
        assert column.identity is None
        assert column.autoincrement in (False, "auto")
    assert "seq" not in table.c or list(table.primary_key.columns.keys()) == ["ledger_id", "seq"]


FORBIDDEN = {
    r"\bexecutemany\b": "rule 3: bulk goes by COPY",
    r"\bSKIP LOCKED\b": "rule 2: the head is taken by its key",
    r"pg_try_advisory|pg_advisory_xact": "rule 2: no advisory locks in the append path",
    r"\bCREATE (TEMP |TEMPORARY )?SEQUENCE\b|\b(big)?serial NOT NULL": "rule 2: no global counters",
    r"\bLISTEN\b|\bNOTIFY\b": "rule 6",
    r"\bMERGE INTO\b": "rule 6",
    r"\bUNLOGGED\b": "rule 6",
    r"\bEXCLUDE USING\b": "rule 6",
    r"\bCREATE DOMAIN\b": "rule 6",
    r"\bPARTITION BY\b": "rule 6: no time partitioning of entries",
    r"\bpgcrypto\b": "rule 6",
    r"\bUSING brin\b": "rule 6",
    r"\bON DELETE CASCADE\b": "rule 5: nothing is deleted in passing",
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_what_the_cluster_cannot_do_is_not_used(path: Path, pattern: str) -> None:
    assert not re.search(pattern, path.read_text("utf-8")), FORBIDDEN[pattern]


def test_the_head_is_locked_by_its_key_alone() -> None:
    """Rule 2: one FOR UPDATE in the house, on one ledger's head."""
    locking = [path.name for path in SOURCES if re.search(r"with_for_update|FOR UPDATE", path.read_text("utf-8"))]
    assert locking == ["store.py"]


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.name)
def test_migrations_are_made_for_a_cluster(path: Path) -> None:
    """Rule 7: sequential mode, named constraints, one subcommand an ALTER, ciphertext EXTERNAL at creation."""
    text = path.read_text("utf-8")
    assert "SET LOCAL citus.multi_shard_modify_mode = 'sequential'" in text
    assert len(re.findall(r"\b(PRIMARY KEY|UNIQUE|FOREIGN KEY)\b \(", text)) == len(
        re.findall(r"CONSTRAINT \w+\s+(PRIMARY KEY|UNIQUE|FOREIGN KEY) \(", text)
    )
    for statement in re.findall(r"ALTER TABLE[^;\"]*", text):
        assert len(re.findall(r"\bADD\b|\bDROP\b|\bSET STORAGE\b", statement)) <= 1


def test_ciphertext_is_external_from_the_first_migration() -> None:
    text = MIGRATIONS[0].read_text("utf-8")
    for table, column in tables.CIPHERTEXT_COLUMNS:
        assert f'("{table}", "{column}")' in text


def test_sealed_columns_are_copied_under_their_own_names() -> None:
    from vault.db.copyrows import ENTRY_COLUMNS, SEALED_COLUMNS

    assert set(SEALED_COLUMNS) == set(tables.sealed.c.keys())
    assert set(ENTRY_COLUMNS) == set(tables.entry.c.keys())
