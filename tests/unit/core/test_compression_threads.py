"""Sealing and packing in many threads at once: every frame opens to what went in."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from vault.core import dictionary, packing

THREADS, TURNS = 6, 150


def in_threads(one: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(one, number) for number in range(THREADS)]:
            done.result()


def text(number: int, turn: int) -> bytes:
    dice = random.Random(number * TURNS + turn)
    words = [b"payment", b"refund", b"declined", b"%d" % dice.randrange(10**9)]
    return b" ".join(dice.choice(words) for _ in range(dice.randrange(1, 4000)))


def test_records_are_compressed_by_many_threads() -> None:
    def one(number: int) -> None:
        for turn in range(TURNS):
            frame = dictionary.compressor(1, 3).compress(text(number, turn))
            assert dictionary.decompressor(1).decompress(frame, max_output_size=1 << 20) == text(number, turn)

    in_threads(one)


def test_leaves_are_packed_by_many_threads() -> None:
    def one(number: int) -> None:
        for turn in range(TURNS):
            leaf = b'{"v":1,"n":"%s"}' % text(number, turn)[:3000]
            assert packing.unpack(packing.pack(leaf)) == leaf

    in_threads(one)


def test_a_thread_keeps_its_own() -> None:
    mine = dictionary.compressor(1, 3)
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(dictionary.compressor, 1, 3).result()
    assert dictionary.compressor(1, 3) is mine
    assert others is not mine
