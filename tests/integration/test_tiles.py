"""Tiles of real ledgers: they lead to the signed root, and what does not is never served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from tests.support.longlog import SIZE, grow, rows_read
from tests.support.tlog_client import TlogClient, leaf_hash, root_from_inclusion, roots_from_consistency
from tests.support.vault import Installation
from vault import tiles
from vault.consistency import consistency
from vault.context import Vault
from vault.core.errors import EvidenceError, Forked, Missing, Modified, Unknown
from vault.core.tilepath import ENTRIES, TilePath
from vault.linking import append

SHORT = 1_500


@pytest.fixture
def short(bare: Installation, tmp_path: Path) -> Iterator[Installation]:
    """A vault whose ledger "hk" has ``SHORT`` entries, to be broken."""
    with bare.copied(tmp_path / "home") as copy:
        grow(copy, SHORT - 1)
        yield copy


def client_of(vault: Vault, ledger: UUID) -> TlogClient:
    """A stranger who reads the ledger without a network between."""

    def fetch(path: str) -> bytes:
        if path == "checkpoint":
            return (vault.checkpoints.note(ledger) or "").encode()
        return tiles.tile(vault, ledger, TilePath.parse(path))

    return TlogClient(fetch, vault.checkpoints.origin(ledger), str(vault.checkpoints.verifier(ledger)))


def test_all_tiles_lead_to_the_signed_root_at_any_size(bare: Installation, tmp_path: Path) -> None:
    random = Random(5)
    with bare.copied(tmp_path / "home") as copy:
        ledger = copy.ledger("hk")
        seen: list[tuple[int, bytes]] = []
        for count in (0, 1, 253, 1, 1, *(random.randrange(1, 400) for _ in range(3)), 256):
            if count:
                grow(copy, count)
            with copy.opened() as vault:
                client = client_of(vault, ledger)
                size, root = client.checkpoint()
                client.check_everything(size, root)
                for old, old_root in seen:
                    path = client.consistency(old, size)
                    assert roots_from_consistency(old, size, old_root, path) == (old_root, root)
                    assert path == consistency(vault, ledger, old, size)
                    assert client_of(vault, ledger).root(0, old, old) == old_root  # tiles as wide as they were then
                seen.append((size, root))


def test_a_long_ledgers_tiles(long: Installation) -> None:
    ledger = long.ledger("hk")
    with long.opened() as vault:
        client = client_of(vault, ledger)
        size, root = client.checkpoint()
        assert (size, client.root(0, size, size)) == (SIZE, root)
        assert len(client.tile(1, 0, size)) == 256
        assert len(client.tile(1, 1, size)) == SIZE // 256 - 256
        assert len(client.tile(2, 0, size)) == 1
        for index in (0, 65_535, 65_536, 77_777, SIZE - 1):
            entry = client.entries(index // 256, size)[index % 256]
            assert root_from_inclusion(index, size, leaf_hash(entry), client.inclusion(index, size)) == root
        assert client.fetched < 30


@pytest.mark.parametrize("path", ["tile/0/000", "tile/0/200", "tile/entries/200", "tile/0/390.p/161", "tile/1/000"])
def test_a_tile_reads_some_hundred_rows_wherever_it_lies(long: Installation, path: str) -> None:
    before = rows_read(long)
    with long.opened() as vault:
        assert tiles.tile(vault, long.ledger("hk"), TilePath.parse(path))
    assert rows_read(long) - before < 800


def test_narrower_tiles_are_beginnings_of_wider_ones(short: Installation) -> None:
    ledger = short.ledger("hk")
    with short.opened() as vault:
        whole = tiles.tile(vault, ledger, TilePath(0, 1))
        bundle = tiles.tile(vault, ledger, TilePath(ENTRIES, 1))
        edge = tiles.tile(vault, ledger, TilePath(0, 5, SHORT % 256))
        for width in (1, 7, 219):
            assert tiles.tile(vault, ledger, TilePath(0, 1, width)) == whole[: 32 * width]
            assert tiles.tile(vault, ledger, TilePath(0, 5, width)) == edge[: 32 * width]
            assert bundle.startswith(tiles.tile(vault, ledger, TilePath(ENTRIES, 1, width)))


BEYOND = """tile/0/005 tile/0/005.p/221 tile/0/006.p/1 tile/0/x999/999 tile/entries/005 tile/entries/005.p/221
    tile/1/000 tile/1/000.p/6 tile/1/001.p/1 tile/2/000.p/1 tile/63/000.p/1"""


def test_what_no_checkpoint_covers_is_not_there(short: Installation) -> None:
    with short.opened() as vault:
        for path in BEYOND.split():
            with pytest.raises(Unknown, match="no such tile"):
                tiles.tile(vault, short.ledger("hk"), TilePath.parse(path))


def test_entries_that_were_committed_and_not_signed_yet_are_not_served(short: Installation) -> None:
    """The head is ahead of the checkpoint: a commit died before it was signed."""
    ledger = short.ledger("hk")
    signed = (short.checkpoints("hk") / "checkpoint").read_text()
    grow(short, 300)
    (short.checkpoints("hk") / "checkpoint").write_text(signed)
    with short.opened() as vault:
        client = client_of(vault, ledger)
        size, root = client.checkpoint()
        assert size == SHORT
        client.check_everything(size, root)  # the head's frontier is of no use here
        for path in (TilePath(0, 5), TilePath(0, 6, 1), TilePath(ENTRIES, 5), TilePath(1, 0, 6)):
            with pytest.raises(Unknown):
                tiles.tile(vault, ledger, path)
        with short.tampering() as connection:
            connection.execute("UPDATE vault.node SET hash = sha256(hash) WHERE ledger_id = %s AND place = 0", [ledger])
        with pytest.raises(Modified):
            tiles.tile(vault, ledger, TilePath(1, 0, 5))
        append(vault.engine, vault.checkpoints, ledger, lambda _connection: ())
        assert tiles.tile(vault, ledger, TilePath(0, 0))


TILES = [TilePath(0, 0), TilePath(0, 5, 220), TilePath(ENTRIES, 0), TilePath(ENTRIES, 5, 3), TilePath(1, 0, 5)]


@pytest.mark.parametrize(
    ("statement", "refused"),
    [
        ("UPDATE vault.node SET hash = sha256(hash)", {TilePath(0, 0), TilePath(ENTRIES, 0), TilePath(1, 0, 5)}),
        ("UPDATE vault.node SET hash = '\\x00'", {TilePath(0, 0), TilePath(ENTRIES, 0), TilePath(1, 0, 5)}),
        ("UPDATE vault.node SET hash = sha256(hash) WHERE place = 0", {TilePath(1, 0, 5)}),
        ("UPDATE vault.head SET frontier = sha256(frontier) || substr(frontier, 33)", set()),
        ("DELETE FROM vault.node", set()),
    ],
)
def test_wrong_bytes_are_never_served(short: Installation, statement: str, refused: set[TilePath]) -> None:
    """Whoever owns the database changes what proofs are made of, but no leaf: right bytes, or an error."""
    ledger = short.ledger("hk")
    with short.opened() as vault:
        right = {path: tiles.tile(vault, ledger, path) for path in TILES}
        with short.tampering() as connection:
            connection.execute(statement)
        for path in TILES:
            if path in refused:
                with pytest.raises(Modified, match=f"stored hashes do not lead to the signed root.*{ledger}"):
                    tiles.tile(vault, ledger, path)
            else:
                assert tiles.tile(vault, ledger, path) == right[path]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE vault.entry SET leaf = (SELECT leaf FROM vault.entry WHERE ledger_id = %s AND seq = 9)", Modified),
        ("UPDATE vault.entry SET leaf = 'x'", Modified),
        ("DELETE FROM vault.entry", Missing),
    ],
)
@pytest.mark.parametrize("seq", [3, 1_290])
def test_a_changed_entry_is_not_served(
    short: Installation, statement: str, error: type[EvidenceError], seq: int
) -> None:
    ledger = short.ledger("hk")
    with short.tampering() as connection:
        parameters = [ledger] * (statement.count("%s") + 1)
        connection.execute(f"{statement} WHERE ledger_id = %s AND seq = {seq}", parameters)
    place, width = (0, 256) if seq == 3 else (5, 220)
    with short.opened() as vault:
        for level in (0, ENTRIES):
            with pytest.raises(error):
                tiles.tile(vault, ledger, TilePath(level, place, width))
            assert tiles.tile(vault, ledger, TilePath(level, 1))


def test_stored_roots_that_were_never_there_are_made_good(short: Installation) -> None:
    """A ledger from before they were stored."""
    ledger = short.ledger("hk")
    with short.tampering() as connection:
        connection.execute("DELETE FROM vault.node")
    with short.opened() as vault:
        client = client_of(vault, ledger)
        client.check_everything(*client.checkpoint())
    before = rows_read(short)
    with short.opened() as vault:
        assert tiles.tile(vault, ledger, TilePath(1, 0, 5))
    assert rows_read(short) - before < 100


def test_a_server_that_takes_no_writes_refuses_what_it_cannot_make_good(short: Installation) -> None:
    with short.tampering() as connection:
        connection.execute("DELETE FROM vault.node")
        connection.execute("REVOKE INSERT ON vault.node FROM reasonvault_app")
    with short.opened() as vault, pytest.raises(Modified, match="stored hashes"):
        tiles.tile(vault, short.ledger("hk"), TilePath(1, 0, 5))


def test_a_ledger_without_its_checkpoint_has_no_tiles(short: Installation) -> None:
    ledger = short.ledger("hk")
    with short.opened() as vault:
        (short.checkpoints("hk") / "checkpoint").unlink()
        with pytest.raises(Forked):
            tiles.tile(vault, ledger, TilePath(0, 0))
