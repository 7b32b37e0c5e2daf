"""Small valid records for tests that care where a record goes, not what it says."""

from __future__ import annotations

import json
from typing import Any

from vault.intake import Line


def decision(number: int, **changes: Any) -> dict[str, Any]:
    """Return a record whose searchable fields all have a value, different from those of its neighbours.

    Args:
        number: from 1; also its ``producer_seq`` and a part of every id.
        changes: top-level fields to replace; a field given as None is left out.
    """
    document: dict[str, Any] = {
        "schema": "reasoning-log/1",
        "id": f"dec-{number}",
        "conversation_id": f"conv-{number // 2}",
        "producer_seq": number,
        "occurred_at": f"2026-01-{1 + number % 28:02d}T08:{number % 60:02d}:12.111+08:00",
        "jurisdictions": ["CN", "SG"] if number % 3 else ["CN"],
        "record_class": "payment",
        "api": "payment_intelligence",
        "source": {"adapter": "native", "fidelity": "wire"},
        "prompt": f"Flight {number} was cancelled. May the customer have {number}.50 back?",
        "response": f"Yes, refund {number}.50.",
        "model": {"requested": "qwen-max", "served": f"qwen-max-{number % 5}"},
        "confidence": {"score": 0.5 + number % 50 / 100, "threshold": 0.75},
        "decision": {
            "action": "refund",
            "outcome": "accepted",
            "money_moved": True,
            "executed": {"amount": f"{number}.50", "currency": "CNY"},
            "transaction_id": f"txn-{number}",
        },
        "customer_ref": f"cus-{number % 7}",
        "timing": {"ai_ms": 200 + number},
    }
    document.update(changes)
    return {name: value for name, value in document.items() if value is not None}


def spelled(document: object) -> bytes:
    """Return a document as a producer would send it: one line of compact UTF-8 JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def decisions(count: int, first: int = 1) -> list[Line]:
    """Return ``count`` numbered lines, one record each; the line number is the record's."""
    return [(number, spelled(decision(number))) for number in range(first, first + count)]


def as_file(lines: list[Line]) -> bytes:
    """Return lines as the bytes of a JSON lines file."""
    return b"".join(raw + b"\n" for _, raw in lines)
