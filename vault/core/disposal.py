"""Disposals: who may plan, approve and cancel one, and what must be true at the moment its keys die.

Pure decisions over what the events ledger says (vault.core.governance). Each is a reason why not, or None: whoever asks
writes the event and raises. An approval is a signature that its approver made with a key of their own, so the database,
the vault and whoever runs them can withhold one, and never make one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vault.core import canonical
from vault.core.errors import Modified
from vault.core.governance import Approval, ApproverKey, Disposal, Governance
from vault.core.manifest import statement

OFFICER: Final = "officer"
APPROVERS: Final = 2
"""People who must sign, none of them whoever planned it."""

UNFINISHED: Final = ("planned", "intended", "destroying")
_US: Final = 1_000_000


class Account(Protocol):
    """A local account, as far as approvals ask for it."""

    @property
    def roles(self) -> frozenset[str]: ...

    @property
    def disabled(self) -> bool: ...


People = Mapping[str, Account]
"""The local accounts by person. Who logs in by an identity provider has none: their registered key stands for them."""


def why_no_key(governance: Governance, person: str, roles: Collection[str], public: bytes) -> str | None:
    """Return why a person may not register this key for their approvals, None when they may."""
    if OFFICER not in roles:
        return "only a compliance officer has an approver's key"
    for other in governance.approvers.values():
        if other.public == public:
            mine = other.person == person
            return "this key is registered already" if mine else "this key is somebody else's: make one of your own"
    return None


def why_no_removal(governance: Governance, person: str, roles: Collection[str]) -> str | None:
    """Return why the key of ``person`` may not be removed by somebody with these roles, None when it may."""
    if OFFICER not in roles:
        return "only a compliance officer removes an approver's key"
    if person not in governance.approvers:
        return "this person has no approver's key: see 'reasonvault approver list'"
    return None


def why_no_plan(roles: Collection[str], *, trusted: bool) -> str | None:
    """Return why somebody may not plan a disposal, None when they may. Planning destroys nothing.

    Args:
        trusted: they hold the passphrase, or are the worker's planner.
    """
    return None if trusted or OFFICER in roles else "only a compliance officer plans a disposal"


def why_no_approval(disposal: Disposal, person: str, roles: Collection[str], key: ApproverKey | None) -> str | None:
    """Return why somebody may not approve, None when they may. That they signed is ``is_signed``'s to say."""
    if OFFICER not in roles:
        return "only a compliance officer approves a disposal"
    if disposal.requested_by == person:
        return "nobody approves a disposal they planned"
    if disposal.state != "planned":
        return f"the disposal is {disposal.state}"
    if any(one.person == person for one in disposal.approvals):
        return "you approved this disposal already: the second approval is another person's"
    if key is None:
        return "you have no approver's key: 'reasonvault approver register' first, then plan again"
    if key.seq >= disposal.seq:
        return "your key was registered after the plan: cancel it and plan again"
    return None


def why_no_cancel(disposal: Disposal, roles: Collection[str], *, trusted: bool) -> str | None:
    """Return why somebody may not cancel, None when they may. Cancelling keeps everything, so one person will do."""
    if not trusted and OFFICER not in roles:
        return "only a compliance officer cancels a disposal"
    if disposal.state not in ("planned", "intended"):
        return f"the disposal is {disposal.state}"
    return None


def why_no_intent(governance: Governance, people: People, disposal: Disposal, tenant: str) -> str | None:
    """Return why cooling-off does not begin, None when the approvals are complete."""
    if disposal.state != "planned":
        return f"the disposal is {disposal.state}"
    return _why_not_approved(governance, people, disposal, tenant)


def cooling_off_ends(disposal: Disposal, now_us: int) -> int:
    """Return when cooling-off ends, Unix seconds, rounded up.

    It counts from the intent, and never from before the plan: a clock that was set back shortens nothing.
    """
    begins = max(now_us, disposal.planned_at)
    return -(-begins // _US) + disposal.cooling_off


def cooled_at(disposal: Disposal) -> int:
    """Return when the cooling-off of an intended disposal is over, microseconds.

    Not before the intent said; and where that said too little, not before what was planned and signed has passed.
    """
    signed = max(disposal.intended_at, disposal.planned_at) + disposal.cooling_off * _US
    return max(disposal.not_before * _US, signed)


def why_not_now(disposal: Disposal, now_us: int) -> str | None:
    """Return why its keys may not die yet as far as state and time go, None when they may."""
    if disposal.state == "planned":
        left = APPROVERS - len({one.person for one in disposal.approvals})
        return f"the disposal waits for {left} more approval{'s' if left > 1 else ''}"
    if disposal.state != "intended":
        return f"the disposal is {disposal.state}"
    # For a clock that was set back since, too: it begins with the intent.
    if now_us < (ends := cooled_at(disposal)):
        return f"cooling-off lasts until {_instant(-(-ends // _US))}"
    if now_us < disposal.due * _US:
        return f"the last of its entries is due at {_instant(disposal.due)}"
    return None


def why_no_destruction(
    governance: Governance, people: People, disposal: Disposal, tenant: str, manifest: bytes, now_us: int
) -> str | None:
    """Return why the keys of a disposal may not die at this moment, None when they may.

    Not decided here: that nothing became kept since the records were looked at (``is_stale``).

    Args:
        manifest: made again from the entries that stand there now.
    """
    if (why := why_not_now(disposal, now_us)) is not None:
        return why
    if canonical.b64(manifest) != disposal.manifest:
        return "the manifest is not the one that was planned: the ledger's entries were changed"
    return _why_not_approved(governance, people, disposal, tenant)


def is_stale(governance: Governance, checked: int) -> bool:
    """Say whether a hold, a rule book or a date came after the look at the records.

    Args:
        checked: size of the events ledger when that look began.
    """
    return governance.kept_at >= checked


def unfinished(governance: Governance, ledger: UUID) -> list[Disposal]:
    """Return the disposals of a ledger that still want something: their records are planned already."""
    return [one for one in governance.disposals.values() if one.ledger == str(ledger) and one.state in UNFINISHED]


def is_fit(people: People, person: str) -> bool:
    """Say whether a person's account, where they have one here, is a compliance officer's that nobody disabled."""
    account = people.get(person)
    return account is None or (OFFICER in account.roles and not account.disabled)


def begun(governance: Governance, ledger: UUID) -> list[Disposal]:
    """Return the disposals of a ledger that are past their commit point and not done, the oldest first."""
    found = (one for one in governance.disposals.values() if one.ledger == str(ledger) and one.state == "destroying")
    return sorted(found, key=lambda one: one.destroying_seq)


def sound_approvals(governance: Governance, people: People, disposal: Disposal, tenant: str) -> list[Approval]:
    """Return the approvals that count now, one a person and one a key.

    One counts that is not the requester's, whose signature verifies under the key that this person registered before
    the plan, and that is still registered: removing a key takes back what it approved, until the keys die, and so does
    disabling an account, or giving it other roles.
    """
    counted: dict[str, Approval] = {}
    for one in disposal.approvals:
        key = governance.approvers.get(one.person)
        if key is None or key.seq >= disposal.seq or one.person == disposal.requested_by:
            continue
        if not is_fit(people, one.person):
            continue
        if canonical.b64(key.public) == one.key and is_signed(disposal, tenant, one.person, key.public, one.signature):
            counted.setdefault(one.person, one)
    return list({one.key: one for one in counted.values()}.values())


def signed_bytes(disposal: Disposal, tenant: str, person: str) -> bytes:
    """Return what an approver signs. Raises ``Modified`` where the plan's manifest is no digest."""
    return statement(
        tenant,
        disposal.id,
        kind=disposal.kind,
        ledger=UUID(disposal.ledger),
        manifest=canonical.unb64(disposal.manifest, 32),
        count=disposal.count,
        due=disposal.due,
        planned=disposal.seq,
        cooling_off=disposal.cooling_off,
        person=person,
    )


def is_signed(disposal: Disposal, tenant: str, person: str, public: bytes, signature: str) -> bool:
    """Say whether a signature (base64url) over this disposal verifies under a key of 32 bytes."""
    try:
        key = Ed25519PublicKey.from_public_bytes(public)
        key.verify(canonical.unb64(signature, 64), signed_bytes(disposal, tenant, person))
    except (InvalidSignature, Modified, ValueError, OverflowError):
        return False
    return True


def _why_not_approved(governance: Governance, people: People, disposal: Disposal, tenant: str) -> str | None:
    counted = len(sound_approvals(governance, people, disposal, tenant))
    if counted >= APPROVERS:
        return None
    if len(disposal.approvals) >= APPROVERS:
        return (
            "an approval does not count any more: its key was removed or replaced, or its person is no compliance"
            " officer now: cancel, and plan again"
        )
    return f"the disposal has {counted} of {APPROVERS} approvals"


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
