"""Collecting the access review: one pass over the events, verified. Nothing is opened, sealed details neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from reports.access.model import AccessReview, Account, GrantUse, Reader, Taken
from reports.attach import JSON_LINES, Attachment
from reports.figures import Count
from reports.gathering import private
from reports.histogram import VolumeCount
from reports.identity import identify
from reports.kind import Progress, Wanted
from reports.model import Fault
from reports.period import contains
from reports.phrase import phrase
from reports.verdicts import EntryVerdicts
from vault.audit import audit
from vault.context import Vault
from vault.core import canonical
from vault.core.grant import Grant
from vault.core.leaf import EventLeaf, Leaf
from vault.core.standing import ProducerKey
from vault.db.store import AuditRow
from vault.verdict import Depth, LedgerReport

ROWS: Final = 24
_OPENED: Final = frozenset({"record.opened"})
_TOGETHER: Final = frozenset({"records.opened", "access.requested", "followups.opened"})
_SEARCHED: Final = frozenset({"records.searched"})
_TAKEN: Final = frozenset({"report.issued", "bundle.issued", "access.exported", "certificate.issued"})
_WATCHED: Final = _OPENED | _TOGETHER | _SEARCHED | _TAKEN | {
    "record.proved", "record.not_found", "record.gone", "record.unsound", "access.denied",
    "auth.failed", "login.failed", "login.succeeded", "report.fetched", "report.ordered", "report.order_ended",
    "grant.requested", "grant.approved", "grant.revoked", "grants.required", "user.added", "user.disabled",
    "producer.added", "producer.revoked", "person.known", "events.read",
}  # fmt: skip


@dataclass(slots=True)
class _Person:
    one_by_one: int = 0
    together: int = 0
    records: int = 0
    searches: int = 0
    taken: int = 0
    denied: int = 0
    break_glass: int = 0
    times: list[datetime] = field(default_factory=list)

    def saw(self, at: datetime) -> None:
        self.times = [min([at, *self.times]), max([at, *self.times])]


class _Counting:
    """What passes by, counted."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.events = 0
        self.people: dict[str, _Person] = {}
        self.denials: Counter[str] = Counter()
        self.strangers: Counter[str] = Counter()
        self.used: dict[str, tuple[int, datetime]] = {}
        self.logins: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.taken: list[Taken] = []
        self.total_taken = 0
        self.volume = VolumeCount(zone)

    def take(self, told: EventLeaf, at: datetime) -> None:
        facts, name = told.facts, told.event
        if name in ("auth.failed", "login.failed"):
            self.strangers[f"{name}: {facts.get('code', '?')}"] += 1
            self.failures[str(facts.get("person", ""))] += 1
            return
        if name == "login.succeeded":
            self.logins[str(facts.get("person", ""))] += 1
            return
        self._person(told, at)
        if name in _OPENED | _TOGETHER:
            self.volume.add(at)
        grant = facts.get("grant")
        if isinstance(grant, str) and grant and name in _OPENED | _TOGETHER | _SEARCHED:
            self.used[grant] = self.used.get(grant, (0, at))[0] + 1, at
        if name in _TAKEN:
            self.total_taken += 1
            self.taken.append(_taken(told, at))
            del self.taken[:-ROWS]

    def _person(self, told: EventLeaf, at: datetime) -> None:
        facts, name = told.facts, told.event
        person = self.people.setdefault(told.actor, _Person())
        if name == "access.denied":
            self.denials[f"{facts.get('act', '?')}: {facts.get('code', '?')}"] += 1
            person.denied += 1
        elif name in _OPENED:
            person.one_by_one += 1
        elif name in _TOGETHER:
            person.together += 1
            person.records += _whole(facts.get("count")) + _whole(facts.get("related"))
        elif name in _SEARCHED:
            person.searches += 1
        elif name in _TAKEN:
            person.taken += 1
        else:
            return
        if name in _OPENED | _TOGETHER and facts.get("break_glass"):
            person.break_glass += 1
        person.saw(at)


def collect(
    vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress
) -> tuple[AccessReview, list[Attachment]]:
    """Read the events of the period, verified as they pass, and return what they say of access."""
    counting = _Counting(ZoneInfo(wanted.period.zone))
    path = workdir / "access.jsonl"
    with open(path, "xb", opener=private) as file:

        def take(_ledger: UUID, _row: AuditRow, told: Leaf | None) -> None:
            if not isinstance(told, EventLeaf):
                return
            at = datetime.fromisoformat(told.at)
            if not contains(wanted.period, at):
                return
            counting.events += 1
            if told.event in _WATCHED:
                counting.take(told, at)
                line = {"seq": told.seq, "at": told.at, "actor": told.actor, "event": told.event, "facts": told.facts}
                file.write(msgspec.json.encode(line) + b"\n")

        (found,) = audit(
            vault.engine,
            vault.checkpoints,
            vault.events,
            Depth.LEAVES,
            only=str(vault.events),
            watch=take,
            progress=progress,
        )
    made = _made(vault, wanted, report, counting, found)
    return made, [
        Attachment(
            "access.jsonl", phrase("Every event about access in the period, as it stands in its leaf"), JSON_LINES, path
        )
    ]


def _made(vault: Vault, wanted: Wanted, report: str, counting: _Counting, found: LedgerReport) -> AccessReview:
    standing = vault.register.standing()
    readers = [_reader(name, one) for name, one in counting.people.items() if one.times]
    readers.sort(key=lambda one: (-(one.one_by_one + one.records), -one.denied, one.person))
    now = vault.clock()
    grants = [_use(one, counting.used, now) for one in standing.grants.values() if _concerns(one, wanted)]
    grants.sort(key=lambda one: (-one.used, one.grant))
    accounts = [
        Account(one.id, tuple(sorted(one.roles)), one.disabled, counting.logins[one.id], counting.failures[one.id])
        for one in standing.people.values()
    ]
    accounts.sort(key=lambda one: (one.disabled, -one.logins, one.person))
    producers = _producers(standing.producers)
    unit, days = counting.volume.result()
    return AccessReview(
        identification=identify(vault, None, wanted.period, wanted.purpose, report),
        events=counting.events,
        readers=tuple(readers[:ROWS]),
        total_readers=len(readers),
        records=sum(one.one_by_one + one.records for one in readers),
        searches=sum(one.searches for one in readers),
        break_glass=sum(one.break_glass for one in readers),
        denials=tuple(Count(label, count) for label, count in counting.denials.most_common(ROWS)),
        total_denials=counting.denials.total(),
        strangers=tuple(Count(label, count) for label, count in counting.strangers.most_common(ROWS)),
        total_strangers=counting.strangers.total(),
        grants=tuple(grants[:ROWS]),
        total_grants=len(grants),
        unused=sum(1 for one in grants if not one.used and one.approver),
        taken=tuple(reversed(counting.taken)),
        total_taken=counting.total_taken,
        accounts=tuple(accounts[:ROWS]),
        total_accounts=len(accounts),
        producers=tuple(producers[:ROWS]),
        total_producers=len(producers),
        policy=standing.grants_required,
        days=days,
        unit=unit,
        verdicts=EntryVerdicts(found, found.size).counts(),
        faults=tuple(Fault(one.verdict.name, one.seq, one.what) for one in found.faults[:ROWS]),
    )


def _reader(name: str, one: _Person) -> Reader:
    return Reader(
        name,
        one.one_by_one,
        one.together,
        one.records,
        one.searches,
        one.taken,
        one.denied,
        one.break_glass,
        one.times[0],
        one.times[-1],
    )


def _concerns(grant: Grant, wanted: Wanted) -> bool:
    """Whether a grant was asked for, held or ended in the period."""
    start, end = wanted.period.start, wanted.period.end
    over = grant.expires_at if grant.revoked_at is None else min(grant.revoked_at, grant.expires_at)
    begins_in_time = end is None or _moment(grant.requested_at) < end
    return begins_in_time and (start is None or _moment(over) >= start)


def _use(grant: Grant, used: Mapping[str, tuple[int, datetime]], now: int) -> GrantUse:
    count, last = used.get(grant.id, (0, None))
    return GrantUse(
        grant.id,
        grant.auditor,
        grant.approved_by or "",
        grant.state(now),
        grant.scope.fields,
        len(grant.scope.ledgers),
        _moment(grant.expires_at),
        count,
        last,
    )


def _taken(told: EventLeaf, at: datetime) -> Taken:
    facts = told.facts
    exported = told.event == "access.exported"
    kind = "export" if exported else str(facts.get("kind", told.event.partition(".")[0]))
    name = next((str(facts[word]) for word in ("report", "bundle", "request") if word in facts), "")
    digest = str(facts.get("sha256", ""))
    text = exported or (kind in ("bundle", "dossier") and facts.get("fields") != "masked")
    shown = canonical.unb64(digest, 32).hex() if digest else ""
    return Taken(at, kind, name, str(facts.get("recipient", told.actor)), _whole(facts.get("count")), shown, text)


def _producers(keys: Mapping[str, ProducerKey]) -> list[tuple[str, int, int]]:
    live: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for key in keys.values():
        (ended if key.revoked_at is not None else live)[key.producer] += 1
    return sorted((name, live[name], ended[name]) for name in live | ended)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC)
