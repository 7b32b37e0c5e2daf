"""Plans: which entries of a ledger are to be destroyed, frozen and hashed for two people to sign.

Steps 1 and 2 of a disposal:

    1. open every entry of the groups that may hold something due, and judge it (retention.judging)
    2. freeze the positions and the manifest; event ``disposal.planned``

A plan destroys nothing and closes nothing. What is true when the keys die is looked at again then (retention.disposal).
One disposal takes so many groups that its events stay small; where more are due, another plan takes them.
"""

from __future__ import annotations

from base64 import b32encode
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from os import urandom
from typing import Any, Final, NamedTuple
from uuid import UUID

from retention import dating
from retention.effective import Effective
from retention.held import Held
from retention.history import History
from retention.judging import EXCEPTIONS, Judge, Sight
from retention.looking import Progress, look, look_at
from vault import chains, events, grants, matching, selections, whereabouts
from vault.context import Vault
from vault.core import canonical, leaf
from vault.core import disposal as rules
from vault.core.errors import Denied, Missing, Modified, UsageError, VaultError
from vault.core.governance import DisposalKind, Governance
from vault.core.groups import HELD, OPEN, due_at, generation_of, stem_of
from vault.core.manifest import Manifest
from vault.core.selection import Selection
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.ledgers import Ledger

WORKER: Final = "worker"
"""Who plans by itself. It approves nothing."""
MOST_GROUPS: Final = 32
"""Groups that one disposal may end: their names and keys stand in one event's leaf."""
MOST_EARLY: Final = 1000
_AT_ONCE: Final = 12
_ENOUGH: Final = 20


class Plan(NamedTuple):
    """What a plan came to.

    Attributes:
        id: of the disposal; "" where nothing was due, and nothing was written.
        excepted: reason -> entries looked at and left behind.
        holds: hold -> entries it keeps, of those looked at.
    """

    id: str
    kind: DisposalKind
    ledger: UUID
    entries: int
    groups: tuple[str, ...]
    manifest: str
    excepted: Mapping[str, int]
    holds: Mapping[str, int]
    looked: int


class CoolingOff(NamedTuple):
    """Seconds between the second approval and the destruction, in which anybody can object. Fixed with the plan."""

    expiry: int = 72 * 3600
    early: int = 72 * 3600

    def of(self, kind: DisposalKind) -> int:
        return self.early if kind == "early" else self.expiry


class Stale(VaultError):
    """Somebody planned meanwhile: look again. Never shown to anybody."""


def quiet(_done: int, _total: int | None) -> None:
    """Tell nobody of progress."""


def plan(
    vault: Vault,
    ledger: Ledger,
    *,
    now: int | None = None,
    month: str | None = None,
    kind: DisposalKind = "expiry",
    records: Sequence[int] = (),
    reason: str = "",
    cooling_off: CoolingOff = CoolingOff(),  # noqa: B008
    progress: Progress = quiet,
) -> Plan:
    """Plan a disposal of what is due in a ledger, the events ledger's sealed details included.

    Args:
        now: Unix seconds; None asks the vault's clock.
        month: only the groups of this month, ``YYYY-MM``.
        kind: ``early`` destroys ``records`` whatever their dates.
        records: positions.
        reason: sealed into the event; an early disposal needs one.

    Raises:
        Denied: whoever acts may not plan; or a record to be destroyed early is held.
        UsageError: no such month; a record that is planned already, or is not there.
        Modified, Missing, KeyUnavailable, KeyGone: an entry does not open. Nothing is planned beside it.
    """
    _require_may_plan(vault)
    now = vault.clock() // 1_000_000 if now is None else now
    if reason or kind == "early":
        grants.require_text("reason", reason)
    dating.date_all(vault)  # what was reported by now counts
    while True:
        history = History.read(vault)
        governance = vault.register.standing().governance
        judge = judge_of(vault, ledger, history, governance, now=now, early=kind == "early")
        if kind == "early":
            sight = _look_early(vault, ledger.id, records, judge)
        else:
            sight = _look_due(vault, ledger.id, history, now, month, judge, progress)
            if (fitting := _fitting(vault, ledger.id, sight)) is not None:
                judge = judge_of(vault, ledger, history, governance, now=now, among=fitting)
                sight = look(vault, ledger.id, sorted(sight.groups), judge, progress)
        made = _made(vault, ledger.id, kind, sight)
        if not made.entries:
            return made
        known = {one.id for one in rules.unfinished(governance, ledger.id)}
        try:
            return _tell(vault, made, sight, history, known, reason, cooling_off.of(kind))
        except Stale:
            continue


def judge_of(
    vault: Vault,
    ledger: Ledger,
    history: History,
    governance: Governance,
    *,
    now: int,
    among: Selection | None = None,
    early: bool = False,
) -> Judge:
    """Return what judges the entries of a ledger by what was decided up to a history and no later than a governance.

    Args:
        among: what one disposal was planned for. None plans: what others were planned for is left to them.
    """
    besides = Selection()
    if among is None:
        for one in rules.unfinished(governance, ledger.id):
            besides |= selections.load(vault, ledger.id, one.selection)
    effective, held = Effective(vault, ledger, history), Held(vault, ledger.id, governance)
    return Judge(effective.of, held.of, now=now, among=among, besides=besides, early=early)


def chain(vault: Vault, ledger: UUID, chosen: Selection, inside: Iterable[str]) -> tuple[str, ...]:
    """Return the groups that have to die for these entries to be destroyed, sorted.

    Args:
        inside: those that hold them now.

    Raises:
        Forked, Missing, Modified: as ``vault.chains.chain``; or a key is where no event moved it to.
    """
    found = chains.chain(vault, ledger, chosen)
    if strange := set(inside) - found:
        raise Modified(f"an entry's key is in group {min(strange)}, and no event moved it there", str(ledger))
    return tuple(sorted(found, key=_order))


def manifest_of(vault: Vault, ledger: UUID, chosen: Selection) -> bytes:
    """Return the manifest of these positions, made from the leaves that stand there now.

    Raises:
        Missing: a position has no leaf.
    """
    made = Manifest(ledger)
    for seq, hashed in whereabouts.leaf_hashes(vault, ledger, chosen):
        made.add(seq, hashed)
    if made.count != len(chosen):
        raise Missing("the leaf of a planned entry is not there", str(ledger))
    return made.digest()


def _require_may_plan(vault: Vault) -> None:
    if _why_not(vault, vault.register.standing()) is not None:
        events.rule(vault, lambda standing: _denied(_why_not(vault, standing)))


def _why_not(vault: Vault, standing: Standing) -> str | None:
    trusted = vault.actor.break_glass or vault.actor.name == WORKER
    return rules.why_no_plan(vault.actor.roles_by(standing), trusted=trusted)


def _denied(why: str | None) -> Ruling[Any]:
    if why is None:
        return Ruling([], None)
    return refuse(Denied(why), _denial("disposal.plan", "role"))


def _denial(act: str, code: str) -> Event:
    return Event("access.denied", {"act": act, "code": code})


def _look_due(
    vault: Vault, ledger: UUID, history: History, now: int, month: str | None, judge: Judge, progress: Progress
) -> Sight:
    candidates = _candidates(vault, ledger, history, now, month)
    sight = Sight()
    for at in range(0, len(candidates), _AT_ONCE):
        look(vault, ledger, candidates[at : at + _AT_ONCE], judge, progress, into=sight)
        if len(sight.groups) >= _ENOUGH:
            break
    return sight


def _fitting(vault: Vault, ledger: UUID, sight: Sight) -> Selection | None:
    """Return what one disposal can take of what is due where it would end too many groups; None where it takes all.

    Group by group, the oldest first; where a single one is too much (what is in it was in many), the oldest entries of
    it. What is left out is for the next plan.
    """
    doomed = Selection.of(seq for seq, _ in sight.doomed)
    reach = chains.reach(vault, ledger, doomed)
    if len(reach(doomed)) <= MOST_GROUPS:
        return None
    taken = Selection()
    for group in sorted(sight.groups, key=_order):
        part = taken | (doomed & whereabouts.inside(vault, ledger, (group,)))
        if len(reach(part)) <= MOST_GROUPS:
            taken = part
        elif not taken.ranges:
            seqs = list(part)
            # The first so many whose groups fit: more entries never end fewer groups.
            fits = bisect_right(range(len(seqs)), MOST_GROUPS, key=lambda at: len(reach(Selection.of(seqs[: at + 1]))))
            return Selection.of(seqs[: max(fits, 1)])
    return taken


def _require_month(month: str) -> None:
    try:
        if due_at(month) is not None:
            return
    except (UsageError, ValueError):  # no month, or none of a year that dates can have
        pass
    raise UsageError("--month is YYYY-MM")


def _candidates(vault: Vault, ledger: UUID, history: History, now: int, month: str | None) -> list[str]:
    """Return the groups that may hold something due: months that are over, oldest first, and what was moved aside."""
    if month is not None:
        _require_month(month)
    states = whereabouts.states(vault, ledger)
    dated = bool(history.dated(str(ledger)))  # nothing but a date ends being open-ended

    def may(stem: str) -> bool:
        if month is not None and stem != month:
            return False
        due = due_at(stem)
        return stem == HELD or (stem == OPEN and dated) or (due is not None and due <= now)

    found = [name for name, state in states.items() if state != "destroyed" and may(stem_of(name))]
    return sorted(found, key=_order)


def _order(name: str) -> tuple[str, int]:
    return stem_of(name), generation_of(name)


def _look_early(vault: Vault, ledger: UUID, records: Collection[int], judge: Judge) -> Sight:
    if not 0 < len(set(records)) <= MOST_EARLY:
        raise UsageError(f"an early disposal names 1 to {MOST_EARLY} records")
    wanted = sorted(set(records))
    if len(matching.standing_of(vault, ledger, Selection.of(wanted))) < len(wanted):
        raise UsageError("a record is not there any more: its key is destroyed")
    states = whereabouts.states(vault, ledger)
    sight = look_at(vault, ledger, [name for name, state in states.items() if state != "destroyed"], wanted, judge)
    if sight.holds:
        raise Denied(f"held records are not destroyed early: {', '.join(sorted(sight.holds))}")
    if sight.saved:
        raise UsageError("another disposal was planned for one of these records: see 'reasonvault disposal list'")
    return sight


def _made(vault: Vault, ledger: UUID, kind: DisposalKind, sight: Sight) -> Plan:
    sight.doomed.sort()
    manifest = Manifest(ledger)
    for seq, hashed in sight.doomed:
        manifest.add(seq, hashed)
    groups: tuple[str, ...] = ()
    if sight.doomed:
        groups = chain(vault, ledger, Selection.of(seq for seq, _ in sight.doomed), sight.groups)
    if len(groups) > MOST_GROUPS:
        raise UsageError(f"{len(groups)} groups would have to die together: plan month by month (--month)")
    digest = canonical.b64(manifest.digest())
    return Plan("", kind, ledger, manifest.count, groups, digest, sight.counts, sight.holds, sight.looked)


def _tell(
    vault: Vault,
    made: Plan,
    sight: Sight,
    history: History,
    known: Collection[str],
    reason: str,
    cooling_off: int,
) -> Plan:
    """Step 2."""
    chosen = Selection.of(seq for seq, _ in sight.doomed)
    name = "d-" + b32encode(urandom(10)).decode().lower()
    facts: dict[str, Any] = {
        "disposal": name,
        "kind": made.kind,
        "ledger": str(made.ledger),
        "manifest": made.manifest,
        "selection": selections.keep(vault, made.ledger, chosen),
        "count": made.entries,
        "groups": list(made.groups),
        "cooling_off": cooling_off,
        "rulebook": canonical.b64(history.books[-1].digest),
        "checked": history.size,
        **{reason: made.excepted.get(reason, 0) for reason in EXCEPTIONS},
    }
    if made.kind == "expiry":
        facts["due"] = leaf.instant(sight.latest)
    details: dict[str, Any] = {"rules": sight.rules(), "holds": dict(made.holds)}
    details |= {"reason": reason} if reason else {}

    def decide(standing: Standing) -> Ruling[None]:
        if (why := _why_not(vault, standing)) is not None:
            return _denied(why)
        if {one.id for one in rules.unfinished(standing.governance, made.ledger)} - set(known):
            raise Stale("another disposal was planned meanwhile")
        return Ruling([Event("disposal.planned", facts, details)], None)

    events.rule(vault, decide)
    return made._replace(id=name)
