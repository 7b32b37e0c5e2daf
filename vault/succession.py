"""Succession: what to do with a ledger whose database is behind its checkpoint, or is another history.

It never goes on. It is frozen at its last good head, and a successor goes on whose genesis leaf says so:

    1. find the ledger in the events: its database rows may be gone
    2. under the head's lock, where there is a head: read all rows, find the last good head and what is lost
    3. two officers, or the passphrase's holder while no grant policy is adopted: decide under the events ledger's lock
    4. commit ``ledger.frozen`` with the successor's uuid: THE COMMIT POINT. From here on nothing is appended
    5. outside the database: keep the old checkpoint as ``lost``, and go back to the good head's
    6. make the successor; ``predecessor`` in its genesis leaf names uuid, good head and lost range
    7. ``ledger.created``, then ``ledger.succeeded``

A crash before 4 leaves nothing. One after it leaves a frozen ledger without a successor; the same command goes on, with
what the event says and nothing newly found. A ledger that was frozen stays so, whatever its database becomes: a newer
dump that turns up later is read beside it, and what it has comes in through the successor.

Good is what chains from the genesis leaf and ends in a root that was signed earlier: the checkpoint outside, an anchor
in the events, a head announced or verified outside, the announced genesis leaf. Entries behind that which still chain
are kept or lost as whoever recovers says: anybody who owns the database can have written them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import Connection

from vault import chronicle, events, grants, ledgers
from vault.context import Vault
from vault.core import canonical, leaf, packing, succession
from vault.core.canonical import b64
from vault.core.errors import Denied, EvidenceError, Forked, Missing, Modified, UsageError
from vault.core.leaf import EventLeaf, GenesisLeaf
from vault.core.standing import Standing
from vault.core.succession import Frozen, Recovery
from vault.core.tree import EMPTY_ROOT, Frontier, leaf_hash
from vault.db import store
from vault.db.engine import transact, translated
from vault.events import Event, Ruling, refuse
from vault.reading import denial

Unproved = Literal["keep", "lose"]
_VERIFIED: Final = "verified"  # vault.incremental's, as it remembers it


class Step(NamedTuple):
    """What was done: ``requested``, or ``succeeded`` with the frozen ledger. ``event`` is where the first stands."""

    recovery: Recovery
    successor_name: str
    done: Literal["requested", "succeeded"]
    event: int
    frozen: Frozen | None = None


Marks = dict[int, set[bytes]]
"""Size -> roots of that size that this vault signed. More than one only where it announced a head that never came."""


class _Known(NamedTuple):
    """What the events say of a ledger: name and terms, and the roots that were signed of it, by size."""

    ledger: UUID
    name: str
    jurisdictions: tuple[str, ...]
    rules: tuple[str, ...]
    marks: Marks


def succeed(
    vault: Vault, name: str, reason: str, *, new_name: str | None = None, unproved: Unproved | None = None
) -> Step:
    """Freeze a ledger and make its successor; as one of two officers, ask for it first. Again, it goes on.

    Args:
        name: the ledger's name or uuid.
        reason: sealed into the event.
        new_name: the successor's; None numbers the old one's: ``cn``, ``cn-2``, ``cn-3``.
        unproved: what becomes of entries that chain on behind the last root that was signed; None asks.

    Raises:
        UsageError: no such ledger, or nothing is wrong with it, or the new name is taken, or ``unproved`` must be said.
        Denied: whoever acts may not, or not alone.
        Forked: there is no checkpoint outside the database to recover by, or the events ledger itself is not the one
            that was signed.
    """
    grants.require_text("reason", reason)
    known = _known(vault, name)
    frozen = vault.register.standing().frozen.get(str(known.ledger))
    if frozen is None:
        step = _freeze(vault, known, reason, new_name, unproved)
        if step.frozen is None:
            return step
        frozen = step.frozen
    elif new_name not in (None, frozen.successor_name):
        raise UsageError(f"ledger {known.name} is frozen, and its successor is {frozen.successor_name}")
    _require_may_finish(vault)
    return _finish(vault, known, frozen)


def _known(vault: Vault, name: str) -> _Known:
    """Step 1."""
    if name in (ledgers.EVENTS, str(vault.events)):
        raise UsageError("the events ledger has no successor: restore a dump that holds all of it")
    try:
        told, _ = chronicle.read(vault, {"ledger.created", "checkpoint.anchored"})
    except EvidenceError as error:
        what = str(error).partition(" at ledger")[0]
        raise Forked(
            f"the events ledger itself does not hold ({what}), and nothing is recovered without it: restore a dump"
            " that holds all of it",
            str(vault.events),
            error.seq,
        ) from None
    created = [
        one for one in told if one.event == "ledger.created" and name in (one.facts["name"], one.facts["ledger"])
    ]
    if not created:
        raise UsageError(f"the events tell of no ledger named {name}")
    facts = created[0].facts
    marks = _anchored(told, facts["ledger"]) | {1: {canonical.unb64(facts["genesis"], 32)}}
    return _Known(UUID(facts["ledger"]), facts["name"], tuple(facts["jurisdictions"]), tuple(facts["rules"]), marks)


def _anchored(told: list[EventLeaf], ledger: str) -> Marks:
    anchors = [one.facts for one in told if one.event == "checkpoint.anchored" and one.facts.get("ledger") == ledger]
    return {facts["size"]: {canonical.unb64(facts["root"], 32)} for facts in anchors}


def _freeze(vault: Vault, known: _Known, reason: str, new_name: str | None, unproved: Unproved | None) -> Step:
    """Steps 2 to 4."""
    with _held(vault, known.ledger) as connection:
        found = _found(vault, connection, known, unproved)
        name = _free_name(vault, known.name, new_name)
        successor = str(uuid4())

        def decide(standing: Standing) -> Ruling[str]:
            if str(known.ledger) in standing.frozen:
                raise UsageError(f"somebody else froze ledger {known.name} just now: run the same command again")
            return _decided(vault, standing, found, name, successor, reason)

        told, done = events.rule(vault, decide)
        if done == "requested":
            return Step(found, name, "requested", told.seq)
        frozen = vault.register.standing().frozen[found.ledger]
        _go_back(vault, frozen)  # under the lock: whoever waits for it must find the ledger frozen
    return Step(found, name, "succeeded", told.seq, frozen)


def _decided(vault: Vault, standing: Standing, found: Recovery, name: str, successor: str, reason: str) -> Ruling[str]:
    """Step 3."""
    facts = found.facts() | {"successor_name": name}
    freeze = Event("ledger.frozen", facts | {"successor": successor}, {"reason": reason})
    asked = standing.successions.get(found.ledger)
    by = None if asked is None else standing.people.get(asked.by)
    if by is not None and (by.disabled or "officer" not in by.roles):
        asked = None  # who asked may not any more, and two who may have to agree
    if vault.actor.break_glass and not standing.grants_required:
        return Ruling([freeze], "frozen")
    why = succession.why_not(asked, (found, name), vault.actor.name, vault.actor.roles_by(standing))
    if why is not None:
        code = "four_eyes" if why == succession.OWN else "role"
        return refuse(Denied(why), denial("ledger.succeed", code, {"ledger": found.ledger}))
    if asked is not None and (asked.recovery, asked.successor_name) == (found, name):
        request = {"request": asked.seq, "requested_by": asked.by}
        return Ruling([freeze._replace(facts=freeze.facts | request)], "frozen")
    return Ruling([Event("ledger.succession_requested", facts, {"reason": reason})], "requested")


def _require_may_finish(vault: Vault) -> None:
    """The decision was made; carrying it out needs no second person, and no stranger either."""
    if not vault.actor.break_glass and "officer" not in vault.actor.roles_by(vault.register.standing()):
        denied = denial("ledger.succeed", "role", {})
        events.rule(vault, lambda _standing: refuse(Denied(succession.NO_OFFICER), denied))


@contextmanager
def _held(vault: Vault, ledger: UUID) -> Iterator[Connection]:
    """Yield a connection that holds the head's lock, so that nobody appends meanwhile. A head that is gone needs none:
    nothing is appended without it."""
    with translated(), vault.engine.connect() as connection:
        with suppress(Missing):
            store.lock_head(connection, ledger)
        yield connection


def _found(vault: Vault, connection: Connection, known: _Known, unproved: Unproved | None) -> Recovery:
    """Step 2.

    Raises:
        UsageError: the ledger holds, or somebody has to say what becomes of entries that nothing proves.
        Forked: the checkpoint outside the database is missing or not ours, so nobody can say what is lost.
    """
    outside = vault.checkpoints.read(known.ledger)
    if outside is None:
        raise Forked("the checkpoint outside the database is missing: restore it first", str(known.ledger))
    marks = known.marks | _remembered(vault, known.ledger)
    marks |= {0: {EMPTY_ROOT}, outside.size: {outside.root}}
    proved, chained = _read(connection, known.ledger, marks, outside.size)
    if proved.size == outside.size and _head_holds(vault, connection, known.ledger):
        raise UsageError(f"ledger {known.name} is the one that was signed: there is nothing to recover")
    good = proved
    if chained.size > proved.size:
        first, last = proved.size, chained.size - 1
        if unproved is None:
            raise UsageError(
                f"seq {first}-{last} of ledger {known.name} chain on, and no signature covers them: say"
                " --unproved lose, and they are lost with the rest, or --unproved keep, and they stay as unproved"
            )
        good = chained if unproved == "keep" else proved
    return Recovery(
        str(known.ledger), known.name, good.size, b64(good.root()), proved.size, outside.size, b64(outside.root)
    )


def _read(connection: Connection, ledger: UUID, marks: Marks, most: int) -> tuple[Frontier, Frontier]:
    """Return the largest tree that chains and has a signed root, and the largest that chains and contradicts none."""
    frontier, proved, previous = Frontier(), Frontier(), b""
    for seq, stored in store.stream_leaves(connection, ledger, 0, most):
        hashed = _hash_of(stored, str(ledger), frontier.size, previous) if seq == frontier.size else None
        if hashed is None:
            break
        frontier.append(hashed)
        previous = hashed
        if (roots := marks.get(frontier.size)) is not None:
            if frontier.root() not in roots:
                return proved, proved  # somewhere behind the last signed root the rows are others than were signed
            proved = frontier.copy()
    return proved, frontier


def _hash_of(stored: bytes, ledger: str, seq: int, previous: bytes) -> bytes | None:
    """Return the hash of the leaf that belongs in this place; None for any other."""
    try:
        data = packing.unpack(stored)
        parsed = leaf.parse(data)
    except Modified:
        return None
    carried = "" if isinstance(parsed, GenesisLeaf) else parsed.prev
    return leaf_hash(data) if (parsed.ledger, parsed.seq, carried) == (ledger, seq, b64(previous)) else None


def _remembered(vault: Vault, ledger: UUID) -> Marks:
    """Return roots that this vault signed outside the database: of heads it announced, and of the last verification."""
    found: Marks = {}
    for head in vault.checkpoints.pending(ledger):
        found.setdefault(head.size, set()).add(Frontier.from_bytes(head.size, head.frontier).root())
    text = vault.checkpoints.recall(ledger, _VERIFIED)
    try:
        size, _, peaks = (text or "").splitlines()[1].split(" ")
        found[int(size)] = {Frontier.from_bytes(int(size), bytes.fromhex(peaks)).root()}
    except (IndexError, ValueError, Modified):
        pass  # none, or of another version of ours
    return found


def _head_holds(vault: Vault, connection: Connection, ledger: UUID) -> bool:
    head = store.read_head(connection, ledger)
    try:
        return head is not None and bool(vault.checkpoints.require_consistent(ledger, head).size)
    except EvidenceError:
        return False


def _free_name(vault: Vault, name: str, wanted: str | None) -> str:
    taken = {row.name for row in transact(vault.engine, store.ledgers)} | {ledgers.EVENTS}
    taken |= {one.facts["name"] for one in ledgers.created(vault)}
    taken |= {one.successor_name for one in vault.register.standing().frozen.values()}
    if wanted is None:
        stem, _, last = name.rpartition("-")
        stem, number = (stem, int(last)) if stem and last.isascii() and last.isdigit() else (name, 1)
        wanted = next(each for at in range(number + 1, number + 1000) if (each := f"{stem}-{at}") not in taken)
    ledgers.require_name(wanted)
    if wanted in taken:
        raise UsageError(f"a ledger is named {wanted} already: choose another --new-name")
    return wanted


def _go_back(vault: Vault, frozen: Frozen) -> None:
    """Step 5."""
    one = frozen.recovery
    outside = vault.checkpoints.read(UUID(one.ledger))
    if outside is not None and not vault.checkpoints.is_frozen(UUID(one.ledger)) and outside.size != one.end:
        raise Forked("the checkpoint outside the database is not the one that was recovered by", one.ledger)
    vault.checkpoints.freeze(UUID(one.ledger), one.size, canonical.unb64(one.root, 32))


def _finish(vault: Vault, known: _Known, frozen: Frozen) -> Step:
    """Steps 5 to 7; each looks for its own result first."""
    successor, one = UUID(frozen.successor), frozen.recovery
    _go_back(vault, frozen)
    with translated(), vault.engine.connect() as connection:
        store.lock_head(connection, vault.events)  # as for any new ledger: two runs must not make it twice
        if all(row.ledger_id != successor for row in transact(vault.engine, store.ledgers)):
            terms = (known.jurisdictions, known.rules, one.word)
            ledgers.make(vault, successor, frozen.successor_name, "decisions", *terms)
    ledgers.announce(vault, ledgers.get(vault, frozen.successor_name))
    facts = {"ledger": one.ledger, "successor": frozen.successor, "name": frozen.successor_name}

    def decide(standing: Standing) -> Ruling[None]:
        done = standing.frozen[one.ledger].succeeded
        return Ruling([] if done else [Event("ledger.succeeded", facts)], None)

    events.rule(vault, decide)
    made = vault.register.standing().frozen[one.ledger]
    return Step(one, frozen.successor_name, "succeeded", frozen.seq, made)
