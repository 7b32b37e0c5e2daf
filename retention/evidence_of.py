"""What can be said of a disposal: for whoever looks at it on its way, and for its certificate once it is done.

    document = view(vault, disposal)       # any disposal: counts, approvals, what is missing
    facts = collect(vault, disposal)       # one that is done: everything a certificate of destruction prints

Everything comes from the events ledger (hashed again while it is read), the leaves and the provider. Nothing is
believed because a table says so. What an event seals about the plan (reason, dates of triggers) is kept as long as
events keep their details; a certificate made after that leaves them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from retention import approvers, books, copies
from retention.certified import MOST_RANGES, ApproverFacts, CertificateFacts, KeyFacts, Position, RuleFacts
from retention.destroying import find, ledger_of
from retention.history import NAMES, History, Step
from retention.judging import EXCEPTIONS, Applied
from vault import chains, chronicle, outside, selections, trace, whereabouts
from vault.context import Vault
from vault.core import canonical, leaf
from vault.core import disposal as rules
from vault.core.chain import Move, reached
from vault.core.errors import EvidenceError, KeyUnavailable, UsageError
from vault.core.governance import Disposal
from vault.core.leaf import EventLeaf, microseconds
from vault.core.selection import Selection
from vault.ledgers import Ledger

__all__ = ["CertificateFacts", "collect", "document", "rule_facts", "view"]


def view(vault: Vault, name: str) -> dict[str, Any]:
    """Return a disposal as it stands. Raises ``Unknown`` where there is none of that id."""
    disposal = find(vault, name)
    now = vault.register.standing()
    steps = _steps(History.read(vault), disposal)
    counted = {one.person for one in rules.sound_approvals(now.governance, now.people, disposal, vault.tenant)}
    planned, final, done = steps["disposal.planned"], steps.get("disposal.destroying"), steps.get("disposal.done")
    waits = "" if disposal.state in ("done", "cancelled") else rules.why_not_now(disposal, vault.clock()) or ""
    if disposal.state == "destroying":
        waits = "its run to go on"
    elif disposal.state == "intended" and not waits:
        waits = "its run"
    return {
        "disposal": disposal.id,
        "state": disposal.state,
        "kind": disposal.kind,
        "ledger": disposal.ledger,
        "entries": disposal.count,
        "groups": list(disposal.groups),
        "manifest": disposal.manifest,
        "due": leaf.instant(disposal.due) if disposal.due else None,
        "planned": disposal.seq,
        "cooling_off_seconds": disposal.cooling_off,
        "planned_by": disposal.requested_by,
        "planned_at": _seconds(disposal.planned_at),
        "excepted": {reason: planned.facts.get(reason, 0) for reason in EXCEPTIONS},
        "approvals": [
            {
                "person": one.person,
                "fingerprint": approvers.fingerprint(canonical.unb64(one.key, 32)),
                "event": one.seq,
                "counts": one.person in counted,
            }
            for one in disposal.approvals
        ],
        "not_before": leaf.instant(disposal.not_before) if disposal.not_before else None,
        "destroyed": None if done is None else done.facts["count"],
        "left_behind": None if done is None else disposal.count - done.facts["count"],
        "exceptions": None
        if final is None
        else {reason: final.facts.get(reason, 0) for reason in ("held", "extended", "open_ended")},
        "waits_for": waits or None,
        "certified": disposal.certified,
    }


def collect(vault: Vault, name: str) -> CertificateFacts:
    """Return what a certificate says of a disposal that is done.

    Raises:
        Unknown: there is no such disposal.
        UsageError: it is not done.
        Forked, Missing, Modified: the events, the leaves or a selection are not what was signed.
    """
    disposal = find(vault, name)
    if disposal.state != "done":
        raise UsageError(f"the disposal is {disposal.state}: only one that is done has a certificate")
    told, size = chronicle.read(vault, NAMES | copies.NAMES | {"approver.registered"})
    history = History.of([one for one in told if one.event in NAMES], size)
    ledger = ledger_of(vault, disposal)
    steps = _steps(history, disposal)
    planned, intended, done = (steps[f"disposal.{word}"] for word in ("planned", "intended", "done"))
    final = steps.get("disposal.destroying")
    sealed = trace.details(vault, [planned.seq] if final is None else [planned.seq, final.seq])
    destroyed = _selection(vault, ledger, final, "selection")
    facts: Mapping[str, Any] = {} if final is None else final.facts
    keys = () if final is None else _keys(vault, ledger, history, destroyed)
    destroyed_at = max((key.destroyed_at for key in keys), default="")
    excepted = _exceptions(vault, ledger, disposal, final)
    by_reason = {reason: facts.get(reason, 0) for reason in ("held", "extended", "open_ended")}
    return CertificateFacts(
        disposal=disposal.id,
        tenant=vault.tenant,
        kind=disposal.kind,
        early=disposal.kind == "early",
        ledger=disposal.ledger,
        ledger_name=ledger.row.name,
        ledger_kind=ledger.row.kind,
        jurisdictions=tuple(ledger.genesis.jurisdictions),
        requested_by=disposal.requested_by,
        reason=str(sealed.get(planned.seq, {}).get("reason", "")),
        planned_at=_seconds(planned.at),
        rules=() if final is None else rule_facts(vault, sealed.get(final.seq, {}).get("rules", [])),
        due=leaf.instant(disposal.due) if disposal.due else "",
        manifest=disposal.manifest,
        planned=disposal.count,
        destroyed=len(destroyed),
        selection=facts.get("selection", ""),
        ranges=_ranges(destroyed),
        holds_checked_at=_seconds((final or done).at),
        holds_checked=facts.get("holds_at", 0),
        **by_reason,
        moved_before=max(0, len(excepted) - sum(by_reason.values())) if final is not None else 0,
        excepted=len(excepted),
        exceptions=facts.get("exceptions", ""),
        exception_ranges=_ranges(excepted),
        groups=tuple(facts.get("groups", ())),
        keys=keys,
        provider=vault.provider.name,
        epochs_tried=done.facts["epochs_tried"],
        deleted=done.facts["deleted"],
        approvers=_approvers(vault, disposal, told),
        intended_at=_seconds(intended.at),
        cooling_off_seconds=disposal.cooling_off,
        not_before=leaf.instant(disposal.not_before),
        before=_position(final or done),
        after=_position(done),
        copies=copies.outstanding(vault, ledger.id, destroyed, destroyed_at, told),
        destroying_at="" if final is None else _seconds(final.at),
        destroyed_at=destroyed_at,
        done_at=_seconds(done.at),
        issued_at=_seconds(vault.clock()),
        events={word: step.seq for word, step in steps.items()},
        **_outside(vault, final),
    )


def _outside(vault: Vault, final: Step | None) -> dict[str, Any]:
    """Return what others say about when the destruction had begun."""
    seen = None if final is None else outside.time_of(vault.checkpoints, vault.events, final.seq)
    if seen is None:
        return {}
    at = leaf.instant(int(seen.at.timestamp()))
    return {"outside_at": at, "outside_by": seen.by, "outside_independent": seen.independent}


def document(facts: CertificateFacts) -> dict[str, Any]:
    """Return what is certified as JSON spells it."""
    made: dict[str, Any] = msgspec.to_builtins(facts)
    return made


def _steps(history: History, disposal: Disposal) -> dict[str, Step]:
    """Return the first event of each name, but for approvals: those stand in the disposal."""
    found: dict[str, Step] = {}
    for step in history.disposals.get(disposal.id, ()):
        if step.name != "disposal.approved":
            found.setdefault(step.name, step)
    return found


def _selection(vault: Vault, ledger: Ledger, step: Step | None, name: str) -> Selection:
    return Selection() if step is None else selections.load(vault, ledger.id, step.facts[name])


def _exceptions(vault: Vault, ledger: Ledger, disposal: Disposal, final: Step | None) -> Selection:
    if final is not None:
        return _selection(vault, ledger, final, "exceptions")
    return selections.load(vault, ledger.id, disposal.selection)


def _ranges(chosen: Selection) -> tuple[tuple[int, int], ...]:
    return chosen.ranges if len(chosen.ranges) <= MOST_RANGES else ()


def _position(step: Step) -> Position:
    return Position(step.facts.get("size", 0), step.facts.get("root", ""))


def _keys(vault: Vault, ledger: Ledger, history: History, destroyed: Selection) -> tuple[KeyFacts, ...]:
    """Return every key that ever wrapped one of them; what the leaves and the events say, not what a table says."""
    place = str(ledger.id)
    moves = [Move(one.to, selections.load(vault, ledger.id, one.selection)) for one in history.moves.get(place, ())]
    groups = sorted(reached(destroyed, chains.written(vault, ledger.id, destroyed), moves))
    return tuple(_key(vault, ledger.id, history, group) for group in groups)


def _key(vault: Vault, ledger: UUID, history: History, group: str) -> KeyFacts:
    made, died = history.created.get((str(ledger), group)), history.destroyed.get((str(ledger), group))
    ref = whereabouts.key_of(ledger, group)
    try:
        state = vault.provider.describe(ref).state.value
    except KeyUnavailable:
        state = "unreachable"
    return KeyFacts(
        group,
        ref,
        vault.provider.name if died is None else str(died.facts["provider"]),
        "" if made is None else _seconds(made.at),
        "" if died is None else str(died.facts["destroyed_at"]),
        state,
        0 if died is None else died.seq,
        "" if died is None else str(died.facts["for"]),
    )


def _approvers(vault: Vault, disposal: Disposal, told: Sequence[EventLeaf]) -> tuple[ApproverFacts, ...]:
    at = {one.seq: one.at for one in told if one.event == "disposal.approved"}
    made = []
    for one in disposal.approvals:
        public = canonical.unb64(one.key, 32)
        registered = [
            event.seq
            for event in told
            if event.event == "approver.registered"
            and (event.facts.get("person"), event.facts.get("public")) == (one.person, one.key)
            and event.seq < disposal.seq
        ]
        signed = rules.is_signed(disposal, vault.tenant, one.person, public, one.signature)
        made.append(
            ApproverFacts(
                one.person,
                _seconds(microseconds(at[one.seq])),
                one.seq,
                one.key,
                approvers.fingerprint(public),
                max(registered, default=0),
                one.signature,
                rules.signed_bytes(disposal, vault.tenant, one.person).decode("ascii"),
                signed and bool(registered),
            )
        )
    return tuple(made)


def rule_facts(vault: Vault, sealed: object) -> tuple[RuleFacts, ...]:
    """Return the rules that an event's details name; none where they cannot be read."""
    try:
        applied = msgspec.convert(sealed, list[Applied])
        known = {book.digest: book for book in books.adopted(vault)}
    except (msgspec.ValidationError, EvidenceError):
        return ()
    made = []
    for one in applied:
        book = known.get(canonical.unb64(one.rulebook, 32))
        rule = None if book is None else book.rules.get(one.rule)
        first, last = (0, 0) if rule is None else one.triggers.get(rule.trigger, (0, 0))
        made.append(
            RuleFacts(
                one.rule,
                one.book,
                one.rulebook,
                "" if rule is None else rule.jurisdiction,
                "" if rule is None else rule.instrument,
                "" if rule is None else rule.minimum,
                "" if rule is None else rule.trigger,
                "" if rule is None else rule.erase,
                "unknown" if rule is None else rule.status,
                "" if rule is None else rule.note,
                one.count,
                _seconds(first) if first else "",
                _seconds(last) if last else "",
                leaf.instant(one.first) if one.first else "",
                leaf.instant(one.last) if one.last else "",
            )
        )
    return tuple(made)


def _seconds(us: int) -> str:
    return leaf.instant(us // 1_000_000)
