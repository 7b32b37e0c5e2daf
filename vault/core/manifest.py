"""Manifests: exactly which entries a disposal destroys, as one hash that two people sign.

The text, ASCII, every line ended by LF; a new meaning needs another first line:

    reasonvault manifest/1
    <uuid of the ledger>
    <position> <hash of the leaf there, base64url>      one line an entry, ascending

It is not stored: the positions stand in a selection, and leaves are kept for ever, so anybody can make it again.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

from vault.core import canonical, leaf


class Manifest:
    """Hashes a manifest while its entries go by, in order."""

    def __init__(self, ledger: UUID) -> None:
        self._hash = hashlib.sha256(f"reasonvault manifest/1\n{ledger}\n".encode("ascii"))
        self._last = -1
        self.count = 0

    def add(self, seq: int, leaf_hash: bytes) -> None:
        """Take the next entry. Raises ``ValueError`` unless positions ascend."""
        if seq <= self._last:
            raise ValueError("a manifest's entries ascend")
        self._last = seq
        self.count += 1
        self._hash.update(b"%d %b\n" % (seq, canonical.b64_bytes(leaf_hash)))

    def digest(self) -> bytes:
        """Return the 32 bytes that stand for everything taken so far."""
        return self._hash.digest()


def statement(
    tenant: str,
    disposal: str,
    *,
    kind: str,
    ledger: UUID,
    manifest: bytes,
    count: int,
    due: int,
    planned: int,
    cooling_off: int,
    person: str,
) -> bytes:
    """Return the bytes that an approver signs with a key of their own (Ed25519, RFC 8032).

    It binds everything that the plan decides, and where the plan stands: a signature fits no other plan, not even one
    of the same id.

    Args:
        due: Unix seconds of the latest date; 0 where there is none, for an early one.
        planned: position of ``disposal.planned`` in the events ledger.
        cooling_off: seconds.

    Raises:
        UnicodeEncodeError: a line is not ASCII.
    """
    lines = (
        "reasonvault disposal approval/1",
        tenant,
        disposal,
        kind,
        str(ledger),
        canonical.b64(manifest),
        str(count),
        leaf.instant(due) if due else "-",
        str(planned),
        str(cooling_off),
        person,
    )
    return "\n".join((*lines, "")).encode("ascii")
