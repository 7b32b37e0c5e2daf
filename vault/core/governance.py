"""Governance: what two people decided about keeping and destroying, as the events ledger says.

Plain values, taken from events by ``vault.core.standing``. Who may do what next is decided beside each noun
(``vault.core.hold``, ``vault.core.disposal``, ...), never here. Times are microseconds since the epoch unless a name
says otherwise; digests are base64url as events spell them; people are pseudonymous ids.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, cast

from vault.core import canonical
from vault.core.errors import Modified
from vault.core.leaf import microseconds

DisposalKind = Literal["expiry", "early"]
DisposalState = Literal["planned", "intended", "destroying", "done", "cancelled"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rule book that somebody wants adopted."""

    rulebook: str
    version: str
    by: str
    seq: int


@dataclass(frozen=True, slots=True)
class Import:
    """Old records that may come in with their own dates, once somebody else approved.

    Attributes:
        sha256: of the file, base64url.
        first, last: bounds of ``occurred_at`` that the file was said to hold, both included.
        request: position of the asking.
    """

    id: str
    ledger: str
    producer: str
    sha256: str
    count: int
    first: int
    last: int
    requested_by: str
    request: int
    approved_by: str | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class ApproverKey:
    """The key that a person signs disposals with. ``seq`` is where it was registered."""

    person: str
    public: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class HoldScope:
    """Which records a hold keeps. Empty or None leaves that term out; all terms must meet.

    Attributes:
        ledgers: uuids.
        tags: keyed digests of ids (vault.core.hold); one of them must be the record's.
        start, end: bounds of ``occurred_at``, the end excluded.
    """

    ledgers: tuple[str, ...]
    tags: frozenset[str] = frozenset()
    classes: tuple[str, ...] = ()
    jurisdictions: tuple[str, ...] = ()
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold and what became of it.

    Attributes:
        case: pseudonym of the case.
        sets: (ledger, selection) of the records found when it was placed, and of those inherited since.
        looked: (ledger, size): entries of a ledger that were looked at for it.
        release_by: who asked for its release; a review takes that back.
    """

    id: str
    case: str
    scope: HoldScope
    sets: tuple[tuple[str, str], ...]
    placed_by: str
    placed_at: int
    seq: int
    review_at: int | None = None
    release_by: str | None = None
    release_seq: int | None = None
    released_by: str | None = None
    looked: tuple[tuple[str, int], ...] = ()

    @property
    def is_open(self) -> bool:
        return self.released_by is None


@dataclass(frozen=True, slots=True)
class Approval:
    """One approver's signature under a disposal. ``seq`` is where the event stands."""

    person: str
    seq: int
    signature: str
    key: str


@dataclass(frozen=True, slots=True)
class Disposal:
    """One disposal and how far it came.

    Attributes:
        manifest: hash of what was planned, which the approvers sign.
        selection: the positions of the plan; ``final`` those that are really destroyed, once that began.
        due: Unix seconds of the latest date among them; 0 for an early one.
        cooling_off: seconds from the intent on, fixed with the plan.
        not_before: Unix seconds at which cooling-off was told to end; 0 before the intent.
    """

    id: str
    kind: DisposalKind
    ledger: str
    manifest: str
    selection: str
    count: int
    groups: tuple[str, ...]
    due: int
    requested_by: str
    seq: int
    planned_at: int
    cooling_off: int
    state: DisposalState = "planned"
    approvals: tuple[Approval, ...] = ()
    intended_seq: int = 0
    intended_at: int = 0
    not_before: int = 0
    final: str = ""
    destroying_seq: int = 0
    destroying_at: int = 0
    certified: bool = False


@dataclass(frozen=True, slots=True)
class Restriction:
    """Records that are kept but no longer used: somebody asked for their erasure. ``seq`` is where that was told."""

    request: str
    ledger: str
    selection: str
    seq: int


@dataclass(slots=True)
class Governance:
    """All of it, after some number of events. ``take`` moves it; everything else only looks.

    Attributes:
        rulebooks: digests in the order in which they came into force; the first is the one the vault began with.
        restrictions: in the order they were asked for.
        kept_at: position of the last event that may have something kept longer: a hold, a rule book, a date; -1 before
            there was one.
    """

    rulebooks: tuple[str, ...] = ()
    proposals: dict[str, Proposal] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)
    approvers: dict[str, ApproverKey] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    disposals: dict[str, Disposal] = field(default_factory=dict)
    restrictions: tuple[Restriction, ...] = ()
    kept_at: int = -1

    def copy(self) -> Governance:
        return Governance(
            self.rulebooks,
            dict(self.proposals),
            dict(self.imports),
            dict(self.approvers),
            dict(self.holds),
            dict(self.disposals),
            self.restrictions,
            self.kept_at,
        )

    def take(self, event: str, actor: str, facts: Mapping[str, Any], seq: int, at: int) -> None:
        """Take one event. Raises ``KeyError``, ``TypeError`` or ``ValueError`` where its facts are not its own, and
        ``Modified`` where it plans a disposal that was planned before."""
        _TAKES[event](self, actor, facts, seq, at)
        if event in _KEEPS:
            self.kept_at = seq


def events() -> frozenset[str]:
    """Return the names of the events that change any of this."""
    return frozenset(_TAKES)


def _seconds(instant: str) -> int:
    return microseconds(instant) // 1_000_000


def _initialised(all_: Governance, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    if not all_.rulebooks:  # a crash may have it told twice
        all_.rulebooks = (facts["rulebook"],)


def _rules_proposed(all_: Governance, actor: str, facts: Mapping[str, Any], seq: int, _at: int) -> None:
    all_.proposals[facts["rulebook"]] = Proposal(facts["rulebook"], facts["version"], actor, seq)


def _rules_adopted(all_: Governance, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    all_.proposals.pop(facts["rulebook"], None)
    all_.rulebooks = (*all_.rulebooks, facts["rulebook"])


def _import_requested(all_: Governance, actor: str, facts: Mapping[str, Any], seq: int, _at: int) -> None:
    all_.imports[facts["import"]] = Import(
        facts["import"],
        facts["ledger"],
        facts["producer"],
        facts["sha256"],
        facts["count"],
        microseconds(facts["first"]),
        microseconds(facts["last"]),
        actor,
        seq,
    )


def _import_approved(all_: Governance, actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    all_.imports[facts["import"]] = replace(all_.imports[facts["import"]], approved_by=actor)


def _import_done(all_: Governance, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    all_.imports[facts["import"]] = replace(all_.imports[facts["import"]], done=True)


def _approver_registered(all_: Governance, _actor: str, facts: Mapping[str, Any], seq: int, _at: int) -> None:
    public = canonical.unb64(facts["public"], 32)
    all_.approvers[facts["person"]] = ApproverKey(facts["person"], public, seq)


def _approver_removed(all_: Governance, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    all_.approvers.pop(facts["person"], None)


def _hold_placed(all_: Governance, actor: str, facts: Mapping[str, Any], seq: int, at: int) -> None:
    start, end, review = facts.get("start"), facts.get("end"), facts.get("review_at")
    scope = HoldScope(
        tuple(facts["ledgers"]),
        frozenset(facts["tags"]),
        tuple(facts["classes"]),
        tuple(facts["jurisdictions"]),
        None if start is None else microseconds(start),
        None if end is None else microseconds(end),
    )
    sets = tuple(zip(facts["ledgers"], facts["selections"], strict=True))
    all_.holds[facts["hold"]] = Hold(
        facts["hold"],
        facts["case"],
        scope,
        sets,
        actor,
        at,
        seq,
        None if review is None else microseconds(review),
        looked=tuple(zip(facts["ledgers"], facts.get("sizes", [0] * len(facts["ledgers"])), strict=True)),
    )


def _hold_inherited(all_: Governance, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    hold = all_.holds[facts["hold"]]
    looked = tuple(sorted({**dict(hold.looked), facts["ledger"]: facts.get("upto", 0)}.items()))
    all_.holds[hold.id] = replace(hold, sets=(*hold.sets, (facts["ledger"], facts["selection"])), looked=looked)


def _hold_reviewed(all_: Governance, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    hold = all_.holds[facts["hold"]]
    review_at = microseconds(facts["review_at"])
    all_.holds[hold.id] = replace(hold, review_at=review_at, release_by=None, release_seq=None)


def _hold_release_requested(all_: Governance, actor: str, facts: Mapping[str, Any], seq: int, _at: int) -> None:
    hold = all_.holds[facts["hold"]]
    all_.holds[hold.id] = replace(hold, release_by=actor, release_seq=seq)


def _hold_released(all_: Governance, actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    hold = all_.holds[facts["hold"]]
    all_.holds[hold.id] = replace(hold, released_by=actor)


def _disposal_planned(all_: Governance, actor: str, facts: Mapping[str, Any], seq: int, at: int) -> None:
    if facts["disposal"] in all_.disposals:  # also one that was cancelled: whoever approved that approved no other
        raise Modified("a disposal of this id was planned before", seq=seq)
    due, cooling_off = facts.get("due"), facts["cooling_off"]
    if type(cooling_off) is not int or cooling_off < 0:
        raise ValueError("cooling-off is not a number of seconds")
    all_.disposals[facts["disposal"]] = Disposal(
        facts["disposal"],
        cast(DisposalKind, facts["kind"]),
        facts["ledger"],
        facts["manifest"],
        facts["selection"],
        facts["count"],
        tuple(facts["groups"]),
        0 if due is None else _seconds(due),
        actor,
        seq,
        at,
        cooling_off,
    )


def _step(all_: Governance, facts: Mapping[str, Any], known: Collection[str], **changes: Any) -> None:
    """Take a disposal on from one of these states; out of turn nothing changes, so one that was cancelled stays so."""
    disposal = all_.disposals[facts["disposal"]]
    if disposal.state in known:
        all_.disposals[disposal.id] = replace(disposal, **changes)


def _disposal_approved(all_: Governance, actor: str, facts: Mapping[str, Any], seq: int, _at: int) -> None:
    disposal = all_.disposals[facts["disposal"]]
    approval = Approval(actor, seq, facts["signature"], facts["key"])
    all_.disposals[disposal.id] = replace(disposal, approvals=(*disposal.approvals, approval))


def _disposal_cancelled(all_: Governance, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    _step(all_, facts, ("planned", "intended"), state="cancelled")


def _disposal_intended(all_: Governance, _actor: str, facts: Mapping[str, Any], seq: int, at: int) -> None:
    not_before = _seconds(facts["not_before"])
    _step(all_, facts, ("planned",), state="intended", intended_seq=seq, intended_at=at, not_before=not_before)


def _disposal_destroying(all_: Governance, _actor: str, facts: Mapping[str, Any], seq: int, at: int) -> None:
    final = facts["selection"]
    _step(all_, facts, ("intended",), state="destroying", final=final, destroying_seq=seq, destroying_at=at)


def _disposal_done(all_: Governance, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    _step(all_, facts, ("intended", "destroying"), state="done")


def _certificate_issued(all_: Governance, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    all_.disposals[facts["disposal"]] = replace(all_.disposals[facts["disposal"]], certified=True)


def _erasure_requested(all_: Governance, _actor: str, facts: Mapping[str, Any], seq: int, _at: int) -> None:
    made = Restriction(facts["request"], facts["ledger"], facts["selection"], seq)
    all_.restrictions = (*all_.restrictions, made)


def _dated(_all: Governance, _actor: str, facts: Mapping[str, Any], _seq: int, _at: int) -> None:
    """Whose date it is stands in its facts, for those who read them all: here counts only that there is one."""
    if not (isinstance(facts["ledger"], str) and isinstance(facts["seq"], int)):
        raise TypeError("no record is dated")


_KEEPS: Final = frozenset({"rules.adopted", "hold.placed", "hold.inherited", "record.dated"})

_TAKES: Final[Mapping[str, Callable[[Governance, str, Mapping[str, Any], int, int], None]]] = {
    "vault.initialised": _initialised,
    "rules.proposed": _rules_proposed,
    "rules.adopted": _rules_adopted,
    "import.requested": _import_requested,
    "import.approved": _import_approved,
    "import.done": _import_done,
    "approver.registered": _approver_registered,
    "approver.removed": _approver_removed,
    "hold.placed": _hold_placed,
    "hold.inherited": _hold_inherited,
    "hold.reviewed": _hold_reviewed,
    "hold.release_requested": _hold_release_requested,
    "hold.released": _hold_released,
    "disposal.planned": _disposal_planned,
    "disposal.approved": _disposal_approved,
    "disposal.cancelled": _disposal_cancelled,
    "disposal.intended": _disposal_intended,
    "disposal.destroying": _disposal_destroying,
    "disposal.done": _disposal_done,
    "certificate.issued": _certificate_issued,
    "erasure.requested": _erasure_requested,
    "record.dated": _dated,
}
