"""Anchors: what the events ledger says about another ledger's tree, ``checkpoint.anchored``.

    facts   ledger (uuid), size (leaves), root (base64url of the 32 bytes)

An anchor is a signed checkpoint copied into a ledger that has checkpoints of its own. So whoever keeps one checkpoint
of the events ledger, a witness for one, holds all ledgers of the tenant to their history: an older copy of one ledger,
database and checkpoints alike, does not fit the events any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

from vault.core import canonical
from vault.core.checkpoint import Checkpoint
from vault.core.tree import HASH_BYTES

EVENT: Final = "checkpoint.anchored"


class Anchor(NamedTuple):
    """One anchor.

    Attributes:
        seq, at: position and instant of the event, RFC 3339.
        size: leaves of the ledger's tree; ``root`` its RFC 6962 root, 32 bytes.
    """

    seq: int
    at: str
    size: int
    root: bytes


def facts(ledger: UUID, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the facts that anchor a checkpoint."""
    return {"ledger": str(ledger), "size": checkpoint.size, "root": canonical.b64(checkpoint.root)}


def anchor_of(told: Mapping[str, Any], seq: int, at: str) -> tuple[str, Anchor]:
    """Return which ledger an event anchors, and how. Raises ValueError, TypeError or KeyError for other facts."""
    ledger, size = str(UUID(told["ledger"])), told["size"]
    if type(size) is not int or size < 1:
        raise ValueError("a tree that is anchored has leaves")
    return ledger, Anchor(seq, at, size, canonical.unb64(told["root"], HASH_BYTES))
