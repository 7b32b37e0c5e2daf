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
from vault.core import signer
from vault.core.signer import Signer, Signers, Told
from vault.verdict import LedgerReport, Verdict


def check_keys(report: LedgerReport, listed: Signers, told: Mapping[str, Told]) -> None:
    """Compare the list with the events, and tell in the report of the events ledger what does not fit.

    Args:
        listed: as it was read before the events were: an event comes before what ``vault.json`` says.
        told: by public half in hex.
    """
    for place, one in enumerate(listed):
        known = told.get(one.public)
        retired = None if known is None else known.retired
        if place and (known is None or known.added is None):
            report.add(Verdict.FORKED, None, f"vault.json trusts the key {one.name}, which no event added")
        elif one.state == "retired":
            sizes = known.sizes if known is not None and retired is not None else {}
            if retired is None:
                report.add(Verdict.FORKED, None, f"vault.json calls {one.name} retired, which no event says")
            elif any(size > sizes.get(ledger, 0) for ledger, size in one.sizes.items()):
                report.add(Verdict.FORKED, None, f"vault.json trusts {one.name} for more than it was retired at")
        elif retired is not None and not _hands_over(one, retired, listed, told):
            report.add(Verdict.FORKED, None, f"vault.json lets {one.name} sign, which event {retired} retired")
    _check_unlisted(report, listed, told)


def _hands_over(one: Signer, retired: int, listed: Signers, told: Mapping[str, Told]) -> bool:
    """Say whether a key is between its event and ``vault.json``: its successor was there before it was retired. Whoever
    has no key but a retired one can add another only behind that event."""
    joins = signer.joining(listed)
    after = None if joins is None else told.get(joins.public)
    return one.state == "current" and after is not None and after.added is not None and after.added < retired


def _check_unlisted(report: LedgerReport, listed: Signers, told: Mapping[str, Told]) -> None:
    """Tell of keys that ``vault.json`` forgot. The newest may not be there yet: its event comes first."""
    known = {one.public for one in listed}
    newest = max((one.added for one in told.values() if one.added is not None), default=None)
    for public, one in told.items():
        if public not in known and one.added not in (None, newest):
            report.add(Verdict.FORKED, None, f"vault.json does not know {one.name}, which event {one.added} added")


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
