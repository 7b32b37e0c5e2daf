"""Paths of tiles: one spelling each, and no other is read."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vault.core.errors import RefusedInput
from vault.core.tilepath import ENTRIES, MAX_INDEX, TilePath

EXAMPLES = {
    "tile/0/000": TilePath(0, 0),
    "tile/0/000.p/1": TilePath(0, 0, 1),
    "tile/0/999.p/255": TilePath(0, 999, 255),
    "tile/1/x001/000": TilePath(1, 1000),
    "tile/0/x001/x234/067": TilePath(0, 1_234_067),  # the specification's own
    "tile/63/010.p/10": TilePath(63, 10, 10),
    "tile/entries/x001/x234/067.p/17": TilePath(ENTRIES, 1_234_067, 17),
    "tile/0/x036/x028/x797/x018/x963/967": TilePath(0, MAX_INDEX),
}


@pytest.mark.parametrize("path", EXAMPLES)
def test_examples(path: str) -> None:
    assert TilePath.parse(path) == EXAMPLES[path]
    assert str(EXAMPLES[path]) == path


def test_where_a_tile_stands_in_its_level() -> None:
    assert (TilePath(1, 3).first, TilePath(1, 3).end, TilePath(1, 3).is_full) == (768, 1024, True)
    assert (TilePath(0, 3, 7).first, TilePath(0, 3, 7).end, TilePath(0, 3, 7).is_full) == (768, 775, False)


@given(st.integers(ENTRIES, 63), st.integers(0, MAX_INDEX), st.integers(1, 256))
def test_a_path_is_read_as_it_was_written(level: int, index: int, width: int) -> None:
    tile = TilePath(level, index, width)
    assert TilePath.parse(str(tile)) == tile
    assert re.fullmatch(r"tile/(entries|\d+)/(x\d{3}/)*\d{3}(\.p/\d+)?", str(tile))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/tile/0/000",
        "tile/0/000/",
        "tile//000",
        "tile/0",
        "tile/0/",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/99/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/x/000",
        "tile/Entries/000",
        "tile/entries",
        "tile/data/000",
        "tile/8/0/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x000/067",
        "tile/0/x000/x001/067",
        "tile/0/001/067",
        "tile/0/x001",
        "tile/0/x001/x067",
        "tile/0/X001/067",
        "tile/0/x01/067",
        "tile/0/x001//067",
        "tile/0/x009/x223/x372/x036/x854/x775/807",
        "tile/0/x036/x028/x797/x018/x963/968",
        "tile/0/x001/x001/x001/x001/x001/x001/x001/001",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/00",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/1000",
        "tile/0/000.p/-1",
        "tile/0/000.p/1/",
        "tile/0/000.P/1",
        "tile/0/000p/1",
        "tile/0/000%2Ep/1",
        "tile/0/../0/000",
        "tile/0/000\n",
        "tile/0/000 ",
        "tile/0/٠٠٠",
        "tile/0/000.p/١",
        "tile/0/" + "x001/" * 100_000 + "000",
    ],
    ids=lambda path: ascii(path)[:50],
)
def test_another_spelling_is_refused(path: str) -> None:
    with pytest.raises(RefusedInput) as refusal:
        TilePath.parse(path)
    assert refusal.value.code == "malformed_tile_path"
    assert len(str(refusal.value)) < 100


@given(st.text(alphabet="tile/entrsx0123456789.p", max_size=40))
@example("tile/0/000.p/1")
def test_what_is_read_has_one_spelling(path: str) -> None:
    with suppress(RefusedInput):
        assert str(TilePath.parse(path)) == path


@pytest.mark.parametrize(
    "tile",
    [(64, 0, 1), (-2, 0, 1), (0, -1, 1), (0, MAX_INDEX + 1, 1), (0, 0, 0), (0, 0, 257)],
)
def test_a_tile_that_cannot_be_has_no_path(tile: tuple[int, int, int]) -> None:
    with pytest.raises(RefusedInput):
        str(TilePath(*tile))
