"""Destroying: steps 5 to 10 of a disposal. Until 7 nothing is lost, after it nothing comes back.

    5 close the groups that ever wrapped one of the doomed; look at everything in them again, as of now
    6 move what survives to where it belongs, journal first
    7 ``disposal.destroying``, decided under the events ledger's lock: approvals, cooling-off and manifest as they stand
      at that moment, and no hold, rule book or date since the look, else back to 5. Before it, whatever would stop 8
      is looked for (vault.shred.check), so that nothing is committed that cannot be carried out. THE COMMIT POINT
    8 destroy the provider keys    9 delete what they leave behind    10 prove that opening fails; ``disposal.done``

Where a disposal stands is what the events say, so whoever runs it again goes on: before 7 from 5, after it from 8. What
survived once (it was held, and moved) is an exception of this disposal for good, and is planned anew when it is free.

Where others vouch for the vault's history (vault.outside), destruction begins some minutes after what is due is due, as
far as clocks may be apart; and where the policy is ``closed``, no key dies before they have seen that it is to: between
7 and 8 the same call stops, and goes on once they have.

One at a time for each ledger: whoever disposes, re-keys or replays holds a lock, and while a disposal is past its
commit point no other begins. Should its doomed have been moved on all the same, the groups that they are in die too.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from uuid import UUID

from retention import dating
from retention.history import History
from retention.judging import Sight
from retention.looking import Progress, look
from retention.plan import chain, judge_of, manifest_of, quiet
from vault import events, generations, journal, ledgers, moving, outside, selections, shred, whereabouts
from vault.context import Vault
from vault.core import canonical, leaf
from vault.core import disposal as rules
from vault.core.errors import Denied, Forked, Missing, Unavailable, Unknown, UsageError, VaultError
from vault.core.governance import Disposal
from vault.core.groups import stem_of
from vault.core.selection import Selection
from vault.core.standing import Standing
from vault.events import Event, Ruling
from vault.ledgers import Ledger
from vault.policy import CLOCKS_APART

_TRIES: Final = 5
MOST_AT_ONCE: Final = 40
"""Groups that the event at the commit point can tell of. A plan takes fewer: re-keying adds to them until then."""


class Outcome(NamedTuple):
    """What a run came to.

    Attributes:
        entries: destroyed by this disposal.
        excepted: planned, and left behind.
        epochs_tried: of the dead groups, none of which opened.
    """

    id: str
    ledger: str
    entries: int
    excepted: int
    epochs_tried: int


class Stale(VaultError):
    """Something became kept since the look: look again. Never shown to anybody."""


class _Final(NamedTuple):
    """What is destroyed in the end, of what was planned."""

    doomed: Selection
    planned: Selection
    groups: tuple[str, ...]
    sight: Sight

    def saved(self, reason: str) -> int:
        """Count those of the plan that are left behind for a reason."""
        return len(Selection.of(self.sight.saved.get(reason, ())) & self.planned)


def find(vault: Vault, name: str) -> Disposal:
    """Return a disposal. Raises ``Unknown`` where there is none of that id."""
    found = vault.register.standing().governance.disposals.get(name)
    if found is None:
        raise Unknown("there is no such disposal")
    return found


def ledger_of(vault: Vault, disposal: Disposal) -> Ledger:
    """Return a disposal's ledger. Raises ``Missing`` where the database does not have it."""
    known = [one for one in ledgers.listing(vault) if str(one.id) == disposal.ledger]
    if not known:
        raise Missing("the ledger of a disposal is not there", disposal.ledger)
    return known[0]


def run(vault: Vault, name: str, progress: Progress = quiet) -> Outcome:
    """Take a disposal to its end from wherever it stands. One that is done stays so.

    Raises:
        Unknown: there is no such disposal.
        Denied: it is cancelled, not approved, or cooling off; or an approver's key was removed; or others saw it begin
            before it was due.
        Modified, Missing: what is stored is not what was planned. Nothing was destroyed, unless it had begun before.
        Unavailable: the provider, the journal or the database is out of reach, somebody else works on the keys of this
            ledger, another disposal of it has begun to destroy, or a closed policy waits for witnesses: the same call
            goes on later.
        UsageError: the vault is not opened for retention, or more groups would die than one event can tell of.
    """
    with journal.deciding(vault.rewraps, UUID(find(vault, name).ledger)):
        disposal = find(vault, name)
        if disposal.state == "done":
            return _outcome(History.read(vault), disposal)
        if disposal.state != "destroying":
            if (why := rules.why_not_now(disposal, vault.clock())) is not None:
                raise Denied(why)
            _require_first(vault, disposal)
            _require_vouched(vault, disposal)
            if not _settle(vault, ledger_of(vault, disposal), disposal, progress):
                _end(vault, disposal, 0, 0, 0)
                return Outcome(name, disposal.ledger, 0, disposal.count, 0)
        return _forward(vault, find(vault, name))


def _settle(vault: Vault, ledger: Ledger, disposal: Disposal, progress: Progress) -> bool:
    """Steps 5 to 7. Returns whether anything is left to destroy."""
    planned = selections.load(vault, ledger.id, disposal.selection)
    dating.date_all(vault, ledger)  # what was reported by now counts
    for _ in range(_TRIES):
        manifest = manifest_of(vault, ledger.id, planned)
        now = vault.register.standing()
        why = rules.why_no_destruction(now.governance, now.people, disposal, vault.tenant, manifest, vault.clock())
        if why is not None:
            raise Denied(why)
        # 5: whatever comes after this look at the events is caught by 7
        history = History.read(vault)
        asked = planned - _set_aside(vault, ledger.id, history, disposal)
        groups = chain(vault, ledger.id, asked, ())
        if len(groups) > MOST_AT_ONCE:
            raise UsageError(f"{len(groups)} groups would have to die together: cancel the disposal, and plan again")
        generations.close(vault, ledger.id, groups)
        sight = _look(vault, ledger, disposal, history, asked, groups, progress)
        doomed = Selection.of(seq for seq, _ in sight.doomed)
        if not doomed.ranges:
            return False
        # 6
        moving.move_surveyed(vault, ledger.id, groups, sight.targets(), reason=disposal.id)
        if whereabouts.inside(vault, ledger.id, groups) != doomed:
            continue  # somebody else moved entries meanwhile
        # 7
        shred.check(vault, ledger.id, groups, expect=doomed)
        dating.date_all(vault, ledger_of(vault, disposal))  # what dates a record now makes the look stale
        try:
            final = _Final(doomed, planned, groups, sight)
            _commit(vault, ledger, disposal, manifest, history.size, final)
        except Stale:
            continue
        return True
    raise Unavailable("holds, rules or keys changed at every look: run the same disposal again")


def _require_first(vault: Vault, disposal: Disposal) -> None:
    """Raise ``Unavailable`` while another disposal of the ledger has begun to destroy: it would move the doomed of that
    to keys that nobody decided to destroy."""
    for one in rules.begun(vault.register.standing().governance, UUID(disposal.ledger)):
        raise Unavailable(f"disposal {one.id} of this ledger has begun to destroy: run that one to its end first")


def _require_vouched(vault: Vault, disposal: Disposal) -> None:
    """Raise where the policy of witnesses says to wait (``Unavailable``), or where their clocks may be behind the date
    that they are to confirm (``Denied``)."""
    outside.require_met(vault)
    begins = disposal.due + int(CLOCKS_APART.total_seconds())
    if disposal.due and vault.checkpoints.policy().active and vault.clock() < begins * 1_000_000:
        raise Denied(f"it was due a moment ago, and clocks differ: its destruction begins at {leaf.instant(begins)}")


def _require_seen(vault: Vault, disposal: Disposal) -> None:
    """Between 7 and 8: raise where others have still to see that it begins (``Unavailable``), or saw that before it was
    due (``Denied``): this clock ran ahead, and its keys stay."""
    outside.require_covered(vault, disposal.destroying_seq)
    seen = outside.time_of(vault.checkpoints, vault.events, disposal.destroying_seq)
    if seen is not None and seen.independent and seen.at.timestamp() < disposal.due:
        at, due = leaf.instant(int(seen.at.timestamp())), leaf.instant(disposal.due)
        raise Denied(f"others saw by {at} that it begins, and it was due at {due}: this clock ran ahead, no key dies")


def _set_aside(vault: Vault, ledger: UUID, history: History, disposal: Disposal) -> Selection:
    """Return what this disposal moved to safety before."""
    moved = Selection()
    for one in history.moves.get(str(ledger), ()):
        if one.of == disposal.id:
            moved |= selections.load(vault, ledger, one.selection)
    return moved


def _look(
    vault: Vault,
    ledger: Ledger,
    disposal: Disposal,
    history: History,
    asked: Selection,
    groups: tuple[str, ...],
    progress: Progress,
) -> Sight:
    governance = vault.register.standing().governance
    now = vault.clock() // 1_000_000
    early = disposal.kind == "early"
    judge = judge_of(vault, ledger, history, governance, now=now, among=asked, early=early)
    return look(vault, ledger.id, groups, judge, progress)


def _commit(vault: Vault, ledger: Ledger, disposal: Disposal, manifest: bytes, checked: int, final: _Final) -> None:
    """Step 7: THE COMMIT POINT.

    Raises:
        Stale: something may be kept by now that was not when it was looked at.
        Denied: the disposal was cancelled, or an approval does not count any more.
    """
    checkpoint = vault.checkpoints.read(ledger.id)
    if checkpoint is None:
        raise Forked("the checkpoint outside the database is missing", disposal.ledger)
    excepted = final.planned - final.doomed
    facts: dict[str, Any] = {
        "disposal": disposal.id,
        "manifest": disposal.manifest,
        "selection": selections.keep(vault, ledger.id, final.doomed),
        "count": len(final.doomed),
        "exceptions": selections.keep(vault, ledger.id, excepted),
        "excepted": len(excepted),
        **{reason: final.saved(reason) for reason in ("held", "extended", "open_ended")},
        "holds_at": checked,
        "groups": list(final.groups),
        "keys": [whereabouts.key_of(ledger.id, group) for group in final.groups],
        "size": checkpoint.size,
        "root": canonical.b64(checkpoint.root),
    }
    details = {"rules": final.sight.rules()}

    def decide(standing: Standing) -> Ruling[None]:
        found = standing.governance.disposals[disposal.id]
        if found.state == "destroying":
            return Ruling([], None)  # somebody else was first
        why = rules.why_no_destruction(
            standing.governance, standing.people, found, vault.tenant, manifest, vault.clock()
        )
        if why is not None:
            raise Denied(why)
        if rules.is_stale(standing.governance, checked):
            raise Stale("something became kept meanwhile")
        return Ruling([Event("disposal.destroying", facts, details)], None)

    events.rule(vault, decide)


def _forward(vault: Vault, disposal: Disposal) -> Outcome:
    """Steps 8 to 10, for a disposal past its commit point. Each may have been done before."""
    _require_seen(vault, disposal)
    ledger = UUID(disposal.ledger)
    history = History.read(vault)
    told = _destroying(history, disposal)
    doomed = selections.load(vault, ledger, told["selection"])
    groups = _extended(vault, ledger, disposal, history, tuple(told["groups"]), doomed)
    # Before a key dies it is seen there that its group holds the doomed and nothing else; after it, that they are gone.
    done = shred.destroy(vault, ledger, groups, reason=disposal.id, expect=doomed)
    _end(vault, disposal, len(doomed), done.epochs_tried, done.deleted)
    return Outcome(disposal.id, disposal.ledger, len(doomed), told["excepted"], done.epochs_tried)


def _extended(
    vault: Vault, ledger: UUID, disposal: Disposal, history: History, groups: tuple[str, ...], doomed: Selection
) -> tuple[str, ...]:
    """Return the groups that have to die by now. The doomed may have been moved on since the commit point; what else is
    in the groups that they came to moves to the next generation, where it is what it was."""
    dead = [group for (_, group), one in history.destroyed.items() if one.facts.get("for") == disposal.id]
    more = set(chain(vault, ledger, doomed, ())) - set(groups)
    if more:
        generations.close(vault, ledger, more)
        if (whereabouts.inside(vault, ledger, sorted(more)) - doomed).ranges:
            moving.move(
                vault,
                ledger,
                sorted(more),
                lambda one: None if one.seq in doomed else stem_of(one.group),
                reason=disposal.id,
            )
    return tuple(sorted({*groups, *dead, *more}))


def _end(vault: Vault, disposal: Disposal, entries: int, epochs_tried: int, deleted: int) -> None:
    """Tell that it is done, once. ``deleted`` are the rows that this run deleted."""
    checkpoint = vault.checkpoints.read(UUID(disposal.ledger))
    if checkpoint is None:
        raise Forked("the checkpoint outside the database is missing", disposal.ledger)
    facts = {
        "disposal": disposal.id,
        "manifest": disposal.manifest,
        "count": entries,
        "ledger": disposal.ledger,
        "deleted": deleted,
        "epochs_tried": epochs_tried,
        "size": checkpoint.size,
        "root": canonical.b64(checkpoint.root),
    }

    def decide(standing: Standing) -> Ruling[None]:
        state = standing.governance.disposals[disposal.id].state
        if state == "done":
            return Ruling([], None)
        if state != ("destroying" if entries else "intended"):
            raise Denied(f"the disposal is {state}")
        return Ruling([Event("disposal.done", facts)], None)

    events.rule(vault, decide)


def _destroying(history: History, disposal: Disposal) -> dict[str, Any]:
    for step in history.disposals.get(disposal.id, ()):
        if step.name == "disposal.destroying":
            return dict(step.facts)
    raise UsageError("the disposal has not begun to destroy")


def _outcome(history: History, disposal: Disposal) -> Outcome:
    done = next(step for step in reversed(history.disposals[disposal.id]) if step.name == "disposal.done")
    entries = done.facts["count"]
    return Outcome(disposal.id, disposal.ledger, entries, disposal.count - entries, done.facts["epochs_tried"])
