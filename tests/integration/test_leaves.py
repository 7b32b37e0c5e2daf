"""Leaves out of a long ledger: only the subtrees they stand in are read, and what is believed is what was signed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest

from tests.integration.test_proving import grow, rows_read, true_nodes
from tests.support.vault import Installation
from vault import leaves, ledgers
from vault.core.errors import Forked, Missing
from vault.core.tree import leaf_hash

SIZE = 1_500
"""Entries with the genesis: five whole subtrees, 220 leaves behind them."""
LAST = 1_280
"""Where the last subtree ends."""
APART = (0, 255, 600, 601, LAST, SIZE - 1)
SWAPPED = "UPDATE vault.entry SET leaf = (SELECT leaf FROM vault.entry WHERE {0} AND seq = 2) WHERE {0} AND seq = {1}"
REMOVED = "DELETE FROM vault.entry WHERE {0} AND seq = {1}"


@pytest.fixture(scope="module")
def whole(bare: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A vault whose ledger "hk" has SIZE entries, left as it is."""
    with bare.copied(tmp_path_factory.mktemp("leaves") / "home") as copy:
        grow(copy, SIZE - 1)
        yield copy


@pytest.fixture
def broken(whole: Installation, tmp_path: Path) -> Iterator[Installation]:
    """A copy to be broken."""
    with whole.copied(tmp_path / "home") as copy:
        yield copy


def tampered(installation: Installation, statement: str, *more: object) -> None:
    where = f"ledger_id = '{installation.ledger('hk')}'"
    with installation.tampering() as connection:
        assert connection.execute(statement.format(where, *more)).rowcount > 0


def read(installation: Installation, wanted: Sequence[int]) -> list[int]:
    """Return the positions read, each leaf looked at."""
    with installation.opened() as vault:
        ledger: UUID = ledgers.get(vault, "hk").id
        found = list(leaves.signed(vault, ledger, wanted))
    for seq, data, hashed in found:
        assert hashed == leaf_hash(data)
        assert seq == 0 or f'"seq":{seq},'.encode() in data
    return [seq for seq, _, _ in found]


@pytest.mark.parametrize("wanted", [APART, range(SIZE), (700,), (SIZE - 1,), ()], ids=str)
def test_exactly_the_wanted_leaves_come_in_order(whole: Installation, wanted: Sequence[int]) -> None:
    assert read(whole, wanted) == list(wanted)


def test_one_subtree_is_read_for_one_leaf(whole: Installation) -> None:
    before = rows_read(whole)
    read(whole, [700])
    assert rows_read(whole) - before < 256 + (SIZE - LAST) + 50


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM vault.node WHERE {0} AND place = 1", "UPDATE vault.node SET hash = sha256(hash) WHERE {0}"],
    ids=["missing", "wrong"],
)
def test_stored_roots_are_no_evidence(broken: Installation, statement: str) -> None:
    tampered(broken, statement)
    assert read(broken, APART) == list(APART)


@pytest.mark.parametrize("statement", [SWAPPED, REMOVED], ids=["exchanged", "removed"])
@pytest.mark.parametrize("seq", [601, 610, 767, LAST + 5, SIZE - 1])
def test_a_changed_leaf_beside_a_wanted_one_is_told(broken: Installation, seq: int, statement: str) -> None:
    tampered(broken, statement, seq)
    with pytest.raises(Forked, match="not the tree that was signed"):
        read(broken, APART)


def test_roots_that_were_made_to_fit_a_changed_leaf_do_not_help(broken: Installation) -> None:
    tampered(broken, SWAPPED, 610)
    made = true_nodes(broken, broken.ledger("hk"))
    tampered(broken, "UPDATE vault.node SET hash = '\\x{1}' WHERE {0} AND level = 1 AND place = 2", made[1, 2].hex())
    with pytest.raises(Forked, match="not the tree that was signed"):
        read(broken, APART)


def test_a_subtree_that_nobody_asked_for_is_the_verifiers(broken: Installation) -> None:
    tampered(broken, SWAPPED, 300)
    assert read(broken, APART) == list(APART)


def test_nothing_signed_stands_behind_the_end(whole: Installation) -> None:
    with pytest.raises(Missing, match="no signed entry"):
        read(whole, [5, SIZE])
