"""Disposals: planned, signed by two people, cooled off, run. The protocol's ten steps, and who takes which:

     1 open every entry of the due groups, judge it        retention.plan
     2 freeze positions and manifest; disposal.planned     retention.plan
     3 two people sign the statement with their own keys   approve
     4 with the second: disposal.intended; cooling-off     approve
     5 close the groups; look at everything again          retention.destroying
     6 move the survivors                                  retention.destroying, vault.moving
     7 disposal.destroying: THE COMMIT POINT               retention.destroying
     8 destroy the provider keys                           vault.shred
     9 delete what they leave behind                       vault.shred
    10 prove that opening fails; disposal.done             vault.shred, retention.destroying

Before 7 anybody of the right role cancels, and a hold saves its records. From 7 on it only goes forward. Where it
stands is read from the events, so ``run`` goes on after any crash, and running twice does it once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from retention.destroying import Outcome, find, run
from retention.looking import Progress
from retention.plan import CoolingOff, Plan, manifest_of, plan, quiet
from vault import events, ledgers, selections
from vault.context import Vault
from vault.core import canonical, leaf
from vault.core import disposal as rules
from vault.core.errors import Denied, Modified, Unknown, VaultError
from vault.core.governance import Approval, Disposal
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.ledgers import Ledger

__all__ = ["CoolingOff", "Outcome", "approve", "cancel", "find", "plan", "plan_due", "run", "run_ready"]

_MOST_PLANS: Final = 40


def approve(vault: Vault, name: str, key: Ed25519PrivateKey) -> Disposal:
    """Sign a disposal as whoever acts; the second approval begins its cooling-off in the same transaction.

    The manifest is made again first, so nobody signs for entries that are not there.

    Raises:
        Unknown: there is no such disposal.
        Denied: no officer, the one who planned it, the same person again, or a key that does not count.
        Modified, Missing: the manifest is not that of the entries that stand there.
    """
    person, public = vault.actor.name, key.public_key().public_bytes_raw()
    _require_officer(vault, name)
    asked = find(vault, name)
    place = UUID(asked.ledger)
    chosen = selections.load(vault, place, asked.selection)
    manifest = manifest_of(vault, place, chosen)
    if (canonical.b64(manifest), len(chosen)) != (asked.manifest, asked.count):
        raise Modified("the manifest is not the one that was planned: the ledger's entries were changed", asked.ledger)
    signature = canonical.b64(key.sign(rules.signed_bytes(asked, vault.tenant, person)))
    facts = {"disposal": name, "manifest": asked.manifest, "signature": signature, "key": canonical.b64(public)}

    def decide(standing: Standing) -> Ruling[None]:
        found = standing.governance.disposals[name]
        known = standing.governance.approvers.get(person)
        why = rules.why_no_approval(found, person, vault.actor.roles_by(standing), known)
        if why is None and (known is None or known.public != public):
            why = "the key in this file is not the one that you registered"
        if why is None and not rules.is_signed(found, vault.tenant, person, public, signature):
            why = "the signature does not verify"
        if why is not None:
            return refuse(Denied(why), _denied("disposal.approve", name, "four_eyes"))
        made = replace(found, approvals=(*found.approvals, Approval(person, standing.size, signature, facts["key"])))
        happened = [Event("disposal.approved", facts)]
        if rules.why_no_intent(standing.governance, standing.people, made, vault.tenant) is None:
            happened.append(_intent(vault, standing, made))
        return Ruling(happened, None)

    events.rule(vault, decide)
    return find(vault, name)


def cancel(vault: Vault, name: str) -> Disposal:
    """End a disposal before its keys die. What it closed stays closed, and readable; another plan can take it up.

    Raises:
        Unknown: there is no such disposal.
        Denied: whoever acts may not, or it has begun to destroy.
    """
    trusted = vault.actor.break_glass

    def decide(standing: Standing) -> Ruling[None]:
        found = standing.governance.disposals.get(name)
        if found is None:
            return refuse(Unknown("there is no such disposal"), _denied("disposal.cancel", name, "unknown"))
        roles = vault.actor.roles_by(standing)
        if (why := rules.why_no_cancel(found, roles, trusted=trusted)) is not None:
            code = "role" if not trusted and rules.OFFICER not in roles else "state"
            return refuse(Denied(why), _denied("disposal.cancel", name, code))
        return Ruling([Event("disposal.cancelled", {"disposal": name})], None)

    events.rule(vault, decide)
    return find(vault, name)


def listing(vault: Vault) -> list[Disposal]:
    """Return all disposals, the oldest first."""
    return sorted(vault.register.standing().governance.disposals.values(), key=lambda one: one.seq)


def plan_due(vault: Vault, progress: Progress = quiet, cooling_off: CoolingOff = CoolingOff()) -> list[Plan]:  # noqa: B008
    """Plan what is due in every ledger, and return what was planned.

    Raises:
        VaultError: a ledger's entries cannot be looked at; the others were planned all the same.
    """

    def every(ledger: Ledger) -> list[Plan]:
        made: list[Plan] = []
        while len(made) < _MOST_PLANS and (one := plan(vault, ledger, cooling_off=cooling_off, progress=progress)).id:
            made.append(one)
        return made

    return [one for part in _each(ledgers.listing(vault), every) for one in part]


def run_ready(vault: Vault, progress: Progress = quiet) -> list[Outcome]:
    """Run every disposal whose approvals and cooling-off are complete, and those that were interrupted.

    Raises:
        VaultError: one of them did not come to its end; the others were run all the same, but for those of a ledger in
            which one has begun to destroy and could not go on.
    """
    now = vault.clock()
    ready = [one for one in listing(vault) if one.state == "destroying" or rules.why_not_now(one, now) is None]
    ready.sort(key=lambda one: one.state != "destroying")
    stuck: set[str] = set()

    def one(found: Disposal) -> list[Outcome]:
        if found.ledger in stuck:
            return []
        try:
            return [run(vault, found.id, progress)]
        except VaultError:
            if rules.begun(vault.register.standing().governance, UUID(found.ledger)):
                stuck.add(found.ledger)
            raise

    return [outcome for part in _each(ready, one) for outcome in part]


def _each(items: list[Any], work: Callable[[Any], Any]) -> list[Any]:
    done: list[Any] = []
    fault: VaultError | None = None
    for item in items:
        try:
            done.append(work(item))
        except VaultError as error:
            fault = fault or error
    if fault is not None:
        raise fault
    return done


def _intent(vault: Vault, standing: Standing, made: Disposal) -> Event:
    """Step 4. Positions of events are known under the lock: the approval's is the next."""
    sound = rules.sound_approvals(standing.governance, standing.people, made, vault.tenant)
    facts = {
        "disposal": made.id,
        "manifest": made.manifest,
        "approvals": [one.seq for one in sound],
        "not_before": leaf.instant(rules.cooling_off_ends(made, vault.clock())),
    }
    return Event("disposal.intended", facts)


def _require_officer(vault: Vault, name: str) -> None:
    """Refuse before a key is used, so that nobody signs what cannot count."""

    def decide(standing: Standing) -> Ruling[None]:
        if rules.OFFICER not in vault.actor.roles_by(standing):
            return refuse(
                Denied("only a compliance officer approves a disposal"), _denied("disposal.approve", name, "role")
            )
        if name not in standing.governance.disposals:
            return refuse(Unknown("there is no such disposal"), _denied("disposal.approve", name, "unknown"))
        return Ruling([], None)

    events.rule(vault, decide)


def _denied(act: str, name: str, code: str) -> Event:
    """The id is named where it is one of ours: what somebody made up stands nowhere for ever."""
    facts = {"act": act, "code": code}
    return Event("access.denied", facts if code == "unknown" else facts | {"disposal": name})
