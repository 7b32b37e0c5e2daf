"""Dating: what starts the periods of records after they were written, from follow-ups and from people.

A run over the follow-ups of a ledger:

    1. find those that came in since the last run, and those whose record was not there then. Every entry since is held
       against its leaf for that: a hidden follow-up could have made a record be kept longer
    2. event ``followups.opened``: nobody reads unseen
    3. open them (vault.followups); an event ``record.dated`` for each record that one dates
    4. event ``followups.read``: up to where it looked, which ones wait for a record that is still missing, and how much
       of what they say counts for nothing: another producer's word ends no waiting, an officer's does (``tell``)

A run that dies, or finds a follow-up that is not what its leaf promised, begins again where the last ``followups.read``
says; what was dated already is not dated twice. Nothing moves here: a dated record goes to its month's group when its
own group is worked on (retention.plan).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from retention.effective import Effective
from retention.history import History
from vault import erasure, events, followups, grants, ledgers, matching
from vault.context import Vault
from vault.core import canonical, dating, leaf
from vault.core.errors import Denied, Destroyed, EvidenceError, Modified, Unavailable, UsageError, VaultError
from vault.core.selection import Selection
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.followups import FollowUp, Target
from vault.ledgers import Ledger
from vault.reading import denial
from vault.sealing import id_tag

_BATCH: Final = 250
_WORTH_TELLING: Final = 10_000
"""Entries without a follow-up; so many are not looked at twice."""
_MOST_WAITING: Final = 200
"""Follow-ups that wait for their record, a ledger: what fits into an event. See ``dating.within``."""


def date_all(vault: Vault, only: Ledger | None = None) -> dict[str, int]:
    """Date records of every ledger by the follow-ups that came in. Running it again changes nothing.

    Args:
        only: look at this ledger alone, so that a damaged one stops nobody who works on another.

    Returns:
        How many follow-ups were opened, records dated, follow-ups left waiting and given up, and datings that an
        officer has to tell because another producer than the record's reports them.

    Raises:
        Forked, Missing, Modified: a ledger is not what was promised; the first of them, when all others are done.
        KeyUnavailable: follow-ups cannot be opened now.
    """
    total = {"opened": 0, "dated": 0, "waiting": 0, "given_up": 0, "not_counted": 0}
    history = History.read(vault)
    fault: EvidenceError | None = None
    for ledger in ledgers.listing(vault) if only is None else (only,):
        if ledger.row.kind == "decisions":
            try:
                for name, number in _date(vault, ledger, history).items():
                    total[name] += number
            except EvidenceError as error:
                fault = fault or error
    if fault is not None:
        raise fault
    return total


def tell(vault: Vault, ledger: Ledger, record_id: str, trigger: str, at: int, reason: str) -> int:
    """Date one record by hand: an officer tells of an event that no follow-up reports.

    Args:
        at: microseconds since the epoch; whole seconds count.

    Returns:
        The position of the event.

    Raises:
        UsageError: no such record or trigger, no reason, or the event has not happened yet.
        Denied: whoever tells is no compliance officer who logged in.
        Destroyed: the record is gone; nothing is told of it.
    """
    grants.require_text("reason", reason)
    tag = id_tag(vault.ring.open_ledger_key(vault.tenant_key, ledger.id, ledger.row.id_key), record_id)
    place = {"ledger": str(ledger.id), "id_tag": canonical.b64(tag)}
    found: Target | None = None
    if "officer" in vault.actor.roles_by(vault.register.standing()):
        found = followups.find(vault, ledger, [record_id]).get(record_id)
    gone = None if found is None else _gone(vault, ledger, found.seq)

    def decide(standing: Standing) -> Ruling[None]:
        why = dating.why_not(vault.actor.roles_by(standing), trigger, at, vault.clock())
        if why is not None:
            code = "role" if why == dating.NO_OFFICER else "unfit"
            error: VaultError = Denied(why) if code == "role" else UsageError(why)
            return refuse(error, denial("record.date", code, {**place}))
        if found is None:
            return refuse(UsageError("no record with this id is in the ledger"), Event("record.not_found", place))
        if gone is not None:
            return refuse(gone, denial("record.date", "unfit", {**place}))
        return Ruling([_dated(ledger, found.seq, trigger, at, 0, {"reason": reason})], None)

    told, _ = events.rule(vault, decide)
    return told.seq


class Change(NamedTuple):
    """Until when a record is kept without one dating, and with it: Unix seconds, None while it is open-ended."""

    before: int | None
    after: int | None


def change(vault: Vault, ledger: Ledger, event: int) -> Change | None:
    """Return what the dating of an event changed, as of now; None where the record cannot be opened to say so."""
    place, history = str(ledger.id), History.read(vault)
    dated = history.dated(place)
    seq = next(seq for seq, all_ in dated.items() if any(one.event == event for one in all_))
    without = {**dated, seq: tuple(one for one in dated[seq] if one.event != event)}
    try:
        (entry,) = matching.entries(vault, ledger.id, Selection.of([seq]))
        record = matching.Reader(vault, ledger.id).record(entry)
        before, after = (
            Effective(vault, ledger, one).of(entry.leaf, entry.facets, record).keep_until
            for one in (replace(history, datings={**history.datings, place: without}), history)
        )
    except (EvidenceError, Unavailable):
        return None
    return Change(before, after)


def _gone(vault: Vault, ledger: Ledger, seq: int) -> Destroyed | None:
    """Return what is said of a record that was destroyed; raises ``Missing`` where no disposal explains it."""
    chosen = Selection.of([seq])
    if matching.standing_of(vault, ledger.id, chosen):
        return None
    (entry,) = matching.entries(vault, ledger.id, chosen)
    told = erasure.explain(vault, ledger.id, entry.leaf)
    return Destroyed(told.disposal, told.at)


def _date(vault: Vault, ledger: Ledger, history: History) -> dict[str, int]:
    place = str(ledger.id)
    looked = history.followed.get(place)
    first, waiting = (0, ()) if looked is None else (looked.size, looked.waiting)
    if ledger.size <= first:
        return {}
    seqs = sorted({*waiting, *followups.positions(vault, ledger, first, ledger.size)})
    if not seqs:
        if ledger.size - first >= _WORTH_TELLING:
            nothing = {"opened": 0, "dated": 0, "waiting": 0, "given_up": 0, "not_counted": 0}
            events.record(vault, "followups.read", {"ledger": place, "size": ledger.size, "waiting_for": [], **nothing})
        return {}
    facts = {"ledger": place, "count": len(seqs), "first": seqs[0], "last": seqs[-1]}
    events.record(vault, "followups.opened", facts)
    known = {(seq, one.trigger, one.by) for seq, all_ in history.dated(place).items() for one in all_}
    still: list[tuple[int, str]] = []
    unsound: list[int] = []
    missing: set[str] = set()
    dated = others = 0
    for start in range(0, len(seqs), _BATCH):
        reports = followups.read(vault, ledger, seqs[start : start + _BATCH])
        told = [one for report in reports.found for one in _reported(ledger, report, known)]
        happened = [one for one in told if one is not None]
        if happened:
            events.record_all(vault, happened)
        dated += len(happened)
        others += len(told) - len(happened)
        still += [(one.seq, one.producer) for one in reports.found if one.missing]
        unsound += reports.unsound
        missing.update(*(one.missing for one in reports.found))
    if unsound:  # it could have made a record be kept longer
        raise Modified("a follow-up is not what its leaf promised", place, unsound[0])
    followups.require_absent(vault, ledger, missing)
    kept = dating.within(still, _MOST_WAITING)
    counts = {"opened": len(seqs), "dated": dated, "waiting": len(kept), "given_up": len(still) - len(kept)}
    counts["not_counted"] = others
    events.record(vault, "followups.read", {"ledger": place, "size": ledger.size, "waiting_for": kept, **counts})
    return counts


def _reported(ledger: Ledger, one: FollowUp, known: set[tuple[int, str, int]]) -> Iterator[Event | None]:
    """Yield what a follow-up dates; None for what counts for nothing."""
    for target in one.targets:
        told = dating.reported(
            one.occurred, one.executed, one.received, waits=target.waits, own=target.producer == one.producer
        )
        if told is None:
            yield None
        elif (target.seq, told[0], one.seq) not in known:
            known.add((target.seq, told[0], one.seq))
            yield _dated(ledger, target.seq, *told, one.seq, None)


def _dated(ledger: Ledger, seq: int, trigger: str, at: int, by: int, details: dict[str, Any] | None) -> Event:
    facts = {
        "ledger": str(ledger.id),
        "seq": seq,
        "trigger": trigger,
        "at": leaf.instant(at // 1_000_000),
        "by": by,
    }
    return Event("record.dated", facts, details)
