"""Outside: what others say about a ledger's checkpoints, kept where no database can take it back.

Below ``<home>/checkpoints/<ledger>/outside/``, sizes in 20 decimal digits:

    <size>.note      the checkpoint of that size with the cosignatures of witnesses (vault.core.cosignature)
    <size>.stamped   the same checkpoint without them: the bytes that the time-stamp is over
    <size>.tsr       the authority's response, DER (vault.stamping)
    rounds.json      how the last rounds went (vault.rounds); no evidence

Normally the events ledger alone has them: every other ledger's checkpoints are anchored in it (vault.anchoring).

Each is verified when it is read, against the witnesses and roots of the policy; what does not verify says nothing. An
outside time says that everything below ``size`` existed then. It does not say that it had not existed long before: for
that, see how close together the checkpoints are that others saw.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple
from uuid import UUID

from vault import outsideindex, rounds, stamping
from vault.checkpoints import Checkpoints
from vault.context import Vault
from vault.core import cosignature
from vault.core.checkpoint import Checkpoint
from vault.core.errors import Modified, Unavailable
from vault.outsidefiles import is_kept, load, sizes
from vault.policy import CLOCKS_APART, Authority, Policy, Witness

_MOST_BACK: Final = 256
"""Files without a word of anybody who is known, after which no older one is looked at for the newest."""

__all__ = [
    "Assured",
    "Authority",
    "Cosigned",
    "Outside",
    "OutsideTime",
    "Policy",
    "Stamped",
    "Witness",
    "assured",
    "assured_of",
    "covering",
    "for_reports",
    "kept",
    "require_covered",
    "require_met",
    "sizes",
    "time_of",
    "unmet",
]


class Cosigned(NamedTuple):
    """One witness's word. ``own``: whoever runs the vault runs the witness."""

    name: str
    at: datetime
    own: bool


class Stamped(NamedTuple):
    """An authority's word; ``authority`` is the subject of its certificate."""

    at: datetime
    authority: str
    own: bool


class Outside(NamedTuple):
    """What is said about the tree of one size, as far as it verifies.

    Attributes:
        note: the checkpoint, with the lines of witnesses.
        problems: what lies there and does not verify, a sentence each.
    """

    size: int
    root: bytes
    note: str
    cosignatures: tuple[Cosigned, ...]
    stamp: Stamped | None
    problems: tuple[str, ...] = ()

    @property
    def times(self) -> list[tuple[datetime, str, bool]]:
        """Return (time, who says so, whether they are the vault's own), the earliest first."""
        said = [(one.at, one.name, one.own) for one in self.cosignatures]
        return sorted([*said, (self.stamp.at, self.stamp.authority, self.stamp.own)] if self.stamp else said)


class OutsideTime(NamedTuple):
    """When an entry of the events ledger existed at the latest, as others say.

    Attributes:
        by: who; all of them for the same checkpoint.
        independent: whether one of them is not the vault's own; ``at`` is the earliest time that such a one names.
        size: of that checkpoint.
    """

    at: datetime
    by: tuple[str, ...]
    independent: bool
    size: int


class Assured(NamedTuple):
    """What a report says about the outside.

    Attributes:
        witnessed_at: when a witness last cosigned; None where none ever did. ``witnesses`` are those who did then.
        independent: whether a witness or an authority among them is not the vault's own.
        stamped_at, authority: the same of time-stamps.
        problems: a sentence each.
    """

    witnessed_at: datetime | None
    witnesses: tuple[str, ...]
    independent: bool
    stamped_at: datetime | None
    authority: str | None
    problems: tuple[str, ...]


def kept(place: Vault | Checkpoints, ledger: UUID) -> list[Outside]:
    """Return everything that verifies, by size. Reads and verifies all of it: see ``covering`` for one entry."""
    checkpoints = _of(place)
    policy = checkpoints.policy()
    found = (_read(checkpoints, ledger, size, policy) for size in sizes(checkpoints, ledger))
    return [one for one in found if one.times]


def covering(place: Vault | Checkpoints, ledger: UUID, seq: int) -> Outside | None:
    """Return the first checkpoint above an entry that somebody vouches for; None where there is none."""
    checkpoints = _of(place)
    return next(_covering(checkpoints, ledger, seq, checkpoints.policy()), None)


def time_of(
    checkpoints: Checkpoints, ledger: UUID, seq: int, problem: Callable[[str], None] = lambda _words: None
) -> OutsideTime | None:
    """Return when an entry existed at the latest, by independent witnesses or authorities; by the vault's own where
    there is nobody else; None where nobody says so.

    Args:
        problem: told of each file on the way that should show it and does not verify.
    """
    policy = checkpoints.policy()
    for size in _by_others(checkpoints, ledger, seq, policy):
        found = _read(checkpoints, ledger, size, policy)
        for words in found.problems:
            problem(f"what others said of {size} events: {words}")
        if others := [(at, name) for at, name, mine in found.times if not mine]:
            return OutsideTime(others[0][0], tuple(dict.fromkeys(name for _, name in others)), True, size)
    own = next(_covering(checkpoints, ledger, seq, policy), None)
    if own is None:
        return None
    return OutsideTime(own.times[0][0], tuple(name for _, name, _ in own.times), False, own.size)


def _by_others(checkpoints: Checkpoints, ledger: UUID, seq: int, policy: Policy) -> Iterator[int]:
    """Yield the sizes above an entry that somebody independent seems to vouch for."""
    witnesses = tuple(one for one in policy.witnesses if not one.own)
    authorities = tuple(one for one in policy.authorities if not one.own)

    def holds(size: int) -> bool:
        if _names(load(checkpoints, ledger, size, "note"), witnesses):
            return True
        response, stamped = (load(checkpoints, ledger, size, suffix) for suffix in ("tsr", "stamped"))
        if response is None or stamped is None or not authorities:
            return False
        try:
            return bool(_stamped(authorities, response, stamped))
        except stamping.BadStamp:
            return False

    if witnesses or authorities:
        what = tuple(str(one.key) for one in witnesses), authorities
        yield from outsideindex.above(checkpoints.outside(ledger), sizes(checkpoints, ledger), seq, what, holds)


def _names(note: bytes | None, witnesses: tuple[Witness, ...]) -> bool:
    """Say whether a note has a line under one of these names; what it says is not verified."""
    return note is not None and any(f"\n\N{EM DASH} {one.name} ".encode() in note for one in witnesses)


def assured(vault: Vault) -> Assured:
    """Return what reports say: from what is kept, without asking anybody.

    Raises:
        UsageError: the policy cannot be read.
    """
    return assured_of(vault.checkpoints, vault.events, vault.clock())


def assured_of(checkpoints: Checkpoints, ledger: UUID, now_us: int) -> Assured:
    """Return the same without a vault's keys."""
    witnessed = _newest(checkpoints, ledger, "note")
    stamped = _newest(checkpoints, ledger, "tsr")
    stamp = None if stamped is None else stamped.stamp
    names = () if witnessed is None else witnessed.cosignatures
    return Assured(
        max((one.at for one in names), default=None),
        tuple(one.name for one in names),
        any(not one.own for one in names) or (stamp is not None and not stamp.own),
        None if stamp is None else stamp.at,
        None if stamp is None else stamp.authority,
        tuple(_problems(checkpoints, ledger, witnessed, stamped, now_us)),
    )


def unmet(checkpoints: Checkpoints, ledger: UUID, now_us: int) -> tuple[str, ...]:
    """Return why the policy is not met, a sentence each; nothing where it is, or where there is none."""
    policy = checkpoints.policy()
    if not policy.active:
        return ()
    # A time that is still to come says nothing about today, and would hold for ever.
    since, until = _time(now_us) - policy.alarm_after, _time(now_us) + CLOCKS_APART
    known = rounds.read(checkpoints.outside(ledger))
    why = []
    if policy.asked:
        found = _newest(checkpoints, ledger, "note")
        asked = {one.name for one in policy.asked}
        said = found.cosignatures if found else ()
        fresh = {one.name for one in said if one.name in asked and since <= one.at <= until}
        if len(fresh) < policy.quorum:
            minutes = policy.alarm_after // timedelta(minutes=1)
            why.append(f"{len(fresh)} of {policy.quorum} witnesses cosigned within {minutes} minutes")
    if policy.stamping:
        last = _newest(checkpoints, ledger, "tsr")
        if last is None or last.stamp is None or not since <= last.stamp.at <= until:
            minutes = policy.alarm_after // timedelta(minutes=1)
            why.append(f"no time-stamp was had within {minutes} minutes")
    why += [one.words for one in known.problems.values() if one.code == rounds.CLOCK]
    return tuple(why)


def require_met(vault: Vault) -> None:
    """Return where the policy is met or lets things go on.

    Raises:
        Unavailable: it is ``closed`` and not met.
        UsageError: it cannot be read.
    """
    if vault.checkpoints.policy().closed and (why := unmet(vault.checkpoints, vault.events, vault.clock())):
        raise Unavailable(
            f"the policy of witnesses is not met and says to wait: {'; '.join(why)}; run 'reasonvault witness run'"
        )


def require_covered(vault: Vault, seq: int) -> None:
    """Return where everybody who is asked has seen an entry of the events ledger, or the policy does not wait for them.

    Raises:
        Unavailable: it is ``closed``, and the quorum or the time-stamp is still to come.
        UsageError: it cannot be read.
    """
    policy = vault.checkpoints.policy()
    if not (policy.closed and policy.active):
        return
    cosigned, stamped = not policy.asked, not policy.stamping
    asked = {one.name for one in policy.asked}
    for found in _covering(vault.checkpoints, vault.events, seq, policy):
        cosigned = cosigned or len({one.name for one in found.cosignatures} & asked) >= policy.quorum
        stamped = stamped or found.stamp is not None
        if cosigned and stamped:
            return
    missing = " and ".join(["witnesses"] * (not cosigned) + ["a time-stamp"] * (not stamped))
    raise Unavailable(f"this waits for {missing}: run 'reasonvault witness run', and then the same again")


def for_reports(vault: Vault) -> Assured:
    """Return ``assured`` where the policy lets a report be made; raises as ``require_met``."""
    require_met(vault)
    return assured(vault)


def _problems(
    checkpoints: Checkpoints, ledger: UUID, witnessed: Outside | None, stamped: Outside | None, now_us: int
) -> Iterator[str]:
    yield from dict.fromkeys(words for one in (witnessed, stamped) if one is not None for words in one.problems)
    known = rounds.read(checkpoints.outside(ledger))
    signed = checkpoints.read(ledger)
    newest = next(reversed(sizes(checkpoints, ledger)), 0)
    if signed is not None and newest > signed.size:
        yield f"others saw {newest} events of this vault, and it has {signed.size}: it was set back"
    for told, suffix, done in ((known.witnessed, "note", "cosigned"), (known.stamped, "tsr", "stamped")):
        if told and not is_kept(checkpoints, ledger, told, suffix):
            yield f"the checkpoint of {told} events was {done}, and the file that shows it is gone"
    why = unmet(checkpoints, ledger, now_us)
    yield from why
    yield from (one.words for one in known.problems.values() if one.words not in why)


def _newest(checkpoints: Checkpoints, ledger: UUID, suffix: str) -> Outside | None:
    """Return the newest that holds a cosignature ("note") or a stamp ("tsr")."""
    policy = checkpoints.policy()
    for size in islice(reversed(sizes(checkpoints, ledger, suffix)), _MOST_BACK):
        found = _read(checkpoints, ledger, size, policy)
        if found.cosignatures if suffix == "note" else found.stamp:
            return found
    return None


def _covering(checkpoints: Checkpoints, ledger: UUID, seq: int, policy: Policy) -> Iterator[Outside]:
    known = sizes(checkpoints, ledger) if policy.witnesses or policy.authorities else ()
    for size in known[bisect_right(known, seq) :]:
        found = _read(checkpoints, ledger, size, policy)
        if found.times:
            yield found


def _read(checkpoints: Checkpoints, ledger: UUID, size: int, policy: Policy) -> Outside:
    """Read and verify what is kept for a size."""
    problems = list[str]()
    note, stamped, response = (load(checkpoints, ledger, size, suffix) for suffix in ("note", "stamped", "tsr"))
    root, cosigned, stamp = b"", list[Cosigned](), None
    try:
        if note is not None:
            root = _opened(checkpoints, ledger, size, note).root
            cosigned = _cosigned(policy, note, problems)
    except Modified as error:
        problems.append(f"the note that is kept for {size} events does not hold: {error}")
    try:
        if response is not None and stamped is not None:
            other = _opened(checkpoints, ledger, size, stamped).root
            if root and root != other:
                raise Modified("it is over another tree of this size")
            root, stamp = other, _stamped(policy.authorities, response, stamped)
        elif response is not None:
            problems.append(f"the bytes that the time-stamp of {size} events is over are gone")
    except Modified as error:
        problems.append(f"the time-stamp that is kept for {size} events does not hold: {error}")
    text = (note or stamped or b"").decode("utf-8", "replace")
    return Outside(size, root, text, tuple(cosigned), stamp, tuple(problems))


def _opened(checkpoints: Checkpoints, ledger: UUID, size: int, note: bytes) -> Checkpoint:
    found = checkpoints.open(ledger, note)
    if found.size != size:
        raise Modified(f"it is the checkpoint of {found.size} entries")
    return found


def _cosigned(policy: Policy, note: bytes, problems: list[str]) -> list[Cosigned]:
    """Each witness by itself: a line that does not verify must not hide those that do."""
    found = []
    for witness in policy.witnesses:
        try:
            read = cosignature.read(note, [witness.key])
            found += [Cosigned(witness.name, _time(one.at * 1_000_000), witness.own) for one in read]
        except (Modified, OverflowError, ValueError) as error:
            problems.append(str(error) if isinstance(error, Modified) else f"{witness.name} names no time that exists")
    return found


def _stamped(authorities: tuple[Authority, ...], response: bytes, data: bytes) -> Stamped:
    fault = stamping.BadStamp("certificate", "no authority is configured whose root it leads to")
    for authority in authorities:
        try:
            found = stamping.verify(response, data, authority.roots)
            return Stamped(found.at, found.authority, authority.own)
        except stamping.BadStamp as error:
            fault = error
    raise fault


def _of(place: Vault | Checkpoints) -> Checkpoints:
    return place.checkpoints if isinstance(place, Vault) else place


def _time(us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC)
