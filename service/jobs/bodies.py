"""Bodies: what each job does, as one call of a verb, and what it counts.

Verbs are imported when their job runs: a worker that only signs checkpoints loads no law.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from service import home as homes
from vault.context import Vault
from vault.core.errors import EvidenceError, Forked, Missing, Modified, Unavailable
from vault.jobs import Counts, Steps
from vault.verdict import Verdict

_ANCHOR_SECONDS: Final = 50
"""Between two anchors of a ledger. The schedule says each minute; runs begin some seconds early or late."""

_RAISED: dict[Verdict, type[EvidenceError]] = {
    Verdict.FORKED: Forked,
    Verdict.MODIFIED: Modified,
    Verdict.MISSING: Missing,
}


def checkpoints(vault: Vault, steps: Steps) -> Counts:
    """Sign what was committed and not signed: a crash between the two leaves it to the next append otherwise. Anchor
    what moved in the events ledger."""
    from vault import anchoring, signing

    try:
        signed = signing.sign_all(vault, steps)
    finally:  # one ledger that is not as it should be must not keep the others from being anchored
        anchored = anchoring.anchor(vault, every=_ANCHOR_SECONDS)
    return {"signed": signed, "anchored": anchored}


def plan_disposals(home: Path, vault: Vault, steps: Steps) -> Counts:
    """Plan the disposal of every group that is due. Nothing is approved here, and nothing dies."""
    from retention import disposal
    from service.retention_settings import read_disposal

    plans = disposal.plan_due(vault, steps, read_disposal(home))
    return {"planned": len(plans), "entries": sum(plan.entries for plan in plans)}


def run_disposals(vault: Vault, steps: Steps) -> Counts:
    """Execute every disposal whose approvals and cooling-off are complete, and what an interrupted one left."""
    from retention import disposal

    ended = disposal.run_ready(vault, steps)
    return {
        "disposed": len(ended),
        "entries": sum(one.entries for one in ended),
        "excepted": sum(one.excepted for one in ended),
    }


def inherit_holds(vault: Vault, _steps: Steps) -> Counts:
    """Put what came in since under the open holds whose terms it meets."""
    from retention import holding

    return holding.inherit_all(vault)


def date_records(vault: Vault, _steps: Steps) -> Counts:
    """Date records by the follow-ups that reported their triggers."""
    from retention import dating

    return dating.date_all(vault)


def provision_keys(months: int, vault: Vault, steps: Steps) -> Counts:
    """Make the provider keys of the groups that are soon written to."""
    from vault import ahead

    return {"made": ahead.provision(vault, months, steps)}


def verify_new(home: Path, vault: Vault, steps: Steps) -> Counts:
    """Verify what came in since the last run.

    A fault is left where the service's figures find it; a run without one is not, since what it did not look at may
    have one.
    """
    from vault import incremental

    found = incremental.verify(vault, steps)
    if found.worst is not None:
        homes.note_verification(home, found.worst.name, "incremental")
        raise _RAISED[found.worst](f"{found.faults} faults, the first: {found.first}; run 'reasonvault verify'")
    return {"ledgers": len(found.reports), "entries": found.entries, "envelopes": found.envelopes}


def prove_erasure(vault: Vault, steps: Steps) -> Counts:
    """Prove that what was destroyed does not open, and list what is due and still there."""
    from vault import erased

    found = erased.prove(vault, steps)
    if found.alive:
        raise Modified(f"{len(found.alive)} groups are not as destroyed as was told, the first: {found.alive[0]}")
    return {
        "destroyed_groups": found.groups,
        "epochs_tried": found.epochs,
        "due_groups": len(found.due),
        "due": found.due[:40],
    }


def witness(vault: Vault, _steps: Steps) -> Counts:
    """Show what is new to witnesses, and have it stamped. Fails where one of them did: what the others said is kept."""
    from service import witness_http
    from vault import witnessing

    if not witnessing.is_due(vault):
        return {}
    with witness_http.opened() as post:
        made = witnessing.run(vault, post)
    if made.problems:
        raise Unavailable("; ".join(made.problems))
    return {"witnesses": len(made.witnesses), "stamped": int(made.stamped is not None), "anchored": made.anchored}


def scheduled_reports(home: Path, vault: Vault, steps: Steps) -> Counts:
    """Make the reports of standing orders for every period that has ended, and deliver those that were not."""
    from service import scheduling

    return scheduling.run(home, vault, steps)
