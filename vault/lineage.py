"""Lineage: what the verifier asks of a frozen ledger, and of the one that goes on in its place.

A frozen ledger is verified up to the good head that ``ledger.frozen`` names; what stands behind it counts for nothing.
Its lost range is MISSING, at every verification and for ever: that people recorded a loss does not undo it.

    1. the checkpoint outside the database is that good head
    2. the checkpoint from before (``lost``) is there, signed, and the one that the event names: nobody can make a loss
       look smaller than it was
    3. no anchor tells of a larger tree than that one
    4. the successor's genesis leaf names exactly this; one that names a predecessor without such an event does not hold
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from vault.checkpoints import Checkpoints
from vault.core import canonical
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Forked
from vault.core.leaf import GenesisLeaf, Leaf
from vault.core.succession import Frozen
from vault.verdict import LedgerReport, Verdict


def begin_frozen(
    checkpoints: Checkpoints, report: LedgerReport, frozen: Frozen, signed: Checkpoint | None, anchored: int
) -> None:
    """Steps 1 to 3, and the loss itself. The report's checkpoint is then the good head.

    Args:
        signed: the checkpoint as it was read before the snapshot; None reads it now.
        anchored: size of the largest tree of this ledger that an anchor tells of, 0 without one.
    """
    one = frozen.recovery
    report.size, report.root, report.frozen = one.size, canonical.unb64(one.root, 32), frozen
    before = (one.end, one.end_root)
    try:
        outside = _spelled(signed or checkpoints.read(report.ledger))
    except Forked as error:
        report.add(Verdict.FORKED, error.seq, str(error).partition(" at ledger")[0])
        outside = (one.size, one.root)  # told
    lost = _spelled(checkpoints.lost(report.ledger))
    # A freeze that stopped half way left the old checkpoint where it was, and perhaps its copy; it is still to end.
    half_way = not frozen.succeeded and outside == before and lost in (None, before)
    if outside != (one.size, one.root) and not half_way:
        report.add(Verdict.FORKED, None, "the checkpoint outside the database is not the good head it was frozen at")
    if lost != before and not half_way:
        report.add(Verdict.FORKED, None, "the checkpoint from before it was frozen is missing, or is another")
    if anchored > one.end:
        words = f"an anchor tells of {anchored} entries, and it was frozen as if there had been {one.end}"
        report.add(Verdict.FORKED, None, words)
    if one.lost:
        words = f"lost: recorded by ledger.frozen at seq {frozen.seq} of the events"
        report.add(Verdict.MISSING, one.size, words, one.end - 1)


def check_genesis(report: LedgerReport, genesis: Leaf | None, frozen: Mapping[str, Frozen]) -> None:
    """Step 4, for any ledger: its genesis leaf names the ledger that it goes on for, and no other does."""
    if not isinstance(genesis, GenesisLeaf):
        return
    follows = next((one for one in frozen.values() if one.successor == genesis.ledger), None)
    named = None if genesis.predecessor is msgspec.UNSET else genesis.predecessor
    if named == (None if follows is None else follows.recovery.word):
        return
    if follows is None:
        report.add(Verdict.FORKED, 0, "its genesis leaf names a predecessor, and no event tells of that recovery")
    else:
        words = f"its genesis leaf does not name the good head and the lost range of {follows.recovery.name}"
        report.add(Verdict.FORKED, 0, f"{words} as ledger.frozen does")


def largest(anchored: dict[str, int], facts: Mapping[str, Any]) -> None:
    """Note the size that an anchor's facts tell of. Facts that make no sense anchor nothing."""
    ledger, size = facts.get("ledger"), facts.get("size")
    if isinstance(ledger, str) and type(size) is int:
        anchored[ledger] = max(size, anchored.get(ledger, 0))


def _spelled(checkpoint: Checkpoint | None) -> tuple[int, str] | None:
    return None if checkpoint is None else (checkpoint.size, canonical.b64(checkpoint.root))
