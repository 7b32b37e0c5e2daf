"""Synthetic decisions: what a payment service with an AI would send, made up from a seed.

    $ python -m bench.synthetic 2000 --seed 7 > decisions.jsonl

English and Chinese (about a third) conversations about bookings, travel refunds, subscriptions, fraud
checks and invoices, with all that the vault must be able to tell apart: retries, human reviews, executions
below the threshold, bypasses, lost answers that are settled later, missing amounts, a possible double
charge. Nobody's real words, names or numbers are in it, so it may travel with the project, and a
compression dictionary may be trained on it.

The same arguments give the same bytes, on every machine with the same Python minor version.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bench.dice import Dice
from bench.plots import shuffled
from bench.scene import Scene

START = datetime(2026, 1, 5, tzinfo=UTC)
SPAN = timedelta(days=28)
_RECORDS_A_CONVERSATION = 1.3  # nearly; only the pace depends on it


def decisions(n: int, seed: int, *, start: datetime, span: timedelta = SPAN) -> Iterator[bytes]:
    """Make ``n`` records of one producer, in the order in which it sends them.

    Args:
        n: how many records.
        seed: another seed, other conversations.
        start: when the first conversation may begin, with an offset.
        span: the time that the records are spread over, roughly; reviews and settlements may end a day later.

    Yields:
        ``reasoning-log/1`` as UTF-8 JSON without a line end. ``producer_seq`` counts from 1 without a gap,
        and ``occurred_at`` never goes back. What a record relates to was sent before it.
    """
    dice = Dice(seed)
    # By the instant at which each becomes known; the number keeps the order of equal instants.
    waiting: list[tuple[datetime, int, dict[str, Any]]] = []
    made = sent = 0
    pace = span.total_seconds() * _RECORDS_A_CONVERSATION / max(n, 1)
    began = start
    deck = shuffled(dice)
    while sent < n:
        began += timedelta(seconds=dice.expovariate(1 / pace))
        while sent < n and waiting and waiting[0][0] <= began:
            record = heapq.heappop(waiting)[2]
            sent += 1
            record["producer_seq"] = sent
            yield msgspec.json.encode(record)
        scene = Scene.open(dice, began)
        deck = deck or shuffled(dice)
        deck.pop()(scene)
        for moment, record in scene.records:
            made += 1
            heapq.heappush(waiting, (moment, made, record))


def main() -> None:
    """Write synthetic decisions to standard output as JSON lines."""
    parser = argparse.ArgumentParser(prog="python -m bench.synthetic", description=main.__doc__)
    parser.add_argument("n", type=int, help="how many records")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--start", type=datetime.fromisoformat, default=START, help="RFC 3339, with offset")
    parser.add_argument("--days", type=float, default=SPAN.days, help="the days that they are spread over")
    wanted = parser.parse_args()
    if wanted.start.tzinfo is None:
        parser.error("--start needs an offset, such as 2026-01-05T00:00:00Z")
    if wanted.n < 0:
        parser.error("n must not be negative")
    for line in decisions(wanted.n, wanted.seed, start=wanted.start, span=timedelta(days=wanted.days)):
        sys.stdout.buffer.write(line + b"\n")


if __name__ == "__main__":
    main()
