"""Looking: open every entry of some groups and judge it (vault.surveying), and sum up what was seen.

    sight = look(vault, ledger, ["2026-10.0"], judge, progress)

Nobody is shown anything, so no access event is written: what comes of it (a plan, a destruction) is an event. What does
not open, or is not what its leaf commits to, ends the look: nothing is destroyed beside something that nobody can read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from uuid import UUID

from retention.judging import Judge, Sight
from vault.context import Vault
from vault.surveying import Reader, survey

Progress = Callable[[int, int | None], None]


def look(
    vault: Vault, ledger: UUID, groups: Sequence[str], judge: Judge, progress: Progress, into: Sight | None = None
) -> Sight:
    """Judge every entry whose key is in one of these groups; raises as ``survey`` does.

    Args:
        into: what was seen of other groups; None begins anew.
    """
    sight = into if into is not None else Sight()
    processes = min(os.cpu_count() or 1, 8)
    for seq, group, verdict in survey(vault, ledger, groups, judge, processes=processes, progress=progress):
        sight.take(seq, group, verdict)
    return sight


def look_at(vault: Vault, ledger: UUID, groups: Sequence[str], seqs: Sequence[int], judge: Judge) -> Sight:
    """Judge a few entries of these groups in this process; raises as ``Reader.read`` does.

    Not checked here: that their leaves are under a checkpoint.
    """
    sight = Sight()
    for opened, _row in Reader(vault, ledger, groups).read(seqs):
        sight.take(opened.seq, opened.group, judge(opened))
    return sight
