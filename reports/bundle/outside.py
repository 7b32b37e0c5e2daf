"""Time from outside in a bundle: what witnesses and authorities said about the events, as it is kept, and their keys.

Few of the many checkpoints that others saw are taken: the newest, and for each event that matters the first above it,
since that one says earliest that it existed; and the first that an independent one vouches for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.serialization import Encoding

from reports.bundle.zip import Archive
from vault import consistency, outside
from vault.context import Vault
from vault.core.checkpoint import Checkpoint

_SUFFIXES = ("note", "stamped", "tsr")


def write_outside(
    vault: Vault, archive: Archive, ledger: UUID, checkpoint: Checkpoint, events: Iterable[int]
) -> dict[str, Any]:
    """Write what is kept and what it is verified with; return the manifest's members that name those.

    Args:
        checkpoint: of the events ledger; what others saw of larger trees is left out.
        events: positions whose time matters.
    """
    for size in _sizes(vault, ledger, checkpoint, events):
        for suffix in _SUFFIXES:
            path = vault.checkpoints.outside(ledger) / f"{size:020d}.{suffix}"
            if path.exists():
                archive.add(f"ledgers/{ledger}/outside/{path.name}", path.read_bytes())
        write_consistency(vault, archive, ledger, size, checkpoint)
    policy = vault.checkpoints.policy()
    authorities = []
    for number, one in enumerate(policy.authorities, 1):
        name = f"trust/tsa-{number}.pem"
        archive.add(name, b"".join(root.public_bytes(Encoding.PEM) for root in one.roots))
        authorities.append({"file": name, "own": one.own})
    witnesses = [{"key": str(one.key), "own": one.own} for one in policy.witnesses]
    return {"witnesses": witnesses, "authorities": authorities}


def write_consistency(vault: Vault, archive: Archive, ledger: UUID, size: int, checkpoint: Checkpoint) -> None:
    """Write how the tree of ``size`` entries is the beginning of the checkpoint's, once."""
    name = f"ledgers/{ledger}/consistency/{size}.bin"
    if size < checkpoint.size and all(one.name != name for one in archive.members):
        proof = consistency.consistency(vault, ledger, size, checkpoint)
        archive.add(name, b"".join(proof), packs=False)


def _sizes(vault: Vault, ledger: UUID, checkpoint: Checkpoint, events: Iterable[int]) -> list[int]:
    chosen = set(outside.sizes(vault.checkpoints, ledger)[-1:])
    for seq in set(events):
        first = outside.covering(vault, ledger, seq)
        other = outside.time_of(vault.checkpoints, ledger, seq)
        chosen |= {one.size for one in (first, other) if one is not None}
    return sorted(size for size in chosen if size <= checkpoint.size)
