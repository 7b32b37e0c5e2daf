"""The negative cases of tests/vectors/negative-v1.json, made from the worked example by scripts/make_vectors.py.

Each case names a reader, gives it what it needs, and says whether it must find the bytes sound or refuse them. A
reader's first cases are sound ones, so that no case is refused for want of a reader that works. Where a digest or a tag
stands guard, it is made to fit, so that the fault itself is met and not the guard before it.
"""

from __future__ import annotations

from typing import Any

from negatives import leaves, receipts, sealed


def negatives(example: dict[str, Any]) -> dict[str, Any]:
    """The document of negative-v1.json."""
    decisions, events = example["ledgers"]
    record, ledger = decisions["entries"][1], decisions["ledger"]
    cases = [
        *leaves.leaves(decisions["entries"], events["entries"]),
        *leaves.stored(record["leaf"].encode()),
        *sealed.facets(record["facets"]),
        *sealed.envelopes(record, ledger),
        *sealed.wrapped(decisions["entries"], ledger),
        *receipts.receipts(decisions, events),
    ]
    source = "our own, written by scripts/make_vectors.py out of example-v1.json; checked by scripts/check_formats.py"
    return {"source": source, "cases": cases}
