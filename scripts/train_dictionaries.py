"""Train the packaged compression dictionaries, from synthetic text and random leaves only.

    python scripts/train_dictionaries.py leaf 1     writes vault/core/leaf-1.dict.txt
    python scripts/train_dictionaries.py record 1   writes vault/core/record-1.dict.txt

A dictionary that was released is never trained again: envelopes and leaves on disk need its exact bytes. A better
one gets the next number.
"""

from __future__ import annotations

import base64
import random
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import zstandard

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


def leaves(count: int) -> Iterator[bytes]:
    """Yield leaves as ledgers of many kinds would hold them, every digest random."""
    from retention.rules import load_default
    from vault.core import leaf

    chance = random.Random(1)
    # The packaged rule book's digest stands in most leaves as it is, so it is worth a place in the dictionary.
    books = [load_default().digest] * 7 + [chance.randbytes(32)]
    rules = [
        ("PROD-3Y",),
        ("PROD-3Y", "SG-PDPA-25"),
        ("PROD-3Y", "SG-PDPA-25", "SG-PSN-5Y"),
        ("CN-AML-34", "PROD-3Y"),
    ]
    for _ in range(count):
        kept = 1_800_000_000 + chance.randrange(300_000_000)
        draft = leaf.record_draft(
            facets=chance.randbytes(32),
            group=f"{datetime.fromtimestamp(kept, UTC):%Y-%m}.0",
            id_tag=chance.randbytes(16),
            keep_until=kept // 3600 * 3600,
            key=chance.randbytes(32),
            ledger=uuid.UUID(bytes=chance.randbytes(16), version=4),
            parts=(chance.randbytes(32),),
            plaintext=chance.randbytes(32),
            producer=chance.choice(["local", "payments", "checkout-1", "refunds"]),
            producer_seq=chance.choice([None, chance.randrange(1_000_000)]),
            received_at=leaf.instant_ms(1_790_000_000_000_000 + chance.randrange(10**14)),
            rulebook=chance.choice(books),
            rules=chance.choice(rules),
        )
        yield draft.at(chance.randrange(10 ** chance.randrange(1, 8)), chance.randbytes(32))


def records(count: int) -> Iterator[bytes]:
    """Yield synthetic decisions, as the demo's generator makes them."""
    from bench.synthetic import decisions

    yield from decisions(count, 20261123, start=datetime(2026, 1, 5, tzinfo=UTC))


def main(kind: str, number: str) -> None:
    """Train one dictionary and write it as base64 text."""
    samples, size = (list(leaves(4000)), 2048) if kind == "leaf" else (list(records(8000)), 65536)
    trained = zstandard.train_dictionary(size, samples, level=3 if kind == "record" else 1)
    path = ROOT / "vault" / "core" / f"{kind}-{number}.dict.txt"
    path.write_bytes(base64.encodebytes(trained.as_bytes()))


if __name__ == "__main__":
    main(*sys.argv[1:])
