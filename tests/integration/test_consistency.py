"""Consistency proofs from stored subtree roots: few rows read, and right whatever a database owner does to those."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.longlog import SIZE, grow, rows_read
from tests.support.vault import Installation
from vault.consistency import consistency
from vault.context import Vault
from vault.core import packing, tree
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Forked, Missing, Modified, UsageError

SHORT = 1_500


@pytest.fixture
def opened(long: Installation) -> Iterator[Vault]:
    with long.opened() as vault:
        yield vault


@pytest.fixture
def short(bare: Installation, tmp_path: Path) -> Iterator[Installation]:
    """A vault whose ledger "hk" has ``SHORT`` entries, to be broken."""
    with bare.copied(tmp_path / "home") as copy:
        grow(copy, SHORT - 1)
        yield copy


def hashes_of(installation: Installation, ledger: UUID) -> list[bytes]:
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        rows = connection.execute("SELECT leaf FROM vault.entry WHERE ledger_id = %s ORDER BY seq", [ledger])
        return [tree.leaf_hash(packing.unpack(row[0])) for row in rows]


def signed(vault: Vault, ledger: UUID) -> Checkpoint:
    checkpoint = vault.checkpoints.read(ledger)
    assert checkpoint is not None
    return checkpoint


@pytest.fixture(scope="module")
def naive(long: Installation) -> list[bytes]:
    return hashes_of(long, long.ledger("hk"))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(st.integers(1, SIZE), st.integers(1, SIZE)).map(sorted))
@example([1, SIZE])
@example([SIZE, SIZE])
@example([256, 65_536])
@example([65_535, 65_537])
def test_every_proof_is_the_definitions(
    long: Installation, opened: Vault, naive: list[bytes], sizes: list[int]
) -> None:
    old, new = sizes
    assert consistency(opened, long.ledger("hk"), old, new) == tree.consistency_path(old, naive[:new])


@pytest.mark.parametrize("old", [1, 255, 256, 65_535, 65_536, 77_777, SIZE - 1, SIZE])
def test_a_proof_reads_some_hundred_rows(long: Installation, old: int) -> None:
    before = rows_read(long)
    with long.opened() as vault:
        ledger = long.ledger("hk")
        assert consistency(vault, ledger, old, signed(vault, ledger)) or old == SIZE
    assert rows_read(long) - before < 800


def test_a_proof_inside_the_signed_tree_reads_some_hundred_rows(long: Installation) -> None:
    before = rows_read(long)
    with long.opened() as vault:
        assert consistency(vault, long.ledger("hk"), 33_333, 77_777)
    assert rows_read(long) - before < 1_500


def test_checkpoints_are_compared_with_the_tree(long: Installation, opened: Vault, naive: list[bytes]) -> None:
    ledger = long.ledger("hk")
    last = signed(opened, ledger)
    old = Checkpoint(last.origin, 700, tree.root(naive[:700]))
    assert consistency(opened, ledger, old, last) == consistency(opened, ledger, 700, SIZE)
    for wrong in (Checkpoint(last.origin, 700, tree.root(naive[:701])), Checkpoint(last.origin, SIZE, old.root)):
        with pytest.raises(Forked, match=f"seq {wrong.size}"):
            consistency(opened, ledger, wrong, last)
        with pytest.raises(Forked, match=f"seq {wrong.size}"):
            consistency(opened, ledger, 3, wrong)
    stranger = Checkpoint("elsewhere.example/1", 700, old.root)
    with pytest.raises(Modified, match="another ledger"):
        consistency(opened, ledger, stranger, last)


def test_from_the_empty_tree_the_proof_is_empty_and_the_new_tree_is_checked(long: Installation, opened: Vault) -> None:
    ledger = long.ledger("hk")
    last = signed(opened, ledger)
    empty = Checkpoint(last.origin, 0, tree.EMPTY_ROOT)
    assert consistency(opened, ledger, 0, last) == consistency(opened, ledger, empty, 0) == []
    with pytest.raises(Forked):
        consistency(opened, ledger, empty, Checkpoint(last.origin, 700, last.root))


def test_sizes_that_no_proof_connects_are_refused(long: Installation, opened: Vault) -> None:
    ledger = long.ledger("hk")
    with pytest.raises(Missing, match="nothing signed"):
        consistency(opened, ledger, 1, SIZE + 1)
    for old, new in ((2, 1), (-1, 4)):
        with pytest.raises(UsageError):
            consistency(opened, ledger, old, new)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM vault.node",
        "UPDATE vault.node SET hash = sha256(hash)",
        "UPDATE vault.node SET hash = '\\x00'",
        "UPDATE vault.node SET hash = sha256(hash) WHERE place = 0",
        "UPDATE vault.head SET frontier = sha256(frontier) || substr(frontier, 33)",
    ],
)
def test_a_database_owner_who_changes_stored_roots_changes_no_proof(short: Installation, statement: str) -> None:
    ledger = short.ledger("hk")
    naive = hashes_of(short, ledger)
    with short.opened() as vault:
        with short.tampering() as connection:
            connection.execute(statement)
        for old, new in ((300, 700), (700, SHORT), (256, 1_024), (1, 1_499)):
            assert consistency(vault, ledger, old, new) == tree.consistency_path(old, naive[:new])


def test_a_changed_leaf_gets_no_proof(short: Installation) -> None:
    ledger = short.ledger("hk")
    with short.tampering() as connection:
        connection.execute(
            "UPDATE vault.entry SET leaf = (SELECT leaf FROM vault.entry WHERE ledger_id = %s AND seq = 9)"
            " WHERE ledger_id = %s AND seq = 700",
            [ledger, ledger],
        )
    with short.opened() as vault, pytest.raises(Forked):
        consistency(vault, ledger, 701, SHORT)


def test_entries_taken_away_at_the_end_get_no_proof(short: Installation) -> None:
    ledger = short.ledger("hk")
    with short.tampering() as connection:
        connection.execute("DELETE FROM vault.entry WHERE ledger_id = %s AND seq >= 1400", [ledger])
    with short.opened() as vault, pytest.raises(Forked):
        consistency(vault, ledger, 1_450, SHORT)
