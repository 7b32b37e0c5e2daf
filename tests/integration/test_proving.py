"""Proofs from stored subtree roots: few rows read, and right whatever a database owner does to those roots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from tests.support.longlog import SIZE, grow, rows_read
from tests.support.vault import Installation
from vault import ledgers, proving, receipts
from vault.context import Vault
from vault.core import packing
from vault.core.checkpoint import open_checkpoint
from vault.core.errors import Forked, Missing, Modified
from vault.core.tree import Frontier, leaf_hash, verify_inclusion

AT_WILL = (0, 1, 255, 256, 65_535, 65_536, 77_777, 99_839, 99_840, SIZE - 1)


@pytest.fixture
def short(bare: Installation, tmp_path: Path) -> Iterator[Installation]:
    """A vault whose ledger "hk" has 1,500 entries, to be broken."""
    with bare.copied(tmp_path / "home") as copy:
        grow(copy, 1_499)
        yield copy


def verified(vault: Vault, ledger: UUID, seqs: Sequence[int], note: str) -> None:
    """Ask for proofs and check each as a stranger would, against the signed checkpoint."""
    checkpoint = open_checkpoint(note, [vault.checkpoints.verifier(ledger)], vault.checkpoints.origin(ledger))
    proved = proving.prove(vault, ledger, seqs, note)
    assert list(proved) == sorted(set(seqs))
    for seq, (data, proof) in proved.items():
        assert f'"seq":{seq},'.encode() in data or (seq, data[:1]) == (0, b"{")
        assert (proof.index, proof.checkpoint) == (seq, note)
        verify_inclusion(seq, checkpoint.size, leaf_hash(data), proof.path, checkpoint.root)


def note_of(vault: Vault, ledger: UUID) -> str:
    note = vault.checkpoints.note(ledger)
    assert note is not None
    return note


def proves(installation: Installation, seqs: Sequence[int]) -> int:
    """Prove entries and return how many rows PostgreSQL read for it, from tables and through indexes."""
    before = rows_read(installation)
    with installation.opened() as vault:
        ledger = ledgers.get(vault, "hk").id
        verified(vault, ledger, seqs, note_of(vault, ledger))
    return rows_read(installation) - before


def nodes_of(installation: Installation, ledger: UUID) -> dict[tuple[int, int], bytes]:
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        rows = connection.execute("SELECT level, place, hash FROM vault.node WHERE ledger_id = %s", [ledger])
        return {(level, place): digest for level, place, digest in rows}


def true_nodes(installation: Installation, ledger: UUID) -> dict[tuple[int, int], bytes]:
    with psycopg.connect(installation.database.superuser_dsn) as connection:
        rows = connection.execute("SELECT leaf FROM vault.entry WHERE ledger_id = %s ORDER BY seq", [ledger])
        hashes = [leaf_hash(packing.unpack(row[0])) for row in rows]
    return {(level, place): digest for level, place, digest in Frontier().extend_noting(hashes)}


@pytest.mark.parametrize("seq", AT_WILL)
def test_a_proof_reads_a_few_hundred_rows(long: Installation, seq: int) -> None:
    assert proves(long, [seq]) < 700


@pytest.mark.parametrize(
    "frontier", ["frontier || '\\x00'", "sha256(frontier)", "sha256(frontier) || substr(frontier, 33)"]
)
def test_a_proof_goes_without_the_heads_frontier(long: Installation, frontier: str) -> None:
    """At the right edge of the tree it then reads leaves and nodes."""
    with long.tampering() as connection:
        connection.execute("CREATE TABLE kept AS TABLE vault.head")
        # This ledger's alone: events with a damaged head let nobody in.
        connection.execute(f"UPDATE vault.head SET frontier = {frontier} WHERE size > {SIZE // 2}")
    try:
        assert 400 < proves(long, [500]) < 1_100
    finally:
        with long.tampering() as connection:
            connection.execute("UPDATE vault.head SET frontier = kept.frontier FROM kept WHERE kept.size = head.size")
            connection.execute("DROP TABLE kept")


def test_proofs_of_neighbours_share_what_they_read(long: Installation) -> None:
    assert proves(long, range(70_000, 70_200)) < 2_000


def test_proofs_of_entries_far_apart_are_right(long: Installation) -> None:
    assert proves(long, range(0, SIZE, 1_000)) < SIZE // 2


def test_so_many_that_one_pass_is_cheaper_take_one_pass(long: Installation) -> None:
    assert SIZE <= proves(long, range(0, SIZE, 101)) < SIZE + 1_000


def test_appending_stores_every_complete_subtree(long: Installation) -> None:
    ledger = long.ledger("hk")
    stored = nodes_of(long, ledger)
    assert stored == true_nodes(long, ledger)
    assert len(stored) == SIZE // 256 + SIZE // 256**2


@pytest.mark.parametrize("step", [1, 100, 255, 256, 257])
def test_subtrees_are_stored_however_entries_arrive(bare: Installation, tmp_path: Path, step: int) -> None:
    with bare.copied(tmp_path / "home") as copy:
        grow(copy, 520, step)
        ledger = copy.ledger("hk")
        assert len(nodes_of(copy, ledger)) == 2
        assert nodes_of(copy, ledger) == true_nodes(copy, ledger)
        with copy.opened() as vault:
            verified(vault, ledger, [0, 300, 520], note_of(vault, ledger))


def test_proofs_lead_to_the_checkpoint_asked_for_not_to_the_head(short: Installation) -> None:
    ledger = short.ledger("hk")
    with short.opened() as vault:
        older = note_of(vault, ledger)
    grow(short, 300)
    with short.opened() as vault:
        verified(vault, ledger, [3, 700, 1_499], older)
        with pytest.raises(Missing):
            proving.prove(vault, ledger, [1_500], older)
        verified(vault, ledger, [3, 700, 1_500], note_of(vault, ledger))


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM vault.node",
        "DELETE FROM vault.node WHERE place = 2",
        "UPDATE vault.node SET hash = sha256(hash)",
        "UPDATE vault.node SET hash = '\\x00'",
        "UPDATE vault.node SET hash = sha256(hash) WHERE place = 4",
        "UPDATE vault.node SET place = 4 - place WHERE place <> 2",
    ],
)
def test_a_database_owner_who_changes_nodes_changes_no_proof(short: Installation, statement: str) -> None:
    ledger = short.ledger("hk")
    with short.tampering() as connection:
        # Moved rows pass through places that are taken.
        connection.execute("ALTER TABLE vault.node DROP CONSTRAINT node_pk")
        connection.execute(statement)
        connection.execute(
            "DELETE FROM vault.node n WHERE ctid <> (SELECT min(ctid) FROM vault.node WHERE place = n.place)"
        )
        connection.execute("ALTER TABLE vault.node ADD CONSTRAINT node_pk PRIMARY KEY (ledger_id, level, place)")
    with short.opened() as vault:
        for seq in (0, 700, 1_499):
            verified(vault, ledger, [seq], note_of(vault, ledger))


def test_missing_nodes_are_stored_again_by_the_first_proof(short: Installation) -> None:
    ledger = short.ledger("hk")
    whole = nodes_of(short, ledger)
    with short.tampering() as connection:
        connection.execute("DELETE FROM vault.node WHERE place <> 3")
    assert proves(short, [700]) > 1_500
    assert nodes_of(short, ledger) == whole
    assert proves(short, [700]) < 1_100


def test_a_ledger_from_before_the_nodes_goes_on(short: Installation) -> None:
    ledger = short.ledger("hk")
    with short.tampering() as connection:
        connection.execute("DELETE FROM vault.node")
    grow(short, 300)
    assert nodes_of(short, ledger).keys() == {(1, 5), (1, 6)}
    with short.opened() as vault:
        verified(vault, ledger, [0, 1_700], note_of(vault, ledger))
    assert nodes_of(short, ledger) == true_nodes(short, ledger)


def test_a_node_planted_ahead_of_the_ledger_stops_no_append(short: Installation) -> None:
    ledger = short.ledger("hk")
    with short.tampering() as connection:
        connection.execute("INSERT INTO vault.node VALUES (%s, 1, 5, sha256('planted'))", [ledger])
    grow(short, 300)
    with short.opened() as vault:
        verified(vault, ledger, [0, 1_500], note_of(vault, ledger))


def test_a_server_that_takes_no_writes_still_gives_proofs(short: Installation) -> None:
    ledger = short.ledger("hk")
    with short.tampering() as connection:
        connection.execute("DELETE FROM vault.node")
        connection.execute("REVOKE INSERT ON vault.node FROM reasonvault_app")
    with short.opened() as vault:
        verified(vault, ledger, [700], note_of(vault, ledger))
    assert nodes_of(short, ledger) == {}


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE vault.entry SET leaf = (SELECT leaf FROM vault.entry WHERE ledger_id = %s AND seq = 9)", Forked),
        ("UPDATE vault.entry SET leaf = 'x'", Modified),
        ("DELETE FROM vault.entry", Forked),
    ],
)
def test_a_changed_leaf_gets_no_proof(short: Installation, statement: str, error: type[Exception]) -> None:
    ledger = short.ledger("hk")
    with short.tampering() as connection:
        connection.execute(f"{statement} WHERE ledger_id = %s AND seq = 700", [ledger] * (statement.count("%s") + 1))
    with short.opened() as vault, pytest.raises(error):
        proving.prove(vault, ledger, [700], note_of(vault, ledger))


def test_another_ledgers_checkpoint_proves_nothing(short: Installation) -> None:
    with short.opened() as vault, pytest.raises(Modified):
        proving.prove(vault, short.ledger("hk"), [1], note_of(vault, vault.events))


def test_a_receipt_is_given_for_records_alone(short: Installation) -> None:
    with short.opened() as vault, pytest.raises(Missing):
        list(receipts.again(vault, ledgers.get(vault, "hk"), [700]))
