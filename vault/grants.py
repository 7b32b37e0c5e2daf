"""Grants: asked by an auditor, approved by another person, revoked by either side; each step an event.

Every step is decided under the events ledger's head lock (vault.events.rule), so two approvals, or an approval and a
revocation, cannot pass each other. Purposes and cases are sealed; what a grant opens, and who approved it, stands in
clear for ever. A step that is refused is an event too.
"""

from __future__ import annotations

from base64 import b32encode
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from vault import events, trace
from vault.context import Vault
from vault.core import canonical, leaf
from vault.core import grant as rules
from vault.core.errors import Denied, Unknown, UsageError
from vault.core.grant import Fields, Grant, Scope
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.ledgers import Ledger

_MAX_TEXT = 500
# Years that RFC 3339 and everybody's calendar spell alike, in microseconds.
_FIRST, _LAST = -30_610_224_000_000_000, 253_402_300_799_000_000


class Told(NamedTuple):
    """A grant with what its request seals."""

    grant: Grant
    purpose: str
    case: str


def request(
    vault: Vault,
    ledgers: list[Ledger],
    *,
    start: int | None,
    end: int | None,
    classes: tuple[str, ...],
    fields: str,
    duty: str = "",
    purpose: str,
    case: str,
    expires_at: int,
    random: Callable[[int], bytes],
) -> Told:
    """Ask for a grant, for oneself.

    Args:
        start, end, expires_at: microseconds since the epoch; whole seconds count.
        duty: the legal duty for which restricted records are to be opened, a word such as a rule's id; "" for none.

    Raises:
        UsageError: no purpose, no case, or something that no grant can say.
        Denied: whoever asks is no auditor.
    """
    if "auditor" not in vault.actor.roles_by(vault.register.standing()):
        events.rule(vault, lambda _standing: refuse(Denied(rules.NO_AUDITOR), _denied("grant.request", {}, "role")))
    require_text("purpose", purpose)
    require_text("case", case)
    if fields not in ("masked", "full"):
        raise UsageError("fields are 'masked' or 'full'")
    if len(classes) > 32 or not all(canonical.is_word(one) and 0 < len(one) <= 64 for one in classes):
        raise UsageError("record classes are up to 32 words of A-Z a-z 0-9 . _ : / + -")
    require_duty(duty)
    if not 0 < len(ledgers) <= 16:
        raise UsageError("a grant names 1 to 16 ledgers")
    if not all(_FIRST <= instant <= _LAST for instant in (start, end, expires_at) if instant is not None):
        raise UsageError("times of a grant lie in the years 1000 to 9999")
    scope = Scope(
        tuple(sorted({str(ledger.id) for ledger in ledgers})),
        _whole(start),
        _whole(end),
        tuple(sorted(set(classes))),
        cast(Fields, fields),
        duty,
    )
    expires_at = expires_at // 1_000_000 * 1_000_000
    name = "g-" + b32encode(random(10)).decode().lower()
    facts: dict[str, Any] = {
        "grant": name,
        "auditor": vault.actor.name,
        "ledgers": list(scope.ledgers),
        "classes": list(scope.classes),
        "fields": fields,
        "expires_at": leaf.instant(expires_at // 1_000_000),
    }
    if duty:
        facts["duty"] = duty
    for end_name, instant in (("start", scope.start), ("end", scope.end)):
        if instant is not None:
            facts[end_name] = leaf.instant(instant // 1_000_000)

    def decide(standing: Standing) -> Ruling[None]:
        why = rules.why_no_request(vault.actor.roles_by(standing), scope, expires_at, vault.clock())
        if why is not None:
            error = Denied(why) if why == rules.NO_AUDITOR else UsageError(why)
            return refuse(error, _denied("grant.request", {}, "role" if why == rules.NO_AUDITOR else "scope"))
        return Ruling([Event("grant.requested", facts, {"purpose": purpose, "case": case})], None)

    written, _ = events.rule(vault, decide)
    return Told(Grant(name, vault.actor.name, scope, vault.clock(), expires_at, written.seq), purpose, case)


def approve(vault: Vault, name: str) -> Told:
    """Approve somebody else's request.

    Raises:
        Unknown: no such grant that this person may know of.
        Denied: whoever approves is no officer, or asked for it, or it is not waiting any more.
    """

    def decide(standing: Standing) -> Ruling[Grant]:
        roles, found = vault.actor.roles_by(standing), standing.grants.get(name)
        if found is None or not _may_know(found, vault.actor.name, roles):
            return refuse(Unknown("there is no such grant"), _denied("grant.approve", {}, "unknown"))
        why = rules.why_no_approval(found, vault.actor.name, roles, vault.clock())
        if why is not None:
            return refuse(Denied(why), _denied("grant.approve", {"grant": name}, "four_eyes"))
        return Ruling([Event("grant.approved", {"grant": name, "request": found.request})], found)

    _, found = events.rule(vault, decide)
    return told(vault, [found.approved(vault.actor.name, vault.clock())])[0]


def revoke(vault: Vault, name: str) -> Told:
    """End a grant, or take a request back. Whatever is opened after this needs another one.

    Raises:
        Unknown: no such grant that this person may know of.
        Denied: neither an officer nor the auditor it was given to, or it is revoked already.
    """

    def decide(standing: Standing) -> Ruling[Grant]:
        roles, found = vault.actor.roles_by(standing), standing.grants.get(name)
        if found is None or not _may_know(found, vault.actor.name, roles):
            return refuse(Unknown("there is no such grant"), _denied("grant.revoke", {}, "unknown"))
        why = rules.why_no_revocation(found, vault.actor.name, roles)
        if why is not None:
            return refuse(Denied(why), _denied("grant.revoke", {"grant": name}, "role"))
        return Ruling([Event("grant.revoked", {"grant": name})], found)

    _, found = events.rule(vault, decide)
    return told(vault, [found.revoked(vault.actor.name, vault.clock())])[0]


def listing(vault: Vault) -> list[Told]:
    """Return the grants that whoever asks may know of: an auditor's own, all of them for an officer; an event.

    Raises:
        Denied: neither of them, nor the passphrase's holder.
    """

    def decide(standing: Standing) -> Ruling[list[Grant]]:
        roles = vault.actor.roles_by(standing)
        if not vault.actor.break_glass and not roles & {"auditor", "officer"}:
            return refuse(Denied("only auditors and compliance officers see grants"), _denied("grant.list", {}, "role"))
        everything = vault.actor.break_glass or "officer" in roles
        found = [one for one in standing.grants.values() if everything or one.auditor == vault.actor.name]
        return Ruling([Event("grants.listed", {"count": len(found)})], found)

    _, found = events.rule(vault, decide)
    return told(vault, found)


def require(vault: Vault) -> None:
    """Adopt the policy that reading needs a grant here, for the passphrase's holder too. It is not taken back."""
    if not vault.actor.break_glass:
        raise Denied("only the holder of the vault's passphrase adopts a policy")
    events.rule(
        vault, lambda standing: Ruling([] if standing.grants_required else [Event("grants.required", {})], None)
    )


def told(vault: Vault, found: list[Grant]) -> list[Told]:
    """Return grants with the purposes and cases that their requests seal."""
    sealed = trace.details(vault, [one.request for one in found])
    words = [sealed.get(one.request, {}) for one in found]
    return [
        Told(one, str(said.get("purpose", "")), str(said.get("case", "")))
        for one, said in zip(found, words, strict=True)
    ]


def _may_know(grant: Grant, person: str, roles: frozenset[str]) -> bool:
    return "officer" in roles or grant.auditor == person


def _denied(act: str, facts: dict[str, Any], code: str) -> Event:
    return Event("access.denied", {"act": act, "code": code, **facts})


def _whole(instant: int | None) -> int | None:
    return None if instant is None else instant // 1_000_000 * 1_000_000


def require_duty(duty: str) -> None:
    """Raise ``UsageError`` unless a duty is a word, or none."""
    if not canonical.is_word(duty) or len(duty) > 64:
        raise UsageError("a legal duty is a word of up to 64 of A-Z a-z 0-9 . _ : / + -, such as a rule's id")


def require_text(name: str, text: str) -> None:
    """Raise ``UsageError`` unless a text that an event seals is one printable line."""
    if not text.strip() or len(text) > _MAX_TEXT or not text.isprintable():
        raise UsageError(f"a {name} is a printable line of up to {_MAX_TEXT} characters")
