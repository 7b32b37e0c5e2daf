"""Trust: whether the checkpoint keys that ``vault.json`` lists are those that the events ledger tells of.

``vault.json`` is not signed: whoever writes to the home could list a key of his own, or take back that a stolen one was
retired. The events cannot be changed along with it without that key.

NOT checked: the first key, which the genesis leaves name; and a home and a database exchanged together, against which
only what others keep helps (a witness, a key written down).
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from vault.checkpoints import Checkpoints
from vault.core.signer import Signers, Told
from vault.verdict import LedgerReport, Verdict


def check_keys(report: LedgerReport, listed: Signers, told: Mapping[str, Told]) -> None:
    """Compare the list with the events, and tell in the report of the events ledger what does not fit.

    Args:
        listed: as it was read before the events were: an event comes before what ``vault.json`` says.
        told: by public half in hex.
    """
    for place, one in enumerate(listed):
        known = told.get(one.public)
        if place and (known is None or known.added is None):
            report.add(Verdict.FORKED, None, f"vault.json trusts the key {one.name}, which no event added")
        elif one.state == "retired":
            sizes = known.sizes if known is not None and known.retired is not None else {}
            if any(size > sizes.get(ledger, 0) for ledger, size in one.sizes.items()):
                report.add(Verdict.FORKED, None, f"vault.json trusts {one.name} for more than it was retired at")


def check_note(report: LedgerReport, checkpoints: Checkpoints, ledger: UUID, told: Mapping[str, Told]) -> None:
    """Tell where a ledger's checkpoint stands on a key alone that the events say was retired."""
    retired = {public: known for public, known in told.items() if known.retired is not None}
    if not retired:
        return
    by = checkpoints.signed_by(ledger)
    if by and by <= retired.keys():
        known = max((retired[public] for public in by), key=lambda one: one.retired or 0)
        what = f"its checkpoint is signed with {known.name} alone, which event {known.retired} retired"
        report.add(Verdict.FORKED, report.size or None, what)
